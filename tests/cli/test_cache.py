"""``cache`` says what was downloaded, and removes what it is told to."""

import json
from pathlib import Path

import pytest

from senet_zoo import get_weights
from senet_zoo.cli import main
from senet_zoo.weights.rows import HubFile

NAME = "se_resnet50.caffe_in1k"


@pytest.fixture
def downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file where huggingface_hub leaves it: a link to the bytes."""
    monkeypatch.setenv("SENET_ZOO_CACHE", str(tmp_path))
    (source,) = [source for source in get_weights(NAME).row.sources if isinstance(source, HubFile)][:1]
    repository = tmp_path / "hub" / f"models--{source.repo.replace('/', '--')}"
    blob = repository / "blobs" / "0123"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"x" * 3 * 2**20)
    revision = source.revision or "f" * 40
    if source.revision is None:
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(revision)
    link = repository / "snapshots" / revision / source.filename
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    return link


def test_it_lists_what_was_downloaded(downloaded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache"]) == 0
    out = capsys.readouterr().out
    assert NAME in out
    assert "3.0 MiB" in out
    assert str(downloaded) in out
    assert main(["cache", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in document["checkpoints"]] == [NAME]
    assert document["size"] == 3 * 2**20


def test_prune_removes_what_matches_and_nothing_else(downloaded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", "--prune", "se_resnet101*"]) == 1
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    blob = downloaded.resolve()
    assert blob.exists()
    assert main(["cache", "--prune", "se_resnet50"]) == 0
    assert f"removed {NAME}, 3.0 MiB" in capsys.readouterr().out
    assert not blob.exists()
    assert not downloaded.is_symlink()
    assert main(["cache", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["checkpoints"] == []


def test_an_empty_cache_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SENET_ZOO_CACHE", str(tmp_path / "nowhere"))
    assert main(["cache"]) == 0
    assert "0.0 MiB" in capsys.readouterr().out


@pytest.mark.parametrize("shared", [False, True])
def test_move_takes_the_checkpoints_along(
    shared: bool,
    downloaded: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if shared:  # with other libraries, in huggingface_hub's own place
        from huggingface_hub import constants

        monkeypatch.delenv("SENET_ZOO_CACHE")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("xdg")))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    others = tmp_path / "hub" / "models--someone--else" / "blobs" / "1"
    others.parent.mkdir(parents=True)
    others.write_text("theirs")
    (tmp_path / "my own notes").write_text("mine")
    new = tmp_path_factory.mktemp("disk") / "cache"
    assert main(["cache", "--move", str(new)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == f"  export SENET_ZOO_CACHE={new}"
    assert not downloaded.exists()
    assert (tmp_path / "my own notes").read_text() == "mine"
    assert others.exists() == shared
    monkeypatch.setenv("SENET_ZOO_CACHE", str(new))
    assert main(["cache", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    (there,) = document["checkpoints"]
    assert there["name"] == NAME
    assert Path(there["path"]).read_bytes() == b"x" * 3 * 2**20
    assert main(["cache", "--prune", NAME]) == 0
    capsys.readouterr()
    assert main(["cache", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["checkpoints"] == []


def test_a_cache_that_cannot_move_stays(
    downloaded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = tmp_path.parent / f"{tmp_path.name} full"
    full.mkdir()
    (full / "file").write_text("mine")
    for folder, message in (
        (tmp_path / "inside", "lie in one another"),
        (tmp_path.parent, "lie in one another"),
        (full, "moves to an empty folder"),
        (full / "file", "moves to an empty folder"),
    ):
        assert main(["cache", "--move", str(folder)]) == 2
        assert message in capsys.readouterr().err
    assert main(["cache", "--move", str(full / "file" / "below")]) == 1
    assert "could not be moved" in capsys.readouterr().err
    assert main(["cache", "--move", "x", "--prune", "y"]) == 2
    capsys.readouterr()
    assert downloaded.read_bytes() == b"x" * 3 * 2**20
