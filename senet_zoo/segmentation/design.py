"""A segmenter as frozen values: its kind, its sizes, and what the config.json of its folder says."""

from dataclasses import KW_ONLY, dataclass
from enum import Enum
from typing import Annotated

from senet_zoo.errors import UsageError
from senet_zoo.support.json_fields import Items
from senet_zoo.weights.task_folders import PERCENT, TaskConfig, TaskMeasurement, Triple

PLAIN = frozenset({"background", "__background__", "unlabeled", "unlabelled", "void", "other"})
"""Names of classes that are no things, in lower case; they are not coloured in a drawn picture."""


class Segmenter(Enum):
    """The segmenters that are trained, saved and read back here. The values stand in config.json."""

    FCN = "fcn"
    DEEPLABV3 = "deeplabv3"
    UNET = "unet"


@dataclass(frozen=True)
class PixelMeasurement(TaskMeasurement):
    """What a saved segmenter scores, in percent; None for a class that the data lacks.

    Args:
        miou: mean over classes of intersection over union.
        accuracy: share of pixels whose class is right.
        per_class: intersection over union of each class, in their order.
    """

    miou: Annotated[float | None, PERCENT]
    accuracy: Annotated[float | None, PERCENT]
    per_class: Annotated[tuple[float | None, ...], Items(PERCENT)]


@dataclass(frozen=True)
class SegmenterConfig(TaskConfig):
    """What ``config.json`` beside a segmenter's tensors says; all that `TaskConfig` takes, and the segmenter's sizes.

    Args:
        output_stride: of the last map, 8 or 16; 32 for a Unet.
        auxiliary: whether it has a second classifier, for training.
        side: of a picture's shorter side when it is looked at, in pixels.
        mean: of each channel (R, G, B), pixels in [0, 1].
        std: of each channel, as ``mean``.

    Raises:
        UsageError: a value outside its range.
    """

    kind: Segmenter
    output_stride: int = 8
    auxiliary: bool = False
    side: int = 520
    mean: Triple = (0.485, 0.456, 0.406)
    std: Triple = (0.229, 0.224, 0.225)
    _: KW_ONLY
    measured: PixelMeasurement | None = None

    def __post_init__(self) -> None:
        for name, holds, rule in (
            ("classes", 2 <= len(self.classes) <= 255, "from 2 to 255"),
            ("side", 16 <= self.side <= 10**4, "from 16 to 10000 pixels"),
            ("std", min(self.std) > 0.0, "above 0"),
        ):
            if not holds:
                value = len(self.classes) if name == "classes" else getattr(self, name)
                raise UsageError(f"a segmenter's {name} must be {rule}, got {value}")

    @property
    def plain(self) -> frozenset[int]:
        """Numbers of the classes that are no things."""
        return frozenset(number for number, name in enumerate(self.classes) if name.strip().lower() in PLAIN)
