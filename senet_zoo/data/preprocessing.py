"""`Preprocessing`: how a picture becomes the tensor that a checkpoint was trained on; importing it needs no torch.

It belongs to the weights and not to the network, because the same network trained twice may want two of them. Its JSON
form stands in the manifest, in configs and in exported networks.
"""

import math
from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING

from senet_zoo.errors import UsageError
from senet_zoo.support.json_fields import Fields

if TYPE_CHECKING:
    from torchvision.transforms.v2 import Transform


class Interpolation(Enum):
    """How a picture is resized, always antialiased; the values are those of the manifest."""

    BILINEAR = "bilinear"
    BICUBIC = "bicubic"

    @classmethod
    def _missing_(cls, value: object) -> "Interpolation":
        known = ", ".join(repr(member.value) for member in cls)
        raise UsageError(f"interpolation must be one of {known}, got {value!r}")


@dataclass(frozen=True)
class Preprocessing:
    """Resize, crop and normalise, as the weights' authors did when they measured them; by default, ImageNet's way.

    Args:
        size: side of the square that is cut from the centre, in pixels.
        resize: the picture's shorter side before the cut, in pixels; at least ``size``.
        interpolation: how the picture is resized.
        mean: mean of each channel (R, G, B) over the training pictures, with pixels scaled to [0, 1].
        std: standard deviation of each channel over the same pixels; above 0.

    Raises:
        UsageError: a value breaks one of these rules.

    Example:
        >>> import torch
        >>> imagenet = Preprocessing(size=224, resize=256)
        >>> picture = torch.zeros(3, 480, 640, dtype=torch.uint8)
        >>> imagenet.transforms()(picture).shape
        torch.Size([3, 224, 224])
    """

    size: int
    resize: int
    interpolation: Interpolation = Interpolation.BILINEAR
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def __post_init__(self) -> None:
        _require("size", self.size, type(self.size) is int and self.size >= 1, "a whole number of pixels, at least 1")
        _require(
            "resize",
            self.resize,
            type(self.resize) is int and self.resize >= self.size,
            f"a whole number of pixels, at least size ({self.size}), or the crop would need padding",
        )
        _require(
            "interpolation",
            self.interpolation,
            isinstance(self.interpolation, Interpolation),
            "an Interpolation, such as Interpolation('bilinear')",
        )
        _require("mean", self.mean, _is_rgb(self.mean), "a tuple of three finite numbers (R, G, B)")
        _require(
            "std",
            self.std,
            _is_rgb(self.std) and min(self.std) > 0,
            "a tuple of three finite numbers above 0 (R, G, B)",
        )

    def transforms(self) -> "Transform":
        """The torchvision v2 transform of one picture or a batch.

        Shape:
            A PIL picture (RGB or grey), or a uint8 tensor (..., C, H, W) with C of 3 (RGB) or 1 (grey)
            -> float32 (..., 3, size, size). A PIL picture is resized by PIL, as the public weights were trained.
        """
        import torch
        from torchvision.transforms import v2

        return v2.Compose(
            [
                v2.RGB(),
                v2.Resize(self.resize, v2.InterpolationMode(self.interpolation.value), antialias=True),
                v2.CenterCrop(self.size),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(self.mean, self.std),
                v2.ToPureTensor(),
            ]
        )


def _is_rgb(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 3
        and all(isinstance(x, int | float) and not isinstance(x, bool) and math.isfinite(x) for x in value)
    )


def _require(name: str, value: object, holds: bool, rule: str) -> None:
    if not holds:
        raise UsageError(f"preprocessing.{name} must be {rule}, got {value!r}")


def read_preprocessing(value: object, where: str) -> Preprocessing:
    """Read the JSON object ``preprocessing`` of a manifest's row or a model's config.

    Raises:
        ManifestError: it breaks a rule.
    """
    fields = Fields(value, f"{where}.preprocessing")
    size = fields.whole("size", 8, 1024)
    resize = fields.whole("resize", size, 2048)
    interpolation = fields.choice("interpolation", tuple(member.value for member in Interpolation))
    mean, std = _rgb(fields, "mean", 0.0), _rgb(fields, "std", 0.001)
    fields.done()
    try:
        return Preprocessing(size, resize, Interpolation(interpolation), mean, std)
    except UsageError as e:
        raise fields.refuse("*", interpolation, f"what preprocessing allows ({e})") from e


def preprocessing_json(preprocessing: Preprocessing) -> dict[str, object]:
    """The JSON object that `read_preprocessing` reads."""
    return {**asdict(preprocessing), "interpolation": preprocessing.interpolation.value}


def _rgb(fields: Fields, name: str, low: float) -> tuple[float, float, float]:
    value = fields.take(name)
    if not isinstance(value, list) or len(value) != 3:
        raise fields.refuse(name, value, "a list of three numbers, for R, G and B")
    channels = Fields(dict(zip("RGB", value, strict=True)), f"{fields.where}.{name}")
    return channels.number("R", low, 1.0), channels.number("G", low, 1.0), channels.number("B", low, 1.0)
