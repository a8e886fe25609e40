"""Every form of a picture comes out as a person sees it: compared with Pillow's own conversion."""

import io
import logging
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from senet_zoo.data.picture_paths import find_pictures
from senet_zoo.data.pictures import decode_picture, read_picture, require_resizable
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
        assert picture.mode in (mode, "RGB" if name == "x.tiff" and mode == "YCbCr" else mode)  # RGB in Pillow 11.3
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


def test_an_empty_file_is_called_empty(tmp_path: Path) -> None:
    touch(tmp_path, "x.jpg")
    with pytest.raises(PictureError, match=r"x\.jpg: .* this file is empty: restore it"):
        read_picture(tmp_path / "x.jpg")


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


def png_with_chunk(kind: bytes, data: bytes) -> bytes:
    whole, body = io.BytesIO(), kind + data
    Image.new("RGB", (8, 6), "red").save(whole, "png")
    head = whole.getvalue()[:33]
    return head + struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body)) + whole.getvalue()[33:]


@pytest.mark.parametrize(
    "exif",
    [
        b"\0\x08\0\x02\x01\x12\0\x03",
        b"",
        b"MM\0*\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abc\0",
        b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0\0\0\0\0",
    ],
    ids=["no TIFF", "empty", "beyond the end", "a text", "99"],
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_exif_that_cannot_be_read_is_no_orientation(tmp_path: Path, exif: bytes) -> None:
    (tmp_path / "x.png").write_bytes(png_with_chunk(b"eXIf", exif))
    assert_same(read_picture(tmp_path / "x.png"), Image.new("RGB", (8, 6), "red"))


def test_what_was_turned_is_not_turned_again(tmp_path: Path, colours: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    colours.save(tmp_path / "x.png", exif=exif)
    picture = read_picture(tmp_path / "x.png")
    assert_same(ImageOps.exif_transpose(picture), picture)


@pytest.mark.parametrize("start", [b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\xc5\xd0\xd3\xc6"])
def test_postscript_starts_no_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: bytes) -> None:
    started = tmp_path / "started"
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {started}\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    path = tmp_path / "holiday.jpg"
    path.write_bytes(start + b"%%BoundingBox: 0 0 32 32\n%%EndComments\nshowpage\n%%EOF\n")
    with pytest.raises(PictureError, match=r"holiday\.jpg: a picture must be of a format.*PNG or JPEG"):
        read_picture(path)
    assert not started.exists()


@pytest.mark.parametrize("form", ["pcx", "ico", "sgi", "dds"])
def test_other_formats_of_pillow_are_named_not_opened(tmp_path: Path, form: str) -> None:
    Image.new("RGB", (16, 16)).save(tmp_path / "x.png", form)
    with pytest.raises(PictureError, match=r"x\.png: a picture must be"):
        read_picture(tmp_path / "x.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    for path in (tmp_path / "a.png", Path("/dev/zero"), tmp_path):
        with pytest.raises(PictureError, match=r"no regular file|directory"):
            read_picture(path)
    assert [path.name for path in find_pictures(tmp_path)] == ["a.png", "b.png"]


@pytest.mark.parametrize("name", ["n" * 5000 + ".png", "a\0b.png"])
def test_a_name_that_no_file_can_have_is_a_picture_that_cannot_be_read(name: str) -> None:
    for read in (find_pictures, read_picture):
        with pytest.raises(PictureError) as caught:
            read(name)
        assert len(str(caught.value)) < 600


def test_a_whole_file_of_too_many_pixels_is_not_called_damaged(tmp_path: Path) -> None:
    Image.new("1", (14000, 14000)).save(tmp_path / "scan.png")
    with pytest.raises(PictureError, match=r"scan\.png: .*too large.*196000000.*make it smaller") as caught:
        read_picture(tmp_path / "scan.png")
    assert "restore" not in str(caught.value)


def test_a_picture_is_refused_by_its_size_once_resized() -> None:
    require_resizable(8192, 32, 256)
    for width, height in ((200_000, 1), (1, 3_000_000)):
        with pytest.raises(PictureError, match=f"{width} x {height} pixels is too thin.*256.*cut it"):
            require_resizable(width, height, 256)
    with pytest.raises(PictureError, match="0 x 5"):
        require_resizable(0, 5, 256)


def test_transparency_costs_little_more_memory_than_the_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = Image.new("P", (4096, 2048), 1)
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "x.png", transparency=bytes([255, 0]))
    sizes: list[tuple[int, int]] = []
    composite = Image.alpha_composite

    def noted(under: Image.Image, over: Image.Image) -> Image.Image:
        sizes.append(over.size)
        return composite(under, over)

    monkeypatch.setattr(Image, "alpha_composite", noted)
    assert_same(read_picture(tmp_path / "x.png"), Image.new("RGB", (4096, 2048), "white"))
    assert sizes == [(4096, 1024)] * 2


def heic(path: Path, picture: Image.Image) -> None:
    pytest.importorskip("pillow_heif").from_pillow(picture).save(path, quality=-1)


def test_heic_is_read_whatever_its_suffix(tmp_path: Path) -> None:
    for name in ("photo.HEIC", "photo.jpg"):
        heic(tmp_path / name, Image.new("RGB", (64, 48), (200, 30, 60)))
        assert np.abs(np.asarray(read_picture(tmp_path / name), dtype=int) - (200, 30, 60)).max() < 8
    assert [path.name for path in find_pictures(tmp_path)] == ["photo.HEIC", "photo.jpg"]


def test_without_pillow_heif_its_photographs_are_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr("senet_zoo.data.picture_paths.find_spec", lambda _: None)
    for name in ("1.heic", "2.HEIC"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))
    with pytest.raises(PictureError, match=r"must hold a picture.*2 \.heic \(to read them: pip install .*\[heif\]"):
        find_pictures(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "3.png")
    with caplog.at_level(logging.WARNING):
        assert [path.name for path in find_pictures(tmp_path)] == ["3.png"]
    assert len(caplog.records) == 1
    assert "passed over 2 .heic (to read them: pip install 'senet-zoo[heif]')" in caplog.text
    with pytest.raises(PictureError, match=r"1\.heic: .*not installed: pip install .*or save it as JPEG"):
        read_picture(tmp_path / "1.heic")


def test_what_a_folder_holds_besides_pictures_is_counted_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, "1.png", "sub/2.png", "a.PDF", "sub/b.pdf", "README.md", "scan")
    touch(tmp_path, "@eaDir/1.png", "__MACOSX/1.png", ".x/1.png")
    (tmp_path / "link").symlink_to(tmp_path / "sub", target_is_directory=True)
    with caplog.at_level(logging.WARNING):
        assert [path.name for path in find_pictures(tmp_path)] == ["1.png", "2.png"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}: passed over 2 .pdf, 1 folders @eaDir, 1 folders __MACOSX, 1 links to folders, 1 without a suffix"
    ]
    caplog.clear()
    find_pictures(tmp_path / "sub" / "2.png")
    assert not caplog.records


def tiff(values: np.ndarray, photometric: int, sample_format: int) -> bytes:
    """A TIFF that Pillow does not write: (H, W, C), little-endian, uncompressed."""
    height, width, channels = values.shape
    bits, data = values.itemsize * 8, values.tobytes()
    entries = [(256, [width]), (257, [height]), (258, [bits] * channels), (259, [1]), (262, [photometric])]
    entries += [(273, [0]), (277, [channels]), (278, [height]), (279, [len(data)]), (339, [sample_format] * channels)]
    start = 8 + 2 + 12 * len(entries) + 4
    listed, lists = b"", b""
    for tag, numbers in entries:
        numbers = [start + 2 * 2 * channels] if tag == 273 else numbers
        kind = 4 if tag in (273, 279) else 3
        raw = struct.pack(f"<{len(numbers)}{'I' if kind == 4 else 'H'}", *numbers)
        place = struct.pack("<I", start + len(lists)) if len(raw) > 4 else raw.ljust(4, b"\0")
        lists += raw if len(raw) > 4 else b""
        listed += struct.pack("<HHI", tag, kind, len(numbers)) + place
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + listed + b"\0" * 4 + lists + data


RANDOM = np.random.default_rng(0)
NO_PICTURES = {
    "colours in floats": (tiff(RANDOM.random((4, 5, 3), dtype=np.float32), 2, 3), "this TIFF is .*floats.*16 bits"),
    "five channels": (tiff(RANDOM.integers(0, 255, (4, 5, 5), dtype=np.uint8), 1, 1), "this TIFF is .*four channels"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    "a page": (b"\n<!DOCTYPE html><title>Sign in</title>", "page of HTML or a drawing"),
    "a drawing": (b'<?xml version="1.0"?><svg width="4"/>', "page of HTML or a drawing"),
    "the start of a PNG": (b"\x89PNG\r\n\x1a\n", "this PNG is damaged"),
    "a PDF": (b"%PDF-1.7\n", "of none: save it as PNG or JPEG"),
}


@pytest.mark.parametrize("kind", NO_PICTURES)
def test_what_is_no_picture_is_named_for_what_it_is(kind: str) -> None:
    data, said = NO_PICTURES[kind]
    with pytest.raises(PictureError, match=f"x.jpg: .*{said}"):
        decode_picture(data, "x.jpg")


def test_sixteen_bits_of_colour_keep_their_high_byte() -> None:
    values = RANDOM.integers(0, 2**16, (4, 5, 3), dtype=np.uint16)
    assert np.array_equal(np.asarray(decode_picture(tiff(values, 2, 1), "x.tif")), values >> 8)


def test_lab_is_shown_in_its_colours() -> None:
    rgb = Image.fromarray(RANDOM.integers(60, 190, (8, 8, 3), dtype=np.uint8))
    lab = ImageCms.profileToProfile(
        rgb, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    file = io.BytesIO()
    lab.save(file, "TIFF")
    shown = np.asarray(decode_picture(file.getvalue(), "lab.tif")).astype(int)
    assert abs(shown - np.asarray(rgb)).max() <= 8
