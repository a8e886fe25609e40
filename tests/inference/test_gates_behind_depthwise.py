"""Gates applied behind a strided depthwise convolution, and sums as products with ones: the same function."""

import dataclasses

import pytest
import torch
from networks import randomise, scaled_difference, tiny
from torch import nn
from torch.nn import functional as F

import senet_zoo
from senet_zoo import SE, GateFunction, Start
from senet_zoo.inference.passes import in_place, onednn
from senet_zoo.inference.passes.depthwise import move_gates_behind
from senet_zoo.inference.rewriting import rewrite
from senet_zoo.networks.blocks.mobile import DepthwiseSeparable, InvertedResidual, Shuffle
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS

CPU = torch.device("cpu")
BEHIND = "gates behind a depthwise convolution"
BLOCKS = (DepthwiseSeparable, InvertedResidual, Shuffle)
MOBILE = [
    name
    for name, model in MODELS.items()
    if any(isinstance(block, BLOCKS) for stage in model.spec().stages for block in stage.blocks)
]
needs_onednn = pytest.mark.skipif(not onednn.available(CPU, torch.float32), reason="no oneDNN here")


def network(name: str, se: SE | None = None) -> ConvNet:
    spec = tiny(MODELS[name].spec())
    return randomise(ConvNet(spec if se is None else dataclasses.replace(spec, se=se)))


def test_mobile_networks_are_those_of_these_blocks() -> None:
    assert {"se_mobilenet", "mobilenet", "se_shufflenet", "se_mnasnet"} <= set(MOBILE)


@pytest.mark.parametrize("name", MOBILE)
def test_every_mobile_network_is_the_same_function_to_the_last_digits(name: str) -> None:
    model = network(name).double()
    moved = rewrite(model).network
    strided = sum(
        isinstance(block, DepthwiseSeparable) and block.stride > 1
        for stage in tiny(MODELS[name].spec()).stages
        for block in stage.blocks
    )
    assert move_gates_behind(moved) == (strided if MODELS[name].se else 0)
    with torch.no_grad():
        for batch, size in ((1, 64), (3, 49)):
            x = torch.randn(batch, 3, size, size + 7, dtype=torch.float64)
            assert scaled_difference(moved(x), model(x)) < 1e-13


@needs_onednn
@pytest.mark.parametrize("name", MOBILE)
def test_every_mobile_network_optimised_is_exact_in_float32(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "LEAST_SIDE", 1)
    model = network(name)
    fast = senet_zoo.optimize(model, sizes=(64, 49), rounds=0)
    assert (BEHIND in fast.report.fused) == (bool(MODELS[name].se) and "mobilenet" in name)
    exact = network(name).double()
    for batch in (1, 3):
        x = torch.randn(batch, 3, 57, 64, generator=torch.Generator().manual_seed(batch))
        with torch.no_grad():
            assert scaled_difference(fast(x).double(), exact(x.double())) < 2e-6
        assert torch.equal(fast(x), fast(x))  # no map and no bias is left scaled


@needs_onednn
@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_it_is_the_convolution_of_the_gated_map(batch: int, stride: int) -> None:
    torch.manual_seed(0)
    x = torch.randn(batch, 24, 17, 15).to(memory_format=torch.channels_last)
    weight, bias, scale = torch.randn(24, 1, 3, 3), torch.randn(24), torch.rand(batch, 24, 1, 1)
    scale[:, :4], scale[:, 4:8], bias[2] = 0.0, 1e-30, 0.0
    geometry = ([1, 1], [stride, stride], [1, 1], 24)
    right = F.conv2d((scale * x).double(), weight.double(), bias.double(), stride, 1, 1, 24).relu()
    for positive in (True, False):
        found = onednn.scaled_depthwise(x, scale, weight, bias, *geometry, positive)
        assert found.shape == right.shape
        if batch:
            assert scaled_difference(found.double(), right) < 2e-7
    scale[-1:, 9] = torch.nan
    assert onednn.scaled_depthwise(x, scale, weight, bias, *geometry, True)[-1:, 9].isnan().all()


@needs_onednn
@pytest.mark.parametrize("start", Start)
@pytest.mark.parametrize("function", GateFunction)
def test_a_gate_may_be_negative_or_shut(function: GateFunction, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "LEAST_SIDE", 1)
    model = network("se_mobilenet", SE(gate=function, start=start))
    torch.manual_seed(0)
    for gate in (part for part in model.modules() if isinstance(part, senet_zoo.SqueezeExcite)):
        nn.init.zeros_(gate.fc2.weight)  # gates of pictures that differ little would multiply their rounding
        # sigmoids of exactly 0 and 1; a ReLU's gates would multiply to infinity
        nn.init.normal_(gate.fc2.bias, 0.0, 1.0 if function is GateFunction.RELU else 200.0)
    fast = senet_zoo.optimize(model, sizes=(64, 49), rounds=0)
    assert BEHIND in fast.report.fused
    for batch in (1, 2):
        x = torch.randn(batch, 3, 40, 55)
        with torch.no_grad():
            expected = model(x)
        assert scaled_difference(fast(x), expected) < 1e-5


@needs_onednn
def test_small_maps_keep_their_gate_before_the_convolution() -> None:
    model = network("se_mobilenet")
    assert BEHIND not in senet_zoo.optimize(model, sizes=(64, 49), rounds=0).report.fused
    assert f"1 {BEHIND}" in senet_zoo.optimize(model, sizes=(128, 97), rounds=0).report.fused
    assert f"2 {BEHIND}" in senet_zoo.optimize(model, sizes=(224, 97), rounds=0).report.fused


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("signed", [False, True])
def test_sums_in_bfloat16_are_rounded_once(layout: torch.memory_format, signed: bool) -> None:
    torch.manual_seed(0)
    for shape in ((2, 64, 56, 56), (1, 64, 112, 112), (1, 3, 1, 1), (3, 5, 7, 4), (16, 512, 7, 7), (0, 4, 5, 5)):
        x = torch.randn(shape) if signed else torch.rand(shape) + 1
        x = x.bfloat16().to(memory_format=layout)
        for seen in (x, x[:, :, ::2, ::2]):  # as behind a strided 1x1 convolution
            found, exact = in_place.sums_of(seen, torch.float32), seen.double().sum((2, 3))
            assert found.dtype is torch.float32
            added_up = 1e-6 * seen.double().abs().sum((2, 3))  # in float32
            assert ((found - exact).abs() <= 2.0**-8 * exact.abs() + added_up).all()


def test_sums_in_float32_and_float16_are_not_rounded() -> None:
    x = torch.rand(2, 8, 9, 9)
    assert torch.equal(in_place.sums_of(x, torch.float32), x.sum((2, 3)))
    large = torch.full((1, 2, 300, 300), 2.0, dtype=torch.float16)  # 180000 is none of its numbers
    assert in_place.sums_of(large, torch.float32).tolist() == [[180000.0] * 2]
