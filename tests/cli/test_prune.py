"""``prune`` saves a smaller network and prints what it costs and scores; what it refuses leaves no folder."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import senet_zoo
from senet_zoo.cli import main
from senet_zoo.data.datasets import open_data
from senet_zoo.networks.squeeze_excite import gates
from senet_zoo.training import classification


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Ten pictures of noise a class, under the names of the embedded checkpoint's classes."""
    random = np.random.default_rng(0)
    path = tmp_path / "data.npz"
    classes = np.array(senet_zoo.get_weights("se_resnet20").categories)
    images = random.integers(0, 256, (100, 32, 32, 3), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(100) % 10, classes=classes)
    return path


def words(data: Path, *others: str) -> list[str]:
    return ["prune", str(data), "--device", "cpu", "--workers", "0", "-o", str(data.parent / "slim"), *others]


def test_the_last_stage_loses_its_gates(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words(data, "--stages", "4", "--calibrate", "30"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    report = said["report"]
    model = senet_zoo.create_model("se_resnet20", weights=said["folder"])
    assert list(model.excitations(model.stem[0].conv.weight.new_zeros(1, 3, 32, 32))) == [
        f"SE_{stage}_{block}" for stage in (2, 3) for block in (1, 2, 3)
    ]
    assert report["after"]["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    whole = senet_zoo.create_model("se_resnet20").eval()
    dropped = [gate for name, gate in gates(whole).items() if name.startswith("stages.2.")]
    lost = sum(parameter.numel() for gate in dropped for parameter in gate.parameters())
    assert report["before"]["parameters"] - report["after"]["parameters"] == lost
    assert (report["calibrated_on"], report["measured_on"]) == (30, 70)
    assert report["latency"]["lower"] <= report["latency"]["ratio"] <= report["latency"]["upper"]
    assert main(["evaluate", str(data), "--model", "se_resnet20", "--weights", said["folder"], "--workers", "1"]) == 0


def test_constant_gates_go_and_the_figures_are_printed(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words(data, "--threshold", "1e-4", "--calibrate-on", str(copy_of(data)), "--calibrate", "20")) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "se_resnet20.cifar10 on 100 pictures, calibrated on 20 others"
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines()[1:] if line.split()}
    assert rows["SE_3_3"][1:] == ["dropped"]
    assert rows["SE_4_3"][1:] == []
    assert rows["gates"] == ["9", "8", "-1"]
    assert rows["top-1"][-2:] == ["+0.00", "points"]
    assert err == ""


def copy_of(data: Path) -> Path:
    path = data.with_name("other.npz")
    path.write_bytes(data.read_bytes())
    return path


def test_channels_go_and_the_folder_goes_on(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pruned, looked at, used, fine-tuned, and used again, each by its command."""
    monkeypatch.setattr(classification, "plot_curves", lambda *_: None)
    monkeypatch.setattr(classification, "plot_confusion", lambda *_: None)
    assert main(words(data, "--channels", "0.25", "--calibrate", "30")) == 0
    out, err = capsys.readouterr()
    rows = {line.split("  ")[0].strip(): line.split() for line in out.splitlines()}
    assert [rows[f"stage {number}"][-3:] for number in (1, 2, 3, 4)] == [
        ["16", "12", "-4"], ["16", "12", "-4"], ["32", "24", "-8"], ["64", "48", "-16"]
    ]  # fmt: skip
    assert rows["gates"][-1] == "+0"
    assert err == ""

    slim, tuned = str(data.parent / "slim"), str(data.parent / "tuned")
    assert f"train DATA --model se_resnet20 --weights {slim}" in out
    assert main(["info", slim, "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert (info["name"], info["widths"]) == ("se_resnet20", [12, 12, 24, 48])
    assert f"{info['parameters']:,}" in rows["parameters"]
    assert main(["info", slim]) == 0
    assert "12, 12, 24, 48: the stem's map" in capsys.readouterr().out

    network = ["--model", "se_resnet20", "--weights"]
    run = ["--epochs", "1", "--batch", "30", "--workers", "0", "--device", "cpu"]
    assert main(["train", str(data), *network, slim, "-o", tuned, *run]) == 0
    before, after = senet_zoo.from_pretrained(slim), senet_zoo.from_pretrained(tuned)
    assert after.spec == before.spec
    assert not after.classifier.weight.equal(before.classifier.weight)
    assert main(["evaluate", str(data), *network, tuned, "--workers", "1", "--device", "cpu"]) == 0
    Image.new("RGB", (40, 30), "red").save(data.parent / "1.png")
    assert main(["predict", *network, tuned, str(data.parent / "1.png")]) == 0


@pytest.mark.parametrize(
    ("others", "message"),
    [
        (["--stages", "5"], "gates are in the stages 2, 3, 4, got 5"),
        (["--stages", "2,3,4"], "at least one gate"),
        (["--threshold", "9"], "at least one gate"),
        (["--threshold", "-1"], "above 0"),
        (["--stages", "4", "--calibrate", "100"], "of 100 at least 1 and at most 99 can calibrate, got 100"),
        (["--stages", "4", "--model", "resnet20.cifar10"], "starts with se_"),
        (["--stages", "4", "--model", "x"], "no model is named 'x'"),
        ([], "required"),
        (["--stages", "four"], "whole number"),
        (["--channels", "0"], "above 0 and below 1, got 0"),
        (["--channels", "1"], "above 0 and below 1, got 1"),
        (["--channels", "0.05"], "give at least 0.0625"),
        (["--channels", "a quarter"], "invalid float"),
        (["--channels", "0.5", "--stages", "4"], "not allowed with"),
        (["--channels", "0.5", "--model", "resnet20.cifar10"], "starts with se_"),
    ],
)
def test_what_cannot_be_leaves_no_folder(
    data: Path, others: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    calibrate = [] if "--calibrate" in others else ["--calibrate", "10"]
    assert main(words(data, *others, *calibrate)) == 2
    assert message in capsys.readouterr().err
    assert not (data.parent / "slim").exists()


def test_a_file_is_no_folder(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (data.parent / "slim").write_text("mine")
    assert main(words(data, "--channels", "0.5", "--calibrate", "10")) == 2
    assert "--output must be a folder" in capsys.readouterr().err
    assert (data.parent / "slim").read_text() == "mine"


def test_data_is_not_measured_on_what_it_calibrates(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from senet_zoo.analysis.pruning import calibration_split

    whole = open_data(str(data))
    drawn, rest = calibration_split(whole, 25)
    assert sorted([*drawn.names, *rest.names]) == sorted(whole.names)
    assert not set(drawn.names) & set(rest.names)
    assert list(calibration_split(whole, 25)[0].names) == list(drawn.names)
    assert main(words(data, "--stages", "4", "--calibrate-on", str(data))) == 2
    assert "other pictures than those measured on" in capsys.readouterr().err


@pytest.mark.parametrize(("pictures", "calibrated"), [(12, 6), (3, 1)])
def test_the_number_to_calibrate_on_shrinks_to_the_data(
    data: Path, capsys: pytest.CaptureFixture[str], pictures: int, calibrated: int
) -> None:
    with np.load(data) as file:
        kept = {name: file[name] if name == "classes" else file[name][:pictures] for name in file}
    np.savez(data, **kept)
    assert main([*words(data, "--stages", "4"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["report"]
    assert (report["calibrated_on"], report["measured_on"]) == (calibrated, pictures - calibrated)
    assert main(words(data, "--stages", "4", "--calibrate", "1000")) == 2
    assert f"at most {pictures - 1} can calibrate, got 1000" in capsys.readouterr().err


@pytest.mark.parametrize("labelled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_one_picture_calibrates_and_no_accuracy_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labelled: bool
) -> None:
    photo = tmp_path / "photos" / "cat" / "a.png"
    photo.parent.mkdir(parents=True)
    Image.new("RGB", (40, 30), "red").save(photo)
    source = photo.parent.parent if labelled else photo
    assert main(words(source, "--stages", "4")) == 0
    out, err = capsys.readouterr()
    assert "calibrated on 1 picture; no labelled picture is left to measure accuracy on" in out
    assert "top-1" not in out
    assert err == ""
    assert len(gates(senet_zoo.from_pretrained(source.parent / "slim"))) == 6
    assert main([*words(source, "--stages", "4"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["report"]
    assert (report["calibrated_on"], report["measured_on"]) == (1, 0)
    assert report["after"]["top1"] is None
    assert main(words(source, "--threshold", "0.1")) == 2
    assert "over two pictures or more" in capsys.readouterr().err


def test_a_folder_without_classes_calibrates_and_is_not_measured_on(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, colour in enumerate(("red", "green", "blue")):
        Image.new("RGB", (40, 30), colour).save(flat / f"{number}.png")
    assert main([*words(flat, "--stages", "4", "--calibrate", "2"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["report"]["calibrated_on"] == 2
    assert main([*words(data, "--stages", "4", "--calibrate-on", str(flat)), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["report"]
    assert (report["calibrated_on"], report["measured_on"]) == (3, 100)
    assert main(words(flat, "--stages", "4", "--calibrate-on", str(data))) == 2
    assert "nothing says what" in capsys.readouterr().err
