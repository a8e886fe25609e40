"""What `print(model)` shows."""

import pickle
import re

import pytest
from torch import nn

import senet_zoo
from senet_zoo.networks.network import on_meta
from senet_zoo.networks.registry import MODELS, find


@pytest.mark.parametrize("name", ["se_resnet50", "senet154", "se_resnext101_32x4d", "se_mobilenet"])
def test_a_network_prints_short_and_names_every_layer_that_does_something(name: str) -> None:
    model = on_meta(find(name).spec())
    text = repr(model)
    assert len(text.splitlines()) < 120
    assert max(map(len, text.splitlines())) <= 120
    assert text.startswith(f"ConvNet(\n  {name}, num_classes=1000, in_channels=3\n")
    for kind in ("SqueezeExcite(", "ConvNorm(", "Linear(", "(stages)", "(classifier)"):
        assert kind in text


def test_blocks_that_differ_are_not_joined() -> None:
    text = repr(on_meta(find("se_resnet20").spec(senet_zoo.SE(without=((3, 2),)))))
    assert text.count("2 x ResidualBlock") == 1
    assert text.count("SqueezeExcite(64") == 2


def test_loaded_weights_are_named() -> None:
    assert "weights=se_resnet20.cifar10" in repr(senet_zoo.create_model("se_resnet20", pretrained=True))


def test_what_a_tool_put_inside_a_layer_is_shown() -> None:
    model = nn.SyncBatchNorm.convert_sync_batchnorm(senet_zoo.create_model("se_resnet20", drop_path=0.5))
    model.stages[0][0].se.fc1 = nn.Sequential(nn.Linear(16, 1))
    text = repr(model)
    assert "SyncBatchNorm(16" in text
    assert "(fc1): Sequential(" in text
    assert "DropPath(rate=0.5)" in text


def test_specs_are_printed_without_addresses_and_pickle() -> None:
    for model in MODELS.values():
        spec = model.spec()
        assert not re.findall("<[^>]* at 0x|<class", repr(spec))
        assert pickle.loads(pickle.dumps(spec)) == spec
