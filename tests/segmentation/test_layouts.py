"""Folders of pictures with masks: how they may be laid out, and what of a bad one is named before training begins."""

import json
import shutil
from pathlib import Path

import numpy
import pytest
from PIL import Image
from segmentation.conftest import NAMES, paint

from senet_zoo.errors import DataError
from senet_zoo.segmentation import read_masks
from senet_zoo.segmentation.layouts import VOC
from senet_zoo.segmentation.masks import IGNORED

COLOURS = {0: (0, 0, 0), 1: (200, 0, 0), 2: (0, 0, 90)}


@pytest.fixture
def folder(masks: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(masks, tmp_path / "set"))


def values(data, number: int = 0) -> numpy.ndarray:
    masked = data.pictures[number]
    with Image.open(masked.path) as picture:
        return data.form.read(masked, picture.size)


def truth(masks: Path) -> numpy.ndarray:
    with Image.open(masks / "masks/train/000.png") as picture:
        return numpy.asarray(picture)


def recolour(folder: Path, ending: str = "") -> None:
    for path in folder.rglob("*.png"):
        with Image.open(path) as picture:
            classes = numpy.asarray(picture)
        coloured = numpy.zeros((*classes.shape, 3), dtype=numpy.uint8)
        for number, colour in COLOURS.items():
            coloured[classes == number] = colour
        path.unlink()
        Image.fromarray(coloured).save(path.with_name(f"{path.stem}{ending}.png"))


@pytest.mark.parametrize(
    "moves",
    [
        {},
        {"images": "JPEGImages", "masks": "labels"},
        {"images": "img_dir", "masks": "ann_dir"},
        {
            "images/train": "train/images",
            "masks/train": "train/masks",
            "images/val": "valid/img",
            "masks/val": "valid/gt",
        },
        {"images/train": "train", "masks/train": "trainannot", "images/val": "val", "masks/val": "valannot"},
    ],
)
def test_parts_are_found(moves: dict[str, str], folder: Path, masks: Path) -> None:
    for source, target in moves.items():
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        (folder / source).rename(folder / target)
    train, val = read_masks(folder)
    assert (len(train.pictures), len(val.pictures), train.classes) == (12, 4, NAMES)
    assert (values(train) == truth(masks)).all()


def test_without_parts_a_tenth_is_measured_on(tmp_path: Path) -> None:
    paint(tmp_path / "images", tmp_path / "masks", 20, 0)
    train, val = read_masks(tmp_path)
    assert (len(train.pictures), len(val.pictures)) == (18, 2)
    assert train.classes == ("class 0", "class 1", "class 2")
    assert "classes are numbered, because there is no classes.txt" in train.skipped


@pytest.mark.parametrize("mode", ["P", "RGB", "I;16"])
def test_numbers_in_any_mode_are_the_same(mode: str, folder: Path, masks: Path) -> None:
    for path in (folder / "masks").rglob("*.png"):
        with Image.open(path) as picture:
            classes = picture.copy()
        if mode == "I;16":
            changed = Image.fromarray(numpy.asarray(classes).astype(numpy.uint16))
        elif mode == "P":
            changed = classes.convert("P")
            changed.putpalette([7] * 768)
        else:
            changed = classes.convert(mode)
        changed.save(path)
    assert (values(read_masks(folder)[0]) == truth(masks)).all()


@pytest.mark.parametrize("file", ["classes.csv", "labelmap.txt"])
def test_colours_are_read_where_a_file_names_them(file: str, folder: Path, masks: Path) -> None:
    recolour(folder / "masks", ending="_mask")
    with pytest.raises(DataError, match=r"a line `name,red,green,blue`"):
        read_masks(folder)
    (folder / "classes.txt").unlink()
    separator = "," if file == "classes.csv" else ":"
    head = "name,r,g,b\n" if file == "classes.csv" else "# label:color_rgb:parts:actions\n"
    rows = [
        f"{NAMES[n]}{separator}{','.join(map(str, c))}" + ("::" if separator == ":" else "") for n, c in COLOURS.items()
    ]
    (folder / file).write_text(head + "\n".join(rows) + "\n")
    train, _ = read_masks(folder)
    assert train.classes == NAMES
    assert (values(train) == truth(masks)).all()
    (folder / file).write_text(head + "\n".join(rows[:2]) + "\n")
    with pytest.raises(DataError, match=r"holds \(0, 0, 90\), which is of none"):
        read_masks(folder)


def test_pascal_voc(folder: Path, masks: Path) -> None:
    root = folder / "VOCdevkit/VOC2012"
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    for kind, name in (("images", "JPEGImages"), ("masks", "SegmentationClass")):
        (root / name).mkdir()
        for path in (folder / kind).rglob("*.png"):
            path.rename(root / name / f"{path.parent.name}_{path.name}")
        shutil.rmtree(folder / kind)
    (folder / "classes.txt").unlink()
    for part in ("train", "val"):
        names = [path.stem for path in sorted((root / "JPEGImages").glob(f"{part}_*.png"))]
        (root / f"ImageSets/Segmentation/{part}.txt").write_text("\n".join([*names, "ghost"]) + "\n")
    train, val = read_masks(folder)
    assert train.classes == val.classes == VOC
    assert (len(train.pictures), len(val.pictures)) == (12, 4)
    assert train.skipped["listed pictures without file or mask"] == 1
    assert (values(train) == truth(masks)).all()


def coco(folder: Path, kind: str) -> Path:
    """The same pictures as COCO has them: ids of categories with gaps, panoptic segments or stuff."""
    root = folder / "coco"
    (root / "annotations").mkdir(parents=True)
    categories = [{"id": 10 * number + 1, "name": name} for number, name in enumerate(NAMES)]
    for part in ("train", "val"):
        shutil.copytree(folder / "images" / part, root / f"{part}2017")
        images, annotations = [], []
        inside = root / f"annotations/{kind}_{part}2017{'_pixelmaps' if kind == 'stuff' else ''}"
        inside.mkdir()
        for number, path in enumerate(sorted((folder / "masks" / part).glob("*.png"))):
            with Image.open(path) as picture:
                classes = numpy.asarray(picture).astype(numpy.int32)
            images.append({"id": number, "file_name": path.name, "width": 80, "height": 64})
            if kind == "stuff":
                Image.fromarray((classes * 10 + 1).astype(numpy.uint8)).save(inside / path.name)
                continue
            ids = classes * 300 + 7
            coded = numpy.stack([ids & 255, ids >> 8 & 255, ids >> 16], -1).astype(numpy.uint8)
            Image.fromarray(coded).save(inside / path.name)
            segments = [{"id": 300 * each + 7, "category_id": 10 * each + 1} for each in range(3)]
            annotations.append({"image_id": number, "file_name": path.name, "segments_info": segments})
        document = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"annotations/{kind}_{part}2017.json").write_text(json.dumps(document))
    return root


@pytest.mark.parametrize("kind", ["panoptic", "stuff"])
def test_coco(kind: str, folder: Path, masks: Path) -> None:
    train, val = read_masks(coco(folder, kind))
    assert (train.classes, len(train.pictures), len(val.pictures)) == (NAMES, 12, 4)
    assert (values(train) == truth(masks)).all()


def test_coco_stuff_as_outlines(folder: Path) -> None:
    root = coco(folder, "stuff")
    for part in ("train", "val"):
        shutil.rmtree(root / f"annotations/stuff_{part}2017_pixelmaps")
        file = root / f"annotations/stuff_{part}2017.json"
        data = json.loads(file.read_text())
        outline = [[10, 10, 30, 10, 30, 30, 10, 30]]
        data["annotations"] = [
            {"image_id": each["id"], "category_id": 11, "segmentation": outline} for each in data["images"]
        ]
        file.write_text(json.dumps(data))
    train, _ = read_masks(root)
    found = values(train)
    assert (found[11:29, 11:29] == 1).all()
    assert found[40, 40] == IGNORED
    assert any("classes without a pixel to learn: background, disc" in reason for reason in train.skipped)


def test_masks_of_0_and_255_are_guessed_with_a_word(tmp_path: Path) -> None:
    paint(tmp_path / "images", tmp_path / "masks", 4, 0)
    for path in (tmp_path / "masks").glob("*.png"):
        with Image.open(path) as picture:
            changed = Image.fromarray(((numpy.asarray(picture) > 0) * 255).astype(numpy.uint8))
        changed.save(path)
    train, _ = read_masks(tmp_path)
    assert train.classes == ("background", "foreground")
    assert set(numpy.unique(values(train))) == {0, 1}
    assert "masks of 0 and 255 are read as background and foreground" in train.skipped


def test_what_cannot_be_learnt_from_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is none"):
        read_masks(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="images/ and masks/ of the same names"):
        read_masks(tmp_path / "empty")
    mask = folder / "masks/train/003.png"
    whole = mask.read_bytes()
    Image.new("L", (80, 64), 7).save(mask)
    with pytest.raises(DataError, match=r"003.png: a mask must hold numbers of classes, 0 to 2, .* and holds 7"):
        read_masks(folder)
    mask.write_bytes(whole)
    (folder / "classes.txt").write_text("only\n")
    with pytest.raises(DataError, match="at least two classes"):
        read_masks(folder)
    (folder / "classes.txt").write_text("\n".join(NAMES))
    for path in (folder / "masks").rglob("*.png"):
        Image.new("L", (64, 80)).save(path)
    with pytest.raises(DataError, match=r"none can be used, .* 80 x 64 pixels, and this one is 64 x 80; its"):
        read_masks(folder)
    for path in (folder / "masks").rglob("*.png"):
        Image.new("L", (80, 64), 255).save(path)
    with pytest.raises(DataError, match="every pixel of them is left out"):
        read_masks(folder)
    for path in (folder / "masks").rglob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match="a PNG, BMP, TIFF or GIF that can be read"):
        read_masks(folder)


def test_a_picture_without_a_mask_is_counted(folder: Path) -> None:
    (folder / "masks/train/005.png").unlink()
    train, _ = read_masks(folder)
    assert len(train.pictures) == 11
    assert train.skipped == {"pictures without a mask": 1}


def test_a_mask_of_another_size_is_told_before_training(folder: Path) -> None:
    Image.new("L", (5, 5)).save(folder / "masks/train/005.png")
    train, val = read_masks(folder)
    ((reason, number),) = train.skipped.items()
    assert number == 1
    assert "80 x 64 pixels, and this one is 5 x 5" in reason
    assert val.skipped == {}
    assert read_masks(folder, ("val",))[0].skipped == {}
