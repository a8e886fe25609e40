"""Pictures whose labels stand in a file: flat folders and the ILSVRC tar, in the forms that such files come in."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from senet_zoo.data.datasets import open_data
from senet_zoo.data.labelled import Labelled
from senet_zoo.data.labels import read_labels
from senet_zoo.errors import DataError, PictureError, UsageError

NAMES = ("ILSVRC2012_val_00000001.JPEG", "ILSVRC2012_val_00000002.JPEG", "ILSVRC2012_val_00000010.JPEG")
MAP = "n02119789 1 kit_fox\nn02100735 2 English_setter\nn02110185 3 Siberian_husky\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "val").mkdir()
    for grey, name in enumerate(NAMES):
        Image.new("L", (8, 6), 40 * grey).save(tmp_path / "val" / name, "jpeg")
    return tmp_path / "val"


@pytest.fixture
def tar(folder: Path, tmp_path: Path) -> Path:
    with tarfile.open(tmp_path / "val.tar", "w") as file:
        for path in sorted(folder.iterdir(), reverse=True):
            file.add(path, path.name)
    return tmp_path / "val.tar"


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def shown(data: Labelled) -> list[tuple[str, str]]:
    return [(name, data.classes[label]) for name, label in zip(data.names, data.labels, strict=True)]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("l.txt", "{0} setter\n{1} fox\n\n{2} setter\n"),
        ("l.txt", "{0}\tsetter\n{1}\tfox\n{2}\tsetter\n"),
        ("l.txt", "setter\nfox\nsetter\n"),
        ("l.csv", "{0},setter\n{1},fox\n{2},setter\n"),
        ("l.csv", "name,label\n{0},setter\n{1},fox\n{2},setter\n"),
        ("l.tsv", "name\tlabel\n{0}\tsetter\n{1}\tfox\n{2}\tsetter\n"),
        ("l.csv", "name;label\n{0};setter\n{1};fox\n{2};setter\n"),
        ("l.CSV", '"name", "label"\n"{0}", "setter"\n\n "{1}" ,fox\n{2} , setter\n'),
        ("l.txt", '"{0}" setter\n"{1}"\t"fox"\n{2} "setter"\n'),
        ("l.csv", "label\nsetter\nfox\nsetter\n"),
        ("l.csv", "setter\nfox\nsetter\n"),
        ("l.csv", "\ufeff{0},setter\r\n{1},fox\r\n{2},setter\r\n"),
    ],
)
def test_every_form_labels_alike(folder: Path, tmp_path: Path, file: str, text: str) -> None:
    data = open_data(str(folder), labels=write(tmp_path / file, text.format(*NAMES)))
    assert data.classes == ("fox", "setter")
    assert shown(data) == list(zip(NAMES, ("setter", "fox", "setter"), strict=True))
    assert [int(np.asarray(data.read(i))[0, 0, 0]) for i in range(3)] == [0, 40, 80]


def test_numbers_count_from_0_and_are_called_by_their_number_or_by_a_file_of_classes(
    folder: Path, tmp_path: Path
) -> None:
    labels = write(tmp_path / "val.txt", f"{NAMES[2]} 2\n{NAMES[0]} 0\n")
    assert shown(open_data(str(folder), labels=labels)) == [(NAMES[2], "2"), (NAMES[0], "0")]
    words = write(tmp_path / "words.txt", "grey fox\nred fox\nhusky\n")
    data = open_data(str(folder), labels=labels, classes=words)
    assert data.classes == ("grey fox", "red fox", "husky")
    assert shown(data) == [(NAMES[2], "husky"), (NAMES[0], "grey fox")]


def test_the_ilsvrc_tar_is_read_in_place_with_the_kit_s_numbers(tar: Path, tmp_path: Path) -> None:
    truth = write(tmp_path / "ILSVRC2012_validation_ground_truth.txt", "3\n1\n2\n")
    data = open_data(str(tar), labels=truth, classes=write(tmp_path / "map_clsloc.txt", MAP))
    assert shown(data) == list(zip(NAMES, ("n02110185", "n02119789", "n02100735"), strict=True))
    with pytest.raises(DataError, match=r"from 1 in an order of its own: .*map_clsloc\.txt"):
        open_data(str(tar), labels=truth)
    assert [int(np.asarray(data.read(i))[0, 0, 0]) for i in range(3)] == [0, 40, 80]


def test_the_ilsvrc_tar_is_read_with_a_synset_a_line(tar: Path, tmp_path: Path) -> None:
    data = open_data(str(tar), labels=write(tmp_path / "synsets.txt", "n02110185\nn02119789\nn02110185\n"))
    assert data.classes == ("n02110185", "n02119789")
    assert data.labels == (0, 1, 0)


def test_a_damaged_picture_in_a_tar_is_named(tar: Path, tmp_path: Path) -> None:
    data = open_data(str(tar), labels=write(tmp_path / "l.txt", "a\nb\na\n"))
    whole = tar.read_bytes()
    tar.write_bytes(whole.replace(b"\xff\xd8\xff", b"none"[:3]))
    with pytest.raises(PictureError, match=r"^ILSVRC2012_val_00000002\.JPEG: a picture must be"):
        data.read(1)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "must have a line"),
        ("a\nb\n", "has 2 for 3"),
        ("gone.JPEG a\n", "1 are not, such as 'gone.JPEG'"),
        (f"{NAMES[0]} a\nb\n", "one label on every line"),
        (f"{NAMES[0]} 1\n{NAMES[0]} 2\n", "'ILSVRC2012_val_00000001.JPEG' stands there twice"),
        (f"{NAMES[0]} 99999999999\n", "below 1000000, and has 99999999999"),
        (f"{NAMES[0]} 3\n", "from 0 to 2, and that of .*01.JPEG is 3"),
        (f"{NAMES[0]} n00000000\n", "'n00000000' is none of them"),
    ],
)
def test_a_file_of_labels_that_does_not_fit_is_refused(folder: Path, tmp_path: Path, text: str, rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        open_data(str(folder), labels=write(tmp_path / "l.txt", text), classes=write(tmp_path / "m.txt", MAP))


def test_files_of_labels_that_are_missing_needless_or_unreadable_are_refused(
    folder: Path, tar: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="does not say what its pictures show"):
        open_data(str(tar))
    with pytest.raises(DataError, match=r"readable text.*gone\.txt"):
        open_data(str(tar), labels=tmp_path / "gone.txt")
    (tmp_path / "classes" / "a").mkdir(parents=True)
    (folder / NAMES[0]).rename(tmp_path / "classes" / "a" / "x.jpg")
    with pytest.raises(UsageError, match="labels of its own"):
        open_data(str(tmp_path / "classes"), classes=write(tmp_path / "m.txt", MAP))


def test_a_tar_that_is_compressed_or_empty_is_refused(tmp_path: Path) -> None:
    labels = write(tmp_path / "l.txt", "a\n")
    with tarfile.open(tmp_path / "x.tar", "w:gz") as file:
        file.add(labels, "l.txt")
    with pytest.raises(DataError, match="not compressed"):
        open_data(str(tmp_path / "x.tar"), labels=labels)
    with tarfile.open(tmp_path / "y.tar", "w") as file:
        file.add(labels, "l.txt")
    with pytest.raises(DataError, match="holds none"):
        open_data(str(tmp_path / "y.tar"), labels=labels)


def test_a_label_may_hold_commas_blanks_and_quotes(folder: Path, tmp_path: Path) -> None:
    text = f'name,label\n{NAMES[0]},"retriever, golden"\n{NAMES[1]},"the ""best"" one"\n'
    assert open_data(str(folder), labels=write(tmp_path / "l.csv", text)).classes == (
        "retriever, golden",
        'the "best" one',
    )
    text = f"{NAMES[0]} golden retriever\n{NAMES[1]}\tEnglish setter\n"
    assert open_data(str(folder), labels=write(tmp_path / "l.txt", text)).classes == (
        "English setter",
        "golden retriever",
    )


@pytest.mark.parametrize(
    ("first", "rule"),
    [
        ("9.png,cat", "1 are not, such as '9.png'"),
        ("9.HEIC,cat", "such as '9.HEIC'; (names look like|HEIC is read where)"),
        ("nine,dog", "1 are not, such as 'nine'"),
        ("nine,3", "1 are not, such as 'nine'"),
    ],
)
def test_a_first_line_that_names_a_missing_picture_is_no_head(
    folder: Path, tmp_path: Path, first: str, rule: str
) -> None:
    text = f"{first}\n{NAMES[0]},dog\n{NAMES[1]},dog\n"
    with pytest.raises(DataError, match=rule):
        open_data(str(folder), labels=write(tmp_path / "l.csv", text))


@pytest.mark.parametrize("missing", ["", "nan", "NaN", "-1", "-1.0", "<NA>"])
@pytest.mark.parametrize(("file", "mark"), [("l.csv", ","), ("l.tsv", "\t"), ("l.csv", ";")])
def test_a_line_without_a_label_is_named(folder: Path, tmp_path: Path, missing: str, file: str, mark: str) -> None:
    text = f"{NAMES[0]}{mark}dog\n\n{NAMES[1]}{mark}{missing}\n{NAMES[2]}{mark}cat\n"
    if mark == "\t" and not missing:
        text = text.replace("\t\n", '\t""\n')
    with pytest.raises(DataError, match=rf"line 3: a picture must have a label.*got '{missing}'.*remove the line"):
        open_data(str(folder), labels=write(tmp_path / file, text))


@pytest.mark.parametrize(
    ("label", "rule"),
    [
        ("8" * 5000, r"line 2: it must number classes below 1000000, and has 8{40}\.\.\."),
        ("1000000", "line 2: it must number classes below 1000000"),
        ("1.0", r"line 2: a class's number must be a whole one, got '1\.0'"),
        ("x" * 200_000, "line 2: "),
        ("x" * 2000, "line 2: a class's name may have 1000 letters"),
    ],
    ids=lambda value: str(value)[:12],
)
@pytest.mark.parametrize("file", ["l.csv", "l.txt"])
def test_odd_labels_are_named_in_a_line(folder: Path, tmp_path: Path, file: str, label: str, rule: str) -> None:
    mark = "," if file.endswith("csv") else " "
    path = write(tmp_path / file, f"{NAMES[0]}{mark}1\n{NAMES[1]}{mark}{label}\n")
    with pytest.raises(DataError, match=rule) as caught:
        open_data(str(folder), labels=path)
    assert len(str(caught.value)) < 1000


def test_leading_zeros_change_no_number(folder: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "l.csv", f"{NAMES[0]},{'0' * 5000}7\n{NAMES[1]},07\n")
    assert open_data(str(folder), labels=path).labels == (7, 7)


def test_a_quote_that_is_not_closed_swallows_no_line(folder: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "l.csv", f'{NAMES[0]},dog\n{NAMES[1]},"cat\n{NAMES[2]},dog\n')
    with pytest.raises(DataError, match=r"line 2: .* quote"):
        open_data(str(folder), labels=path)


def test_a_million_classes_are_counted_in_a_moment(folder: Path, tmp_path: Path) -> None:
    data = open_data(str(folder), labels=write(tmp_path / "l.csv", f"{NAMES[0]},999999\n"))
    assert len(data.classes) == 10**6


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize("what", ["labels", "classes", "tar"])
def test_a_pipe_in_place_of_a_file_is_refused_at_once(folder: Path, tmp_path: Path, what: str) -> None:
    labels, classes = write(tmp_path / "l.txt", "1\n2\n3\n"), write(tmp_path / "c.txt", MAP)
    pipe = tmp_path / "pipe.tar"
    os.mkfifo(pipe)
    data = pipe if what == "tar" else folder
    with pytest.raises(DataError, match=r"pipe|nothing lies there"):
        open_data(
            str(data), labels=pipe if what == "labels" else labels, classes=pipe if what == "classes" else classes
        )


def test_pictures_without_a_label_are_counted(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "notes.pdf").touch()
    open_data(str(folder), labels=write(tmp_path / "l.csv", f"{NAMES[0]},dog\n"))
    assert [record.getMessage() for record in caplog.records] == [
        f"{folder}: passed over 2 pictures without a label, 1 .pdf"
    ]


@pytest.mark.parametrize("name", ["l.txt", "l.csv", "labels"])
@pytest.mark.parametrize("mark", [",", ", ", ";", "|"])
@pytest.mark.parametrize("head", ["", "file{0}label\n"])
def test_what_follows_a_picture_s_name_parts_the_line_whatever_the_file_is_called(
    tmp_path: Path, name: str, mark: str, head: str
) -> None:
    text = head.format(mark) + "".join(f"{each}{mark}{label}\n" for each, label in (("a.png", "cat"), ("b.png", "dog")))
    (tmp_path / name).write_text(text)
    assert read_labels(tmp_path / name, None, ("a.png", "b.png")) == (("a.png", "b.png"), (0, 1), ("cat", "dog"))


def test_names_in_another_folder_are_no_labels(tmp_path: Path) -> None:
    (tmp_path / "l.txt").write_text("flat/a.png,cat\nflat/b.png,dog\n")
    with pytest.raises(DataError, match=r"2 are not, such as 'flat/a.png'; names look like 'a.png'"):
        read_labels(tmp_path / "l.txt", None, ("a.png", "b.png"))
