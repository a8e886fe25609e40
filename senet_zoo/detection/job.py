"""A detector's run as values: what the loop is given, and what it measures."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from senet_zoo.detection.coco import CocoData
from senet_zoo.detection.recipes import DetectionRecipe


@dataclass(frozen=True)
class Row:
    """What was measured after some steps.

    Args:
        step: how many.
        rate: learning rate of the last one.
        loss: mean of the steps since the row before.
        ap: COCO's average precision in percent.
        ap50: that at an overlap of 0.5.
    """

    step: int
    rate: float
    loss: float
    ap: float
    ap50: float


@dataclass(frozen=True, eq=False)
class Job:
    """What is to be trained, everything looked up and scaled.

    Args:
        detector: trained in place.
        recipe: its batch, rate and steps are those of this run.
        train: pictures to learn from; each has a box.
        val: pictures to measure on.
        measure_steps: steps between two measurements; None for one at the end.
        checkpoint_steps: steps between two checkpoints.
        seed: of everything random.
        workers: processes that read pictures.
        folder: of the checkpoints.
        identity: what must be the same for a checkpoint to be gone on from, as JSON values.
    """

    detector: nn.Module
    recipe: DetectionRecipe
    train: CocoData
    val: CocoData
    measure_steps: int | None
    checkpoint_steps: int
    seed: int
    workers: int
    folder: Path
    identity: Mapping[str, object]
