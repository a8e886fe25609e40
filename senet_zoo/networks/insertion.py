"""`insert_se` and `remove_se`: gates in any network, at the ends of its branches or where it is told.

The branches are found in one recorded run: what each module returned, and what was computed from what.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from senet_zoo.errors import SpecError, UsageError
from senet_zoo.networks.registry import model_of
from senet_zoo.networks.specs import SE, NetworkSpec
from senet_zoo.networks.squeeze_excite import Gated, Placement, SqueezeExcite, Start, gates

AnyCNN = TypeVar("AnyCNN", bound=nn.Module)
OPEN = SE(start=Start.IDENTITY)


@dataclass(eq=False)
class RecordedTensor:
    """A tensor that was computed in the run.

    Args:
        function: what made it, as PyTorch names it, without the underscore of the in-place form.
        inputs: the tensors it was made of; parameters and other constants are not among them.
        shape: its shape.
        made_by: modules whose output it is, the innermost first.
        passed_through: modules that returned it unchanged (Identity, dropout in eval mode), the first one first.
    """

    function: str
    inputs: tuple["RecordedTensor", ...]
    shape: tuple[int, ...]
    made_by: list[nn.Module] = field(default_factory=list)
    passed_through: list[nn.Module] = field(default_factory=list)

    def ancestors(self) -> set["RecordedTensor"]:
        """Every tensor that this one was computed from, and itself."""
        found, waiting = {self}, [self]
        while waiting:
            new = set(waiting.pop().inputs) - found
            found |= new
            waiting += new
        return found


@dataclass(frozen=True)
class TensorMetadata:
    """What is known of a tensor without keeping it."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


class Recording(TorchFunctionMode):
    """One run of a network on an example: what each module returned, and what was computed from what.

    Calls are recorded, not code, so that the network may branch and loop as it likes.

    The network is left as it was: all modules are in eval mode during the run, so that no statistics move, and their
    modes and the random state are restored.

    Args:
        model: the network.
        example: its input.
    """

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        super().__init__()
        self.tensors = [RecordedTensor("input", (), tuple(example.shape))]
        self.outputs: dict[nn.Module, list[TensorMetadata | None]] = {}
        """The outputs of each module that ran, call by call; None for an output that is no tensor."""
        self._latest = WeakTensorKeyDictionary()  # an in-place function records the same tensor anew
        self._latest[example] = self.tensors[0]
        self._modules = set(model.modules())  # the hooks see those of other threads too
        self._entered: list[int] = []  # tensors before each running module, the outermost first
        cuda = [example.device] if example.device.type == "cuda" else []
        with _evaluating(model), torch.random.fork_rng(cuda), torch.no_grad(), ExitStack() as hooks:
            hooks.callback(register_module_forward_pre_hook(self._module_starts).remove)
            hooks.callback(register_module_forward_hook(self._module_ran).remove)
            with self:
                model(example)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        inputs = tuple(self._latest[tensor] for tensor in tensors if tensor in self._latest)
        before = {id(tensor): tensor._version for tensor in tensors}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result) if inputs else ():
            if isinstance(tensor, Tensor) and before.get(id(tensor)) != tensor._version:  # else it was handed through
                self._add(tensor, func.__name__.rstrip("_"), inputs)
        return result

    def _add(self, tensor: Tensor, function: str, inputs: tuple[RecordedTensor, ...]) -> None:
        self._latest[tensor] = recorded = RecordedTensor(function, inputs, tuple(tensor.shape))
        self.tensors.append(recorded)

    def _module_starts(self, module: nn.Module, args: tuple[object, ...]) -> None:
        if module in self._modules:
            self._entered.append(len(self.tensors))

    def _module_ran(self, module: nn.Module, args: tuple[object, ...], output: object) -> None:
        if module not in self._modules:
            return
        seen, entered = None, self._entered.pop()
        if isinstance(output, Tensor):
            seen = TensorMetadata(tuple(output.shape), output.dtype, output.device)
            if output not in self._latest:  # made where PyTorch dispatches nothing, as in TorchScript
                known = [arg for arg in args if isinstance(arg, Tensor) and arg in self._latest]
                self._add(output, type(module).__name__, tuple(self._latest[tensor] for tensor in known))
            recorded = self._latest[output]
            (recorded.made_by if recorded in self.tensors[entered:] else recorded.passed_through).append(module)
        self.outputs.setdefault(module, []).append(seen)


def _default_example(model: nn.Module) -> Tensor:
    """A black picture of 224 x 224 pixels, on the device and in the precision of the model's weights.

    A network over signals or volumes gets one of as many channels as its first convolution reads.
    """
    weights = chain(model.parameters(), model.buffers(), [torch.empty(0)])
    like = next(tensor for tensor in weights if tensor.is_floating_point())
    first = next((part for part in model.modules() if isinstance(part, nn.Conv1d | nn.Conv2d | nn.Conv3d)), None)
    shape: tuple[int, ...] = (3, 224, 224)
    if first is not None and not isinstance(first, nn.Conv2d):
        shape = (first.in_channels, *((224,) if isinstance(first, nn.Conv1d) else (64, 64, 64)))
    return torch.zeros(1, *shape, device=like.device, dtype=like.dtype)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    for module in modes:  # not model.eval(), which networks override
        module.training = False
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@dataclass(frozen=True)
class Branch:
    """What a gate goes behind: most often what a residual sum adds to its shortcut.

    Args:
        end: the map that is added.
        tensors: what lies between the map where branch and shortcut part, itself excluded, and the end.
    """

    end: RecordedTensor
    tensors: frozenset[RecordedTensor]

    @property
    def gated(self) -> bool:
        """Whether a gate stands in it: one of ours, or anything that sees the whole map as one pixel."""
        return any(
            len(tensor.shape) == 2
            or ({*tensor.shape[2:]} == {1} != {*self.end.shape[2:]})
            or any(isinstance(module, SqueezeExcite) for module in tensor.made_by)
            for tensor in self.tensors
        )

    def last_module(self, recording: Recording) -> nn.Module | None:
        """The module whose output to gate: the branch's end, or what a constant then scales (LayerScale, or 0.17 x).

        None where the branch ends in code of its block, or in a module that runs elsewhere too.
        """
        ends = [self.end]
        while ends[-1].function in ("mul", "div") and len(ends[-1].inputs) == 1:
            ends += ends[-1].inputs
        modules = [module for tensor in reversed(ends) for module in tensor.made_by]
        modules += [module for tensor in reversed(ends) for module in tensor.passed_through]
        return next((module for module in modules if len(recording.outputs[module]) == 1), None)


def residual_branches(recording: Recording) -> Iterator[Branch]:
    """The branch of each residual sum, in order of execution.

    A sum of two maps is residual where one of them, the shortcut, is a map that the other was computed from, or comes
    from such a map through one convolution (and its norm, a pool, ...); and the branch has passed more convolutions.
    """
    for tensor in recording.tensors:
        if tensor.function == "add" and len(tensor.inputs) == 2:
            first, second = tensor.inputs
            branch = _branch(first, second) or _branch(second, first)
            if branch is not None:
                yield branch


def _branch(end: RecordedTensor, shortcut: RecordedTensor) -> Branch | None:
    before, path = end.ancestors(), [shortcut]
    while path[-1] not in before and len(path[-1].inputs) == 1:
        path += path[-1].inputs
    *projection, fork = path
    if len(end.shape) not in (3, 4, 5) or end.shape != shortcut.shape or fork not in before:
        return None
    tensors = before - fork.ancestors()
    if _convolutions(projection) > 1 or _convolutions(tensors) <= _convolutions(projection):
        return None
    return Branch(end, frozenset(tensors))


def concatenated_branches(recording: Recording) -> list[Branch]:
    """The branches of concatenations along channels: each module that ends in one, as Inception's and SqueezeNet's.

    Where a concatenation lies inside of its module, or hands on maps that others of its inputs were computed from, as
    DenseNet's, ShuffleNet's, the branches are its new inputs.
    """
    whole: list[Branch] = []
    parts: list[Branch] = []
    for tensor in recording.tensors:
        if tensor.function not in ("cat", "concat", "concatenate") or len(tensor.inputs) < 2:
            continue
        if tensor.shape[1] != sum(one.shape[1] for one in tensor.inputs):
            continue
        common = frozenset.intersection(*(frozenset(one.ancestors()) for one in tensor.inputs))
        older = {before for one in tensor.inputs for before in one.ancestors() - {one}}
        new = [one for one in tensor.inputs if one not in older]
        if len(new) == len(tensor.inputs) and tensor.made_by:
            whole.append(Branch(tensor, frozenset(tensor.ancestors()) - common))
        else:
            parts += [Branch(one, frozenset(one.ancestors()) - common) for one in new]
    inside = frozenset[RecordedTensor]().union(*(branch.tensors for branch in whole))
    return whole + [branch for branch in parts if branch.end not in inside and _convolutions(branch.tensors)]


def layers_of_a_chain(recording: Recording) -> list[Branch]:
    """Each convolution with its norm and activation, in a network without sums and concatenations (AlexNet, VGG)."""
    if any(len(tensor.inputs) > 1 for tensor in recording.tensors):
        return []
    next_of = {tensor.inputs[0]: tensor for tensor in recording.tensors if tensor.inputs}
    layers = []
    for tensor in recording.tensors:
        if _convolutions([tensor]):
            layer = [tensor]
            while (after := next_of.get(layer[-1])) and after.shape == tensor.shape and not _begins_a_layer(after):
                layer.append(after)
            end = next((one for one in reversed(layer) if one.made_by), tensor)
            layers.append(Branch(end, frozenset(layer)))
    return layers


def _begins_a_layer(tensor: RecordedTensor) -> bool:
    return "pool" in tensor.function or _convolutions([tensor]) > 0


def _convolutions(tensors: Iterable[RecordedTensor]) -> int:
    return sum(tensor.function in ("conv1d", "conv2d", "conv3d") for tensor in tensors)


def insert_se(
    model: AnyCNN, se: SE = OPEN, where: str | Sequence[str] | None = None, *, example: Tensor | None = None
) -> AnyCNN:
    """Put gates into any CNN, of torchvision, of timm or of your own, in place.

    The default gate starts as exactly 1: the logits do not move until training moves it. Places and channels are found
    in one run of the model on ``example``, in eval mode; its own mode, running statistics and the random state are as
    before, except that fresh gates draw their weights.

    Args:
        model: the network; its weights stay where they are.
        se: the gate. One that starts at random changes the logits.
        where: names of modules whose outputs are gated, or shell patterns over names: ``layer*.*.bn3``. Default: the
            last module of every residual branch, before the sum and before a constant scale (LayerScale); in a network
            without any, every module that ends in a concatenation (Inception), or the new branches of one (DenseNet,
            ShuffleNet); in a plain chain (VGG), every convolution with its norm and activation. Left out are branches
            with a gate already, the network's own (MobileNetV3, EfficientNet) or an inserted one, or with no module of
            their own at the end. Where a sum adds branches of equal depth, none is residual.
        example: an input, (N, channels, H, W), (N, channels, L) or (N, channels, D, H, W); by default 1 x 3 x 224 x
            224 zeros, or as its first convolution reads signals or volumes.

    Returns:
        The same model; `gates` lists what it has now. The gate after a module ``bn3`` is ``bn3.se``.

    Raises:
        UsageError: no branch to gate, a name that matches nothing, or a module that is gated already, does not
            run exactly once, or returns no map (N, C, H, W). The model is as before.
        SpecError: ``se`` has a placement or stages, which ``where`` replaces here, or leaves no hidden unit.

    Differs: the zoo's own networks have their gates by definition; here they are added to one. Saved tensors keep their
        names and only ``*.se.*`` are new, so that the original weights still load, with ``strict=False``;
        ``named_parameters`` shows the wrapper, ``bn3.module.weight``. Channels must be second: a map with channels last
        cannot be told from one, and ``where`` must not name it.

    Example:
        >>> from torchvision.models import resnet18
        >>> model = insert_se(resnet18())
        >>> list(gates(model))[:2]
        ['layer1.0.bn2.se', 'layer1.1.bn2.se']
        >>> model = insert_se(resnet18(), SE(reduction=8, start=Start.IDENTITY), where="layer4.*.bn2")
        >>> [gate.fc1.out_features for gate in gates(model).values()]
        [64, 64]
    """
    if se.placement is not Placement.STANDARD or se.stages is not None or se.without:
        raise SpecError(
            f"where=[...] says where inserted gates sit; leave placement and stages out of {se}, and without"
        )
    example = _default_example(model) if example is None else example
    recording = _record(model, example)
    modules = (
        _at_branches(model, recording) if where is None else _named(model, [where] if isinstance(where, str) else where)
    )
    names = {module: name for name, module in model.named_modules()}
    gated = {module: _gated(module, names[module], se, recording) for module in modules}
    _replace(model, gated)
    try:
        _record(model, example)  # the network's own code may look into a module that lies in a wrapper now
    except BaseException:
        _replace(model, {wrapper: module for module, wrapper in gated.items()})
        raise
    return model


def remove_se(model: AnyCNN) -> AnyCNN:
    """Take inserted gates out again, in place: modules and names are as before `insert_se`, weights as they are now.

    Returns:
        The same model.

    Raises:
        UsageError: it has no inserted gates. Those that a network is defined with, as the zoo's own, are never removed.

    Example:
        >>> from torchvision.models import resnet18
        >>> gates(remove_se(insert_se(resnet18())))
        {}
    """
    inserted = {part: part.module for part in model.modules() if isinstance(part, Gated)}
    if not inserted:
        raise UsageError(f"no gate was inserted into this {type(model).__name__}, so none is removed{_instead(model)}")
    _replace(model, inserted)
    return model


def _record(model: nn.Module, example: Tensor) -> Recording:
    try:
        return Recording(model, example)
    except Exception as error:
        raise UsageError(
            f"{type(model).__name__} does not run on an input of shape {tuple(example.shape)}: {error}. Pass an "
            "example=... that it takes; if its code looks into a gated module, name other places in where=[...]"
        ) from error


def _at_branches(model: nn.Module, recording: Recording) -> list[nn.Module]:
    residual = list(residual_branches(recording))
    branches = residual or concatenated_branches(recording) or layers_of_a_chain(recording)
    ends = [branch.last_module(recording) for branch in branches if not branch.gated]
    modules = [*dict.fromkeys(end for end in ends if end is not None)]
    if not modules:
        gated = sum(branch.gated for branch in branches)
        raise UsageError(
            f"found {len(residual)} residual branches, {gated} of them with a gate already, and none that ends in a "
            f"module of its own and has no gate; name modules in where=[...]{_such_as(model, recording, branches)}"
        )
    return modules


def _such_as(model: nn.Module, recording: Recording, branches: Sequence[Branch]) -> str:
    """``, as in where=['name']``, with a name of this network, if it has a module that a gate may follow."""
    names = {module: name for name, module in model.named_modules() if name}
    axes = len(recording.tensors[0].shape)
    ran_once = ((module, calls[0]) for module, calls in recording.outputs.items() if len(calls) == 1)
    maps = (module for module, seen in ran_once if seen and len(seen.shape) == axes and seen.shape[1] >= OPEN.reduction)
    ends = (branch.last_module(recording) for branch in branches)
    name = next((names[module] for module in chain(ends, maps) if module in names), None)
    return "" if name is None else f", as in where=[{name!r}]"


def _named(model: nn.Module, patterns: Sequence[str]) -> list[nn.Module]:
    inside = {child for part in model.modules() if isinstance(part, Gated | SqueezeExcite) for child in part.children()}
    named = {name: part for name, part in model.named_modules() if name and part not in inside}
    if not patterns:
        raise UsageError("where=[] names no place; leave where out for the residual branches, or name modules")
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in named):
            near = get_close_matches(pattern, named, n=4)
            raise UsageError(
                f"where={pattern!r} matches no module"
                + (f"; did you mean {' or '.join(near)}?" if near else "; model.named_modules() lists the names")
            )
    return [part for name, part in named.items() if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _gated(module: nn.Module, name: str, se: SE, recording: Recording) -> Gated:
    calls = recording.outputs.get(module, [])
    if isinstance(module, Gated):
        raise UsageError(f"{name} is gated already; remove_se(model) first, or name another place in where=[...]")
    if len(calls) != 1:
        raise UsageError(f"{name} ran {len(calls)} times, and a gate goes after a module that runs once; name another")
    (output,) = calls
    if output is None or len(output.shape) != len(recording.tensors[0].shape):
        got = "no tensor" if output is None else f"a tensor of shape {output.shape}"
        raise UsageError(
            f"{name} returns {got}, and a gate needs a map of the input's axes, as (N, C, H, W); name another module"
        )
    try:
        gate = se.build(output.shape[1]).to(output.device, output.dtype).train(module.training)
    except SpecError as error:
        raise SpecError(f"{name}: {error}") from error
    if {f"se.{key}" for key in gate.state_dict()} & set(module.state_dict()):
        raise UsageError(f"{name} has a gate of its own, {name}.se; name a module inside it")
    return Gated(module, gate)


def _replace(model: nn.Module, new: Mapping[Any, nn.Module]) -> None:
    for parent in [*model.modules()]:
        for name, child in parent._modules.items():  # named_children() would name a shared child once
            if child is not None and child in new:
                setattr(parent, name, new[child])


def _instead(model: nn.Module) -> str:
    """What to do, where the gates belong to the network's definition."""
    if not gates(model):
        return ""
    belong = "; its gates belong to its definition"
    spec = getattr(model, "spec", None)
    if not isinstance(spec, NetworkSpec):
        return belong
    found = model_of(spec)
    if found is None or found[1] is not None:  # of widths that no plain twin has
        return belong
    entry = found[0]
    plain = entry.name if entry.se is None else entry.twin
    return f"{belong}: without them it is {plain}, create_model({plain!r})"
