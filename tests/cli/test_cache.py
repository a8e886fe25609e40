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
