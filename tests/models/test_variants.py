"""Variants of the gate: each is a value of SE, computes what the paper's figure says, and costs what its tables say."""

import itertools

import pytest
import torch
from networks import randomise, thin, tiny
from torch import nn
from torch.nn import functional as F

from senet_zoo import SE, Activation, GateFunction, Placement, Squeeze, SqueezeExcite, Start, create_model
from senet_zoo.analysis import cost
from senet_zoo.errors import SpecError
from senet_zoo.networks.blocks.residual import ResidualBlock
from senet_zoo.networks.network import ConvNet, on_meta
from senet_zoo.networks.registry import MODELS

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def resnet20(se: SE) -> ConvNet:
    model = ConvNet(MODELS["se_resnet20"].spec(se))
    randomise(model)
    return model


@pytest.mark.parametrize(
    ("se", "parameters", "gigas"),
    [
        (SE(bias=False, reduction=2), 45_676_584, None),
        (SE(bias=False, reduction=4), 35_616_808, None),
        (SE(bias=False, reduction=8), 30_586_920, None),
        (SE(bias=False), 28_071_976, 3.8605),
        (SE(bias=False, reduction=32), 26_814_504, None),
        (SE(bias=False, stages=(2,)), 25_581_608, None),
        (SE(bias=False, stages=(3,)), 25_688_104, None),
        (SE(bias=False, stages=(4,)), 26_343_464, None),
        (SE(bias=False, stages=(2, 3, 4)), 26_499_112, None),
        (SE(bias=False, placement=Placement.INNER), 25_714_216, 3.8581),
        (SE(bias=False, placement=Placement.POST), 28_071_976, None),
        (SE(bias=False, placement=Placement.IDENTITY), 28_071_976, None),
        (SE(bias=False, squeeze=Squeeze.MAX), 28_071_976, None),
        (SE(bias=False, squeeze=Squeeze.NONE), 28_071_976, 4.2690),
    ],
    ids=str,
)
def test_costs_are_those_of_the_papers_ablations(se: SE, parameters: int, gigas: float | None) -> None:
    spec = MODELS["se_resnet50"].spec(se)
    assert cost.parameters(on_meta(spec)) == parameters
    if gigas is not None:
        assert round(cost.multiply_adds(spec) / 1e9, 4) == gigas


FIGURE_5 = {
    Placement.STANDARD: lambda b, x: torch.relu(b.shortcut(x) + b.se(b.branch(x))),
    Placement.PRE: lambda b, x: torch.relu(b.shortcut(x) + b.branch(b.se(x))),
    Placement.POST: lambda b, x: b.se(torch.relu(b.shortcut(x) + b.branch(x))),
    Placement.IDENTITY: lambda b, x: torch.relu(b.se(b.shortcut(x)) + b.branch(x)),
    Placement.INNER: lambda b, x: torch.relu(
        b.shortcut(x) + b.branch.conv3(b.branch.se(F.relu(b.branch.conv2.bn(b.branch.conv2.conv(b.branch.conv1(x))))))
    ),
}


@pytest.mark.parametrize("placement", Placement)
def test_a_unit_is_the_figures(placement: Placement) -> None:
    model = ConvNet(tiny(MODELS["se_resnet50"].spec(SE(reduction=4, placement=placement))))
    randomise(model)
    units = [part for part in model.modules() if isinstance(part, ResidualBlock)]
    x = model.pool(model.stem(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))))
    for unit in units:
        y = unit(x)
        torch.testing.assert_close(y, FIGURE_5[placement](unit, x))
        x = y
    assert len(cost.gates(model)) == len(units)


def test_a_gate_in_front_has_the_width_of_the_input() -> None:
    model = on_meta(MODELS["se_resnet50"].spec(SE(placement=Placement.PRE)))
    assert [gate.fc1.in_features for gate in cost.gates(model).values()][:4] == [64, 256, 256, 256]


@pytest.mark.parametrize(
    ("gate", "last"),
    [
        (GateFunction.SIGMOID, nn.Sigmoid()),
        (GateFunction.HARD_SIGMOID, nn.Hardsigmoid()),
        (GateFunction.TANH, nn.Tanh()),
        (GateFunction.RELU, nn.ReLU()),
    ],
)
@pytest.mark.parametrize(
    ("activation", "inner"),
    [
        (Activation.RELU, nn.ReLU()),
        (Activation.SILU, nn.SiLU()),
        (Activation.GELU, nn.GELU()),
        (Activation.LEAKY_RELU, nn.LeakyReLU()),
    ],
)
@pytest.mark.parametrize("squeeze", Squeeze)
def test_a_gate_is_its_formula(
    gate: GateFunction, last: nn.Module, activation: Activation, inner: nn.Module, squeeze: Squeeze
) -> None:
    ours = SqueezeExcite(24, 4, squeeze=squeeze, activation=activation, gate=gate)
    fc1, fc2 = nn.Conv2d(24, 6, 1), nn.Conv2d(6, 24, 1)  # as 1x1 convolutions, the way most libraries write it
    for theirs, layer in ((fc1, ours.fc1), (fc2, ours.fc2)):
        theirs.load_state_dict({"weight": layer.weight[:, :, None, None], "bias": layer.bias})

    def layers(z: torch.Tensor) -> torch.Tensor:
        return fc2(inner(fc1(z)))

    x = torch.randn(2, 24, 5, 7)
    mean, largest = nn.AdaptiveAvgPool2d(1)(x), nn.AdaptiveMaxPool2d(1)(x)
    z = {
        Squeeze.MEAN: lambda: layers(mean),
        Squeeze.MAX: lambda: layers(largest),
        Squeeze.BOTH: lambda: layers(mean) + layers(largest),
        Squeeze.NONE: lambda: layers(x),
    }[squeeze]()
    torch.testing.assert_close(ours(x), x * last(z))


@pytest.mark.parametrize(
    ("placement", "squeeze", "gate"),
    [
        *itertools.product(Placement, Squeeze, [GateFunction.SIGMOID]),
        *((Placement.STANDARD, Squeeze.MEAN, gate) for gate in list(GateFunction)[1:]),
    ],
)
def test_a_gate_that_starts_as_the_identity_changes_nothing_and_learns(
    placement: Placement, squeeze: Squeeze, gate: GateFunction
) -> None:
    se = SE(reduction=4, placement=placement, squeeze=squeeze, gate=gate, start=Start.IDENTITY)
    model = create_model("se_resnet20", se=se).eval()
    twin = create_model("resnet20").eval()
    twin.load_state_dict({key: tensor for key, tensor in model.state_dict().items() if ".se." not in key})
    assert torch.equal(model(X), twin(X))

    for part in cost.gates(model).values():
        nn.init.constant_(part.fc1.bias, 3.0)  # a hidden ReLU must not be shut by chance
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    for _ in range(2):
        optimizer.zero_grad()
        F.cross_entropy(model(X), torch.tensor([1, 2])).backward()
        optimizer.step()
    for name, part in cost.gates(model).items():
        assert part.fc2.weight.abs().sum() > 0, name
        assert part.fc1.weight.grad is not None, name
        assert part.fc1.weight.grad.abs().sum() > 0, name


def test_chosen_stages_alone_carry_gates() -> None:
    gates = cost.gates(resnet20(SE(stages=(2, 4))))
    assert {name.split(".")[1] for name in gates} == {"0", "2"}
    assert len(gates) == 6


@pytest.mark.parametrize(
    "se",
    [
        *(SE(placement=placement) for placement in Placement),
        *(SE(squeeze=squeeze) for squeeze in Squeeze),
        SE(reduction=4, bias=False, activation=Activation.SILU, gate=GateFunction.TANH, stages=(3,)),
        SE(start=Start.IDENTITY),
    ],
    ids=str,
)
def test_variants_compile_and_export(se: SE) -> None:
    model = randomise(ConvNet(thin(MODELS["se_resnet20"].spec(se))))
    torch._dynamo.reset()
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(model, fullgraph=True, backend="eager")(X), model(X))
        shapes = {"x": {0: torch.export.Dim("batch", max=64)}}
        torch.testing.assert_close(torch.export.export(model, (X,), dynamic_shapes=shapes).module()(X), model(X))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"reduction": 0}, "reduction.*at least 1, got 0"),
        ({"reduction": True}, "reduction.*of type int, got True"),
        ({"bias": 1}, "bias.*of type bool, got 1"),
        ({"placement": "pre"}, "placement.*one of Placement.STANDARD.*got 'pre'"),
        ({"gate": Squeeze.MAX}, "gate.*one of GateFunction.SIGMOID.*got <Squeeze.MAX"),
        ({"stages": (3, 2)}, r"ascending order, got \(3, 2\)"),
        ({"stages": [2]}, r"a tuple of stage numbers.*got \[2\]"),
        ({"stages": ()}, r"a tuple of stage numbers.*got \(\)"),
    ],
)
def test_an_impossible_value_is_refused_when_it_is_made(choice: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        SE(**choice)


@pytest.mark.parametrize(
    ("name", "se", "message"),
    [
        ("se_resnet20", SE(stages=(5,)), r"has stages 2 to 4, got SE\(stages=\(5,\)\)"),
        ("se_resnet20", SE(reduction=17), "16 channels needs a reduction from 1 to 16, got 17"),
        ("se_mobilenet", SE(placement=Placement.PRE), "MobileNet v1's block has one place.*got placement=pre"),
        ("se_shufflenet", SE(placement=Placement.IDENTITY), "ShuffleNet's unit has one place.*placement=identity"),
    ],
)
def test_what_a_network_cannot_honour_is_refused_with_the_reason(name: str, se: SE, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        create_model(name, se=se)


def test_every_choice_makes_another_network() -> None:
    """No field of SE is accepted and ignored: each changes what the network computes, or with what it starts."""
    outputs = {}
    for se in [
        SE(),
        SE(bias=False),
        SE(reduction=8),
        *(SE(placement=placement) for placement in list(Placement)[1:]),
        *(SE(squeeze=squeeze) for squeeze in list(Squeeze)[1:]),
        *(SE(activation=activation) for activation in list(Activation)[1:]),
        *(SE(gate=gate) for gate in list(GateFunction)[1:]),
        SE(start=Start.IDENTITY),
        SE(stages=(2,)),
    ]:
        outputs[se] = resnet20(se)(X).detach()
    for (one, a), (other, b) in itertools.combinations(outputs.items(), 2):
        assert not torch.allclose(a, b), (one, other)
