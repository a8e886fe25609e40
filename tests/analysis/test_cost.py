"""Counts by module are torch's own, cost no memory, and follow the gate into every variant."""

import subprocess
import sys

import pytest
import torch
from networks import tiny
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet18

from senet_zoo import SE, model_info
from senet_zoo.analysis import cost
from senet_zoo.analysis.shapes import ShapesOnly
from senet_zoo.errors import SpecError, UsageError
from senet_zoo.networks import registry
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.specs import NetworkSpec
from senet_zoo.networks.squeeze_excite import Placement, Squeeze, SqueezeExcite

ONE_OF_EACH_FAMILY = [family.models[0].name for family in registry.FAMILIES]
VARIANTS = [
    SE(squeeze=Squeeze.MAX),
    SE(squeeze=Squeeze.BOTH, reduction=4),
    SE(squeeze=Squeeze.NONE, bias=False),
    SE(squeeze=Squeeze.NONE, placement=Placement.INNER, stages=(2, 4)),
    SE(placement=Placement.PRE),
]


def torchs(model: nn.Module, size: int) -> int:
    """Multiply-adds by torch's flop counter, on real meta tensors."""
    model = model.to("meta").eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, size, size, device="meta"))
    return counter.get_total_flops() // 2


def spec_of(name: str, se: SE | None = None) -> NetworkSpec:
    return tiny(registry.find(name).spec(se))


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_the_sum_over_modules_is_torchs_count(name: str) -> None:
    spec = spec_of(name)
    counted = cost.count(spec)
    assert counted.multiply_adds == torchs(ConvNet(spec), spec.input_size)
    assert sum(layer.parameters for layer in counted.layers) == cost.parameters(cost.on_meta(spec))


@pytest.mark.parametrize("se", VARIANTS, ids=str)
def test_a_gate_is_one_row_in_every_variant(se: SE) -> None:
    spec = spec_of("se_resnet50", se)
    counted = cost.count(spec, 96)
    gates = cost.gates(cost.on_meta(spec))
    rows = {layer.name: layer for layer in counted.layers if layer.kind == SqueezeExcite.__name__}
    assert list(rows) == list(gates)
    assert all(rows[name].parameters == cost.parameters(gate) for name, gate in gates.items())
    assert counted.multiply_adds == torchs(ConvNet(spec), 96)


@pytest.mark.parametrize("name", ONE_OF_EACH_FAMILY)
def test_shapes_are_those_of_the_meta_device(name: str) -> None:
    model = cost.on_meta(spec_of(name))
    size = 75 if model.spec.input_size > 32 else 33  # odd, so that pools and strides round
    x = torch.empty(1, 3, size, size, device="meta")
    strides = tuple(model.feature_channels)
    with torch.inference_mode():
        expected = [part.shape for part in (*model.features(x, strides), model(x))]
        with ShapesOnly():
            found = [part.shape for part in (*model.features(x, strides), model(x))]
    assert found == expected


def test_rows_of_a_small_network_by_hand() -> None:
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Identity(), nn.MaxPool2d(2)]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * 4 * 4, 10, bias=False))
    counted = cost.count(net, 8)
    assert counted.layers == (
        cost.LayerCost("0", "Conv2d", (1, 4, 8, 8), parameters=112, multiply_adds=64 * 4 * 27, memory=64 * 4 * 4),
        cost.LayerCost("1", "BatchNorm2d", (1, 4, 8, 8), parameters=8, multiply_adds=0, memory=64 * 4 * 4),
        cost.LayerCost("4", "MaxPool2d", (1, 4, 4, 4), parameters=0, multiply_adds=0, memory=16 * 4 * 4),
        cost.LayerCost("6", "Linear", (1, 10), parameters=640, multiply_adds=640, memory=10 * 4),
    )
    assert (counted.pooled, counted.summed) == (64 * 4, 0)
    assert counted.activation_memory == cost.activation_memory(net, 8) == 1024 + 1024 + 256 + 40
    assert counted.layers == cost.by_module(net, 8)


def test_pooled_and_summed_elements_of_the_papers_networks() -> None:
    blocks = [(3, 256 * 56**2), (4, 512 * 28**2), (6, 1024 * 14**2), (3, 2048 * 7**2)]
    summed = sum(count * elements for count, elements in blocks)
    plain, gated = (cost.count(registry.find(name).spec()) for name in ("resnet50", "se_resnet50"))
    assert plain.summed == gated.summed == summed
    assert plain.pooled == 64 * 112**2 + 2048 * 7**2  # the max pool and the head
    assert gated.pooled == plain.pooled + summed  # a squeeze reads what is then summed


def test_somebody_elses_network_is_counted_and_left_alone() -> None:
    model = resnet18()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    assert cost.multiply_adds(model, 224) == torchs(resnet18(), 224)
    assert model.training
    assert all(tensor.device.type == "cpu" for tensor in model.parameters())
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert not any(part._forward_hooks for part in model.modules())
    with pytest.raises(UsageError, match="pass size="):
        cost.count(model)


@pytest.mark.parametrize("size", [0, -1, 3])
def test_a_picture_that_does_not_fit_is_named(size: int) -> None:
    with pytest.raises(UsageError, match=rf"size={size}|{size}x{size} pixels"):
        cost.count(registry.find("inception_v3").spec(), size)


def test_counting_needs_no_symbolic_algebra() -> None:
    code = "import sys; from senet_zoo import model_info; model_info('se_resnet50'); print('sympy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")


# The paper's section 4: N_s gates of C_s channels a stage.
STAGES = {
    "se_resnet50": [(3, 256), (4, 512), (6, 1024), (3, 2048)],
    "se_resnet101": [(3, 256), (4, 512), (23, 1024), (3, 2048)],
    "se_resnet152": [(3, 256), (8, 512), (36, 1024), (3, 2048)],
    "se_resnext50_32x4d": [(3, 256), (4, 512), (6, 1024), (3, 2048)],
    "se_bn_inception": [(1, 256), (1, 320), (3, 576), (2, 608), (1, 1056), (2, 1024)],
    "se_vgg16": [(2, 64), (2, 128), (3, 256), (6, 512)],
}


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("reduction", [2, 16])
def test_equation_5(name: str, reduction: int) -> None:
    gated = cost.on_meta(registry.find(name).spec(SE(reduction, bias=False)))
    plain = cost.on_meta(registry.find(registry.find(name).twin).spec())
    expected = 2 / reduction * sum(count * width**2 for count, width in STAGES[name])
    formula = cost.gate_formula(gated)
    assert formula is not None
    assert cost.se_parameters(gated) == formula.value == expected
    assert cost.parameters(gated) - cost.parameters(plain) == expected
    assert cost.se_parameters(cost.on_meta(registry.find(name).spec(SE(reduction)))) == expected  # biases left out
    assert eval(str(formula).replace("^", "**")) == expected


def test_equation_5_rounds_as_the_gates_do_and_is_silent_where_it_does_not_hold() -> None:
    shuffle = cost.on_meta(registry.find("se_shufflenet").spec())
    formula = cost.gate_formula(shuffle)
    assert formula is not None
    assert (1, 216) in formula.widths  # 216 / 16 is no whole number
    assert eval(str(formula)) == formula.value == cost.se_parameters(shuffle)
    assert cost.gate_formula(cost.on_meta(registry.find("resnet50").spec())) is None
    assert cost.gate_formula(cost.on_meta(registry.find("se_mnasnet").spec())) is None


def test_info_of_a_variant() -> None:
    info = model_info("se_resnet50", SE(reduction=8, bias=False))
    assert (info.parameters, info.gate_parameters, info.gate_weights) == (30586920, 5029888, 5029888)
    assert (info.weights, info.aliases) == ((), ())
    assert info.se == SE(reduction=8, bias=False)
    own = model_info("se_resnet50", SE())
    assert own == model_info("legacy_seresnet50")
    assert own.weights
    with pytest.raises(UsageError, match="goes with se_resnet50"):
        model_info("resnet50", SE())
    with pytest.raises(SpecError):
        model_info("se_vgg16", SE(placement=Placement.IDENTITY))
