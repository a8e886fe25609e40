"""Read any picture as 8-bit RGB, upright."""

import io
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

from senet_zoo.errors import PictureError
from senet_zoo.support.files import open_regular

if TYPE_CHECKING:
    from PIL.Image import Image

Prepared = TypeVar("Prepared")

# Of all that Pillow opens these alone, because a file's contents choose the format, not its name: PostScript, for one,
# would start an interpreter. Targa has no signature, so it is tried last.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "JPEG2000", "AVIF", "TGA")
HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
SIGNATURES: Mapping[str, tuple[bytes, ...]] = {
    "PNG": (b"\x89PNG",),
    "JPEG": (b"\xff\xd8\xff",),
    "GIF": (b"GIF8",),
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "JPEG 2000": (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
}
ORIENTATION = 0x0112  # the tag of EXIF
MOST_RESIZED = 2**26  # pixels of a resized picture: 200 MB
STRIP = 2**22  # pixels that are converted at once where that takes several times their memory


def read_picture(path: str | os.PathLike[str]) -> "Image":
    """One picture as 8-bit RGB, upright.

    Grey, palette, CMYK, YCbCr and LAB pictures are what Pillow's ``convert("RGB")`` makes of them; colour profiles are
    not applied; of an animation, the first frame. HEIC is read where pillow-heif is installed.

    Raises:
        PictureError: the file cannot be opened, is a pipe or a device, is no picture of the formats in `FORMATS`, is
            damaged or cut short, has more pixels than Pillow opens, or holds numbers without an agreed white (32-bit
            grey).

    Differs from ``convert("RGB")`` where that shows something else than a viewer would:

    - transparency (alpha channel, palette or colour key) is laid over white, not dropped, because any colour may hide
      under a transparent pixel;
    - 16-bit grey keeps its high byte, as Pillow does for 16-bit colour, and is not cut off at 255;
    - a camera's EXIF orientation is applied; EXIF that cannot be read is none.
    """
    name = os.fsdecode(path)
    try:
        with open_regular(path) as file:
            return _decode(file, name)
    except OSError as error:
        raise PictureError(
            f"{name[:200]}: a picture must be a file that can be read, and this is none "
            f"({error.strerror or error}): check the path and its permissions"
        ) from error


def decode_picture(data: bytes, name: str) -> "Image":
    """One picture from the bytes of its file, as `read_picture` reads it.

    Args:
        data: the whole file.
        name: what messages call it.

    Raises:
        PictureError: as `read_picture` does.
    """
    return _decode(io.BytesIO(data), name)


def to_rgb(picture: "Image") -> "Image":
    """A picture of Pillow's as `read_picture` gives it: 8-bit RGB, upright, without metadata.

    Raises:
        PictureError: it holds numbers without an agreed white, or its file is closed, damaged or cut short.
    """
    try:
        upright = _upright(picture)
    except Exception as error:
        raise _damaged(error) from error
    in_steps = upright.mode.startswith(("I", "F")) or upright.has_transparency_data
    rgb = _in_strips(upright) if in_steps else upright.convert("RGB")
    rgb.info = {}  # or a reader of its EXIF would turn it again
    return rgb


def prepare_picture(prepare: "Callable[[Image], Prepared]", picture: "Image", name: str) -> Prepared:
    """What a network's preprocessing makes of a picture.

    Raises:
        PictureError: it cannot be prepared; the message names the picture.
    """
    try:
        return prepare(picture)
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from error
    except MemoryError as error:
        raise PictureError(
            f"{name}: a picture of {picture.width} x {picture.height} pixels needs more memory than there is: make it "
            "smaller"
        ) from error


def require_resizable(width: int, height: int, shorter: int) -> None:
    """Refuse a picture, before it takes memory, that would be too large once its shorter side is ``shorter`` pixels.

    Raises:
        PictureError: it has no pixel, or would have more than `MOST_RESIZED`.
    """
    if min(width, height) < 1:
        raise PictureError(f"a picture must have a pixel, and this one has {width} x {height}")
    longer = shorter * max(width, height) // min(width, height)
    if shorter * longer > MOST_RESIZED:
        raise PictureError(
            f"a picture of {width} x {height} pixels is too thin: with its shorter side at {shorter} its longer one is "
            f"{longer}, and the two may make {MOST_RESIZED} pixels: cut it, or leave it out"
        )


def require_visible(width: int, height: int, longest: int) -> None:
    """Refuse a picture so thin that its shorter side has no pixel once its longer one has ``longest``.

    Raises:
        PictureError: it is.
    """
    if min(width, height) * longest < max(width, height):
        raise PictureError(
            f"a picture of {width} x {height} pixels is too thin: with its longer side at {longest} pixels its shorter "
            "one has none: cut it, or leave it out"
        )


def _decode(file: BinaryIO, name: str) -> "Image":
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file, formats=_formats(file)) as picture:
            return to_rgb(picture)
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from error
    except UnidentifiedImageError as error:
        file.seek(0)
        raise PictureError(f"{name}: {_what_instead(file.read(64))}") from error
    except Image.DecompressionBombError as error:
        raise PictureError(
            f"{name}: a picture must not be too large, against decompression bombs, and this one is ({error}): make it "
            "smaller, or raise PIL.Image.MAX_IMAGE_PIXELS in Python if you trust it"
        ) from error
    # Pillow's decoders meet damaged bytes with errors of many types, and one bad file must not end a long run.
    except Exception as error:
        raise PictureError(f"{name}: {_damaged(error)}") from error


def _damaged(error: Exception) -> PictureError:
    return PictureError(
        f"a picture must be readable and whole, and this one is not ({str(error) or type(error).__name__}): restore "
        "the file, or leave it out"
    )


def _what_instead(head: bytes) -> str:
    """Why Pillow knows no format for a file, by its first bytes."""
    kind = next((kind for kind, start in SIGNATURES.items() if head.startswith(start)), None)
    if kind == "TIFF":
        return (
            "a picture must be one that Pillow reads, and this TIFF is damaged or of a kind that it does not read, "
            "such as colours in floats, or more than four channels: save it as PNG with 8 or 16 bits"
        )
    if kind is not None:
        return f"a picture must be whole, and this {kind} is damaged at its start: restore the file, or leave it out"
    if head.startswith(b"version https://git-lfs"):
        return "a picture must be there, and this is a git-lfs pointer to one: run git lfs pull in its repository"
    if head.lstrip()[:1] == b"<":
        return (
            "a picture must be of pixels, and this is a page of HTML or a drawing (SVG): download the picture itself, "
            "or save it as PNG"
        )
    return (
        f"a picture must be of a format that is read here ({', '.join(FORMATS)}, HEIC), and these bytes are of none: "
        "save it as PNG or JPEG"
    )


def _formats(file: BinaryIO) -> tuple[str, ...]:
    head = file.read(64)
    file.seek(0)
    if not head:
        raise PictureError("a picture must be whole, and this file is empty: restore it, or leave it out")
    if head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS and b"avif" not in head:
        try:
            from pillow_heif import register_heif_opener
        except ImportError as error:
            raise PictureError(
                "a picture in HEIC is read by pillow-heif, which is not installed: pip install 'senet-zoo[heif]', or "
                "save it as JPEG"
            ) from error
        register_heif_opener()
        return ("HEIF",)
    return FORMATS


def _upright(picture: "Image") -> "Image":
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    picture.load()  # where it is damaged this fails, and not what follows; TIFF is turned here
    try:
        orientation: Any = picture.getexif().get(ORIENTATION)
    except Exception:  # Pillow meets damaged metadata with errors of many types
        orientation = None
    return picture.transpose(turns[orientation]) if isinstance(orientation, int) and orientation in turns else picture


def _in_strips(picture: "Image") -> "Image":
    from PIL import Image

    rgb = Image.new("RGB", picture.size)
    height = max(1, STRIP // max(1, picture.width))
    for top in range(0, picture.height, height):
        strip = picture.crop((0, top, picture.width, min(top + height, picture.height)))
        rgb.paste(_converted(strip), (0, top))
    return rgb


def _converted(picture: "Image") -> "Image":
    from PIL import Image

    if picture.mode.startswith("I"):
        return _grey_from_16_bits(picture).convert("RGB")
    if picture.mode == "F":
        raise PictureError("a grey picture must have 8 or 16 bits, and this one has floats without an agreed white")
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


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
