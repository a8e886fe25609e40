"""Every command explains itself, and a misspelt word gets its near misses and status 2."""

import argparse
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from senet_zoo import SenetZooError, create_model
from senet_zoo.cli import COMMANDS, _parser, main
from senet_zoo.cli.parser import SPELLINGS, SYNONYMS


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(re.search(rf"^    {command} ", out, re.MULTILINE) for command in COMMANDS)
    assert "senet-zoo predict samples/" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_shows_an_example_and_json(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"example:\n  senet-zoo {command}" in out
    assert "--json" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_every_word_of_an_example_is_understood(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([command, "--help"])
    out = capsys.readouterr().out
    declared, example = out.split("example:")
    assert set(re.findall(r"(?<=\s)--[a-z]+", example)) <= set(re.findall(r"--[a-z]+", declared))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predct", "x.png"], "no command is named 'predct'; did you mean predict?"),
        (["zzz"], "no command is named 'zzz'; the commands are list, info, predict, download, verify"),
        (["predict", "x.png", "--tpo", "3"], "'--tpo' is not understood; did you mean --top?"),
        (["list", "--pre"], "'--pre' is not understood"),
        (["predict", "x.png", "--top", "0"], "must be a whole number, at least 1, got '0'"),
        (["predict", "x.png", "--batch", "many"], "must be a whole number, at least 1, got 'many'"),
        (["predict"], "required: PICTURE"),
        (["info"], "required: NAME[.TAG]"),
        ([], "required: COMMAND"),
        (["info", "se_resnet5O"], "se_resnet50"),
        (["info", "se_resnet50.cafe"], "se_resnet50.caffe_in1k"),
        (["download", "se_resnt50"], "se_resnet50"),
        (["predict", "x.png", "--model", "se_resnt50"], "se_resnet50"),
        (["predict", "x.png", "--model", "./run1", "--weights", "run2"], "got './run1' and 'run2': name one of them"),
        (["export", "--model", "./run1", "--weights", "run2", "-o", "net.onnx"], "name one of them"),
        (["export", "-o", "net.onnx"], "add --model NAME or --weights FOLDER"),
        (["optimize"], "add --model NAME or --weights FOLDER"),
        (["predict", "x.png", "--json", "--format", "csv"], "contradict each other"),
        (["predict", "x.png", "--device", "gpu"], "named like cpu, cuda or cuda:1, got 'gpu'"),
        (["predict", "x.png", "--device", "cuda:99"], "'cuda:99' does not"),
        (["predict", "x.png", "--device", "mps:7"], "PyTorch has no 'mps:7' here: use --device cpu"),
        (["train", "photos", "--device", "gpu", "--model", "se_resnet20", "-o", "out"], "named like cpu, cuda"),
        (["train", "photos", "--lr", "0.1"], "'--lr' is not understood; did you mean --rate?"),
        (["train", "photos", "--learning-rate=0.1"], "did you mean --rate?"),
        (["train", "photos", "--val", "0.2"], "did you mean --val-share?"),
        (
            ["train", "photos", "--batch-size", "none"],
            "argument --batch: must be a whole number, at least 1, got 'none'",
        ),
        (["train", "photos", "--wd=much"], "argument --weight-decay: must be a number, at least 0, got 'much'"),
        (["list", "--batch-size", "8"], "'--batch-size' is not understood"),
        (["train", "photos", "--gpu", "0"], "did you mean --device?"),
        (["train", "photos", "--amp"], "did you mean --precision?"),
        (["train", "photos", "--momentum", "0.1"], "a recipe sets it, and a file of --config changes it"),
        (["export", "--modle", "se_resnet20"], "'--modle' is not understood; did you mean --model?"),
        (["manifest", "pin", "--onlin"], "'--onlin' is not understood"),
        (["predict", "x.png", "--model", ""], "asked for by its name, such as se_resnet50, got ''"),
        (["predict", "x.png", "--model", ".cifar10"], "asked for by its name, such as se_resnet50, got '.cifar10'"),
        (["info", "senet154.gluon_in1k"], "did you mean senet154b.gluon_in1k"),
        (["tables", "rato"], "no table is named 'rato'; did you mean ratio?"),
        (["tables", "zzz"], "no table is named 'zzz'; they are ratio, squeeze, gate"),
        (["tables", "nosqueeze"], "did you mean noSqueeze"),
        (["tables", "ratio", "--format", "xml"], "invalid choice: 'xml'"),
        (["tables", "ratio", "--json", "--format", "csv"], "contradict each other"),
        (["tables", "layers", "ratio", "--format", "csv"], "print it as CSV on its own"),
        (["compare"], "required: NAME"),
        (["compare", "se_resnt50"], "se_resnet50"),
        (["compare", "se_resnet50", "--size", "0"], "at least 1, got '0'"),
        (["compare", "inception_v3", "--size", "20"], "inception_v3: a picture of 20x20 pixels does not fit"),
        (["info", "se_resnet50", "--se"], "expected one argument"),
        (["info", "se_resnet50", "--se", ""], "word=value pairs"),
        (["info", "se_resnet50", "--se", "reducton=8"], "did you mean reduction?"),
        (["info", "se_resnet50", "--se", "placement=before"], "choose among standard, pre"),
        (["info", "se_resnet50", "--se", "stages=7"], "this network has stages 2 to 5"),
        (["info", "se_resnet50", "--se", "reduction=4096"], "would leave no hidden unit"),
        (["info", "se_vgg16", "--se", "placement=identity"], "got placement=identity"),
        (["info", "vgg16_bn", "--se", "reduction=8"], "goes with se_vgg16"),
        (["info", "se_resnet50.caffe_in1k", "--se", "reduction=8"], "drop --se, or the tag 'caffe_in1k'"),
    ],
)
def test_wrong_usage_is_status_2_and_names_the_way_out(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert len(err.splitlines()) == 1


def test_usual_spellings_of_options_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--arch", "resnet44", "--batch-size=8", "--wd", "1e-4", "-j", "0", "--imgsz", "32", "--show"]
    assert main([*words, "--num-epochs", "3", "--output-dir", "out", "--", "flowers"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    expected = {"model": "resnet44", "batch": 8, "weight_decay": 1e-4, "workers": 0, "size": 32, "epochs": 3}
    assert {name: shown[name] for name in expected} == expected
    assert (shown["output"], shown["data"]) == ("out", "flowers")


def test_spellings_name_options_of_some_command_and_are_none_themselves() -> None:
    parser = _parser([])
    commands = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction)).choices
    options = {option for command in commands.values() for option in command._option_string_actions}
    assert set(SPELLINGS.values()) | set(SYNONYMS.values()) <= options
    assert not SPELLINGS.keys() & SYNONYMS.keys()


@pytest.mark.parametrize(
    "words",
    [
        ["info", "se_resnet51"],
        ["download", "se_resnet110"],
        ["benchmark", "zzz*"],
        ["predict", "x.png", "--model", "se_resnet20.cifar10", "--weights", "w.safetensors"],
        ["predict", "x.png", "--exported", "net.pt2"],
    ],
)
def test_advice_speaks_of_options_and_not_of_calls(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) != 0
    err = capsys.readouterr().err
    assert not re.search(r"senet_zoo\.\w+|\w+\(|\b\w+=", err), err


def test_an_error_has_the_way_out_of_each_who_reads_it() -> None:
    with pytest.raises(SenetZooError) as caught:
        create_model("se_resnet51")
    assert "senet_zoo.list_models()" in str(caught.value)
    assert "senet_zoo." not in caught.value.for_command_line
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.for_command_line) == (str(caught.value), caught.value.for_command_line)


def test_what_a_stranger_wrote_cannot_move_the_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "\x1b[2J\u202esenet"]) == 2
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err
    assert "\u202e" not in out + err


def test_a_full_disk_under_the_output_is_one_line() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "senet_zoo", "list"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_python_dash_m_is_the_same_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "senet_zoo", "list", "se_resnet2?"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "se_resnet20\n", "")


def test_a_reader_that_leaves_early_is_no_crash() -> None:
    done = subprocess.run(
        f"'{sys.executable}' -m senet_zoo list --json | true", shell=True, capture_output=True, text=True
    )
    assert done.stderr == ""


def test_a_command_without_its_dependencies_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as after pip install --no-deps
    monkeypatch.delitem(sys.modules, "senet_zoo.analysis.listing", raising=False)
    monkeypatch.delitem(sys.modules, "senet_zoo.analysis.cost", raising=False)
    monkeypatch.delattr("senet_zoo.analysis.cost", raising=False)
    assert main(["list"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("senet-zoo list: this needs torch, which is not installed")
    assert "senet-zoo predict --exported FILE" in err
