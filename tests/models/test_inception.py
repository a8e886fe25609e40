"""What is particular to Inception networks: where their gates may sit, and their pools."""

import pytest
import torch
from networks import randomise, tiny
from torch import nn

from senet_zoo.analysis import cost
from senet_zoo.errors import SpecError
from senet_zoo.networks.blocks.pools import HalvingMaxPool
from senet_zoo.networks.layers import LocalResponseNorm
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS
from senet_zoo.networks.specs import SE
from senet_zoo.networks.squeeze_excite import Placement

MODULES = ["se_googlenet", "se_bn_inception", "se_inception_v3", "se_inception_v4"]
RESIDUAL = ["se_inception_resnet_v1", "se_inception_resnet_v2"]


@pytest.mark.parametrize("name", RESIDUAL)
@pytest.mark.parametrize("placement", Placement)
@torch.no_grad()
def test_residual_networks_take_every_placement(name: str, placement: Placement) -> None:
    model = randomise(ConvNet(tiny(MODELS[name].spec(SE(placement=placement)))))
    assert len(cost.gates(model)) == 3
    x = torch.randn(2, 3, 107, 107)
    logits = model(x)
    for gate in cost.gates(model).values():  # closed: each makes a difference
        nn.init.zeros_(gate.fc2.weight)
        nn.init.constant_(gate.fc2.bias, -40.0)
    assert (model(x) - logits).abs().max() > 1e-3 * logits.abs().max()


@torch.no_grad()
def test_the_gate_reads_the_branch_before_it_is_scaled() -> None:
    block = ConvNet(tiny(MODELS["se_inception_resnet_v2"].spec())).stages[1][1].eval()
    x = torch.randn(2, 80, 9, 9)
    branch = block.branch(x)
    expected = torch.relu(x + 0.17 * (branch * block.se.excitation(branch)))
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize("name", RESIDUAL)
def test_the_last_block_is_unscaled_and_has_no_relu(name: str) -> None:
    blocks = [block for block in cost.on_meta(MODELS[name].spec()).stages[3] if hasattr(block, "branch")]
    assert [block.drop_path.scale for block in blocks] == [0.20] * (len(blocks) - 1) + [1.0]
    assert [type(block.act) for block in blocks] == [nn.ReLU] * (len(blocks) - 1) + [nn.Identity]


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("placement", [place for place in Placement if place is not Placement.STANDARD])
def test_modules_have_one_place(name: str, placement: Placement) -> None:
    with pytest.raises(SpecError, match="one place"):
        cost.on_meta(MODELS[name].spec(SE(placement=placement)))


@pytest.mark.parametrize("name", MODULES)
def test_modules_have_no_branch_to_drop(name: str) -> None:
    with pytest.raises(SpecError, match="drop_path must be 0"), torch.device("meta"):
        ConvNet(MODELS[name].spec(), drop_path=0.1)


def test_stages_are_numbered_as_the_modules_are_named() -> None:
    spec = MODELS["se_googlenet"].spec(SE(stages=(4,)))
    assert [gate.fc2.out_features for gate in cost.gates(cost.on_meta(spec)).values()] == [512, 512, 512, 528, 832]


@pytest.mark.parametrize("name", MODULES + RESIDUAL)
def test_a_stage_without_units_refuses_a_gate(name: str) -> None:
    with pytest.raises(SpecError, match="stage 2 has no unit to gate"):
        cost.on_meta(MODELS[name].spec(SE(stages=(2, 3))))


def test_the_halving_pool_is_caffes_on_even_maps_and_rounds_odd_ones_up() -> None:
    pool, caffe, x = HalvingMaxPool().build(), nn.MaxPool2d(3, 2, ceil_mode=True), torch.randn(2, 3, 9, 9)
    assert torch.equal(pool(x[..., :8, :6]), caffe(x[..., :8, :6]))
    assert torch.equal(pool(x)[..., :4, :4], caffe(x))
    assert torch.equal(pool(x)[..., 4, 4], x[..., 8, 8])


def test_local_response_norm_is_its_formula_and_survives_float16() -> None:
    x = torch.randn(2, 7, 3, 3) * 100.0
    padded = nn.functional.pad(x.square(), (0, 0, 0, 0, 2, 2))
    strength = sum(padded[:, i : i + 7] for i in range(5))
    norm = LocalResponseNorm()
    torch.testing.assert_close(norm(x), x / (1.0 + 1e-4 / 5 * strength) ** 0.75)
    assert torch.isfinite(norm((10 * x).half())).all()
