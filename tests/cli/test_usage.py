"""Every command explains itself, and a misspelt word gets its near misses and status 2."""

import re
import subprocess
import sys

import pytest

from senet_zoo.cli import COMMANDS, main


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
        (["predict", "x.png", "--weights", "w.safetensors"], "add --model NAME"),
        (["predict", "x.png", "--device", "gpu"], "named like cpu, cuda or cuda:1, got 'gpu'"),
        (["predict", "x.png", "--device", "cuda:99"], "'cuda:99' does not"),
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


def test_python_dash_m_is_the_same_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "senet_zoo", "list", "se_resnet2?"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "se_resnet20\n", "")


def test_a_reader_that_leaves_early_is_no_crash() -> None:
    done = subprocess.run(
        f"'{sys.executable}' -m senet_zoo list --json | true", shell=True, capture_output=True, text=True
    )
    assert done.stderr == ""
