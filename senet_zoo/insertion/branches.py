"""The residual branches of a run, and the module at the end of each."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import nn

from senet_zoo.insertion.dry_run import DryRun, Step
from senet_zoo.layers import SqueezeExcite


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
