"""`Preprocessing`: how a picture becomes the tensor that a checkpoint was trained on; importing it needs no torch.

It belongs to the weights and not to the network, because the same network trained twice may want two of them. Its JSON
form stands in the manifest, in configs and in exported networks; the rules beside the fields are those of the JSON.
"""

import math
import os
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

from senet_zoo.data.pictures import read_picture, require_resizable, to_rgb
from senet_zoo.errors import UsageError
from senet_zoo.support.json_fields import Items, Member, Number, Whole, read_as

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor
    from torchvision.transforms.v2 import Transform


class Interpolation(Enum):
    """How a picture is resized, always antialiased; the values are those of the manifest."""

    BILINEAR = "bilinear"
    BICUBIC = "bicubic"

    @classmethod
    def _missing_(cls, value: object) -> "Interpolation":
        known = ", ".join(repr(member.value) for member in cls)
        raise UsageError(f"interpolation must be one of {known}, got {value!r}")


def _rgb(low: float) -> Items:
    return Items(Number(low, 1.0), 3, 3, "a list of three numbers, for R, G and B", ("R", "G", "B"))


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

    size: Annotated[int, Whole(8, 1024)]
    resize: Annotated[int, Whole(8, 2048, low_field="size")]
    interpolation: Annotated[Interpolation, Member(tuple(each.value for each in Interpolation), Interpolation)] = (
        Interpolation.BILINEAR
    )
    mean: Annotated[tuple[float, float, float], _rgb(0.0)] = (0.485, 0.456, 0.406)
    std: Annotated[tuple[float, float, float], _rgb(0.001)] = (0.229, 0.224, 0.225)

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

        A path is read, and a PIL picture turned and converted, as `senet_zoo.data.pictures.read_picture` does it, so
        that `predict` and this agree. An array is taken for a PIL picture of its values. Both are resized by PIL, as
        the public weights were trained; a tensor is resized by PyTorch.

        Shape:
            A path, a PIL picture, or a uint8 array (H, W, C) with C of 3 (RGB, which cv2 does not give), 4 (RGBA) or 1
            (grey) -> float32 (3, size, size). A uint8 tensor (..., C, H, W) with C of 3 (RGB) or 1 (grey)
            -> float32 (..., 3, size, size).

        Raises:
            UsageError: the transform is given anything else.
            PictureError: the transform is given a path to no readable picture, or a picture that resized would be too
                large.
        """
        import torch
        from torchvision.transforms import v2

        return v2.Compose(
            [
                PictureInput(self.resize),
                v2.RGB(),
                v2.Resize(self.resize, v2.InterpolationMode(self.interpolation.value), antialias=True),
                v2.CenterCrop(self.size),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(self.mean, self.std),
                v2.ToPureTensor(),
            ]
        )


@dataclass(frozen=True)
class PictureInput:
    """Makes a picture of whatever `Preprocessing.transforms` takes: a PIL picture in RGB, or a tensor as it is.

    Args:
        resize: the shorter side that the picture is resized to next, in pixels.
    """

    resize: int

    def __call__(self, given: object) -> "Image | Tensor":
        from PIL import Image
        from torch import Tensor

        if isinstance(given, str | os.PathLike):
            picture = read_picture(given)
        elif isinstance(given, Image.Image):
            picture = to_rgb(given)
        elif isinstance(given, Tensor):
            _require_tensor(given)
            require_resizable(given.shape[-1], given.shape[-2], self.resize)
            return given
        elif type(given).__module__ == "numpy":
            picture = to_rgb(_from_array(given))
        else:
            raise UsageError(
                "transforms() takes a PIL picture, a path, a uint8 array (H, W, C) or a uint8 tensor (C, H, W), got "
                f"{type(given).__name__}: open it with PIL.Image.open, or give its path"
            )
        require_resizable(*picture.size, self.resize)
        return picture


def _require_tensor(given: "Tensor") -> None:
    import torch

    if given.dtype != torch.uint8:
        raise UsageError(
            f"transforms() takes tensors of uint8, pixels from 0 to 255, got {given.dtype}: give "
            "(x * 255).round().to(torch.uint8) where they are from 0 to 1"
        )
    if given.ndim < 3 or given.shape[-3] not in (1, 3):
        last = " .permute(2, 0, 1) puts the channels first" if given.ndim == 3 and given.shape[-1] in (1, 3) else ""
        raise UsageError(
            f"transforms() takes tensors (..., C, H, W) with C of 3 (RGB) or 1 (grey), got {tuple(given.shape)}:"
            f"{last or ' drop or repeat channels'}"
        )


def _from_array(given: Any) -> "Image":
    from PIL import Image

    kind = f"{getattr(given, 'dtype', type(given).__name__)} {getattr(given, 'shape', '')}"
    if str(getattr(given, "dtype", "")) != "uint8":
        raise UsageError(
            f"transforms() takes arrays of uint8, pixels from 0 to 255, got {kind}: give "
            "(x * 255).round().astype(numpy.uint8) where they are from 0 to 1"
        )
    if given.ndim == 3 and given.shape[2] == 1:
        given = given[:, :, 0]
    if given.size == 0 or not (given.ndim == 2 or (given.ndim == 3 and given.shape[2] in (3, 4))):
        raise UsageError(
            f"transforms() takes one picture as an array (H, W, C), C of 3 (RGB), 4 (RGBA) or 1 (grey), got {kind}: "
            "x.transpose(1, 2, 0) puts the channels last; give a batch as a tensor, or picture by picture"
        )
    return Image.fromarray(given)


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
    """Read the JSON object ``preprocessing`` of a model's config or of an exported network.

    Raises:
        ManifestError: it breaks a rule.
    """
    return read_as(Preprocessing, value, f"{where}.preprocessing")
