"""Preprocessing is a checked value; its transform resizes, crops, scales and normalises."""

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from senet_zoo.data.preprocessing import Interpolation, Preprocessing
from senet_zoo.errors import UsageError

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
