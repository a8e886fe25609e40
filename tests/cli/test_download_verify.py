"""``download`` prints where weights lie; ``verify`` says which promise they break."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from senet_zoo.cli import main
from senet_zoo.formats import safetensors


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
    safetensors.write(random_weights, tensors, {})
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


def test_a_pattern_downloads_all_that_match(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "*.cifar10", "se_resnet20"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert main(["download", "zzz*"]) == 2
    assert "no published weights match 'zzz*'" in capsys.readouterr().err


def test_a_kit_is_written_and_proven(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kit = tmp_path / "kit"
    assert main(["download", "*.cifar10", "--to", str(kit)]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.relative_to(kit).as_posix() for path in paths] == [
        "resnet20/cifar10/model.safetensors",
        "se_cifarnet/cifar10/model.safetensors",
        "se_resnet20/cifar10/model.safetensors",
    ]
    assert main(["verify", str(kit)]) == 0
    assert capsys.readouterr().out.startswith(f"{kit}: every check holds")
    paths[0].write_bytes(paths[0].read_bytes()[:-1])
    (kit / "notes.txt").write_text("mine")
    paths[2].unlink()
    assert main(["verify", str(kit)]) == 1
    out = capsys.readouterr().out
    assert "NOT WHOLE" in out
    assert re.search(r"^  resnet20/cifar10/model.safetensors +NO +changed", out, re.MULTILINE)
    assert re.search(r"^  se_resnet20/cifar10/model.safetensors +NO +missing", out, re.MULTILINE)
    assert re.search(r"^  nothing else +NO +extra: notes.txt", out, re.MULTILINE)


def test_a_kit_that_is_proven_deeply_runs_its_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "se_resnet20", "--to", str(tmp_path / "kit")]) == 0
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "kit"), "--deep", "--json"]) == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert document["checks"][-1]["name"] == "function of se_resnet20.cifar10"
    assert document["checks"][-1]["ok"]


def test_a_folder_that_takes_no_file_is_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["download", "se_resnet20", "--to", str(tmp_path / "file")]) == 1
    assert f"{tmp_path / 'file'} did not take the file" in capsys.readouterr().err


def test_deep_compares_the_logits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--deep"]) == 0
    assert re.search(
        r"^  function +yes +the published one: greatest deviation \S+ of", capsys.readouterr().out, re.MULTILINE
    )


def test_deep_is_status_1_where_the_function_is_another(
    random_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["verify", str(random_weights), "--model", "se_resnet20.cifar10"]
    assert main(words) == 0
    capsys.readouterr()
    assert main([*words, "--deep"]) == 1
    out = capsys.readouterr().out
    assert re.search(r"^  function +NO +not the published one: greatest deviation .* published as", out, re.MULTILINE)
    assert "other weights, or another function" in out
