"""One run of a network on an example, recorded: what each module returned, and what was computed from what.

The residual branches of a run, and the module at the end of each.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from senet_zoo.networks.gate import SqueezeExcite


@dataclass(eq=False)
class Step:
    """A tensor of the run.

    Args:
        function: what made it, as PyTorch names it, without the underscore of the in-place form.
        inputs: the tensors it was made of; parameters and other constants are not among them.
        shape: of the tensor.
        made_by: modules whose output it is, the innermost first.
        passed: modules that handed it through unchanged (Identity, dropout in eval mode), the first one first.
    """

    function: str
    inputs: tuple["Step", ...]
    shape: tuple[int, ...]
    made_by: list[nn.Module] = field(default_factory=list)
    passed: list[nn.Module] = field(default_factory=list)

    def ancestors(self) -> set["Step"]:
        """Every step that this one was computed from, and itself."""
        found, waiting = {self}, [self]
        while waiting:
            new = set(waiting.pop().inputs) - found
            found |= new
            waiting += new
        return found


@dataclass(frozen=True)
class Output:
    """What is known of a tensor without keeping it."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


class DryRun(TorchFunctionMode):
    """What a network does with an example. Calls are recorded, not code: it may branch and loop as it likes.

    No trace is left: all modules evaluate, so that no statistics move, and each one's mode and the random state are put
    back.

    Args:
        model: the network.
        example: its one input.
    """

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        super().__init__()
        self.steps = [Step("input", (), tuple(example.shape))]
        self.outputs: dict[nn.Module, list[Output | None]] = {}
        """Of each module that ran, call by call; None for what is no tensor."""
        self._latest = WeakTensorKeyDictionary()  # an in-place function makes another step of the same tensor
        self._latest[example] = self.steps[0]
        self._modules = set(model.modules())  # the hooks see those of other threads too
        self._entered: list[int] = []  # steps before each module that is running, the outermost first
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

    def _add(self, tensor: Tensor, function: str, inputs: tuple[Step, ...]) -> None:
        self._latest[tensor] = step = Step(function, inputs, tuple(tensor.shape))
        self.steps.append(step)

    def _module_starts(self, module: nn.Module, args: tuple[object, ...]) -> None:
        if module in self._modules:
            self._entered.append(len(self.steps))

    def _module_ran(self, module: nn.Module, args: tuple[object, ...], output: object) -> None:
        if module not in self._modules:
            return
        seen, entered = None, self._entered.pop()
        if isinstance(output, Tensor):
            seen = Output(tuple(output.shape), output.dtype, output.device)
            if output not in self._latest:  # made where PyTorch dispatches nothing, as in TorchScript
                known = [arg for arg in args if isinstance(arg, Tensor) and arg in self._latest]
                self._add(output, type(module).__name__, tuple(self._latest[tensor] for tensor in known))
            step = self._latest[output]
            (step.made_by if step in self.steps[entered:] else step.passed).append(module)
        self.outputs.setdefault(module, []).append(seen)


def default_example(model: nn.Module) -> Tensor:
    """A black picture of 224 x 224 pixels, where the model's weights lie and of their precision."""
    weights = chain(model.parameters(), model.buffers(), [torch.empty(0)])
    like = next(tensor for tensor in weights if tensor.is_floating_point())
    return torch.zeros(1, 3, 224, 224, device=like.device, dtype=like.dtype)


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
    """What a sum adds to its shortcut.

    Args:
        end: the map that is added.
        steps: what lies between the map where branch and shortcut part, itself excluded, and the end.
    """

    end: Step
    steps: frozenset[Step]

    @property
    def gated(self) -> bool:
        """Whether a gate stands in it: one of ours, or any step that sees the whole map as one pixel."""
        return any(
            len(step.shape) == 2
            or (step.shape[2:] == (1, 1) != self.end.shape[2:])
            or any(isinstance(module, SqueezeExcite) for module in step.made_by)
            for step in self.steps
        )

    def last_module(self, run: DryRun) -> nn.Module | None:
        """Whose output to gate: the branch's end, or what a constant then scales (LayerScale, or 0.17 x).

        None where the branch ends in code of its block, or in a module that runs elsewhere too.
        """
        ends = [self.end]
        while ends[-1].function in ("mul", "div") and len(ends[-1].inputs) == 1:
            ends += ends[-1].inputs
        modules = [module for step in reversed(ends) for module in step.made_by]
        modules += [module for step in reversed(ends) for module in step.passed]
        return next((module for module in modules if len(run.outputs[module]) == 1), None)


def residual_branches(run: DryRun) -> Iterator[Branch]:
    """The branch of each residual sum, in order of execution.

    A sum of two maps is residual where one of them, the shortcut, is a map that the other was computed from, or comes
    from such a map through one convolution (and its norm, a pool, ...); and the branch has passed more convolutions.
    """
    for step in run.steps:
        if step.function == "add" and len(step.inputs) == 2:
            first, second = step.inputs
            branch = _branch(first, second) or _branch(second, first)
            if branch is not None:
                yield branch


def _branch(end: Step, shortcut: Step) -> Branch | None:
    before, path = end.ancestors(), [shortcut]
    while path[-1] not in before and len(path[-1].inputs) == 1:
        path += path[-1].inputs
    *projection, fork = path
    if len(end.shape) != 4 or end.shape != shortcut.shape or fork not in before:
        return None
    steps = before - fork.ancestors()
    if _convolutions(projection) > 1 or _convolutions(steps) <= _convolutions(projection):
        return None
    return Branch(end, frozenset(steps))


def _convolutions(steps: Iterable[Step]) -> int:
    return sum(step.function == "conv2d" for step in steps)
