"""The configuration of a detector's run: one frozen value, passed whole."""

from dataclasses import KW_ONLY, dataclass

from senet_zoo.detection.models import Kind
from senet_zoo.detection.recipes import FINETUNE, DetectionRecipe
from senet_zoo.training.config import RunConfig


@dataclass(frozen=True)
class DetectionConfig(RunConfig):
    """What to train, on what, and where; all that `RunConfig` takes, and what belongs to detection.

    Args:
        data: a folder in COCO's format with train and val; `senet_zoo.detection.coco` says how it may be laid out.
        model: name of the backbone; ``pretrained`` and ``weights`` are the backbone's.
        kind: of detector.
        recipe: how.
        size: of a picture's shorter side, in pixels, anchors in proportion; None for the recipe's.
        checkpoint_steps: steps between two checkpoints, besides the one after each measurement.
        measure_steps: steps between two measurements on val; None for one at the end.

    Raises:
        UsageError: a number outside its range.
    """

    kind: Kind = Kind.FASTER_RCNN
    recipe: DetectionRecipe = FINETUNE
    _: KW_ONLY
    checkpoint_steps: int | None = 500
    measure_steps: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_least({"size": 32, "measure_steps": 1})
