"""Find picture files, and read any of them as 8-bit RGB."""

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from senet_zoo.errors import PictureError

if TYPE_CHECKING:
    from PIL.Image import Image

# What is taken from a folder; a file that is named by itself may end in anything that Pillow opens.
SUFFIXES = frozenset(
    {".avif", ".bmp", ".gif", ".jfif", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff"}
    | {".tga", ".webp"}
)


def find_pictures(source: str | os.PathLike[str]) -> list[Path]:
    """The picture files at a path.

    Args:
        source: a file, whatever its suffix; a folder, searched to its depth for the suffixes in `SUFFIXES`; or a
            ``file:`` URL of either. Inside a folder, hidden names (``.x``) and links to folders are skipped.

    Returns:
        The files in natural order (``2.png`` before ``10.png``), those of a folder before those of its subfolders.

    Raises:
        PictureError: nothing lies there, the folder holds no picture, or the URL leads elsewhere.
    """
    path = _local_path(os.fspath(source))
    if path.is_dir():
        found = list(_walk(path))
        if not found:
            raise PictureError(
                f"a folder to read must hold a picture, and {str(path)!r} and its subfolders hold none: "
                f"give another folder, or files ending in {' '.join(sorted(SUFFIXES))}"
            )
        return found
    if not path.exists():
        raise PictureError(f"a picture must exist, and nothing lies at {str(path)!r}: check the path")
    return [path]


def read_picture(path: str | os.PathLike[str]) -> "Image":
    """One picture as 8-bit RGB, upright.

    Grey, palette, CMYK and YCbCr pictures are what Pillow's ``convert("RGB")`` makes of them; colour profiles are not
    applied; of an animation, the first frame.

    Raises:
        PictureError: the file cannot be opened, is no picture, is damaged or cut short, is larger than Pillow's limit
            against decompression bombs, or holds numbers without an agreed white (32-bit grey).

    Differs from ``convert("RGB")`` where that shows something else than a viewer would:

    - transparency (alpha channel, palette or colour key) is laid over white, not dropped, because any colour may hide
      under a transparent pixel;
    - 16-bit grey keeps its high byte, as Pillow does for 16-bit colour, and is not cut off at 255;
    - a camera's EXIF orientation is applied.
    """
    return _decode(path, os.fspath(path))


def decode_picture(data: bytes, name: str) -> "Image":
    """One picture from the bytes of its file, as `read_picture` reads it.

    Args:
        data: the whole file.
        name: what messages call it.

    Raises:
        PictureError: as `read_picture` does.
    """
    return _decode(io.BytesIO(data), name)


def _decode(source: "str | os.PathLike[str] | io.BytesIO", name: str) -> "Image":
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(source) as picture:
            return _to_rgb(ImageOps.exif_transpose(picture))
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from error
    except UnidentifiedImageError as error:
        raise PictureError(
            f"{name}: a picture must be of a format that Pillow reads, and these bytes are of none: "
            "save it as PNG or JPEG"
        ) from error
    # Pillow's decoders meet damaged bytes with errors of many types, and one bad file must not end a long run.
    except Exception as error:
        raise PictureError(
            f"{name}: a picture must be readable and whole, and this one is not ({error}): "
            "restore the file, or leave it out"
        ) from error


def _to_rgb(picture: "Image") -> "Image":
    from PIL import Image

    if picture.mode.startswith("I"):
        return _grey_from_16_bits(picture).convert("RGB")
    if picture.mode == "F":
        raise PictureError("a grey picture must have 8 or 16 bits, and this one has floats without an agreed white")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return picture.convert("RGB")


def _grey_from_16_bits(picture: "Image") -> "Image":
    import numpy
    from PIL import Image

    values = numpy.asarray(picture)  # (H, W)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise PictureError(
            f"a grey picture must have 8 or 16 bits, and this one has values from {values.min()} to {values.max()}: "
            "scale it to 0..65535"
        )
    return Image.fromarray((values >> 8).astype(numpy.uint8))


def _local_path(source: str) -> Path:
    scheme = source.partition(":")[0].lower()
    if scheme == "file":
        from urllib.request import url2pathname  # and with it an HTTP client, which is 40 ms for nothing

        url = urlsplit(source)
        if url.netloc not in ("", "localhost"):
            raise PictureError(
                f"a file: URL must lead to this machine, and {source!r} names the host {url.netloc!r}: "
                "write file:///folder/picture.png"
            )
        return Path(url2pathname(url.path))
    if scheme in ("http", "https", "ftp", "s3", "hf") and "://" in source:
        raise PictureError(f"pictures are read from this machine only, and {source!r} is elsewhere: download it first")
    return Path(source)


def _walk(folder: Path) -> Iterator[Path]:
    # A subfolder that cannot be listed is passed on as if it were a picture, so that reading it names it.
    unlistable: list[Path] = []
    for parent, folders, files in os.walk(folder, onerror=lambda error: unlistable.append(Path(error.filename))):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=_natural)
        for name in sorted(files, key=_natural):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield Path(parent, name)
    yield from unlistable


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part.lower()) for part in re.split(r"(\d+)", name)]
