"""Class activation maps of one picture."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

import senet_zoo
from senet_zoo.cli import main
from senet_zoo.data.pictures import read_picture
from senet_zoo.errors import UsageError
from senet_zoo.weights.foreign_files import is_own_picture

pytest.importorskip("captum", reason="class activation maps need the extra maps")
from senet_zoo.analysis.excitation.class_maps import class_maps


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Red on the left, blue on the right."""
    picture = Image.new("RGB", (128, 128), "blue")
    picture.paste("red", (0, 0, 64, 128))
    picture.save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photo.jpg"


def test_a_map_lies_where_the_class_is(photo: Path) -> None:
    torch.manual_seed(0)
    model = senet_zoo.create_model("se_resnet20", num_classes=2).eval()
    ready = senet_zoo.Preprocessing(size=32, resize=32)
    with torch.no_grad():  # the second class is whatever the left half excites more than the right one
        maps = model.forward_features(ready.transforms()(read_picture(photo))[None])
        difference = maps[0, :, :, :4].mean((1, 2)) - maps[0, :, :, 4:].mean((1, 2))
        model.classifier.weight.zero_()
        model.classifier.weight[1] = 10.0 * difference
        model.classifier.bias.copy_(torch.tensor([0.0, 5.0]))
    found = class_maps(model, read_picture(photo), ready, ("right", "left"))
    assert found.classes[0][0] == "left"
    last = found.stages[-1]
    assert (last.stage, last.gate, len(last.values)) == (4, "SE_4_3", 64)
    assert last.map.shape == (8, 8)
    assert last.map[:, :3].mean() > last.map[:, 5:].mean()
    for stage in found.stages:
        assert 0.0 <= stage.map.min() <= stage.map.max() <= 1.0


@pytest.mark.parametrize("name", ["resnet18", "se_preresnet18", "se_vgg11"])
def test_stages_without_gates_have_maps_too(name: str, photo: Path) -> None:
    model, ready = senet_zoo.create_model(name, num_classes=3).eval(), senet_zoo.Preprocessing(size=64, resize=64)
    found = class_maps(model, read_picture(photo), ready, ("a", "b", "c"))
    assert len(found.stages) == 3
    assert (found.stages[-1].gate is None) == (name != "se_preresnet18")
    with pytest.raises(UsageError, match="no classifier"):
        class_maps(senet_zoo.create_model(name, num_classes=0).eval(), read_picture(photo), ready, ())


def test_the_command_draws_beside_the_gates(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["excite", str(photo), "--map", "--workers", "0", "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert "se_mobilenet.imagenette on" in out  # a photograph
    assert "class activation maps: photo.maps.png" in out
    assert is_own_picture(Path("photo.maps.png"))
    with Image.open("photo.maps.png") as drawn:
        assert min(drawn.size) > 400
    words = ["excite", str(photo), "--map", "-o", "gates", "--model", "se_resnet20", "--workers", "0"]
    assert main([*words, "--json"]) == 0
    assert str(Path("gates/maps.png")) in json.loads(capsys.readouterr().out)["files"]
    assert main(words) == 0


def test_what_cannot_be_drawn_is_refused_before_work(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("photo.maps.png").write_text("mine")
    Path("two").mkdir()
    for number in range(2):
        Image.new("RGB", (32, 32)).save(f"two/{number}.png")
    for words, message in (
        ([str(photo)], "is no figure of this command"),
        (["two"], "--map shows one picture"),
        (["none.jpg"], "none.jpg"),
    ):
        assert main(["excite", *words, "--map"]) != 0
        err = capsys.readouterr().err
        assert message in err
        assert len(err.splitlines()) == 1
    assert Path("photo.maps.png").read_text() == "mine"
