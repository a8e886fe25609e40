"""Data is found by its address, labelled as it says, and opened late; what is wrong with it is named."""

import logging
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from senet_zoo.data.datasets import open_data, train_and_val, unlabelled_pictures
from senet_zoo.data.labelled import Labelled, relabelled, stratified_split, subset
from senet_zoo.errors import DataError, PictureError, UsageError


def paint(path: Path, grey: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (grey, grey, grey)).save(path)
    return path


def grey_of(data: Labelled, index: int) -> int:
    picture = data.read(index)
    assert (picture.mode, picture.size) == ("RGB", (8, 6))
    return int(np.asarray(picture)[0, 0, 0])


def counts(data: Labelled) -> list[int]:
    return [data.labels.count(label) for label in range(len(data.classes))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of six, four and two pictures."""
    for label, (name, count) in enumerate((("Cat", 6), ("ant", 4), ("bee", 2))):
        for i in range(count):
            paint(tmp_path / "data" / name / f"{i}.png", grey=10 * label + i)
    return tmp_path / "data"


def test_classes_and_pictures_of_a_folder_are_those_of_torchvision(folder: Path) -> None:
    ours, theirs = open_data(str(folder)), ImageFolder(str(folder))
    assert list(ours.classes) == theirs.classes
    assert [(str(folder / name), label) for name, label in zip(ours.names, ours.labels, strict=True)] == theirs.samples
    assert [grey_of(ours, i) for i in range(len(ours))] == [np.asarray(picture)[0, 0, 0] for picture, _ in theirs]


def test_data_can_be_sent_to_a_worker(folder: Path) -> None:
    data = subset(open_data(str(folder)), [3, 7])
    sent = pickle.loads(pickle.dumps(data))
    assert sent == data
    assert grey_of(sent, 1) == 11


def test_a_camera_s_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "a").mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / "a" / "x.jpg", exif=exif)
    assert open_data(str(tmp_path)).read(0).size == (6, 8)


@pytest.mark.parametrize("parts", [("train", "val"), ("train", "test"), ("train", "val", "test"), ("val",)])
def test_parts_are_opened_by_name_and_the_one_to_measure_on_by_default(tmp_path: Path, parts: Sequence[str]) -> None:
    for number, part in enumerate(parts):
        for name in ("a", "b"):
            paint(tmp_path / part / name / "x.png", grey=number)
    for number, part in enumerate(parts):
        assert grey_of(open_data(str(tmp_path), part), 0) == number  # type: ignore[arg-type]
    measured = "val" if "val" in parts else "test"
    assert grey_of(open_data(str(tmp_path)), 0) == parts.index(measured)


def test_an_empty_address_is_not_the_folder_at_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        paint(tmp_path / name / "x.png")
    monkeypatch.chdir(tmp_path)
    assert open_data(".").classes == ("a", "b")
    for find in (open_data, unlabelled_pictures):
        with pytest.raises(DataError, match="data must be named, got ''"):
            find("")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    for name in ("bus", "train"):
        paint(tmp_path / name / "x.png")
    assert open_data(str(tmp_path)).classes == ("bus", "train")


def test_a_part_that_is_not_there_is_named_with_those_that_are(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no parts, and not val"):
        open_data(str(folder), "val")
    paint(tmp_path / "parts" / "train" / "a" / "x.png")
    with pytest.raises(DataError, match="the parts train, and not val or test"):
        open_data(str(tmp_path / "parts"))


def test_a_share_of_every_class_is_split_off_and_always_the_same(folder: Path) -> None:
    data = open_data(str(folder))
    kept, off = stratified_split(data, 0.25, seed=1)
    assert (counts(kept), counts(off)) == ([4, 3, 1], [2, 1, 1])
    assert sorted([*kept.names, *off.names]) == sorted(data.names)
    assert [data.names[data.names.index(name)] for name in kept.names] == list(kept.names)
    assert stratified_split(data, 0.25, seed=1) == (kept, off)
    assert stratified_split(data, 0.25, seed=2) != (kept, off)
    assert grey_of(off, 3) == 20 + int(Path(off.names[3]).stem)


def test_a_class_of_one_picture_keeps_it_and_a_share_is_below_one(folder: Path) -> None:
    alone = subset(open_data(str(folder)), [0, 6, 7])
    kept, off = stratified_split(alone, 0.9, seed=0)
    assert (counts(kept), counts(off)) == ([1, 1, 0], [0, 1, 0])
    with pytest.raises(DataError, match="every class here has one"):
        stratified_split(subset(alone, [0, 1]), 0.5, seed=0)
    with pytest.raises(UsageError, match=r"above 0 and below 1, got 1\.0"):
        stratified_split(alone, 1.0, seed=0)


def test_to_train_a_share_is_split_off_where_there_is_no_val_and_test_is_left_alone(folder: Path) -> None:
    train, val = train_and_val(str(folder), share=0.25, seed=1)
    assert (train, val) == stratified_split(open_data(str(folder)), 0.25, seed=1)
    for part in ("train", "test"):
        (folder.parent / "parts").mkdir(exist_ok=True)
        for name in ("a", "b"):
            paint(folder.parent / "parts" / part / name / "0.png")
            paint(folder.parent / "parts" / part / name / "1.png")
    train, val = train_and_val(str(folder.parent / "parts"))
    assert {Path(name).parts[0] for name in (*train.names, *val.names)} == {"train"}


def test_val_that_lacks_a_class_is_a_warning_and_one_that_adds_a_class_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("train/a", "train/b", "train/c", "val/a", "val/c"):
        paint(tmp_path / name / "x.png")
    with caplog.at_level(logging.WARNING):
        train, val = train_and_val(str(tmp_path))
    assert "has no picture of b" in caplog.text
    assert val.classes == train.classes
    assert val.labels == (0, 2)
    paint(tmp_path / "val" / "d" / "x.png")
    with pytest.raises(DataError, match="among the 3 known ones, and d is not: those are a, b, c"):
        train_and_val(str(tmp_path))


def test_one_class_is_nothing_to_learn(tmp_path: Path) -> None:
    paint(tmp_path / "only" / "x.png")
    assert len(open_data(str(tmp_path))) == 1
    with pytest.raises(DataError, match="two classes to tell apart"):
        train_and_val(str(tmp_path))


def test_other_classes_are_matched_by_name(folder: Path) -> None:
    data = relabelled(open_data(str(folder)), ["zebra", "bee", "ant", "Cat"])
    assert counts(data) == [0, 2, 4, 6]
    assert data.names[-1] == str(Path("bee", "1.png"))


def test_an_empty_class_and_a_folder_without_classes_are_named(tmp_path: Path, folder: Path) -> None:
    (folder / "dog").mkdir()
    with pytest.raises(DataError, match="every class must have a picture, and dog has none"):
        open_data(str(folder))
    paint(tmp_path / "flat" / "x.png")
    with pytest.raises(DataError, match="a subfolder for each class"):
        open_data(str(tmp_path / "flat"))


def test_an_unreadable_picture_is_named_when_its_turn_comes(folder: Path) -> None:
    (folder / "ant" / "2.png").write_bytes(b"no picture")
    data = open_data(str(folder))
    with pytest.raises(PictureError, match=r"2\.png"):
        data.read(list(data.names).index(str(Path("ant", "2.png"))))


@pytest.mark.parametrize(
    ("labels", "names", "classes", "rule"),
    [
        ((), (), ("a",), "at least one"),
        ((0,), ("x", "y"), ("a",), "2 pictures and 1 labels"),
        ((0, 2), ("x", "y"), ("a", "b"), "from 0 to 1, and that of y is 2"),
        ((0, -1), ("x", "y"), ("a", "b"), "that of y is -1"),
        ((0,), ("x",), ("a", "a"), "a stands twice"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    labels: tuple[int, ...], names: tuple[str, ...], classes: tuple[str, ...], rule: str
) -> None:
    with pytest.raises(DataError, match=rule):
        Labelled(classes, labels, names, lambda _: Image.new("RGB", (1, 1)))


def write_npz(path: Path, first: int, **changed: np.ndarray) -> Path:
    grey = np.arange(first, first + 3, dtype=np.uint8)
    arrays = {
        "images": np.broadcast_to(grey[:, None, None, None], (3, 6, 8, 3)),
        "labels": np.array([1, 0, 1], np.uint8),
        "classes": np.array(["no", "yes"]),
    }
    np.savez(path, **arrays | changed)  # type: ignore[arg-type]
    return path


def test_npz_files_are_read_alone_and_joined(tmp_path: Path) -> None:
    one, two = write_npz(tmp_path / "part_0.npz", 0), write_npz(tmp_path / "part_1.npz", 50)
    data = open_data(str(one))
    assert (data.classes, data.labels) == (("no", "yes"), (1, 0, 1))
    joined = open_data(str(tmp_path / "part_*.npz"))
    assert joined.labels == (1, 0, 1, 1, 0, 1)
    assert joined.names[4] == "part_1.npz[1]"
    assert [grey_of(joined, i) for i in range(6)] == [0, 1, 2, 50, 51, 52]
    write_npz(two, 50, classes=np.array(["yes", "no"]))
    with pytest.raises(DataError, match="must agree in classes"):
        open_data(str(tmp_path / "part_*.npz"))


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"images": np.zeros((3, 6, 8, 3), np.float32)}, "uint8"),
        ({"images": np.zeros((3, 6, 8), np.uint8)}, r"\(N, H, W, 3\)"),
        ({"labels": np.zeros(2, np.int64)}, "3 whole numbers"),
        ({"labels": np.zeros(3)}, "whole numbers"),
        ({"labels": np.array([0, 1, 2])}, "from 0 to 1"),
        ({"classes": np.array([b"no", b"yes"])}, "texts"),
        ({"classes": np.array(["no", None], object)}, "without pickles"),
    ],
)
def test_an_npz_of_another_form_is_refused(tmp_path: Path, changed: dict[str, np.ndarray], rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        open_data(str(write_npz(tmp_path / "x.npz", 0, **changed)))


def test_what_is_no_npz_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"x\.npz must be an \.npz"):
        open_data(str(tmp_path / "x.npz"))
    np.savez(tmp_path / "y.npz", images=np.zeros(1))
    with pytest.raises(DataError, match=r"y\.npz must be an \.npz of images, labels and classes"):
        open_data(str(tmp_path / "y.npz"))
    with pytest.raises(DataError, match="nothing lies at"):
        open_data(str(tmp_path / "z*.npz"))


def test_an_unknown_name_gets_its_near_misses_and_a_wrong_path_is_named() -> None:
    with pytest.raises(DataError, match=r"'CIFAR11' is none; did you mean CIFAR10\b"):
        open_data("CIFAR11")
    with pytest.raises(DataError, match="'no/such/folder' is none: nothing lies there"):
        open_data("no/such/folder")
