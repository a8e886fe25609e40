"""What a user says of a detector's run, as one frozen value."""

from dataclasses import dataclass
from pathlib import Path

from senet_zoo.detection.models import Kind
from senet_zoo.detection.recipes import FINETUNE, DetectionRecipe
from senet_zoo.errors import UsageError
from senet_zoo.training.launch import Precision


@dataclass(frozen=True)
class DetectionConfig:
    """What to train, on what, and where.

    Args:
        data: a folder in COCO's format with train and val; `senet_zoo.detection.layout` says how it may be laid out.
        model: name of the backbone.
        output: folder for the finished detector, and for the checkpoints until then; an interrupted run goes on where
            the same command finds its checkpoints.
        kind: of detector.
        recipe: how.
        pretrained: start from the backbone's published weights.
        weights: start the backbone from a file, a folder or ``hf://org/name@revision`` instead.
        epochs: the recipe stretched or shrunk to so many passes over the pictures; None for its own steps.
        batch: pictures a step, all processes together; None for the recipe's.
        rate: peak learning rate; None for the recipe's, scaled from its batch to this one.
        size: of a picture's shorter side, in pixels, anchors in proportion; None for the recipe's.
        measure_steps: steps between two measurements on val; None for one at the end.
        checkpoint_steps: steps between two checkpoints.
        seed: of everything random.
        device: ``cpu``, ``cuda``, or None for whatever there is.
        precision: of the forward and backward pass; weights stay float32.
        workers: processes that read pictures, for each process that trains.

    Raises:
        UsageError: a number outside its range.
    """

    data: str | Path
    model: str
    output: str | Path
    kind: Kind = Kind.FASTER_RCNN
    recipe: DetectionRecipe = FINETUNE
    pretrained: bool = False
    weights: str | Path | None = None
    epochs: int | None = None
    batch: int | None = None
    rate: float | None = None
    size: int | None = None
    measure_steps: int | None = None
    checkpoint_steps: int = 500
    seed: int = 0
    device: str | None = None
    precision: Precision = "fp32"
    workers: int = 2

    def __post_init__(self) -> None:
        least = {
            "epochs": 1,
            "batch": 1,
            "size": 32,
            "measure_steps": 1,
            "checkpoint_steps": 1,
            "seed": 0,
            "workers": 0,
        }
        for name, number in least.items():
            value = getattr(self, name)
            if value is not None and value < number:
                raise UsageError(f"a run's {name} must be at least {number}, got {value}")
        if self.rate is not None and self.rate <= 0.0:
            raise UsageError(f"a run's rate must be above 0, got {self.rate}")
