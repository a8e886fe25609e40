"""Folders in COCO's format: how they may be laid out, and what of a bad one is left out or refused."""

import itertools
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pycocotools import mask as coco_mask

import senet_zoo
from senet_zoo.data.outlines import mask_of
from senet_zoo.detection import RECIPES, Design, DetectionConfig, Kind, fit_detector, read_coco
from senet_zoo.detection.pictures import load
from senet_zoo.errors import DataError, PictureError
from senet_zoo.prediction.coco_results import coco_results


@pytest.fixture
def folder(shapes: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shapes, tmp_path / "set"))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "annotations/instances_train.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_boxes_become_corners_and_categories_numbers_from_1(folder: Path) -> None:
    edit(folder, lambda data: [each.update(id=each["id"] * 7) for each in data["categories"]])
    edit(folder, lambda data: [each.update(category_id=each["category_id"] * 7) for each in data["annotations"]])
    data, raw = read_coco(folder, "train"), json.loads((folder / "annotations/instances_train.json").read_text())
    assert (data.classes, data.skipped, len(data.pictures)) == (("circle", "square", "triangle"), {}, 8)
    first = data.pictures[0]
    mine = [each for each in raw["annotations"] if each["image_id"] == raw["images"][0]["id"]]
    assert first.labels == tuple(each["category_id"] // 7 for each in mine)
    assert first.boxes == tuple((x, y, x + w, y + h) for x, y, w, h in (each["bbox"] for each in mine))
    assert first.path.is_file()


@pytest.mark.parametrize(
    ("json_at", "pictures_at"),
    [
        ("annotations/instances_train2017.json", "train2017"),
        ("train/annotations.json", "train"),
        ("train/annotations.json", "train/images"),
        ("train/_annotations.coco.json", "train"),
    ],
)
def test_layouts_are_found(folder: Path, tmp_path: Path, json_at: str, pictures_at: str) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder / "train", other / pictures_at)
    (other / json_at).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / "annotations/instances_train.json", other / json_at)
    assert len(read_coco(other, "train").pictures) == 8


def test_val_may_be_called_valid_or_test(folder: Path) -> None:
    (folder / "valid").mkdir()
    shutil.copy(folder / "annotations/instances_val.json", folder / "valid/_annotations.coco.json")
    for path in (folder / "val").glob("*"):
        shutil.copy(path, folder / "valid")
    (folder / "annotations/instances_val.json").unlink()
    assert len(read_coco(folder, "val").pictures) == 4


def first(data: dict[str, Any]) -> dict[str, Any]:
    return data["annotations"][0]


@pytest.mark.parametrize(
    ("change", "skipped"),
    [
        (lambda data: first(data).update(bbox=[200, 10, 5, 5]), {"boxes outside their picture": 1}),
        (lambda data: first(data).update(bbox=[-10, -10, 5, 5]), {"boxes outside their picture": 1}),
        (lambda data: first(data).update(bbox=[5, 5, 0, 10]), {"boxes without area": 1}),
        (lambda data: first(data).update(bbox=[5, 5, 9, -1]), {"boxes without area": 1}),
        (lambda data: first(data).update(bbox=[5, 5, 9, None]), {"boxes that are not four finite numbers": 1}),
        (lambda data: first(data).update(bbox=[0, 0, 10**400, 5]), {"boxes that are not four finite numbers": 1}),
        (lambda data: first(data).update(bbox=[0, 0, float("inf"), 5]), {"boxes that are not four finite numbers": 1}),
        (lambda data: first(data).update(bbox=[10**4299, 0, 5, 5]), {"boxes that are not four finite numbers": 1}),
        (lambda data: first(data).update(area=10**400), {}),
        (lambda data: first(data).update(bbox=[1, 2]), {"boxes that are not four finite numbers": 1}),
        (lambda data: first(data).update(bbox=[-5, 2, 20, 20]), {"boxes cut at their picture's edge": 1}),
        (lambda data: first(data).update(category_id=99), {"boxes of an unknown category": 1}),
        (lambda data: first(data).update(category_id="1"), {"boxes of an unknown category": 1}),
        (lambda data: first(data).update(image_id=99), {"boxes of no picture in the file": 1}),
        (lambda data: data["images"][0].pop("width"), {"pictures without id, file name, width or height": 1}),
        (
            lambda data: data["images"][0].update(width=10**400),
            {"pictures without id, file name, width or height": 1},
        ),
        (lambda data: data["images"][1].update(id=data["images"][0]["id"]), {"pictures whose id another has": 1}),
        (lambda data: data["images"][0].update(file_name="a\0b.png"), {"pictures whose file is not there": 1}),
        (lambda data: data["images"][0].update(file_name="n" * 5000), {"pictures whose file is not there": 1}),
        (lambda data: data["images"][0].update(file_name="/dev/null"), {"pictures whose file is not there": 1}),
        (lambda data: data["images"][0].update(file_name="../val/00000.png"), {"pictures whose file is not there": 1}),
    ],
)
def test_what_cannot_be_used_is_left_out_and_counted(
    folder: Path, change: Callable[[dict[str, Any]], object], skipped: dict[str, int]
) -> None:
    edit(folder, change)
    found = dict(read_coco(folder, "train").skipped)
    for consequence in ("boxes of such pictures", "boxes of no picture in the file"):
        if consequence not in skipped:
            found.pop(consequence, None)
    assert found == skipped


def test_a_box_over_the_edge_is_cut_and_a_missing_picture_takes_its_boxes_along(folder: Path) -> None:
    edit(folder, lambda data: first(data).update(bbox=[-5, 2, 20, 200]))
    assert read_coco(folder, "train").pictures[0].boxes[0] == (0.0, 2.0, 15.0, 64.0)
    things = len(read_coco(folder, "train").pictures[1].boxes)
    (folder / "train/00001.png").unlink()
    data = read_coco(folder, "train")
    assert len(data.pictures) == 7
    assert data.skipped["pictures whose file is not there"] == 1
    assert data.skipped["boxes of such pictures"] == things


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(annotations=[]), "must have boxes on its pictures, and no usable one is there"),
        (lambda data: data.update(images=[]), "must name pictures that lie in .* and none does .left out: "),
        (lambda data: data.update(categories=[]), "must have categories, and has none"),
        (lambda data: data.pop("annotations"), "annotations must be a list of objects"),
        (lambda data: data["categories"][1].update(id=1), "'square' .id 1. stands twice"),
        (lambda data: data["categories"][1].update(name=" "), "must have a whole number as id, and a name"),
        (
            lambda data: [each.update(bbox=[0, 0, 0, 0]) for each in data["annotations"]],
            "no usable one is there .left out: .* boxes without area",
        ),
    ],
)
def test_a_set_that_teaches_nothing_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit(folder, change)
    with pytest.raises(DataError, match=message):
        read_coco(folder, "train")


def test_files_that_are_not_coco_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must have annotations/instances_train\*.json with pictures in train\*/, or"):
        read_coco(tmp_path, "train")
    shutil.copy(folder / "annotations/instances_train.json", folder / "annotations/instances_train2014.json")
    with pytest.raises(DataError, match=r"must have one file .* has instances_train.json, instances_train2014.json"):
        read_coco(folder, "train")
    (folder / "annotations/instances_val.json").write_text("{")
    with pytest.raises(DataError, match="must be a JSON file in COCO's format, and cannot be read"):
        read_coco(folder, "val")
    (folder / "annotations/instances_val.json").write_text("[]")
    with pytest.raises(DataError, match="must hold a JSON object"):
        read_coco(folder, "val")


@pytest.mark.parametrize("text", ["[" * 200_000, '{"images": [' + "[" * 100_000, '{"a": ' + "8" * 5000 + "}", ""])
def test_json_that_no_reader_takes_is_refused(folder: Path, text: str) -> None:
    (folder / "annotations/instances_train.json").write_text(text)
    with pytest.raises(DataError, match="must be a JSON file in COCO's format, and cannot be read"):
        read_coco(folder, "train")


@pytest.mark.parametrize(("train", "val"), [("Train", "Validation"), ("training", "valid"), ("TRAIN", "Testing")])
@pytest.mark.parametrize("beside", [True, False])
def test_parts_are_found_by_their_usual_names(folder: Path, tmp_path: Path, train: str, val: str, beside: bool) -> None:
    other = tmp_path / "other"
    for ours, name in (("train", train), ("val", val)):
        shutil.copytree(folder / ours, other / name)
        target = other / (f"{name}/_annotations.coco.json" if beside else f"annotations/instances_{name}2017.json")
        target.parent.mkdir(exist_ok=True)
        shutil.copy(folder / f"annotations/instances_{ours}.json", target)
        if not beside:
            (other / name).rename(other / f"{name}2017")
    assert (len(read_coco(other, "train").pictures), len(read_coco(other, "val").pictures)) == (8, 4)


def test_two_folders_for_one_part_are_named(folder: Path) -> None:
    for name in ("valid", "Validation"):
        shutil.copytree(folder / "val", folder / name)
        shutil.copy(folder / "annotations/instances_val.json", folder / name / "annotations.json")
    (folder / "annotations/instances_val.json").unlink()
    with pytest.raises(DataError, match=r"one file of annotations for val, and has Validation/.*, valid/"):
        read_coco(folder, "val")


def test_pictures_may_be_links_to_elsewhere(folder: Path, tmp_path: Path) -> None:
    (folder / "train").rename(tmp_path / "store")
    (folder / "train").mkdir()
    for path in (tmp_path / "store").iterdir():
        (folder / "train" / path.name).symlink_to(path)
    data = read_coco(folder, "train")
    assert (len(data.pictures), data.skipped) == (8, {})


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_no_picture_and_no_file_of_annotations(folder: Path) -> None:
    (folder / "train/00000.png").unlink()
    os.mkfifo(folder / "train/00000.png")
    assert read_coco(folder, "train").skipped["pictures whose file is not there"] == 1
    (folder / "annotations/instances_train.json").unlink()
    os.mkfifo(folder / "annotations/instances_train.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_coco(folder, "train")


def test_slivers_of_boxes_are_left_out_and_counted(folder: Path) -> None:
    def thin(data: dict[str, Any]) -> None:
        data["annotations"][0]["bbox"] = [63.9999999, 10, 20, 20]
        data["annotations"][1]["bbox"] = [5, 5, 20, 1e-6]

    edit(folder, thin)
    assert read_coco(folder, "train").skipped == {"boxes thinner than 0.1 pixels": 2}


def test_two_pictures_of_one_id_are_counted(folder: Path) -> None:
    edit(folder, lambda data: data["images"][1].update(id=data["images"][0]["id"]))
    assert read_coco(folder, "train").skipped["pictures whose id another has"] == 1


def test_a_picture_that_its_exif_turns_is_named_with_the_cause(folder: Path) -> None:
    def wide(data: dict[str, Any]) -> None:
        data["images"][0].update(width=80, height=64)

    edit(folder, wide)
    path = read_coco(folder, "train").pictures[0].path
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 64)).save(path, "JPEG", exif=exif)
    with pytest.raises(PictureError, match="this one is 64 x 80; if its EXIF turns it, its boxes were counted before"):
        load(read_coco(folder, "train").pictures[0], 0, crowds=False)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("data.yaml", "looks like YOLO's"),
        ("train/labels/1.txt", "YOLO's"),
        ("Annotations/1.xml", "Pascal VOC's boxes"),
        ("annotations/instances_default.json", "CVAT's, undivided"),
        ("result.json", "Label Studio's, undivided"),
    ],
)
def test_layouts_of_other_tools_are_named(file: str, message: str, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text("x")
    with pytest.raises(DataError, match=message):
        read_coco(tmp_path, "train")


def outlines(data: dict[str, Any]) -> None:
    """A rectangle for each thing: as a polygon, run lengths as numbers, or packed."""
    for number, each in enumerate(data["annotations"]):
        x, y, w, h = each["bbox"]
        each["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        if number % 3:
            encoded = coco_mask.merge(coco_mask.frPyObjects(each["segmentation"], 64, 64))
            if number % 3 == 1:
                each["segmentation"] = {"size": [64, 64], "counts": encoded["counts"].decode()}
            else:
                flat = mask_of(each["segmentation"], 64, 64).T.flatten().tolist()
                runs = [len(list(run)) for _, run in itertools.groupby(flat)]
                each["segmentation"] = {"size": [64, 64], "counts": ([] if flat[0] == 0 else [0]) + runs}


def test_masks_of_every_form_cover_their_boxes(folder: Path) -> None:
    edit(folder, outlines)
    data = read_coco(folder, "train", masks=True)
    assert data.skipped == {}
    assert read_coco(folder, "train").pictures[0].outlines == ()
    for number, picture in enumerate(data.pictures):
        target = load(picture, number, crowds=False).target
        assert target["masks"].shape == (len(picture.boxes), 64, 64)
        for box, mask in zip(picture.boxes, target["masks"], strict=True):
            left, top, right, bottom = map(int, box)
            assert mask[top:bottom, left:right].float().mean() > 0.95
            assert mask.sum() <= (right - left + 1) * (bottom - top + 1)


@pytest.mark.parametrize(
    "outline",
    [
        None,
        [],
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5, "x"]],
        {"size": [9, 9], "counts": [81]},
        {"size": [64, 64], "counts": [7]},
    ],
)
def test_a_thing_without_a_mask_is_left_out_and_counted(outline: object, folder: Path) -> None:
    edit(folder, outlines)
    edit(folder, lambda data: data["annotations"][0].update(segmentation=outline))
    assert read_coco(folder, "train", masks=True).skipped == {"boxes without a mask": 1}


def test_mask_r_cnn_trains_is_read_back_and_its_masks_are_seen(folder: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        path = folder / f"annotations/instances_{split}.json"
        data = json.loads(path.read_text())
        outlines(data)
        path.write_text(json.dumps(data))
    design = Design(side=64, longest=64, anchors=(4.0, 8.0, 16.0, 32.0, 64.0), channels=8, proposals=40, samples=8)
    recipe = replace(RECIPES["small"].lasting(2), design=design, batch=2)
    words = {"recipe": recipe, "workers": 0, "device": "cpu", "kind": Kind.MASK_RCNN}
    fit_detector(DetectionConfig(folder, "se_resnet18", tmp_path / "run", **words))
    (answer,) = senet_zoo.predict(folder / "val/00000.png", tmp_path / "run", threshold=0.05, top=3)
    assert len(answer.boxes) > 0
    assert all(box.mask.shape == (64, 64) for box in answer.boxes)
    assert answer.drawn().size == (512, 512)
    assert coco_results(answer, None)[0]["segmentation"]["size"] == [64, 64]
