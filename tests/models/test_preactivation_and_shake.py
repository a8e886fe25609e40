"""Pre-activation and Shake-Shake units are their papers' formulas, with the gate in each of its places."""

import pytest
import torch
from networks import randomise, tiny
from oracles import shaken_resnet26_96d
from torch import nn

from senet_zoo import SE, Placement
from senet_zoo.errors import SpecError
from senet_zoo.networks.blocks.preactivation import PreBasic, PreBottleneck
from senet_zoo.networks.blocks.residual import StrideAt
from senet_zoo.networks.blocks.shake import Coefficient, Shake, ShakeBasic, ShakeBottleneck, TwoPaths, shake
from senet_zoo.networks.families.shakeshake import shakeshake29_2x4x64d
from senet_zoo.networks.registry import MODELS
from senet_zoo.networks.specs import BlockSpec
from senet_zoo.networks.squeeze_excite import SqueezeExcite

X = torch.randn(4, 32, 9, 11, generator=torch.Generator().manual_seed(0))
BOTTLENECK = tiny(shakeshake29_2x4x64d(None)).stages[0].blocks[0].bottleneck  # 64 channels in 4 groups


def unit(spec: BlockSpec, placement: Placement, drop_path: float = 0.0) -> nn.Module:
    return randomise(spec.build(32, SE(placement=placement), drop_path))


@pytest.mark.parametrize("placement", Placement)
@pytest.mark.parametrize(
    "spec",
    [PreBasic(32), PreBasic(64, stride=2), PreBottleneck(16, 32), PreBottleneck(16, 64, 2, StrideAt.REDUCE)],
    ids=str,
)
@torch.no_grad()
def test_a_preactivation_unit_is_its_formula(spec: BlockSpec, placement: Placement) -> None:
    block = unit(spec, placement)
    parts = block.unit
    gate = parts.branch.se if placement is Placement.INNER else parts.se
    y = torch.relu(nn.BatchNorm2d.forward(block.norm, X))
    carried = X if spec.out_channels(32) == 32 else parts.shortcut(y)
    z = gate(y) if placement is Placement.PRE else y
    for name, layer in parts.branch.named_children():
        if name.startswith("norm"):
            z = torch.relu(nn.BatchNorm2d.forward(layer, z))
        elif name != "se":
            last = name == list(dict(parts.branch.named_children()))[-1]
            z = layer(gate(z) if placement is Placement.INNER and last else z)
    expected = {
        Placement.STANDARD: lambda: carried + gate(z),
        Placement.IDENTITY: lambda: gate(carried) + z,
        Placement.POST: lambda: gate(carried + z),
    }.get(placement, lambda: carried + z)()
    torch.testing.assert_close(block(X), expected)
    assert [part for part in block.modules() if isinstance(part, SqueezeExcite)] == [gate]


def test_a_preactivation_bottleneck_has_no_pool() -> None:
    with pytest.raises(SpecError, match="no pool"):
        PreBottleneck(16, 64, stride_at=StrideAt.POOL)


@pytest.mark.parametrize("placement", Placement)
@pytest.mark.parametrize(
    "spec",
    [ShakeBasic(32), ShakeBasic(64, stride=2), ShakeBottleneck(BOTTLENECK)],
    ids=["basic", "stride 2", "bottleneck"],
)
@torch.no_grad()
def test_a_shake_unit_is_its_formula(spec: BlockSpec, placement: Placement) -> None:
    block = unit(spec, placement)
    rectified = isinstance(spec, ShakeBasic)
    parts = block.unit if rectified else block
    x = torch.relu(X) if rectified else X
    carried = X if isinstance(parts.shortcut, nn.Identity) else parts.shortcut(x)
    branches = []
    for branch in parts.branch.shake.children():
        y = branch.se(x) if placement is Placement.PRE else x
        for layer in branch.layers:
            y = layer(y)
        branches.append(branch.se(y) if placement is Placement.STANDARD else y)
    y = 0.5 * branches[0] + 0.5 * branches[1]
    y = y + (parts.se(carried) if placement is Placement.IDENTITY else carried)
    y = y if rectified else torch.relu(y)
    torch.testing.assert_close(block(X), parts.se(y) if placement is Placement.POST else y)
    gates = [part for part in block.modules() if isinstance(part, SqueezeExcite)]
    assert len(gates) == (1 if placement in (Placement.IDENTITY, Placement.POST) else 2)
    if placement is Placement.INNER:
        assert all(isinstance(branch.layers.se, SqueezeExcite) for branch in parts.branch.shake.children())


@pytest.mark.parametrize("spec", [PreBasic(32), PreBottleneck(16, 32), ShakeBasic(32)], ids=str)
def test_a_dropped_branch_leaves_the_map_as_it_was(spec: BlockSpec) -> None:
    block = unit(spec, Placement.STANDARD, drop_path=1 - 1e-7).train()
    assert torch.equal(block(X), X)


def test_the_gradient_has_numbers_of_its_own() -> None:
    a, b = (torch.randn(3, 2, 4, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    forward, backward = (torch.rand(3, 1, 1, 1, dtype=torch.float64) for _ in range(2))
    y = shake(a, b, forward, backward)
    torch.testing.assert_close(y, forward * a + (1 - forward) * b)
    grad = torch.randn_like(y)
    y.backward(grad)
    torch.testing.assert_close(a.grad, backward * grad)
    torch.testing.assert_close(b.grad, (1 - backward) * grad)


def last_norms(block: nn.Module) -> list[nn.BatchNorm2d]:
    parts = getattr(block, "unit", block)
    return [branch.layers[-1].bn for branch in parts.branch.shake.children()]


@pytest.mark.parametrize("backward", Coefficient)
@pytest.mark.parametrize("forward", Coefficient)
def test_each_picture_and_each_pass_draws_its_own_numbers(forward: Coefficient, backward: Coefficient) -> None:
    block = randomise(ShakeBasic(32, shake=Shake(forward, backward)).build(32, None, 0.0)).train()
    for norm, value in zip(last_norms(block), (1.0, 0.0), strict=True):  # branches of 1 and 0 make the mix a itself
        nn.init.zeros_(norm.weight)
        nn.init.constant_(norm.bias, value)
    (first, second), numbers = last_norms(block), []
    for seed in range(2):
        torch.manual_seed(seed)
        block.zero_grad()
        y = block(X)
        numbers.append((y - X)[:, 0, 0, 0])
        y[0].sum().backward()  # the first picture's share of the gradient is b
        share = first.bias.grad / (first.bias.grad + second.bias.grad)
        torch.testing.assert_close(share, share[:1].expand(32))
        numbers.append(share[:1].expand(4))
    a, b, again, b_again = (number.detach() for number in numbers)
    if forward is Coefficient.EVEN:
        torch.testing.assert_close(torch.cat((a, again)), torch.full((8,), 0.5), rtol=0, atol=1e-5)
    else:
        assert len(torch.cat((a, again)).unique()) == 8
        assert ((a > 0) & (a < 1)).all()
    if backward is Coefficient.EVEN:
        torch.testing.assert_close(torch.cat((b, b_again)), torch.full((8,), 0.5))
    else:
        assert not torch.isclose(b[0], b_again[0])
        assert not torch.isclose(b[0], a[0])


def test_the_names_have_the_rules_of_their_paper() -> None:
    def rules(name: str) -> set[Shake]:
        return {block.shake for stage in MODELS[name].spec().stages for block in stage.blocks}

    assert rules("se_shakeshake26_2x96d") == {Shake(Coefficient.SHAKE, Coefficient.SHAKE)}
    assert rules("se_shakeshake29_2x4x64d") == {Shake(Coefficient.SHAKE, Coefficient.EVEN)}


def test_shaking_compiles_without_a_graph_break() -> None:
    block = unit(ShakeBasic(32), Placement.STANDARD).train()
    torch._dynamo.reset()
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")
    compiled(X).square().sum().backward()
    assert all(parameter.grad is not None for parameter in block.parameters())


@torch.no_grad()
def test_the_second_path_sees_the_pixels_that_the_first_skips() -> None:
    shortcut = randomise(TwoPaths(1, 2, stride=2))
    shortcut.bn = nn.Identity()
    nn.init.ones_(shortcut.conv1.weight)
    nn.init.ones_(shortcut.conv2.weight)
    x = torch.arange(1.0, 26.0).view(1, 1, 5, 5)
    first, second = shortcut(x)[0]
    assert first.tolist() == [[1, 3, 5], [11, 13, 15], [21, 23, 25]]
    assert second.tolist() == [[0, 0, 0], [0, 7, 9], [0, 17, 19]]


@torch.no_grad()
def test_a_relu_after_the_sum_would_be_noticed() -> None:
    """pytorchcv's own Shake-Shake-ResNet rectifies its sums; an identity then carries no negative value."""
    oracle, wrong = shaken_resnet26_96d().eval(), shaken_resnet26_96d().eval()
    wrong.load_state_dict(randomise(oracle).state_dict())
    for part in wrong.modules():
        if hasattr(part, "activ") and isinstance(part.activ, nn.Identity):
            part.activ = nn.ReLU()
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert (wrong(x) - oracle(x)).abs().max() > 1e-2 * oracle(x).abs().max()
