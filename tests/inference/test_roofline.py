"""``benchmarks/roofline.py``: the least time that a network's layers take, and the shares that it prints."""

import re

import pytest
from torch import nn

import senet_zoo
from benchmarks import roofline
from benchmarks.roofline import Layer, layers_of, main


def test_layers_are_counted_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 6, 1, stride=2, groups=2, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 5, bias=False),
    )
    assert layers_of(network.eval(), 16) == [
        Layer(2 * 8 * 8 * 8 * 27, 4 * 216, 4 * (3 * 16 * 16 + 8 * 8 * 8)),
        Layer(2 * 6 * 4 * 4 * 4, 4 * 24, 4 * (8 * 4 * 4 + 6 * 4 * 4)),  # every other pixel is never read
        Layer(2 * 30, 4 * 30, 4 * 11),
    ]


def test_a_layer_takes_what_is_slower() -> None:
    layer = Layer(operations=100, weights=40, maps=8)
    assert layer.seconds(batch=1, peak=10.0, bandwidth=100.0) == 10.0
    assert layer.seconds(batch=5, peak=1000.0, bandwidth=10.0) == (40 + 5 * 8) / 10.0


def test_all_multiply_adds_are_in_it() -> None:
    layers = layers_of(senet_zoo.create_model("se_resnet50", device="meta").eval(), 224)
    assert sum(layer.operations for layer in layers) == 2 * senet_zoo.model_info("se_resnet50").multiply_adds


def test_the_shares_are_of_one_round(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(roofline, "COPY", 1 << 16)
    monkeypatch.setattr(roofline, "PRODUCTS", ((256, 256, 256),))
    monkeypatch.setattr(roofline, "CONVOLUTIONS", ((16, 32, 3),))
    assert main(["--model", "se_resnet20", "--rounds", "1"]) == 0
    said = capsys.readouterr().out
    shares = {
        name: float(value) for name, value in re.findall(r"^(roofline|optimize|zoo eager) .* (\S+) \[", said, re.M)
    }
    assert shares["roofline"] == 1
    for name in ("optimize", "zoo eager"):
        assert 0 <= shares[name] < 1.5
    assert "times zoo eager here" in said


def test_an_unknown_model_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "se_resnt20"]) == 2
    assert "did you mean" in capsys.readouterr().err
