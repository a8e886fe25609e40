"""A folder of drawn pictures: which file each becomes, and nothing of others replaced."""

from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from senet_zoo.data.drawing import colour_of
from senet_zoo.errors import UsageError
from senet_zoo.support.files import atomic_file

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray
    from PIL.Image import Image

    from senet_zoo.prediction.pipeline import Prediction

MARK = b"senet_zoo"  # in the first bytes of each picture, by which a later run knows what it may replace
JPEG = frozenset({".jpg", ".jpeg", ".jfif", ".webp", ".heic", ".heif", ".avif", ".jp2"})
QUALITY = 92


class DrawnFiles:
    """Writes what was found into pictures of the same names; a name that occurs twice gets its folder's before it.

    Of a segmenter's answer, the numbers of the classes go beside it, into ``NAME_mask.png``.

    Args:
        folder: made where there is none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._taken: set[str] = set()

    def write(self, prediction: "Prediction") -> Path:
        """Draw one picture.

        Raises:
            PictureError: the picture cannot be read any more.
            UsageError: a file of others is in the way, or the folder cannot be written.
        """
        path = self.folder / self._name(PurePath(prediction.path))
        self._save(path, prediction.drawn())
        if prediction.pixels is not None:
            self._save(path.with_name(f"{path.stem}_mask.png"), _indexed(prediction.pixels.numbers))
        return path

    def _save(self, path: Path, picture: "Image") -> None:
        from PIL.PngImagePlugin import PngInfo

        if path.exists() and not _is_ours(path):
            raise UsageError(f"{path} is there and was not drawn by senet_zoo; choose another folder for --output")
        mark = PngInfo()
        mark.add_text("Software", MARK.decode())
        try:
            with atomic_file(path) as file:
                if path.suffix == ".jpg":
                    picture.save(file, "JPEG", quality=QUALITY, comment=MARK)
                else:
                    picture.save(file, "PNG", pnginfo=mark)
        except OSError as error:
            raise UsageError(f"{self.folder} cannot be written: {error.strerror or error}; choose another") from error

    def _name(self, source: PurePath) -> str:
        suffix = ".jpg" if source.suffix.lower() in JPEG else ".png"
        folders = [part for part in reversed(source.parent.parts) if part.strip("/.\\")]
        name = source.stem
        for folder in (*folders, *(str(number) for number in range(2, len(self._taken) + 3))):
            if f"{name}{suffix}".casefold() not in self._taken:
                break
            name = f"{folder}_{name}"
        self._taken.add(f"{name}{suffix}".casefold())
        return f"{name}{suffix}"


def _indexed(numbers: "NDArray[numpy.uint8]") -> "Image":
    """The number of each pixel's class as a PNG of a palette, as masks to train on are written."""
    from PIL import Image

    picture = Image.fromarray(numbers).convert("P")
    picture.putpalette([value for number in range(256) for value in colour_of(number)])
    return picture


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return MARK in file.read(4096)
    except OSError:
        return False
