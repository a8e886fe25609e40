"""What `predict` takes for a picture: paths as they are, pictures in memory with a number for a name."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from senet_zoo.data.pictures import decode_picture, read_picture
from senet_zoo.data.remote_pictures import fetch_picture
from senet_zoo.errors import UsageError

if TYPE_CHECKING:
    from numpy import uint8
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor

Source: TypeAlias = "str | os.PathLike[str] | Image | NDArray[uint8] | Tensor"
"""A file, a folder, a ``file:`` or ``https:`` URL; a PIL picture; a uint8 array (H, W, 3) or (H, W); a uint8 tensor
(3, H, W)."""

_RULE = "a picture is a path, a PIL picture, a uint8 array (H, W, 3) or a uint8 tensor (3, H, W)"


@dataclass(frozen=True)
class NamedPicture:
    """A picture in memory.

    Args:
        name: what results and messages call it.
        picture: of any mode.
    """

    name: str
    picture: "Image"


@dataclass(frozen=True)
class RemotePicture:
    """A picture at an address of the web.

    Args:
        name: the address.
    """

    name: str


def read_source(source: Path | RemotePicture) -> "Image":
    """The picture of a file or at an address.

    Raises:
        PictureError: it cannot be read, or fetched.
    """
    if isinstance(source, RemotePicture):
        return decode_picture(fetch_picture(source.name), source.name)
    return read_picture(source)


def list_sources(pictures: "Source | Iterable[Source]") -> Iterator[str | NamedPicture]:
    """The pictures one by one, read as needed; a batch (N, H, W, 3) or (N, 3, H, W) is its pictures.

    Raises:
        UsageError: something that is no picture.
    """
    number = 0
    single = (
        isinstance(pictures, str | bytes | os.PathLike) or not isinstance(pictures, Iterable) or _in_memory(pictures)
    )
    for given in [pictures] if single else pictures:  # type: ignore[union-attr]
        if isinstance(given, str | bytes | os.PathLike):
            yield os.fsdecode(given)
            continue
        for picture in _pictures(given):
            number += 1
            yield NamedPicture(f"picture {number}", picture)


def _in_memory(value: object) -> bool:
    return hasattr(value, "__array_interface__") or hasattr(value, "detach")


def _pictures(value: Any) -> "list[Image]":
    from PIL import Image

    if isinstance(value, Image.Image):
        return [value]
    if not _in_memory(value):
        raise UsageError(f"{_RULE}, got {type(value).__name__}")
    import numpy

    of_torch = hasattr(value, "detach")
    kind = f"{'a tensor' if of_torch else 'an array'} {tuple(value.shape)} of {value.dtype}"
    array = numpy.asarray(value.detach().cpu().numpy() if of_torch else value)
    if array.dtype != numpy.uint8:
        raise UsageError(f"{_RULE}, got {kind}: values from 0 to 255; what is normalised already goes to the network")
    if of_torch and array.ndim in (3, 4):
        array = numpy.moveaxis(array, -3, -1)  # channels last
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim not in (3, 4) or array.shape[-1] not in (1, 3, 4) or 0 in array.shape:
        raise UsageError(f"{_RULE}, got {kind}")
    batch = array[None] if array.ndim == 3 else array
    return [Image.fromarray(each[..., 0] if each.shape[-1] == 1 else numpy.ascontiguousarray(each)) for each in batch]
