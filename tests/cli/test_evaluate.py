"""``evaluate`` prints what a network scores on labelled pictures, and names those it could not read."""

import csv
import json
import re
import shutil
from functools import partial
from pathlib import Path

import pytest
import tqdm

from senet_zoo.cli import main
from senet_zoo.cli.evaluate import LABEL_ORDERS
from senet_zoo.cli.output import TimeAhead
from senet_zoo.evaluation import label_matching

SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """The samples, a folder a class."""
    for path in SAMPLES.glob("*.png"):
        (tmp_path / "data" / path.stem).mkdir(parents=True)
        shutil.copy(path, tmp_path / "data" / path.stem)
    return tmp_path / "data"


@pytest.fixture
def words(labelled: Path) -> list[str]:
    return ["evaluate", str(labelled), "--device", "cpu", "--workers", "0"]


def test_the_figures_are_printed(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 0
    out, err = capsys.readouterr()
    head, *lines = out.splitlines()
    assert head.startswith("se_resnet20.cifar10 on ")
    figures = dict(line.split(maxsplit=1) for line in lines[:4])
    assert figures["pictures"] == "10"
    assert figures["top-5"] == "100.00 %"
    assert float(figures["top-1"].removesuffix(" %")) >= 80
    assert 0 < float(figures["loss"]) < 1
    assert lines[4].startswith("calibration error ")
    assert err == ""


def test_on_a_terminal_a_bar_counts_the_pictures(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("tqdm.tqdm", partial(tqdm.tqdm, mininterval=0.0))  # a fast machine is done before it is drawn
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert "10/10" in err
    assert "pictures/s" in err
    assert "pictures/s" not in out


def test_pictures_can_be_decoded_without_other_processes(
    words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([*words, "--json"]) == 0
    by_one = capsys.readouterr().out
    monkeypatch.delattr("multiprocessing.context.BaseContext.Queue")  # what workers are handed their pictures by
    assert main([*words[:-1], "0", "--json"]) == 0
    assert capsys.readouterr().out == by_one


def test_json_and_files_hold_the_same(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--per-class", str(tmp_path / "c.csv"), "--confusion", str(tmp_path / "who.png")]
    assert main([*words, "--json", "--protocol", "ten", "--combine", "vote", *files]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["pictures"], document["protocol"], document["combine"]) == (10, "ten", "vote")
    assert document["weights"] == "se_resnet20.cifar10"
    with (tmp_path / "c.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == [each["name"] for each in document["classes"]]
    assert document["top1"] == pytest.approx(sum(float(row["top1"]) for row in rows) / 10)
    assert (tmp_path / "who.png").stat().st_size > 1000


def test_a_broken_picture_is_named_and_the_status_is_1(
    words: list[str], labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (labelled / "cat" / "2.png").write_bytes(b"no picture")
    assert main(words) == 1
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines()[1:3]] == [["pictures", "10"], ["unreadable", "1"]]
    assert len(err.splitlines()) == 1
    assert "2.png" in err
    assert main([*words, "--json"]) == 1
    assert [Path(each["name"]).name for each in json.loads(capsys.readouterr().out)["unreadable"]] == ["2.png"]


def test_a_flat_folder_with_a_file_of_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = sorted(path.stem for path in SAMPLES.glob("*.png"))
    (tmp_path / "labels.txt").write_text("".join(f"{name}.png {name}\n" for name in names[:4]))
    assert main(["evaluate", str(SAMPLES), "--labels", str(tmp_path / "labels.txt"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in document["classes"]] == names[:4]


@pytest.mark.parametrize(
    ("more", "status", "complaint"),
    [
        (["--label-order", "ilsvrc2017"], 2, "ImageNet's 1000 classes"),
        (["--weights", "x.safetensors"], 1, "must be one safetensors file"),
        (["--confusion", "who.pdf"], 2, "written as .csv or .png"),
        (["--protocol", "center"], 2, "invalid choice"),
        (["--split", "val"], 1, "no parts"),
        (["--labels", "gone.txt"], 1, "gone.txt"),
    ],
)
def test_what_cannot_be_done_is_said(
    words: list[str], more: list[str], status: int, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, *more]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert complaint in err


def test_classes_that_the_network_does_not_know_are_listed(
    words: list[str], labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (labelled / "cat").rename(labelled / "unicorn")
    assert main(words) == 1
    assert "1 of 10 are not: unicorn" in capsys.readouterr().err


def test_the_orders_of_labels_are_those_of_the_library() -> None:
    assert LABEL_ORDERS == label_matching.LABEL_ORDERS


def test_ten_crops_of_small_pictures_are_ten_and_large_ones_are_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--protocol", "multi144", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["top1"] >= 80
    assert main([*words, "--protocol", "center224"]) == 2
    assert "center224 shows crops of 224 pixels, more than twice the 32" in capsys.readouterr().err


def test_long_work_says_once_how_long_it_will_be(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = iter([100.0, 117.0])
    ahead = TimeAhead(10_000, "10000 pictures, crops of each: 144", lambda: next(seconds))
    for _ in range(5):
        ahead.update(1)
    assert capsys.readouterr().err == "10000 pictures, crops of each: 144: about 47 hours ahead\n"
    seconds = iter([0.0, 0.5])
    ahead = TimeAhead(100, "100 pictures", lambda: next(seconds))
    ahead.update(1)
    ahead.update(1)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("photo.png", "is one picture.*senet-zoo predict.*excitations"),
        ("set.zip", "is packed: unpack it"),
        ("set.tar.gz", "is packed: unpack it"),
        ("set.parquet", "is a file, and data must be a folder"),
        ("n" * 5000, "nothing lies there"),
        ("~nosuchuser/x", "nothing lies there"),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "excite", "prune"])
def test_a_file_that_is_no_data_is_named_for_what_it_is(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    name: str,
    rule: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if name != "n" * 5000 and not name.startswith("~"):
        Path(name).touch()
    more = {"excite": ["-o", "gates"], "prune": ["-o", "slim", "--stages", "4"]}.get(command, [])
    assert main([command, name, *more]) == 1
    if name == "photo.png" and command != "evaluate":
        rule = "photo.png.*empty"
    assert re.search(rule, capsys.readouterr().err)
    assert not Path("gates").exists()
    assert not Path("slim").exists()
