"""What every kind of data gives: the names of its parts, and each part opened."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from senet_zoo.errors import DataError
from senet_zoo.pictures import read_picture
from senet_zoo.training.data.labelled import Labelled

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class Source:
    """Data that is found, and not yet opened.

    Args:
        address: what the user called it.
        parts: what it is divided into; empty for data in one piece.
        open_part: one part, or the one piece for None.
    """

    address: str
    parts: tuple[Part, ...]
    open_part: Callable[[Part | None], Labelled]

    def open(self, part: Part | None) -> Labelled:
        """One part; for None the one piece, or of several parts the one to measure on: val, else test.

        Raises:
            DataError: there is no such part.
        """
        if part is None and self.parts:
            part = next((name for name in ("val", "test") if name in self.parts), None)
        if part not in (self.parts or (None,)):
            raise DataError(
                f"{self.address} has "
                + (f"the parts {', '.join(self.parts)}" if self.parts else "no parts")
                + f", and not {part or 'val or test'}: choose another (--split, or split=), or none"
            )
        return self.open_part(part)


@dataclass(frozen=True)
class FileReader:
    """Pictures in files of their own."""

    paths: tuple[Path, ...]

    def __call__(self, index: int) -> "Image":
        """One of them, as `read_picture` reads it."""
        return read_picture(self.paths[index])


@dataclass(frozen=True, eq=False)
class ArrayReader:
    """Pictures in one array, (N, H, W, 3) uint8."""

    images: "np.ndarray"

    def __call__(self, index: int) -> "Image":
        """One of them."""
        from PIL import Image

        return Image.fromarray(self.images[index])
