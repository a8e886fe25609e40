"""``download`` prints where weights lie; ``verify`` says which promise they break."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from senet_zoo.cli import main
from senet_zoo.hub import tensor_files


def test_download_prints_a_path_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "se_resnet20", "resnet20.cifar10"]) == 0
    paths = capsys.readouterr().out.splitlines()
    assert len(paths) == 2
    assert all(Path(path).is_file() for path in paths)


def test_download_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "se_resnet20", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["failures"] == []
    (file,) = document["files"]
    assert file["name"] == "se_resnet20.cifar10"
    assert Path(file["path"]).is_file()
    assert len(file["sha256"]) == 64


def test_the_embedded_checkpoint_is_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("se_resnet20.cifar10: every check holds")
    assert main(["verify", "--json", "resnet20"]) == 0
    (file,) = json.loads(capsys.readouterr().out)
    assert file["ok"]
    assert all(check["ok"] for check in file["checks"])


def test_a_file_of_ones_own_is_checked_against_its_model(
    random_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(random_weights), "--model", "se_resnet20"]) == 0
    assert "NO" not in capsys.readouterr().out


def test_a_value_that_is_not_finite_is_status_1_and_its_tensor_is_named(
    random_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors = load_file(random_weights)
    tensors["classifier.weight"][3, 5] = torch.nan
    tensor_files.write(random_weights, tensors, {})
    assert main(["verify", str(random_weights), "--model", "se_resnet20"]) == 1
    out = capsys.readouterr().out
    assert "NOT WHOLE" in out
    assert "classifier.weight" in out


def test_weights_of_another_network_are_status_1(random_weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(random_weights), "--model", "resnet20"]) == 1
    out = capsys.readouterr().out
    assert re.search(r"^  tensors +NO .*36 unexpected: stages", out, re.MULTILINE)


def test_a_missing_file_is_status_1_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path / "gone.safetensors"), "--model", "se_resnet20"]) == 1
    assert re.search(r"^  file +NO .*gone\.safetensors", capsys.readouterr().out, re.MULTILINE)
