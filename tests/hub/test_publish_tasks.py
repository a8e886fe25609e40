"""Detectors and segmenters go to a hub and come back by their address: proven, and under every command."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

import senet_zoo
from senet_zoo.cli import main
from senet_zoo.detection import Design, retinanet
from senet_zoo.errors import PublishError
from senet_zoo.segmentation import fcn

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload:DeprecationWarning")


@pytest.fixture
def open_hub(hub, monkeypatch):
    """A hub that takes our token, from a client that is told to do without Xet."""
    import huggingface_hub.constants

    hub.token = "hf_secret"
    monkeypatch.setenv("HF_TOKEN", hub.token)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    return hub


def network(task: str) -> torch.nn.Module:
    torch.manual_seed(0)
    if task == "detection":
        return retinanet("se_resnet18", 3, design=Design(side=64, longest=64, channels=8))
    return fcn("se_resnet18", 2, output_stride=16)


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_it_is_published_and_read_back_by_its_address(
    task: str, open_hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = network(task)
    senet_zoo.save_pretrained(model, tmp_path / "run", categories=("cat", "dog"), license="mit")
    assert main(["publish", str(tmp_path / "run"), "me/net", "--tag", "v1"]) == 0
    assert "hf://me/net" in capsys.readouterr().out
    again = senet_zoo.from_pretrained("hf://me/net@v1")
    assert type(again) is type(model)
    assert again.weights.classes == ("cat", "dog")
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert main(["verify", "hf://me/net@v1", "--deep"]) == 0
    assert main(["info", "hf://me/net@v1"]) == 0
    assert "cat, dog" in capsys.readouterr().out
    Image.new("RGB", (80, 60)).save(tmp_path / "p.png")
    words = ["predict", str(tmp_path / "p.png"), "--weights", "hf://me/net@v1", "--device", "cpu"]
    assert main([*words, "--json", "-o", str(tmp_path / "drawn")]) == 0
    assert json.loads(capsys.readouterr().out)["predictions"][0]["path"].endswith("p.png")
    assert (tmp_path / "drawn/p.png").exists()
    again = senet_zoo.push_to_hub(tmp_path / "run", "me/net", tag="v1")
    assert again.commit == senet_zoo.push_to_hub(tmp_path / "run", "me/net", tag="v1").commit


def test_without_a_licence_nothing_is_sent(open_hub, tmp_path: Path) -> None:
    senet_zoo.save_pretrained(network("segmentation"), tmp_path / "run")
    with pytest.raises(PublishError, match=r"licen[cs]e"):
        senet_zoo.push_to_hub(tmp_path / "run", "me/net")
