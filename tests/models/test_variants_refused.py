"""What a family's units cannot honour is refused with the reason; what they can is counted from the right end."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from networks import randomise, tiny

import senet_zoo
from senet_zoo import SE, ConvNet, Placement
from senet_zoo.analysis import cost
from senet_zoo.errors import SpecError
from senet_zoo.formats import safetensors
from senet_zoo.formats.dialects import NATIVE, recognise
from senet_zoo.networks.network import on_meta
from senet_zoo.networks.registry import MODELS
from senet_zoo.weights.load import first_convolution

CHAINS = {"se_vgg16": "a plain convolution", "se_alexnet": "a plain convolution", "se_nin": "an mlpconv layer"}
UNITS = {
    **CHAINS,
    "se_cifarnet": "a pair of plain convolutions",
    "se_densenet121": "a dense layer",
    "se_mnasnet": "an inverted residual",
}


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("placement", Placement)
def test_a_unit_takes_its_gate_in_one_place(name: str, placement: Placement) -> None:
    spec = MODELS[name].spec(replace(MODELS[name].se, placement=placement))
    only = MODELS[name].se.placement
    if placement is only:
        assert cost.gates(on_meta(spec))
        return
    with pytest.raises(
        SpecError,
        match=rf"{UNITS[name]} has one place for a gate, {only.value}: .* got placement={placement.value}",
    ):
        on_meta(spec)


@pytest.mark.parametrize("name", [*CHAINS, "se_densenet121"])
def test_without_a_sum_there_is_no_branch_to_drop(name: str) -> None:
    with torch.device("meta"), pytest.raises(SpecError, match=r"stochastic depth .*; drop_path must be 0"):
        ConvNet(MODELS[name].spec(), drop_path=0.1)


def test_mnasnet_drops_where_it_sums() -> None:
    with torch.device("meta"):
        model = ConvNet(MODELS["se_mnasnet"].spec(), drop_path=0.15)
    rates = [part.rate for name, part in model.named_modules() if name.endswith("drop_path")]
    assert rates == pytest.approx([0.15 * i / 15 for i in (2, 4, 5, 7, 8, 9, 11, 13, 14)])


@pytest.mark.parametrize("name", ["se_vgg16", "se_alexnet"])
def test_a_stage_that_is_a_pool_has_nothing_to_gate(name: str) -> None:
    with pytest.raises(SpecError, match=r"stage 6 has no unit to gate.*\(5, 6\)"):
        on_meta(MODELS[name].spec(SE(stages=(5, 6))))
    with pytest.raises(SpecError, match=r"this network has stages 1 to 6, got SE\(stages=\(7,\)\)"):
        MODELS[name].spec(SE(stages=(7,)))


@pytest.mark.parametrize(
    ("name", "stages", "channels"),
    [
        ("se_vgg16", (1,), [64, 64]),
        ("se_vgg16", (3, 5), [256] * 3 + [512] * 3),
        ("se_alexnet", (1, 4), [64, 256]),
        ("se_nin", (1, 3), [96, 192]),
        ("se_cifarnet", (2, 4), [64, 192]),
        ("se_densenet121", (2,), [32] * 6),
        ("se_densenet121", (5,), [32] * 16),
    ],
)
def test_stages_are_numbered_as_the_papers_do(name: str, stages: tuple[int, ...], channels: list[int]) -> None:
    model = on_meta(MODELS[name].spec(SE(stages=stages)))
    assert [gate.fc1.in_features for gate in cost.gates(model).values()] == channels


def test_mnasnets_reduction_counts_from_the_blocks_input() -> None:
    gates = cost.gates(on_meta(MODELS["se_mnasnet"].spec()))
    shapes = [(gate.fc1.in_features, gate.fc1.out_features) for gate in gates.values()]
    assert shapes == [(72, 6), (120, 10), (120, 10), (480, 20), (672, 28), (672, 28), (960, 40), (960, 40)]
    every = cost.gates(on_meta(MODELS["se_mnasnet"].spec(SE(reduction=8, placement=Placement.INNER))))
    assert [gate.fc1.out_features for gate in every.values()][:3] == [32 // 8, 16 // 8, 24 // 8]
    assert len(every) == 16
    with pytest.raises(SpecError, match="16 channels needs a reduction from 1 to 16, got 17"):
        on_meta(MODELS["se_mnasnet"].spec(SE(reduction=17, placement=Placement.INNER)))


def test_vggs_maps_for_a_detector() -> None:
    model = on_meta(MODELS["se_vgg16"].spec())
    maps = model.features(torch.empty(1, 3, 224, 224, device="meta"), strides=(8, 16, 32))
    assert [tuple(found.shape[1:]) for found in maps] == [(512, 28, 28), (512, 14, 14), (512, 7, 7)]


@pytest.mark.parametrize(("name", "features"), [("vgg11_bn", 4096), ("alexnet", 4096), ("mnasnet", 1280), ("nin", 192)])
def test_heads_take_another_classifier_and_dropout(name: str, features: int) -> None:
    with torch.device("meta"):
        model = ConvNet(MODELS[name].spec(), num_classes=10, in_channels=1, dropout=0.25)
        x = torch.empty(2, 1, 96, 96)
        assert model(x).shape == (2, 10)
        model.reset_classifier(7)
        assert model(x).shape == (2, 7)
        model.reset_classifier(0)
        assert model(x).shape == (2, features)
    assert {part.p for part in model.head.modules() if isinstance(part, torch.nn.Dropout)} == {0.25}


@torch.no_grad()
def test_class_maps_are_averaged_after_their_relu() -> None:
    model = randomise(ConvNet(tiny(MODELS["nin"].spec())))
    x = torch.randn(2, 3, 33, 40, generator=torch.Generator().manual_seed(0))
    maps = model.forward_features(x)
    weight = model.classifier.weight[:, :, None, None]
    expected = torch.relu(torch.nn.functional.conv2d(maps, weight, model.classifier.bias)).mean((2, 3))
    torch.testing.assert_close(model(x), expected)
    model.reset_classifier(0)
    torch.testing.assert_close(model(x), maps.mean((2, 3)))


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("se_vgg11", "stages.0.0.conv.weight"),
        ("se_nin", "stages.0.0.layers.0.weight"),
        ("se_cifarnet", "stem.conv.weight"),
        ("se_densenet121", "stem.0.conv.weight"),
    ],
)
def test_files_name_the_first_convolution_and_the_head(name: str, first: str) -> None:
    spec = MODELS[name].spec()
    keys = on_meta(spec).state_dict().keys()
    assert recognise(keys) is NATIVE
    assert first_convolution(spec) == first
    assert first in keys


@torch.no_grad()
def test_a_chain_without_stem_loads_for_grey_pictures(tmp_path: Path) -> None:
    model = randomise(senet_zoo.create_model("se_nin"))
    safetensors.write(tmp_path / "model.safetensors", model.state_dict(), {"model": "se_nin"})
    grey = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    loaded = senet_zoo.create_model("se_nin", weights=tmp_path, in_channels=1)
    torch.testing.assert_close(loaded(grey), model(grey.repeat(1, 3, 1, 1)))
    assert senet_zoo.create_model("se_nin", weights=tmp_path, num_classes=4)(grey.repeat(1, 3, 1, 1)).shape == (2, 4)
