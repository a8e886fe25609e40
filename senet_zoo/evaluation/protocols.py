"""Test protocols: the crops of each picture that a network sees, and how their scores are combined.

Pictures are resized by Pillow, as the public weights were trained.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from senet_zoo.data.pictures import require_resizable
from senet_zoo.data.preprocessing import Interpolation, Preprocessing
from senet_zoo.errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torchvision.transforms.v2 import InterpolationMode


class Combine(Enum):
    """How the scores of a picture's crops become one ranking of the classes."""

    MEAN = "mean"
    """By mean probability."""
    VOTE = "vote"
    """By the number of crops that a class is first in, then by mean probability."""


class Crops(Protocol):
    """Square crops of a picture, all of one size."""

    @property
    def count(self) -> int:
        """Number of crops."""
        ...

    def views(self, picture: "Image", interpolation: Interpolation) -> "list[Image]":
        """The crops of an RGB picture, resized by ``interpolation``."""
        ...


@dataclass(frozen=True)
class CentreCrop:
    """One crop from the centre.

    Args:
        size: side of the square, in pixels.
        resize: the picture's shorter side before the cut, in pixels; at least ``size``.
    """

    size: int
    resize: int

    count = 1

    def __post_init__(self) -> None:
        _require_fit(self.size, self.resize)

    def views(self, picture: "Image", interpolation: Interpolation) -> "list[Image]":
        """The crop."""
        return [_vision().center_crop(_resized(picture, self.resize, interpolation), [self.size, self.size])]


@dataclass(frozen=True)
class Mirrored:
    """The crop from the centre and its mirror image, and the same of the crop moved up left and down right.

    What a moved crop sees beyond the picture's edge is the picture reflected there.

    Args:
        size: side of the square, in pixels.
        resize: the picture's shorter side before the cut, in pixels; at least ``size``.
        shift: pixels of a 32-pixel crop by which the moved ones are moved both ways, in proportion for others; 0 for
            the two views of the centre alone.

    Source: Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, arXiv:2404.00498, section 3.5.

    Differs: there the centre weighs as much as both moved crops together; here all six views weigh the same.
    """

    size: int
    resize: int
    shift: int = 0

    def __post_init__(self) -> None:
        _require_fit(self.size, self.resize)
        if self.shift < 0:
            raise UsageError(f"a shift must be at least 0 pixels, got {self.shift}")

    @property
    def count(self) -> int:
        """Views of a picture: 2, or 6 where there are moved ones."""
        return 6 if self.shift else 2

    def views(self, picture: "Image", interpolation: Interpolation) -> "list[Image]":
        """The centre, its mirror image; then the same up left and down right."""
        vision, size = _vision(), self.size
        crops = [vision.center_crop(_resized(picture, self.resize, interpolation), [size, size])]
        if self.shift:
            by = max(1, round(self.shift * size / 32))
            wide = vision.pad(crops[0], by, padding_mode="reflect")
            crops += [vision.crop(wide, corner, corner, size, size) for corner in (0, 2 * by)]
        return [view for crop in crops for view in (crop, vision.horizontal_flip(crop))]


@dataclass(frozen=True)
class TenCrop:
    """The four corners and the centre, and their mirror images.

    Args:
        size: side of the squares, in pixels.
        resize: the picture's shorter side before the cuts, in pixels; at least ``size``.

    Source: Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks, 2012, section 4.1.
    """

    size: int
    resize: int

    count = 10

    def __post_init__(self) -> None:
        _require_fit(self.size, self.resize)

    def views(self, picture: "Image", interpolation: Interpolation) -> "list[Image]":
        """Upper left, upper right, lower left, lower right, centre; then those mirrored."""
        vision = _vision()
        five = vision.five_crop(_resized(picture, self.resize, interpolation), [self.size, self.size])
        return [*five, *map(vision.horizontal_flip, five)]


@dataclass(frozen=True)
class MultiScale:
    """Several scales, three squares of each, six views of every square, and their mirror images: 144 for four scales.

    The squares are as wide as the shorter side: at the left, in the centre and at the right of a wide picture, at the
    top, in the centre and at the bottom of a high one. Their views are the four corners, the centre, and the whole
    square resized.

    Args:
        size: side of the views, in pixels.
        scales: the picture's shorter sides, in pixels; each at least ``size``.

    Source: Szegedy et al., Going Deeper with Convolutions, arXiv:1409.4842, section 7.
    """

    size: int = 224
    scales: tuple[int, ...] = (256, 288, 320, 352)

    def __post_init__(self) -> None:
        if not self.scales:
            raise UsageError("scales must name at least one, got none")
        for scale in self.scales:
            _require_fit(self.size, scale)

    @property
    def count(self) -> int:
        """Views of a picture: 36 a scale."""
        return 36 * len(self.scales)

    def views(self, picture: "Image", interpolation: Interpolation) -> "list[Image]":
        """By scale, square and view; each view before its mirror image."""
        vision, size, views = _vision(), [self.size, self.size], []
        for scale in self.scales:
            for square in _three_squares(_resized(picture, scale, interpolation)):
                whole = vision.resize(square, size, interpolation=_mode(interpolation), antialias=True)
                for view in (*vision.five_crop(square, size), whole):
                    views += [view, vision.horizontal_flip(view)]
        return views


SIDE, RESIZED = 224, 256  # the papers' crops and the shorter side that they are cut from
SCALES = (256, 288, 320, 352)  # at crops of 224 pixels


def _ten(own: Preprocessing) -> Crops:
    # Cut from a picture of their own size, ten crops would be two.
    return TenCrop(own.size, own.resize if own.resize > own.size else round(own.size * RESIZED / SIDE))


def _multi_scale(own: Preprocessing) -> Crops:
    return MultiScale(own.size, tuple(round(own.size * scale / SIDE) for scale in SCALES))


PROTOCOLS: Mapping[str, Callable[[Preprocessing], Crops]] = MappingProxyType(
    {
        "own": lambda own: CentreCrop(own.size, own.resize),
        "center224": lambda own: _fixed("center224", own, 224, 256),
        "center320": lambda own: _fixed("center320", own, 320, 320),
        "mirror": lambda own: Mirrored(own.size, own.resize),
        "mirror6": lambda own: Mirrored(own.size, own.resize, shift=1),
        "ten": _ten,
        "multi144": _multi_scale,
    }
)
"""By their names on the command line; all but the centre crops of a fixed size have that of the weights' preprocessing.

Source: Hu et al., Squeeze-and-Excitation Networks, arXiv:1709.01507, table 8, for both sizes of the centre crop; He et
al., Identity Mappings in Deep Residual Networks, arXiv:1603.05027, table 5, for the shorter side of 320.
"""


def _fixed(name: str, own: Preprocessing, size: int, resize: int) -> Crops:
    if size > 2 * own.size:
        raise UsageError(
            f"{name} shows crops of {size} pixels, more than twice the {own.size} that these weights are made for: "
            "choose own, mirror, mirror6, ten or multi144, which follow the weights' size"
        )
    return CentreCrop(size, resize)


def protocol(name: str, preprocessing: Preprocessing) -> Crops:
    """A protocol by its name.

    Args:
        name: one of `PROTOCOLS`.
        preprocessing: what the weights were trained with.

    Raises:
        UsageError: there is none of that name, or its crops are more than twice as large as those of the weights.
    """
    if name not in PROTOCOLS:
        raise UsageError(f"a protocol must be one of {', '.join(PROTOCOLS)}, got {name!r}")
    return PROTOCOLS[name](preprocessing)


def _three_squares(picture: "Image") -> "Iterator[Image]":
    side, longer = min(picture.size), max(picture.size)
    for start in (0, round((longer - side) / 2), longer - side):
        left, top = (start, 0) if picture.width > picture.height else (0, start)
        yield picture.crop((left, top, left + side, top + side))


def _resized(picture: "Image", shorter: int, interpolation: Interpolation) -> "Image":
    require_resizable(*picture.size, shorter)
    resized: Image = _vision().resize(picture, [shorter], interpolation=_mode(interpolation), antialias=True)
    return resized


def _mode(interpolation: Interpolation) -> "InterpolationMode":
    from torchvision.transforms.v2 import InterpolationMode

    return InterpolationMode(interpolation.value)


def _vision() -> Any:
    # Its functions take Pillow's pictures too; their annotations name tensors only.
    from torchvision.transforms.v2 import functional

    return functional


def _require_fit(size: int, shorter: int) -> None:
    if not 1 <= size <= shorter:
        raise UsageError(
            f"a square of {size} pixels must be at least 1 and fit into a picture resized to {shorter}: make it smaller"
        )
