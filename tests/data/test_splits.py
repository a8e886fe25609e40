"""Parts of a data set are found under every usual name; what could be a part or a class is asked, not guessed."""

import os
import re
from pathlib import Path

import pytest
from PIL import Image

from senet_zoo.data.datasets import open_data, train_and_val
from senet_zoo.data.splits import split_of
from senet_zoo.errors import DataError

CLASSES = ("cat", "dog")


def paint(folder: Path, count: int = 1) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new("RGB", (8, 6)).save(folder / f"{number}.png")


def tree(root: Path, **parts: int) -> Path:
    for part, count in parts.items():
        for name in CLASSES:
            paint(root / part.replace("__", "/") / name, count)
    return root


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (
            "train Train TRAIN training Training train_set trainset seg_train train2017 images_train training-data",
            "train",
        ),
        ("val Val valid VALID validation Validation val_images seg_val validation_set dev", "val"),
        ("test Test testing TESTING test_set testset seg_test test_images", "test"),
        ("trainer trains tester contest evaluation seg_pred interval valley device latest test_dog untrained", None),
    ],
)
def test_a_part_is_known_by_its_usual_names(names: str, split: str | None) -> None:
    assert {name: split_of(name) for name in names.split()} == dict.fromkeys(names.split(), split)


@pytest.mark.parametrize(
    ("train", "val"),
    [("Train", "Val"), ("training", "validation"), ("TRAIN", "VALID"), ("seg_train", "seg_val"), ("train_set", "dev")],
)
def test_a_run_learns_classes_and_measures_on_the_part_for_it(tmp_path: Path, train: str, val: str) -> None:
    tree(tmp_path, **{train: 5, val: 2, "Testing": 3})
    learnt, measured = train_and_val(str(tmp_path))
    assert (learnt.classes, len(learnt), len(measured)) == (CLASSES, 10, 4)
    assert len(open_data(str(tmp_path))) == 4
    assert len(open_data(str(tmp_path), "test")) == 6


def test_training_and_testing_are_parts(tmp_path: Path) -> None:
    tree(tmp_path, Training=10, Testing=2)
    learnt, measured = train_and_val(str(tmp_path))
    assert (learnt.classes, len(learnt), len(measured)) == (CLASSES, 18, 2)
    assert all(name.startswith("Training") for name in (*learnt.names, *measured.names))


def test_a_part_s_folder_may_lie_in_itself(tmp_path: Path) -> None:
    tree(tmp_path, seg_train__seg_train=2, seg_test__seg_test=3)
    assert open_data(str(tmp_path), "train").classes == CLASSES
    assert len(open_data(str(tmp_path))) == 6


@pytest.mark.parametrize("around", ["archive", "archive/my data", "images", "a/b/c/d"])
def test_a_folder_around_the_parts_is_entered_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, around: str
) -> None:
    """An archive's own folder, and YOLO's ``images`` with its texts beside it."""
    tree(tmp_path / around, Train=3, valid=2)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "0.txt").write_text("0 0.5 0.5 1 1")
    learnt, measured = train_and_val(str(tmp_path))
    assert (learnt.classes, len(learnt), len(measured)) == (CLASSES, 6, 4)
    assert caplog.messages == [f"{tmp_path}: its data lies in {around}"]


def test_a_folder_around_the_classes_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One class may have folders of its own, so that it is asked and not guessed."""
    for name in CLASSES:
        paint(tmp_path / "flowers" / name)
    assert open_data(str(tmp_path)).classes == ("flowers",)
    assert caplog.messages == [
        f"{tmp_path}: flowers is taken for the one class; give that folder, if cat, dog are the classes"
    ]
    caplog.clear()
    paint(tmp_path / "flowers")
    assert open_data(str(tmp_path)).classes == ("flowers",)
    assert caplog.messages == []


def test_two_folders_of_data_are_not_chosen_from(tmp_path: Path) -> None:
    tree(tmp_path / "one", train=1)
    tree(tmp_path / "other", train=1)
    assert open_data(str(tmp_path)).classes == ("one", "other")


@pytest.mark.parametrize("names", [("01_train", "02_val"), ("birds-train", "birds-test"), ("my train", "my dev")])
def test_names_with_a_part_s_word_are_a_question(tmp_path: Path, names: tuple[str, ...]) -> None:
    tree(tmp_path, **dict.fromkeys(names, 2))
    with pytest.raises(DataError, match="may be parts of a data set or classes: call parts train, val and test"):
        open_data(str(tmp_path))


def test_two_folders_for_one_part_are_both_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"one part to validate on, and .* has both val and valid: rename one"):
        open_data(str(tree(tmp_path, train=1, val=1, valid=1)))


def test_parts_without_classes_are_not_taken_for_classes(tmp_path: Path) -> None:
    paint(tmp_path / "Train", 3)
    paint(tmp_path / "Test", 3)
    with pytest.raises(DataError, match=r"Test, Train in .* no subfolder for each class.*--labels"):
        train_and_val(str(tmp_path))


@pytest.mark.parametrize("names", [("train", "test"), ("train", "valid", "sample"), ("test1", "Training", "x", "y")])
def test_two_parts_are_never_two_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        paint(tmp_path / name)
    with pytest.raises(DataError, match="called as parts of a data set are, not as classes"):
        open_data(str(tmp_path))


def test_a_class_called_as_a_part_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("test", "control"):
        paint(tmp_path / name)
    assert open_data(str(tmp_path)).classes == ("control", "test")
    (line,) = [record.getMessage() for record in caplog.records]
    assert "test is taken for a class" in line


def test_what_lies_beside_two_parts_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tree(tmp_path, train=2, val=1)
    paint(tmp_path / "unlabelled")
    paint(tmp_path / "test")
    (tmp_path / "docs").mkdir()
    assert len(open_data(str(tmp_path))) == 2
    (line,) = [record.getMessage() for record in caplog.records]
    assert re.search("passed over the folders test, unlabelled, .* parts are train, val", line)


def test_one_part_beside_strangers_is_a_question(tmp_path: Path) -> None:
    tree(tmp_path, train=2)
    paint(tmp_path / "bus")
    with pytest.raises(DataError, match=r"train in .* beside it lie pictures in bus: .*rename it if it is a class"):
        train_and_val(str(tmp_path))


def test_a_single_part_beside_unlabelled_test_pictures_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree(tmp_path, train=10)
    paint(tmp_path / "test", 3)
    learnt, measured = train_and_val(str(tmp_path))
    assert (len(learnt), len(measured)) == (18, 2)
    assert "passed over the folders test" in caplog.text


def test_a_disk_station_s_folders_are_no_classes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("cat", "dog", "@eaDir", "__MACOSX", "cat/@eaDir"):
        paint(tmp_path / name, 2)
    paint(tmp_path)
    (tmp_path / "cat" / "x.heicx").touch()
    (tmp_path / "labels.csv").touch()
    data = open_data(str(tmp_path))
    assert (data.classes, len(data)) == (CLASSES, 4)
    (line,) = [record.getMessage() for record in caplog.records]
    for counted in ("2 folders @eaDir", "1 folders __MACOSX", "1 .heicx", "1 pictures outside the folders"):
        assert counted in line


def test_an_empty_class_says_what_lies_there_instead(tmp_path: Path) -> None:
    paint(tmp_path / "cat")
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "x.raw").touch()
    with pytest.raises(DataError, match=r"dog has none \(1 \.raw\)"):
        open_data(str(tmp_path))


def test_a_name_that_is_not_utf_8_becomes_text(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    try:
        paint(tmp_path / odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    paint(tmp_path / "tea")
    data = open_data(str(tmp_path))
    assert data.classes == ("caf\\xe9", "tea")
    assert "".join((*data.classes, *data.names)).encode()
    assert data.read(0).size == (8, 6)
