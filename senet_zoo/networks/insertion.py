"""`insert_se` and `remove_se`: two verbs over any network."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from torch import Tensor, nn

from senet_zoo.errors import SpecError, UsageError
from senet_zoo.networks.excitations import Gated
from senet_zoo.networks.gate import Placement, SqueezeExcite, Start, gates
from senet_zoo.networks.registry import model_of
from senet_zoo.networks.residual_branches import DryRun, default_example, residual_branches
from senet_zoo.networks.specs import SE, NetworkSpec

AnyCNN = TypeVar("AnyCNN", bound=nn.Module)
OPEN = SE(start=Start.IDENTITY)


def insert_se(
    model: AnyCNN, se: SE = OPEN, where: str | Sequence[str] | None = None, *, example: Tensor | None = None
) -> AnyCNN:
    """Put gates into any CNN, of torchvision, of timm or your own, in place.

    The default gate starts as exactly 1: the logits do not move until training moves it. Places and channels are found
    in one run of the model on ``example``, in eval mode; its own mode, running statistics and the random state are as
    before, but that fresh gates draw their weights.

    Args:
        model: the network; its weights stay where they are.
        se: the gate. One that starts at random changes the logits.
        where: names of modules whose outputs are gated, or shell patterns over names: ``layer*.*.bn3``. Default: the
            last module of every residual branch, before the sum and before a constant scale (LayerScale). Left out are
            branches with a gate already, the network's own (MobileNetV3, EfficientNet) or an inserted one, or with no
            module of their own at the end. Where a sum adds branches of equal depth, none is residual.
        example: an input, (N, channels, H, W); 1 x 3 x 224 x 224 zeros by default.

    Returns:
        The same model; `gates` lists what it has now. The gate after a module ``bn3`` is ``bn3.se``.

    Raises:
        UsageError: no residual branch to gate, a name that matches nothing, or a module that is gated already, does not
            run exactly once, or returns no map (N, C, H, W). The model is as before.
        SpecError: ``se`` has a placement or stages, which ``where`` says here, or leaves no hidden unit.

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
    example = default_example(model) if example is None else example
    run = _dry_run(model, example)
    modules = _at_branches(run) if where is None else _named(model, [where] if isinstance(where, str) else where)
    names = {module: name for name, module in model.named_modules()}
    gated = {module: _gated(module, names[module], se, run) for module in modules}
    _replace(model, gated)
    try:
        _dry_run(model, example)  # the network's own code may look into a module that lies in a wrapper now
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


def _dry_run(model: nn.Module, example: Tensor) -> DryRun:
    try:
        return DryRun(model, example)
    except Exception as error:
        raise UsageError(
            f"{type(model).__name__} does not run on an input of shape {tuple(example.shape)}: {error}. Pass an "
            "example=... that it takes; if its code looks into a gated module, name other places in where=[...]"
        ) from error


def _at_branches(run: DryRun) -> list[nn.Module]:
    branches = list(residual_branches(run))
    ends = [branch.last_module(run) for branch in branches if not branch.gated]
    modules = [*dict.fromkeys(end for end in ends if end is not None)]
    if not modules:
        gated = sum(branch.gated for branch in branches)
        raise UsageError(
            f"found {len(branches)} residual branches, {gated} of them with a gate already, and none that ends in a "
            "module of its own and has no gate; name modules in where=[...], as in where=['layer*.*.bn3']"
        )
    return modules


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


def _gated(module: nn.Module, name: str, se: SE, run: DryRun) -> Gated:
    calls = run.outputs.get(module, [])
    if isinstance(module, Gated):
        raise UsageError(f"{name} is gated already; remove_se(model) first, or name another place in where=[...]")
    if len(calls) != 1:
        raise UsageError(f"{name} ran {len(calls)} times, and a gate goes after a module that runs once; name another")
    (output,) = calls
    if output is None or len(output.shape) != 4:
        got = "no tensor" if output is None else f"a tensor of shape {output.shape}"
        raise UsageError(f"{name} returns {got}, and a gate needs a map (N, C, H, W); name another module")
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
