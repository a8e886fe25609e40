"""The squares of every protocol are those that a few lines of Pillow cut out, one by one."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageOps

from senet_zoo.cli import evaluate as command
from senet_zoo.data.preprocessing import Interpolation, Preprocessing
from senet_zoo.errors import UsageError
from senet_zoo.evaluation import CentreCrop, Crops, Mirrored, MultiScale, TenCrop, protocol, protocols

FILTERS = {
    Interpolation.BILINEAR: Image.Resampling.BILINEAR,
    Interpolation.BICUBIC: Image.Resampling.BICUBIC,
}


def photograph(width: int, height: int) -> Image.Image:
    coarse = np.random.default_rng(0).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def shrink(picture: Image.Image, shorter: int, interpolation: Interpolation) -> Image.Image:
    width, height = picture.size
    scale = shorter / min(width, height)
    size = (shorter if side == min(width, height) else int(scale * side) for side in (width, height))
    return picture.resize(tuple(size), FILTERS[interpolation])


def five(picture: Image.Image, size: int) -> list[Image.Image]:
    right, bottom = picture.width - size, picture.height - size
    corners = [(0, 0), (right, 0), (0, bottom), (right, bottom), (round(right / 2), round(bottom / 2))]
    return [picture.crop((left, top, left + size, top + size)) for left, top in corners]


def naive_centre(picture: Image.Image, interpolation: Interpolation) -> list[Image.Image]:
    return [five(shrink(picture, 40, interpolation), 32)[4]]


def naive_ten(picture: Image.Image, interpolation: Interpolation) -> list[Image.Image]:
    crops = five(shrink(picture, 40, interpolation), 32)
    return [*crops, *map(ImageOps.mirror, crops)]


def naive_mirror6(picture: Image.Image, interpolation: Interpolation) -> list[Image.Image]:
    crop = np.asarray(naive_centre(picture, interpolation)[0])
    wide = np.pad(crop, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    crops = [Image.fromarray(each) for each in (crop, wide[:32, :32], wide[2:, 2:])]
    return [view for each in crops for view in (each, ImageOps.mirror(each))]


def naive_multi(picture: Image.Image, interpolation: Interpolation) -> list[Image.Image]:
    views = []
    for scale in (256, 288, 320, 352):
        resized = shrink(picture, scale, interpolation)
        free = max(resized.size) - scale
        for start in (0, round(free / 2), free):
            if resized.width > resized.height:
                square = resized.crop((start, 0, start + scale, scale))
            else:
                square = resized.crop((0, start, scale, start + scale))
            assert square.size == (scale, scale)
            for view in (*five(square, 224), square.resize((224, 224), FILTERS[interpolation])):
                views += [view, ImageOps.mirror(view)]
    return views


@pytest.mark.parametrize("size", [(301, 200), (200, 333), (250, 250), (30, 21)])
@pytest.mark.parametrize("interpolation", Interpolation)
@pytest.mark.parametrize(
    ("crops", "naive"),
    [
        (CentreCrop(32, 40), naive_centre),
        (Mirrored(32, 40, shift=1), naive_mirror6),
        (Mirrored(32, 40), lambda *given: naive_mirror6(*given)[:2]),
        (TenCrop(32, 40), naive_ten),
        (MultiScale(), naive_multi),
    ],
)
def test_views_are_those_of_pillow(
    crops: Crops,
    naive: Callable[[Image.Image, Interpolation], list[Image.Image]],
    size: tuple[int, int],
    interpolation: Interpolation,
) -> None:
    picture = photograph(*size)
    ours, theirs = crops.views(picture, interpolation), naive(picture, interpolation)
    assert len(ours) == len(theirs) == crops.count
    for left, right in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(np.asarray(left), np.asarray(right))


def test_the_lecture_s_protocol_has_144_views() -> None:
    assert MultiScale().count == 144


def test_names_mean_what_the_papers_did_and_the_weights_ask() -> None:
    own = Preprocessing(size=299, resize=352)
    assert protocol("own", own) == CentreCrop(299, 352)
    assert protocol("center224", own) == CentreCrop(224, 256)
    assert protocol("center320", own) == CentreCrop(320, 320)
    assert protocol("ten", own) == TenCrop(299, 352)
    assert protocol("mirror", own) == Mirrored(299, 352)
    assert protocol("mirror6", own) == Mirrored(299, 352, shift=1)
    assert protocol("multi144", own) == MultiScale(299, (342, 384, 427, 470))
    assert protocol("multi144", Preprocessing(size=224, resize=256)) == MultiScale(224, (256, 288, 320, 352))
    assert tuple(protocols.PROTOCOLS) == command.PROTOCOLS
    with pytest.raises(UsageError, match="multi144, got 'center'"):
        protocol("center", own)


def test_squares_that_do_not_fit_are_refused() -> None:
    with pytest.raises(UsageError, match=r"a square of 33 pixels must .* resized to 32"):
        CentreCrop(33, 32)
    with pytest.raises(UsageError, match="a square of 0 pixels must be at least 1"):
        TenCrop(0, 32)
    with pytest.raises(UsageError, match=r"a square of 224 pixels must .* resized to 200"):
        MultiScale(224, (256, 200))
    with pytest.raises(UsageError, match="at least one"):
        MultiScale(224, ())
    with pytest.raises(UsageError, match="a shift must be at least 0"):
        Mirrored(32, 32, shift=-1)


def test_crops_follow_the_size_of_small_networks() -> None:
    own = Preprocessing(size=32, resize=32)
    assert protocol("ten", own) == TenCrop(32, 37)
    assert protocol("multi144", own) == MultiScale(32, (37, 41, 46, 50))
    picture = photograph(32, 32)
    crops = {crop.tobytes() for crop in protocol("ten", own).views(picture, Interpolation.BILINEAR)}
    assert len(crops) == 10
    for name, size in (("center224", 224), ("center320", 320)):
        with pytest.raises(UsageError, match=f"{name} shows crops of {size} pixels, more than twice the 32 .*multi144"):
            protocol(name, own)
