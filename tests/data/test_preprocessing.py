"""Preprocessing is a checked value; its transform resizes, crops, scales and normalises."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from senet_zoo.data.pictures import read_picture
from senet_zoo.data.preprocessing import Interpolation, Preprocessing
from senet_zoo.errors import PictureError, UsageError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def imagenet(interpolation: str = "bilinear") -> Preprocessing:
    return Preprocessing(24, 32, Interpolation(interpolation), MEAN, STD)


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 80, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("interpolation", "filter_"), [("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)]
)
def test_it_is_pillows_resize_a_centre_crop_and_a_normalisation(
    picture: Image.Image, interpolation: str, filter_: Image.Resampling
) -> None:
    resized = picture.resize((51, 32), filter_)
    left, top = round((51 - 24) / 2), round((32 - 24) / 2)
    pixels = np.asarray(resized.crop((left, top, left + 24, top + 24)), dtype=np.float32) / 255
    expected = torch.from_numpy((pixels - np.float32(MEAN)) / np.float32(STD)).permute(2, 0, 1)
    result = imagenet(interpolation).transforms()(picture)
    assert type(result) is torch.Tensor
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)


def test_a_tensor_gives_nearly_the_same_as_its_picture(picture: Image.Image) -> None:
    tensor = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    transforms = imagenet().transforms()
    torch.testing.assert_close(transforms(tensor), transforms(picture), rtol=0, atol=2 / 255 / min(STD))


@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 20, 99), (1, 40, 30), (2, 5, 3, 33, 47)])
def test_shapes(shape: tuple[int, ...]) -> None:
    result = imagenet().transforms()(torch.zeros(shape, dtype=torch.uint8))
    assert result.shape == (*shape[:-3], 3, 24, 24)
    assert result.dtype == torch.float32


def test_a_picture_of_the_right_size_is_not_resampled() -> None:
    pixels = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    same = Preprocessing(32, 32, Interpolation.BICUBIC, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    torch.testing.assert_close(same.transforms()(pixels), pixels / 255)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Interpolation("lanczos"), "one of 'bilinear', 'bicubic', got 'lanczos'"),
        (lambda: Preprocessing(0, 32, Interpolation.BICUBIC, MEAN, STD), "size must be .* at least 1, got 0"),
        (lambda: Preprocessing(33, 32, Interpolation.BICUBIC, MEAN, STD), r"resize must be .* at least size \(33\)"),
        (lambda: Preprocessing(24, 32, "bicubic", MEAN, STD), "interpolation must be an Interpolation"),
        (lambda: Preprocessing(24, 32, Interpolation.BICUBIC, MEAN[:2], STD), "mean must be a tuple of three"),
        (lambda: Preprocessing(24, 32, Interpolation.BICUBIC, (0, 0, float("nan")), STD), "mean must be .* finite"),
        (lambda: Preprocessing(24, 32, Interpolation.BICUBIC, MEAN, (1, 1, 0)), "std must be .* above 0"),
    ],
)
def test_a_value_that_cannot_be_is_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build()


def test_importing_the_package_leaves_torchvision_and_pillow_alone() -> None:
    code = "import sys, senet_zoo, senet_zoo.cli; print({'torchvision', 'PIL'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out == "set()\n"


def test_whatever_holds_a_picture_becomes_the_same_input(tmp_path: Path, picture: Image.Image) -> None:
    transforms, pixels = imagenet().transforms(), np.asarray(picture)
    expected = transforms(picture)
    picture.save(tmp_path / "x.png")
    for same in (pixels, pixels[:, :, [2, 1, 0]][:, :, [2, 1, 0]], tmp_path / "x.png", str(tmp_path / "x.png")):
        torch.testing.assert_close(transforms(same), expected, rtol=0, atol=0)
    grey = picture.convert("L")
    for same in (np.asarray(grey), np.asarray(grey)[:, :, None]):
        torch.testing.assert_close(transforms(same), transforms(grey), rtol=0, atol=0)
    assert transforms(torch.from_numpy(pixels.copy()).permute(2, 0, 1)).shape == expected.shape


@pytest.mark.parametrize("form", ["turned", "transparent", "deep"])
def test_a_picture_of_pillow_s_is_prepared_as_predict_prepares_its_file(
    tmp_path: Path, picture: Image.Image, form: str
) -> None:
    if form == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.save(tmp_path / "x.png", exif=exif)
    elif form == "transparent":
        picture.putalpha(Image.linear_gradient("L").resize(picture.size))
        picture.save(tmp_path / "x.png")
    else:
        Image.fromarray(np.arange(4000, dtype=np.uint16).reshape(50, 80) * 16).save(tmp_path / "x.png")
    transforms = imagenet().transforms()
    predicted = transforms(read_picture(tmp_path / "x.png"))
    with Image.open(tmp_path / "x.png") as opened:
        torch.testing.assert_close(transforms(opened), predicted, rtol=0, atol=0)
        assert not torch.equal(transforms(opened.convert("RGB").transpose(Image.Transpose.ROTATE_90)), predicted)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (np.zeros((3, 40, 50), np.uint8), r"\(H, W, C\).*\(3, 40, 50\): x\.transpose\(1, 2, 0\)"),
        (np.zeros((2, 40, 50, 3), np.uint8), "give a batch as a tensor"),
        (np.zeros((0, 50, 3), np.uint8), r"\(0, 50, 3\)"),
        (np.zeros((40, 50, 3), np.float32), r"uint8.*float32.*astype\(numpy\.uint8\)"),
        (np.float64(3), "uint8"),
        (torch.zeros(3, 40, 50), r"uint8.*float32.*to\(torch\.uint8\)"),
        (torch.zeros(40, 50, 3, dtype=torch.uint8), r"\(40, 50, 3\): \.permute\(2, 0, 1\)"),
        (torch.zeros(40, 50, dtype=torch.uint8), r"\(40, 50\)"),
        (None, "got NoneType"),
        (b"\x89PNG", "got bytes"),
        ([np.zeros((40, 50, 3), np.uint8)], "got list"),
    ],
    ids=str,
)
def test_what_holds_no_picture_is_refused_with_the_way_out(given: object, rule: str) -> None:
    with pytest.raises(UsageError, match=rule):
        imagenet().transforms()(given)


def test_a_missing_file_and_a_thin_picture_are_refused_before_they_take_memory(tmp_path: Path) -> None:
    transforms = Preprocessing(24, 32).transforms()
    with pytest.raises(PictureError, match=r"gone\.jpg"):
        transforms(tmp_path / "gone.jpg")
    for thin in (Image.new("1", (300_000, 1)), np.zeros((300_000, 1), np.uint8), torch.zeros(3, 1, 300_000).byte()):
        with pytest.raises(PictureError, match="too thin"):
            transforms(thin)


def test_transforms_go_to_workers() -> None:
    picture = torch.zeros(3, 40, 50, dtype=torch.uint8)
    transforms = imagenet().transforms()
    torch.testing.assert_close(pickle.loads(pickle.dumps(transforms))(picture), transforms(picture))


def test_a_picture_whose_file_is_closed_or_cut_is_a_picture_error(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "a.jpg")
    closed = Image.open(tmp_path / "a.jpg")
    closed.close()
    (tmp_path / "b.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:2000])
    with Image.open(tmp_path / "b.jpg") as cut:
        for picture in (closed, cut):
            with pytest.raises(PictureError, match="readable and whole, and this one is not"):
                Preprocessing(size=32, resize=32).transforms()(picture)
