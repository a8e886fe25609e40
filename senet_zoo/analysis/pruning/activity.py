"""What each gate says on average and how far it moves from picture to picture; and the choice of gates by that."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from senet_zoo.analysis.excitation.excite import finite_excitations
from senet_zoo.analysis.excitation.statistics import Moments
from senet_zoo.errors import DataError, UsageError
from senet_zoo.networks.dimensions import require_pictures
from senet_zoo.networks.excitations import paper_names
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.squeeze_excite import gates

Block = tuple[int, int]
"""Stage and block, numbered as in the paper's names: (4, 6) has SE_4_6."""


@dataclass(frozen=True, eq=False)
class GateActivity:
    """One gate over pictures.

    Args:
        name: the paper's, such as ``SE_4_6``.
        module: name of its module.
        block: its block; None for a gate outside the stages, and for one that was inserted.
        mean: of each channel over the pictures, (C,) in float64 on the CPU; over their pixels, too, without squeeze.
        std: standard deviation of each channel over the same, (C,).
    """

    name: str
    module: str
    block: Block | None
    mean: Tensor
    std: Tensor

    @property
    def spread(self) -> float:
        """Coefficient of variation: root mean square of ``std`` over the channels, in parts of that of ``mean``.

        0 for a gate that is constant. Replacing the gate by its mean changes its map by about this share.
        """
        size = self.mean.square().mean().sqrt().item()
        moves = self.std.square().mean().sqrt().item()
        return 0.0 if moves == 0.0 else moves / size if size > 0.0 else float("inf")


def observe(model: ConvNet, batches: Tensor | Iterable[Tensor]) -> tuple[GateActivity, ...]:
    """Observe every gate of a network over pictures in one pass; memory does not grow with their number.

    Args:
        model: in eval mode.
        batches: one batch of pictures, (N, in_channels, H, W), or several.

    Returns:
        The gates, first to last.

    Raises:
        UsageError: the network has no gates or is in training mode.
        DataError: there is no picture.
        WeightsError: a gate says what is no finite number.
    """
    require_pictures(model.spec.dimensions, "pruning")
    own = gates(model)
    if not own:
        raise UsageError("pruning gates takes a network that has some; name a model that starts with se_")
    if model.training:
        raise UsageError("gates are observed in eval mode, and this network is in training mode: call model.eval()")
    names = paper_names(model, model.spec.stage_numbers)
    sums: dict[str, Moments] = {}
    for images in [batches] if isinstance(batches, Tensor) else batches:
        for module, values in finite_excitations(model, images, names).items() if len(images) else ():
            running = sums.setdefault(module, Moments(1, values.shape[1], values.device))
            # A gate without squeeze has a value a pixel: one picture at a time, so that memory stays small.
            for rows in [values] if values.ndim == 2 else [each.flatten(1).T for each in values]:
                running.add(rows, torch.zeros(len(rows), dtype=torch.long, device=rows.device))
    if not sums:
        raise DataError("the mean of a gate needs at least one picture, and there is none")
    return tuple(
        GateActivity(names[module], module, _block(model, module, names[module]), each.mean[0], each.std[0])
        for module, each in sums.items()
    )


def _block(model: ConvNet, module: str, name: str) -> Block | None:
    if name == module:  # inserted, or outside the stages: `paper_names` has no other name for it
        return None
    _, stage, block, *_ = module.split(".")
    return model.spec.stage_numbers[int(stage)], int(block) + 1


def _listed(stages: tuple[int, ...]) -> str:
    return ", ".join(map(str, stages)) or "none"


class GateSelection(Protocol):
    """Chooses gates among those that were observed."""

    def names(self, activity: Sequence[GateActivity]) -> tuple[str, ...]:
        """The gates that go, in order of definition."""
        ...


@dataclass(frozen=True)
class OfStages:
    """All gates of some stages, numbered as in the paper."""

    stages: tuple[int, ...]

    def names(self, activity: Sequence[GateActivity]) -> tuple[str, ...]:
        """The gates that go, in order of definition.

        Raises:
            UsageError: a stage that carries no gate, or every stage that does.
        """
        gated = sorted({gate.block[0] for gate in activity if gate.block})
        none = [stage for stage in self.stages if stage not in gated]
        if none or not self.stages:
            raise UsageError(f"gates are in the stages {', '.join(map(str, gated))}, got {_listed(self.stages)}")
        if set(gated) <= set(self.stages):
            raise UsageError(
                f"pruning leaves at least one gate, and stages {_listed(self.stages)} have all {len(activity)}: choose "
                "fewer, or take the plain twin (the model's name without se_)"
            )
        return tuple(gate.name for gate in activity if gate.block and gate.block[0] in self.stages)


@dataclass(frozen=True)
class SpreadUnder:
    """The gates whose `GateActivity.spread` is under a threshold; several in a block only together.

    Args:
        threshold: in parts of the gate's mean.
    """

    threshold: float

    def names(self, activity: Sequence[GateActivity]) -> tuple[str, ...]:
        """The gates that go, in order of definition.

        Raises:
            UsageError: the threshold is no positive number, no gate is under it, or every gate is.
        """
        if not (math.isfinite(self.threshold) and self.threshold > 0.0):
            raise UsageError(f"a threshold must be a number above 0, got {self.threshold}")
        stay = {gate.block for gate in activity if gate.spread >= self.threshold}
        found = tuple(gate.name for gate in activity if gate.block not in stay)
        spreads = [gate.spread for gate in activity]
        if not found:
            raise UsageError(
                f"no gate has a spread under {self.threshold:g}, the smallest has {min(spreads):.3g}: raise the "
                "threshold"
            )
        if len(found) == len(activity):
            raise UsageError(
                f"pruning leaves at least one gate, and all {len(found)} have a spread under {self.threshold:g}: lower "
                f"it to {max(spreads):.3g} or less, or take the plain twin (the model's name without se_)"
            )
        return found
