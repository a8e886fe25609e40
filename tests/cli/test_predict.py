"""``predict`` prints every picture's classes and names those that cannot be read."""

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import senet_zoo
from senet_zoo.cli import main
from senet_zoo.prediction.predictor import EMBEDDED, PHOTOGRAPHS

SAMPLES = Path(__file__).parents[2] / "samples"


@pytest.fixture
def own(random_weights: Path) -> list[str]:
    return ["predict", "--model", "se_resnet20", "--weights", str(random_weights), "--device", "cpu"]


def test_in_a_pipe_one_line_a_picture(own: list[str], pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*own, str(pictures), "--top", "3"]) == 0
    out, err = capsys.readouterr()
    lines = [line.split("\t") for line in out.splitlines()]
    assert [line[0] for line in lines] == [str(pictures / name) for name in ("1.png", "2.jpg", "10.png")]
    for _, *cells in lines:
        assert len(cells) == 6
        assert all(cells[::2])
        assert [float(p) for p in cells[1::2]] == sorted((float(p) for p in cells[1::2]), reverse=True)
    assert err == ""


def test_on_a_terminal_an_aligned_table(
    own: list[str], pictures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "250")
    assert main([*own, str(pictures)]) == 0
    known, head, *rows = capsys.readouterr().out.splitlines()
    assert "knows 10 classes: class 0, class 1, class 2" in known
    assert len(rows) == 3
    column = head.index("runners-up")
    assert all(row[: column - 2].endswith("%") and row[column - 2 : column] == "  " for row in rows)
    assert all(row.count("%") == 5 for row in rows)


def test_a_narrow_terminal_wraps_under_its_column(
    own: list[str], pictures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.chdir(pictures)
    assert main([*own, "1.png"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith("file"))
    head, first, *rest = lines[start:]
    assert rest
    assert max(map(len, [first, *rest])) <= 60
    assert all(line[: head.index("runners-up")].isspace() for line in rest)


def test_json_parses_and_holds_the_same(own: list[str], pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pictures / "3.png").write_bytes(b"no picture")
    assert main([*own, str(pictures), "--json", "--top", "2"]) == 1
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert [Path(each["path"]).name for each in document["predictions"]] == ["1.png", "2.jpg", "10.png"]
    assert all(len(each["classes"]) == 2 for each in document["predictions"])
    assert [Path(each["path"]).name for each in document["failures"]] == ["3.png"]
    assert "3.png" in err


def test_batches_change_no_line(own: list[str], pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([*own, str(pictures), "--json"])
    together = json.loads(capsys.readouterr().out)["predictions"]
    main([*own, str(pictures), "--json", "--batch", "1"])
    apart = json.loads(capsys.readouterr().out)["predictions"]
    for left, right in zip(together, apart, strict=True):
        assert left["path"] == right["path"]
        for one, other in zip(left["classes"], right["classes"], strict=True):
            assert one["label"] == other["label"]
            assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)


def test_a_list_on_standard_input_and_a_file_url(
    own: list[str], pictures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = f"{pictures / '10.png'}\n\n{(pictures / '1.png').as_uri()}\r\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(names.encode())))
    assert main([*own, "-", str(pictures / "2.jpg")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [Path(line.split("\t")[0]).name for line in lines] == ["10.png", "1.png", "2.jpg"]


def test_what_cannot_be_read_is_named_and_status_is_1(
    own: list[str], pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "2.jpg").write_bytes((pictures / "2.jpg").read_bytes()[:300])
    assert main([*own, str(pictures), str(pictures / "gone.png")]) == 1
    out, err = capsys.readouterr()
    assert [Path(line.split("\t")[0]).name for line in out.splitlines()] == ["1.png", "10.png"]
    assert len(err.splitlines()) == 2
    assert "2.jpg" in err
    assert "gone.png" in err


def test_an_empty_folder_is_one_error_and_status_1(
    own: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert main([*own, str(tmp_path / "empty")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert "a folder to read must hold a picture" in err
    assert str(tmp_path / "empty") in err


def test_a_name_with_a_line_break_does_not_break_the_lines(
    own: list[str], pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "1.png").rename(pictures / "a\nb\x1b[31m.png")
    assert main([*own, str(pictures)]) == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 3
    assert r"a\nb\x1b[31m.png" in out


def test_weights_that_are_no_weights_are_status_1(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pictures / "w.safetensors").write_bytes(b"<!doctype html>")
    words = ["predict", str(pictures), "--model", "se_resnet20", "--weights", str(pictures / "w.safetensors")]
    assert main(words) == 1
    assert "HTML" in capsys.readouterr().err


def test_the_samples_are_classified_without_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(SAMPLES), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["weights"] == "se_resnet20.cifar10"
    right = [Path(each["path"]).stem == each["classes"][0]["label"] for each in document["predictions"]]
    assert len(right) == 10
    assert sum(right) >= 8


def test_the_newcomers_command_runs_in_a_pipe() -> None:
    done = subprocess.run([sys.executable, "-m", "senet_zoo", "predict", str(SAMPLES)], capture_output=True, text=True)
    assert done.returncode == 0
    assert "se_resnet20.cifar10 knows 10 classes: airplane, automobile" in done.stderr
    assert len(done.stdout.splitlines()) == 10


def test_each_picture_is_answered_by_the_network_for_its_size(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (640, 480), "green").save(pictures / "3.jpg")
    assert main(["predict", str(pictures), "--device", "cpu", "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    answered = {Path(each["path"]).name: each["network"] for each in document["predictions"]}
    assert answered == dict.fromkeys(["1.png", "2.jpg", "10.png"], EMBEDDED) | {"3.jpg": PHOTOGRAPHS}
    assert [each["name"] for each in document["networks"]] == [EMBEDDED, PHOTOGRAPHS]
    assert f"{PHOTOGRAPHS} knows 10 classes: " in " ".join(err.split())


@pytest.mark.parametrize("option", ["--model", "--weights"])
def test_a_saved_folder_alone_names_its_network(
    option: str, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = senet_zoo.create_model("se_resnet20", num_classes=2)
    ready = senet_zoo.Preprocessing(size=32, resize=32)
    senet_zoo.save_pretrained(model, tmp_path / "run1", categories=("left", "ri\nght"), preprocessing=ready)
    monkeypatch.chdir(tmp_path)
    assert main(["predict", str(pictures / "1.png"), option, "run1", "--device", "cpu"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert set(line.split("\t")[1::2]) == {"left", r"ri\nght"}


def test_csv_and_jsonl_hold_the_same_as_json(
    own: list[str], pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*own, str(pictures), "--top", "2"]
    assert main([*words, "--json"]) == 0
    wanted = json.loads(capsys.readouterr().out)["predictions"]
    assert main([*words, "--output", str(tmp_path / "answers.jsonl")]) == 0
    assert main([*words, "--output", str(tmp_path / "answers.csv")]) == 0
    assert capsys.readouterr().out == ""
    assert [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()] == wanted
    with (tmp_path / "answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    labels = [(each["path"], one["label"]) for each in wanted for one in each["classes"]]
    assert [(row["file"], row["label"]) for row in rows] == labels
    assert [row["rank"] for row in rows] == ["1", "2"] * 3


def test_an_output_file_is_written_whole_or_not_at_all(
    own: list[str], pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "answers.csv"
    target.write_text("earlier")
    assert main([*own, "-", "--output", str(target), "--weights", "none.safetensors"]) == 1
    assert target.read_text() == "earlier"
    assert main([*own, str(pictures), "--output", str(tmp_path)]) == 2
    assert "--output must be a file" in capsys.readouterr().err
    assert main([*own, str(pictures), "--output", str(tmp_path / "no folder" / "x.csv")]) in (0, 2)
    assert "Traceback" not in capsys.readouterr().err


def test_names_that_end_in_a_zero_byte(
    own: list[str], pictures: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "1.png").rename(pictures / "a\nb.png")
    names = f"{pictures}/a\nb.png\0{pictures}/2.jpg\0"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(names.encode())))
    assert main([*own, "-0", "-"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_an_empty_list_on_standard_input_is_one_error(
    own: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n")))
    assert main([*own, "-"]) == 1
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert "the list on standard input is empty" in err


def test_a_network_without_classes_is_told_what_it_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, data = tmp_path / "features", tmp_path / "data"
    senet_zoo.save_pretrained(senet_zoo.create_model("se_resnet20", num_classes=0), network)
    for name in ("a", "b"):
        (data / name).mkdir(parents=True)
        shutil.copy(SAMPLES / "cat.png", data / name)
    assert main(["export", "--weights", str(network), "-o", str(tmp_path / "x.onnx")]) == 0
    for words in (
        ["predict", "--weights", str(network), str(SAMPLES / "cat.png")],
        ["predict", "--exported", str(tmp_path / "x.onnx"), str(SAMPLES / "cat.png")],
        ["evaluate", str(data), "--weights", str(network)],
        ["excite", str(data), "--weights", str(network), "-o", str(tmp_path / "report")],
    ):
        capsys.readouterr()
        assert main(words) in (1, 2)
        out, err = capsys.readouterr()
        assert out == ""
        assert "it answers features" in err.splitlines()[-1]
        assert not (tmp_path / "report").exists()
