"""``publish`` sends a saved model to a hub, prints the line that loads it, and says what it would do when asked."""

import json
from pathlib import Path

import pytest
from hub.conftest import cache, hub  # noqa: F401 (fixtures)
from hub.loopback import Loopback

import senet_zoo
from senet_zoo.cli import main
from senet_zoo.weights.manifest import load_manifest

# The client sends large files in a way that its own HTTP library frowns on.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload:DeprecationWarning")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    senet_zoo.save_pretrained(senet_zoo.create_model("se_resnet20", pretrained=True), tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def open_hub(hub: Loopback, monkeypatch: pytest.MonkeyPatch) -> Loopback:  # noqa: F811
    import huggingface_hub.constants

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.delenv("SENET_ZOO_HUB")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    hub.token = "hf_secret"
    return hub


def test_the_line_that_loads_it_comes_first_and_the_row_can_be_read(
    open_hub: Loopback, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["publish", str(saved), "org/net", "--hub", open_hub.url, "--tag", "v1"]) == 0
    line, place, row = capsys.readouterr().out.split("\n", 2)
    assert "tagged v1; the hub reports the sha256 of this folder" in place
    (tmp_path / "row.json").write_text(row)
    assert load_manifest(tmp_path / "row.json").row("se_resnet20", "v1").sources[0].revision == open_hub.head("org/net")
    monkeypatch.setenv("SENET_ZOO_HUB", open_hub.url)
    model = eval(line)
    assert model.weights.categories == senet_zoo.get_weights("se_resnet20").categories


def test_publish_json(open_hub: Loopback, saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", str(saved), "org/net", "--hub", open_hub.url, "--private", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["address"] == f"hf://org/net@{open_hub.head('org/net')}"
    assert document["no_row"] is None
    assert open_hub.private == {"org/net"}


def test_a_dry_run_says_what_would_be_sent_and_touches_nothing(
    open_hub: Loopback, saved: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in saved.iterdir()}
    assert main(["publish", str(saved), "org/net", "--hub", open_hub.url, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "in one commit, tagged sha256-" in out
    assert all(name in out for name in ("model.safetensors", "config.json", "README.md"))
    assert main(["publish", str(saved), "org/net", "--hub", open_hub.url, "--dry-run", "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert files["model.safetensors"] == (saved / "model.safetensors").stat().st_size
    assert open_hub.log == []
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in saved.iterdir()} == before


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["nowhere", "org/net"], 1, "there is no"),
        (["{saved}", "net"], 2, "organisation/name"),
        (["{saved}", "org/net", "--tag", "a b"], 2, "a tag must be one word"),
        (["{saved}"], 2, "required: ORG/NAME"),
    ],
)
def test_what_cannot_be_published_is_one_line(
    saved: Path, capsys: pytest.CaptureFixture[str], words: list[str], status: int, message: str
) -> None:
    assert main(["publish", *(word.format(saved=saved) for word in words)]) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
