"""Gates that go: exactly where they are constant, by their mean elsewhere, and never by half."""

from pathlib import Path

import numpy as np
import pytest
import torch
from networks import randomise, scaled_difference, tiny
from torch import nn

import senet_zoo
from senet_zoo import SE
from senet_zoo.analysis.cost import on_meta, parameters
from senet_zoo.analysis.pruning import GateActivity, OfStages, SpreadUnder, drop_gates, observe
from senet_zoo.errors import DataError, SpecError, UsageError, WeightsError
from senet_zoo.networks.excitations import paper_names
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS
from senet_zoo.networks.squeeze_excite import GateFunction, Placement, Squeeze, gates

KINDS = [
    "se_resnet20",  # standard, before the sum
    "se_resnet50d",
    "se_mobilenet",  # behind a ReLU
    "se_shufflenet",
    "se_vgg11",
    "se_nin",  # behind a ReLU and no norm
    "se_mnasnet",  # inside the branch, depthwise
    "se_preresnet20",  # behind a bare convolution
    "se_densenet121",
    "se_googlenet",  # on a concatenation
    "se_inception_resnet_v1",
]


def network(name: str, se: SE | None = None) -> ConvNet:
    """In double precision, with weights under which every layer matters."""
    model = randomise(ConvNet(tiny(MODELS[name].spec(se)), num_classes=10)).double()
    assert isinstance(model, ConvNet)
    return model


def pictures(count: int = 4, size: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def all_but_last(model: ConvNet) -> list[str]:
    names = list(paper_names(model, model.spec.stage_numbers).values())
    return names[:-1]


@torch.no_grad()
def freeze(model: ConvNet) -> None:
    """Make every gate say the same of every picture, and another thing in every channel."""
    for gate in gates(model).values():
        gate.fc2.weight.zero_()
        if gate.fc2.bias is not None:
            gate.fc2.bias.copy_(torch.linspace(-2.0, 2.0, len(gate.fc2.bias)))


@pytest.mark.parametrize("name", KINDS)
def test_constant_gates_go_without_a_trace(name: str) -> None:
    model, x = network(name), pictures(2, 75 if "inception" in name else 32)
    freeze(model)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with torch.inference_mode():
        expected = model(x)
        pruned = drop_gates(model, x, all_but_last(model))
        assert scaled_difference(pruned(x), expected) < 1e-12
    assert len(gates(pruned)) == 1
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items()), "it is left as it is"
    left = {f"{gate}." for gate in gates(pruned)}
    assert set(pruned.state_dict()) == {
        key for key in before if ".se." not in key or any(key.startswith(gate) for gate in left)
    }


def test_a_constant_gate_goes_without_a_trace_in_single_precision() -> None:
    model, x = senet_zoo.create_model("se_resnet20", pretrained=True), pictures(16).float()
    freeze(model)
    with torch.inference_mode():
        assert scaled_difference(drop_gates(model, x, ["SE_2_2", "SE_4_3"])(x), model(x)) < 1e-6


@pytest.mark.parametrize("squeeze", [Squeeze.MEAN, Squeeze.NONE])
def test_a_gate_that_moves_is_replaced_by_its_mean(squeeze: Squeeze) -> None:
    model, x = network("se_resnet20", SE(reduction=4, squeeze=squeeze)), pictures(6)
    with torch.no_grad():
        pruned = drop_gates(model, x.split(4), ["SE_2_1", "SE_3_2"])
        means = {
            block: model.excitations(x)[name].transpose(0, 1).flatten(1).mean(1)
            for name, block in (("SE_2_1", model.stages[0][0]), ("SE_3_2", model.stages[1][1]))
        }
        for block, mean in means.items():
            block.se.register_forward_hook(lambda _, args, __, mean=mean: args[0] * mean[:, None, None])
        assert scaled_difference(pruned(x), model(x)) < 1e-12


def test_mean_and_spread_are_those_of_a_plain_loop() -> None:
    model, x = network("se_resnet20", SE(reduction=4)), pictures(10)
    with torch.no_grad():
        said = {name: values.numpy() for name, values in model.excitations(x).items()}
    found = observe(model, x.split(3))
    assert [gate.name for gate in found] == list(said)
    for gate in found:
        mean, std = said[gate.name].mean(0), said[gate.name].std(0)
        np.testing.assert_allclose(gate.mean, mean, rtol=1e-12)
        np.testing.assert_allclose(gate.std, std, rtol=1e-9)
        assert gate.spread == pytest.approx(np.sqrt((std**2).mean()) / np.sqrt((mean**2).mean()))


@pytest.mark.parametrize("placement", [Placement.PRE, Placement.INNER])
@pytest.mark.parametrize("name", ["se_resnet20", "se_resnet50b", "se_preresnet20"])
def test_gates_that_a_variant_moved_go_where_a_layer_takes_them(name: str, placement: Placement) -> None:
    model, x = network(name, SE(reduction=4, placement=placement)), pictures(2)
    freeze(model)
    with torch.inference_mode():
        assert scaled_difference(drop_gates(model, x, all_but_last(model))(x), model(x)) < 1e-12


def test_a_grouped_convolution_takes_the_factors_of_its_own_columns() -> None:
    # Negative factors do not pass the ReLU before the gate: the next block's depthwise convolution takes them.
    model, x = network("se_mobilenet", SE(gate=GateFunction.TANH)), pictures(2)
    freeze(model)
    with torch.inference_mode():
        assert scaled_difference(drop_gates(model, x, all_but_last(model))(x), model(x)) < 1e-12


def test_a_gate_on_a_sum_goes_where_convolutions_alone_read_it() -> None:
    model, x = network("se_resnet20", SE(reduction=4, placement=Placement.POST)), pictures(2)
    freeze(model)
    with torch.inference_mode():
        assert scaled_difference(drop_gates(model, x, ["SE_2_2", "SE_3_2"])(x), model(x)) < 1e-12


@pytest.mark.parametrize(
    ("name", "se", "place", "message"),
    [
        ("se_resnet20", SE(placement=Placement.POST), 0, "stands add"),
        ("se_resnet20", SE(placement=Placement.IDENTITY), 0, "a map that others read as well"),
        ("se_mobilenet", SE(gate=GateFunction.TANH), -1, "no negative factor passes"),
        ("se_resnet18", None, 0, "stages.0.0.branch.conv2.act (ReLU)"),
    ],
)
def test_a_gate_that_nothing_stands_in_for_is_named(name: str, se: SE | None, place: int, message: str) -> None:
    model, x = network(name, se), pictures(2)
    freeze(model)
    gate = list(paper_names(model, model.spec.stage_numbers).values())[place]
    with pytest.raises(UsageError) as raised:
        drop_gates(model, x, [gate])
    assert gate in str(raised.value)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("names", "stages", "without"),
    [
        (["SE_4_1", "SE_4_2", "SE_4_3"], (2, 3), ()),
        (["SE_2_2"], None, ((2, 2),)),
        (["SE_2_2", "SE_3_1", "SE_3_2", "SE_3_3"], (2, 4), ((2, 2),)),
    ],
)
def test_what_is_left_is_saved_and_read_back(tmp_path: Path, names, stages, without) -> None:
    model, x = senet_zoo.create_model("se_resnet20", pretrained=True), pictures(3).float()
    pruned = drop_gates(model, x, names)
    assert (pruned.spec.se.stages, pruned.spec.se.without) == (stages, without)
    assert set(paper_names(pruned, pruned.spec.stage_numbers).values()) == set(model.excitations(x)) - set(names)
    senet_zoo.save_pretrained(pruned, tmp_path)
    again = senet_zoo.create_model("se_resnet20", weights=tmp_path)
    assert again.spec == pruned.spec
    assert again.weights.preprocessing == model.weights.preprocessing
    assert again.weights.categories == model.weights.categories
    with torch.inference_mode():
        assert scaled_difference(again(x), pruned(x)) < 1e-5
    assert all(torch.equal(tensor, again.state_dict()[key]) for key, tensor in pruned.state_dict().items())
    # and what was pruned is pruned again
    twice = drop_gates(again, x, ["SE_2_1"])
    assert twice.spec.se.without == ((2, 1), *without)


def test_what_is_left_learns_on() -> None:
    pruned = drop_gates(network("se_resnet20", SE(reduction=4)), pictures(2), ["SE_2_1", "SE_4_2"]).train()
    pruned(pictures(2)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in pruned.parameters())


def test_gates_of_a_block_go_together() -> None:
    model, x = network("se_shakeshake26_2x96d"), pictures(2)
    freeze(model)
    with pytest.raises(UsageError, match="SE_2_1_1 with SE_2_1_2"):
        drop_gates(model, x, ["SE_2_1_1"])
    with torch.inference_mode():
        pruned = drop_gates(model, x, ["SE_2_1_1", "SE_2_1_2"])
        assert scaled_difference(pruned(x), model(x)) < 1e-12
    assert pruned.spec.se.without == ((2, 1),)


def test_stages_and_thresholds_choose() -> None:
    model = senet_zoo.create_model("se_resnet20", pretrained=True)
    found = observe(model, pictures(16).float())
    spreads = {gate.name: gate.spread for gate in found}
    assert OfStages((2, 4)).names(found) == ("SE_2_1", "SE_2_2", "SE_2_3", "SE_4_1", "SE_4_2", "SE_4_3")
    middle = sorted(spreads.values())[4]
    assert set(SpreadUnder(middle).names(found)) == {name for name, spread in spreads.items() if spread < middle}
    # Of the embedded checkpoint SE_3_3 is constant, whatever the picture; noise, as here, leaves SE_4_2 still as well.
    assert SpreadUnder(1e-4).names(found) == ("SE_3_3", "SE_4_2")


NINE = [
    GateActivity(
        f"SE_{s}_{b}", f"stages.{s - 2}.{b - 1}.se", (s, b), torch.ones(8), torch.full((8,), 0.1 * s + 0.01 * b)
    )
    for s in (2, 3, 4)
    for b in (1, 2, 3)
]


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (OfStages((5,)), "gates are in the stages 2, 3, 4, got 5"),
        (OfStages(()), "got none"),
        (OfStages((2, 3, 4)), "at least one gate, and stages 2, 3, 4 have all 9"),
        (SpreadUnder(0.5), "all 9 have a spread under 0.5: lower it to 0.43 or less"),
        (SpreadUnder(0.2), "no gate has a spread under 0.2, the smallest has 0.21"),
        (SpreadUnder(0.0), "above 0, got 0.0"),
        (SpreadUnder(float("nan")), "above 0, got nan"),
    ],
)
def test_a_choice_of_nothing_or_everything_is_refused(selection, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        selection.names(NINE)
    assert message in str(raised.value)


def test_bad_networks_and_pictures_are_refused() -> None:
    model, x = network("se_resnet20"), pictures(2)
    with pytest.raises(UsageError, match="starts with se_"):
        drop_gates(network("resnet20"), x, ["SE_2_1"])
    with pytest.raises(UsageError, match="there is no SE_9_9"):
        drop_gates(model, x, ["SE_9_9"])
    with pytest.raises(UsageError, match="at least one gate out of SE_2_1"):
        drop_gates(model, x, [])
    with pytest.raises(UsageError, match="leaves at least one gate, and all 6 would go"):
        drop_gates(model, x, list(model.excitations(x)))
    with pytest.raises(DataError, match="at least one picture"):
        drop_gates(model, [], ["SE_2_1"])
    with pytest.raises(DataError, match="at least one picture"):
        drop_gates(model, x[:0], ["SE_2_1"])
    with pytest.raises(WeightsError, match="SE_2_1 does not"):
        drop_gates(model, x * float("nan"), ["SE_2_1"])
    with pytest.raises(UsageError, match=r"model\.eval\(\)"):
        drop_gates(model.train(), x, ["SE_2_1"])
    inserted = senet_zoo.insert_se(network("resnet20"), example=x)
    with pytest.raises(UsageError, match="was inserted"):
        drop_gates(inserted, x, [next(iter(gates(inserted)))])


def test_blocks_without_gates_are_a_value() -> None:
    model = senet_zoo.create_model("se_resnet50", se=SE(stages=(3, 4), without=((4, 6),))).eval()
    names = paper_names(model, model.spec.stage_numbers).values()
    assert set(names) == {f"SE_3_{i}" for i in range(1, 5)} | {f"SE_4_{i}" for i in range(1, 6)}
    assert isinstance(model.stages[2][5].se, nn.Identity)
    for without in (((4, 7),), ((5, 1),), ((1, 1),)):
        with pytest.raises(SpecError, match="no such block"):
            senet_zoo.create_model("se_resnet50", se=SE(stages=(3, 4), without=without))
    with pytest.raises(SpecError, match="ascending order"):
        SE(without=((4, 6), (4, 2)))


def test_the_notes_numbers_of_the_last_stage() -> None:
    """25 M and 2.5 M more, 10 %; without the last stage's gates 4 %."""
    plain, whole, slim = (
        parameters(on_meta(MODELS[name].spec(se)))
        for name, se in (("resnet50", None), ("se_resnet50", None), ("se_resnet50", SE(stages=(2, 3, 4))))
    )
    assert round(100 * (whole - plain) / plain) == 10
    assert round(100 * (slim - plain) / plain) == 4
