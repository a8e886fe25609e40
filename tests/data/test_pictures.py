"""Every form of a picture comes out as a person sees it: compared with Pillow's own conversion."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from senet_zoo.data.pictures import find_pictures, read_picture
from senet_zoo.errors import PictureError


@pytest.fixture
def colours() -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (24, 40, 3), dtype=np.uint8))


def assert_same(left: Image.Image, right: Image.Image) -> None:
    assert left.mode == right.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(left), np.asarray(right))


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.webp", "x.bmp", "x.gif", "x.tiff", "x.ppm", "x.tga"])
def test_a_colour_picture_is_what_pillow_reads(tmp_path: Path, colours: Image.Image, name: str) -> None:
    colours.save(tmp_path / name)
    with Image.open(tmp_path / name) as picture:
        assert_same(read_picture(tmp_path / name), picture.convert("RGB"))


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("1", "x.png"),
        ("L", "x.png"),
        ("L", "x.jpg"),
        ("P", "x.png"),
        ("P", "x.gif"),
        ("CMYK", "x.jpg"),
        ("CMYK", "x.tiff"),
        ("YCbCr", "x.tiff"),
    ],
)
def test_other_modes_are_what_pillow_converts(tmp_path: Path, colours: Image.Image, mode: str, name: str) -> None:
    colours.convert(mode).save(tmp_path / name)
    with Image.open(tmp_path / name) as picture:
        assert picture.mode == mode
        assert_same(read_picture(tmp_path / name), picture.convert("RGB"))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_camera_is_turned_back(tmp_path: Path, colours: Image.Image, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    colours.save(tmp_path / "x.jpg", exif=exif)
    with Image.open(tmp_path / "x.jpg") as picture:
        upright = ImageOps.exif_transpose(picture)
        assert upright.size == ((40, 24) if orientation < 5 else (24, 40))
        assert_same(read_picture(tmp_path / "x.jpg"), upright)


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
def test_16_bit_grey_is_scaled_not_cut_off(tmp_path: Path, suffix: str) -> None:
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16)
    path = tmp_path / f"x{suffix}"
    if suffix == ".pgm":
        path.write_bytes(b"P5 16 16 65535\n" + (grey * 257).astype(">u2").tobytes())
    else:
        Image.fromarray(grey * 257).save(path)
    assert_same(read_picture(path), Image.fromarray(grey.astype(np.uint8)).convert("RGB"))


def test_big_endian_16_bit_grey_is_scaled(tmp_path: Path) -> None:
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16)
    Image.fromarray((grey * 257).astype(">u2")).save(tmp_path / "x.tiff")
    with Image.open(tmp_path / "x.tiff") as picture:
        assert picture.mode == "I;16B"
    assert_same(read_picture(tmp_path / "x.tiff"), Image.fromarray(grey.astype(np.uint8)).convert("RGB"))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_alpha_is_laid_over_white(tmp_path: Path, colours: Image.Image, mode: str, suffix: str) -> None:
    picture = colours.convert(mode)
    alpha = Image.linear_gradient("L").resize(picture.size)
    picture.putalpha(alpha)
    picture.save(tmp_path / f"x{suffix}")
    white = Image.new("RGBA", picture.size, "white")
    expected = Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")
    assert_same(read_picture(tmp_path / f"x{suffix}"), expected)


def test_opaque_alpha_changes_nothing(tmp_path: Path, colours: Image.Image) -> None:
    colours.convert("RGBA").save(tmp_path / "x.png")
    assert_same(read_picture(tmp_path / "x.png"), colours)


def test_what_hides_under_transparency_stays_hidden(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "alpha.png")
    Image.new("L", (8, 8), 7).save(tmp_path / "key.png", transparency=7)
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.save(tmp_path / "entry.png", transparency=1)
    palette.save(tmp_path / "entries.png", transparency=bytes([255, 0]))
    for path in tmp_path.iterdir():
        assert_same(read_picture(path), Image.new("RGB", (8, 8), "white"))


def test_of_an_animation_the_first_frame(tmp_path: Path) -> None:
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    red.save(tmp_path / "x.gif", save_all=True, append_images=[blue])
    assert_same(read_picture(tmp_path / "x.gif"), red)


def broken_files() -> dict[str, bytes]:
    data = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(data, "png")
    whole = data.getvalue()
    data = io.BytesIO()
    Image.fromarray(noise).save(data, "jpeg")
    return {
        "empty": b"",
        "text": b"this is no picture\n",
        "html": b"<!doctype html><html></html>",
        "png cut in its header": whole[:20],
        "png cut in its pixels": whole[: len(whole) // 2],
        "jpeg cut in its pixels": data.getvalue()[: len(data.getvalue()) // 2],
        "png with a flipped byte": whole[:60] + bytes([whole[60] ^ 0xFF]) + whole[61:],
    }


@pytest.mark.parametrize("what", broken_files())
def test_a_broken_file_is_named(tmp_path: Path, what: str) -> None:
    path = tmp_path / "holiday.png"
    path.write_bytes(broken_files()[what])
    with pytest.raises(PictureError, match=r"holiday\.png: a picture must be"):
        read_picture(path)


def test_numbers_without_an_agreed_white_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)).save(tmp_path / "floats.tiff")
    Image.fromarray(np.full((8, 8), 70000, dtype=np.int32)).save(tmp_path / "wide.tiff")
    with pytest.raises(PictureError, match=r"floats\.tiff: .*8 or 16 bits"):
        read_picture(tmp_path / "floats.tiff")
    with pytest.raises(PictureError, match=r"wide\.tiff: .*70000"):
        read_picture(tmp_path / "wide.tiff")


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (64, 64)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(PictureError, match=r"bomb\.png.*bomb"):
        read_picture(tmp_path / "bomb.png")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_a_folder_is_searched_to_its_depth_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, "10.png", "2.JPG", "b.webp", "a10/1.png", "a9/1.png", "notes.txt", ".hidden.png", ".cache/x.png")
    found = [path.relative_to(tmp_path).as_posix() for path in find_pictures(tmp_path)]
    assert found == ["2.JPG", "10.png", "b.webp", "a9/1.png", "a10/1.png"]


def test_a_named_file_may_have_any_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "upload.tmp")
    assert find_pictures(tmp_path / "upload.tmp") == [tmp_path / "upload.tmp"]


def test_a_file_url_leads_to_its_file(tmp_path: Path) -> None:
    touch(tmp_path, "my holiday #1 (50%).png")
    path = tmp_path / "my holiday #1 (50%).png"
    assert find_pictures(path.as_uri()) == [path]
    assert find_pictures(path.as_uri().replace("file://", "file://localhost")) == [path]
    assert find_pictures(tmp_path.as_uri()) == [path]


@pytest.mark.parametrize("url", ["https://example.org/cat.png", "file://elsewhere/cat.png"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(PictureError, match=r"this machine.*cat\.png"):
        find_pictures(url)


def test_an_empty_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "empty/notes.txt")
    with pytest.raises(PictureError, match=r"must hold a picture.*empty.*\.png"):
        find_pictures(tmp_path / "empty")
    with pytest.raises(PictureError, match=r"must exist.*cta\.png"):
        find_pictures(tmp_path / "cta.png")
