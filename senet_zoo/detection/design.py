"""A detector as frozen values: its kind, its sizes, and what the config.json of its folder says."""

from dataclasses import KW_ONLY, dataclass, replace
from enum import Enum
from typing import Annotated

from senet_zoo.errors import UsageError
from senet_zoo.support.json_fields import Items, Nullable, Number, Whole
from senet_zoo.weights.task_folders import PERCENT, TRIPLE, TaskConfig, TaskMeasurement, Triple

Anchors = tuple[float, float, float, float, float]
_SIDE, _COUNT = Whole(1, 10**5), Whole(1, 10**6)


@dataclass(frozen=True)
class Design:
    """Sizes of a detector; by default those of torchvision's, which are Detectron's. Its folder's config.json has them.

    Args:
        side: of a picture's shorter side when it is looked at, in pixels.
        longest: of its longer side at most, in pixels; a long picture is made smaller.
        anchors: side of the anchors of each of the pyramid's five maps, in pixels of the resized picture.
        channels: of the pyramid's maps.
        proposals: regions a picture that the second stage is offered in training, half of them in use; Faster R-CNN.
        samples: regions a picture whose loss is measured; Faster R-CNN.
        mean: of each channel (R, G, B), pixels in [0, 1]; None for that of the backbone's weights.
        std: of each channel, as ``mean``.

    Raises:
        UsageError: a value outside its range.

    Source: Ren et al., arXiv:1506.01497; Lin et al., Feature Pyramid Networks, arXiv:1612.03144, section 5.
    """

    side: Annotated[int, _SIDE] = 800
    longest: Annotated[int, _SIDE] = 1333
    anchors: Annotated[Anchors, Items(Number(-1e9, 1e9), 5, 5, "a list of 5 numbers")] = (
        32.0,
        64.0,
        128.0,
        256.0,
        512.0,
    )
    channels: Annotated[int, _SIDE] = 256
    proposals: Annotated[int, _COUNT] = 2000
    samples: Annotated[int, _COUNT] = 512
    mean: Annotated[Triple | None, TRIPLE] = None
    std: Annotated[Triple | None, TRIPLE] = None

    def __post_init__(self) -> None:
        for name, holds, rule in (
            ("side", self.side >= 32, "at least 32 pixels"),
            ("longest", self.longest >= self.side, f"at least side ({self.side})"),
            ("anchors", len(self.anchors) == 5 and min(self.anchors) > 0, "five sides above 0"),
            ("channels", self.channels >= 1, "at least 1"),
            ("proposals", self.proposals >= 2, "at least 2"),
            ("samples", self.samples >= 1, "at least 1"),
            ("std", self.std is None or min(self.std) > 0, "above 0"),
        ):
            if not holds:
                raise UsageError(f"a detector's {name} must be {rule}, got {getattr(self, name)}")

    def at(self, side: int) -> "Design":
        """The same detector for pictures of another size: what is counted in pixels moves in proportion.

        Example:
            >>> Design().at(400).anchors
            (16.0, 32.0, 64.0, 128.0, 256.0)
        """
        by = side / self.side
        a, b, c, d, e = (anchor * by for anchor in self.anchors)
        return replace(self, side=side, longest=max(side, round(self.longest * by)), anchors=(a, b, c, d, e))


STANDARD = Design()


class Kind(Enum):
    """The detectors that are trained, saved and read back here. The values stand in config.json."""

    FASTER_RCNN = "faster_rcnn"
    MASK_RCNN = "mask_rcnn"
    RETINANET = "retinanet"


@dataclass(frozen=True)
class Measurement(TaskMeasurement):
    """What a saved detector found, in percent; None where nothing of that kind is in the data.

    Args:
        ap: COCO's average precision.
        ap50: that at an overlap of 0.5.
        ap75: at 0.75.
        small: of things under 32 x 32 pixels.
        medium: of those under 96 x 96.
        large: of those above.
        per_class: ``ap`` for each class, in their order.
        mask_ap: ``ap`` of masks; None where there are none, and in older folders.
    """

    ap: Annotated[float | None, PERCENT]
    ap50: Annotated[float | None, PERCENT]
    ap75: Annotated[float | None, PERCENT]
    small: Annotated[float | None, PERCENT]
    medium: Annotated[float | None, PERCENT]
    large: Annotated[float | None, PERCENT]
    per_class: Annotated[tuple[float | None, ...], Items(PERCENT)]
    mask_ap: Annotated[float | None, Nullable(Number(0.0, 100.0), may_lack=True)] = None


@dataclass(frozen=True)
class DetectorConfig(TaskConfig):
    """What ``config.json`` beside a detector's tensors says; all that `TaskConfig` takes, and the detector's sizes.

    Args:
        design: sizes of the detector, mean and std included.
    """

    kind: Kind
    design: Design
    _: KW_ONLY
    measured: Measurement | None = None
