"""What a detector is besides its network, as frozen values."""

from dataclasses import dataclass, replace

from senet_zoo.errors import UsageError

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Design:
    """Sizes of a detector; by default those of torchvision's, which are Detectron's.

    Args:
        side: of a picture's shorter side when it is looked at, in pixels.
        longest: of its longer side at most, in pixels; a long picture is made smaller.
        anchors: side of the anchors of each of the pyramid's five levels, in pixels of the resized picture.
        channels: of the pyramid's maps.
        proposals: regions a picture that the second stage is offered in training, half of them in use; Faster R-CNN.
        samples: regions a picture whose loss is measured; Faster R-CNN.
        mean: of each channel (R, G, B), pixels in [0, 1]; None for that of the backbone's weights.
        std: of each channel, likewise.

    Raises:
        UsageError: a value outside its range.

    Source: Ren et al., arXiv:1506.01497; Lin et al., Feature Pyramid Networks, arXiv:1612.03144, section 5.
    """

    side: int = 800
    longest: int = 1333
    anchors: tuple[float, float, float, float, float] = (32.0, 64.0, 128.0, 256.0, 512.0)
    channels: int = 256
    proposals: int = 2000
    samples: int = 512
    mean: Triple | None = None
    std: Triple | None = None

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
