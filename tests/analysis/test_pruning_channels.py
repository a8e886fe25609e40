"""Channels that go: the function is that of the network with their weights at 0, and every part of the zoo reads it."""

import json
import sys
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from networks import randomise, scaled_difference, tiny
from torch import nn

import senet_zoo
from senet_zoo import SE
from senet_zoo.analysis import cost
from senet_zoo.analysis.pruning import drop_gates, remove_channels
from senet_zoo.detection import Design, Kind
from senet_zoo.detection.models import build
from senet_zoo.detection.saved_folder import DetectorConfig
from senet_zoo.detection.saved_folder import from_pretrained as read_detector
from senet_zoo.detection.saved_folder import save_pretrained as write_detector
from senet_zoo.errors import DataError, ManifestError, SpecError, UsageError
from senet_zoo.networks.blocks.residual import ResidualBlock
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS, model_of
from senet_zoo.networks.squeeze_excite import Placement, Squeeze, SqueezeExcite, gates
from senet_zoo.networks.widths import narrowed, widths_of

KINDS = [
    "se_resnet20",  # the stem's map and the first stage's are one sum
    "se_resnet18",  # a ReLU before the gate
    "se_resnet50",
    "se_resnext50_32x4d",  # grouped inside
    "senet154",  # a deep stem
    "se_resnet50d",  # a pool in the shortcut
    "se_resnet18_vd",  # a projection in the first unit
    "se_preresnet20",  # a norm at the end of the sum
    "se_preresnet50",
]


def network(name: str, se: SE | None = None) -> ConvNet:
    """In double precision, with weights under which every layer matters, and gates that differ between channels."""
    model = randomise(ConvNet(tiny(MODELS[name].spec(se)), num_classes=10)).double()
    assert isinstance(model, ConvNet)
    generator = torch.Generator().manual_seed(1)
    for gate in gates(model).values():
        if gate.fc2.bias is not None:
            gate.fc2.bias.data.normal_(0.0, 1.0, generator=generator)
    return model


def pictures(count: int = 4, size: int = 32) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@torch.no_grad()
def lowest(model: ConvNet, x: torch.Tensor, share: float) -> dict[int, list[int]]:
    """By map (0: the stem's): the channels whose excitation is lowest, over pictures and the gates of the map."""
    said, se = defaultdict(list), model.spec.se
    for name, values in model.excitations(x).items():
        stage, block = (int(number) for number in name.split("_")[1:3])
        index = stage - 1 - (se.placement is Placement.PRE and block == 1)
        index = 1 if index == 0 and ties(model) else index
        said[index].append(values.transpose(0, 1).flatten(1).mean(1))
    found = {}
    for index, rows in said.items():
        order = sorted(range(len(rows[0])), key=lambda channel, rows=rows: sum(row[channel].item() for row in rows))
        found[index] = order[: round(len(order) * share)]
    return found | ({0: found[1]} if ties(model) and 1 in found else {})


def ties(model: ConvNet) -> bool:
    return isinstance(unit(model.stages[0][0]).shortcut, nn.Identity)


def unit(block: nn.Module) -> nn.Module:
    return block.unit if hasattr(block, "unit") else block


@torch.no_grad()
def silence(model: ConvNet, removed: dict[int, list[int]]) -> None:
    """Put the weights at 0 that write these channels, and those of norms that read them."""
    parts = [list(stage) for stage in model.stages]
    for index, channels in removed.items():
        writers = [each for block in parts[index - 1] for each in (unit(block).branch, unit(block).shortcut)]
        for writer in writers if index else [model.stem]:
            layers = [layer for layer in writer.modules() if isinstance(layer, nn.Conv2d | nn.BatchNorm2d)]
            for tensor in layers[-1].parameters() if layers else ():
                tensor[channels] = 0.0
        readers = [
            *(parts[index - 1][1:] if index else []),
            *(parts[index][:1] if index < len(parts) else [model.head]),
        ]
        for norm in [layer for reader in readers for layer in norms_in_front(reader)]:
            for tensor in norm.parameters():
                tensor[channels] = 0.0


def norms_in_front(reader: nn.Module) -> Iterable[nn.Module]:
    own = [] if isinstance(reader, ResidualBlock) else reader.children()
    return [part for part in own if isinstance(part, nn.BatchNorm2d)]


@pytest.mark.parametrize("name", KINDS)
def test_the_function_is_that_of_silent_channels(name: str) -> None:
    model, x = network(name), pictures()
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    removed = lowest(model, x, 0.25)
    pruned = remove_channels(model, x.split(3), 0.25)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items()), "it is left as it is"
    with torch.inference_mode():
        assert scaled_difference(pruned(x), model(x)) > 1e-3
        silence(model, removed)
        assert scaled_difference(pruned(x), model(x)) < 1e-12
    own, now = widths_of(model.spec), widths_of(pruned.spec)
    assert [a - b for a, b in zip(own, now, strict=True)] == [len(removed.get(i, ())) for i in range(len(own))]
    assert all(gate.fc1.out_features == old.fc1.out_features for gate, old in pairs(pruned, model))


def pairs(one: ConvNet, other: ConvNet) -> Iterable[tuple[SqueezeExcite, SqueezeExcite]]:
    return zip(gates(one).values(), gates(other).values(), strict=True)


VARIANTS = {
    "pre": SE(reduction=4, placement=Placement.PRE),
    "post": SE(reduction=4, placement=Placement.POST, bias=False),
    "identity": SE(reduction=4, placement=Placement.IDENTITY),
    "no squeeze": SE(reduction=8, squeeze=Squeeze.NONE),
    "max": SE(reduction=8, squeeze=Squeeze.BOTH),
    "one stage": SE(reduction=4, stages=(3,)),
    "single blocks": SE(reduction=4, without=((2, 1), (4, 2))),
}


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        *(("se_resnet20", variant) for variant in VARIANTS),
        ("se_resnet50b", "pre"),  # the stem's map has a gate of its own
        ("se_resnet50b", "one stage"),
        ("se_preresnet20", "post"),
        ("se_preresnet20", "identity"),
    ],
)
def test_every_variant_whose_gates_are_on_a_sum(name: str, variant: str) -> None:
    se = VARIANTS[variant]
    model, x = network(name, se), pictures()
    removed = lowest(model, x, 0.5)
    pruned = remove_channels(model, x, 0.5)
    silence(model, removed)
    with torch.inference_mode():
        assert scaled_difference(pruned(x), model(x)) < 1e-12
    assert pruned.spec.se.reduction == se.reduction // 2
    narrower = zip(widths_of(model.spec), widths_of(pruned.spec), strict=True)
    assert set(removed) == {index for index, (before, after) in enumerate(narrower) if after < before}


@pytest.fixture(scope="module")
def slim() -> ConvNet:
    model = senet_zoo.create_model("se_resnet20", pretrained=True)
    return remove_channels(model, pictures(8).float(), 0.25)


@pytest.fixture
def folder(slim: ConvNet, tmp_path: Path) -> Path:
    senet_zoo.save_pretrained(slim, tmp_path / "slim")
    return tmp_path / "slim"


def same_tensors(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_saved_folder_rebuilds_it(slim: ConvNet, folder: Path) -> None:
    said = json.loads((folder / "config.json").read_text())
    assert (said["architecture"], said["widths"], said["se"]["reduction"]) == ("se_resnet20", [12, 12, 24, 48], 12)
    for again in (senet_zoo.create_model("se_resnet20", weights=folder), senet_zoo.from_pretrained(folder)):
        assert again.spec == slim.spec
        assert same_tensors(again, slim)
        assert again.weights.categories == senet_zoo.get_weights("se_resnet20").categories
    assert senet_zoo.verify_deep(folder).ok
    assert "| channels | 12, 12, 24, 48: the stem's map" in (folder / "README.md").read_text()
    senet_zoo.save_pretrained(again, folder.parent / "again")
    assert (folder.parent / "again/config.json").read_bytes() == (folder / "config.json").read_bytes()


def test_what_reads_a_spec_reads_this_one(slim: ConvNet) -> None:
    x = pictures(1, 48).float()
    for stride, found in zip((1, 2, 4), slim.features(x, strides=(1, 2, 4)), strict=True):
        assert found.shape[1] == slim.feature_channels[stride]
    assert slim.num_features == slim.classifier.in_features == 48
    assert cost.parameters(slim) == sum(tensor.numel() for tensor in slim.parameters())
    # Every convolution has a sum's channels on one side, so that a quarter of its arithmetic goes; shortcuts have them
    # on both, and the stem's input stays.
    whole = senet_zoo.create_model("se_resnet20").eval()
    for ours, theirs in zip(cost.by_module(slim), cost.by_module(whole), strict=True):
        if ours.kind == "Conv2d":
            left = 9 / 16 if "shortcut" in ours.name else 3 / 4
            assert ours.multiply_adds == theirs.multiply_adds * left
    assert cost.multiply_adds(slim.spec) == cost.multiply_adds(slim)
    assert cost.gate_formula(slim).value == cost.se_parameters(slim)
    model, widths = model_of(slim.spec)
    assert (model.name, widths) == ("se_resnet20", (12, 12, 24, 48))


def test_it_is_optimised(slim: ConvNet) -> None:
    x = pictures(2).float()
    with torch.inference_mode():
        assert scaled_difference(senet_zoo.optimize(slim, rounds=0)(x), slim(x)) < 1e-4


def test_it_is_exported(slim: ConvNet, tmp_path: Path) -> None:
    report = senet_zoo.export(slim, tmp_path / "slim.onnx")
    exported = senet_zoo.load_exported(report.path)
    assert exported.metadata == report.metadata
    assert (exported.metadata.model, exported.metadata.widths) == ("se_resnet20", (12, 12, 24, 48))


def test_it_is_pruned_again_and_loses_gates(slim: ConvNet, tmp_path: Path) -> None:
    x = pictures(4).float()
    twice = remove_channels(drop_gates(slim, x, ["SE_2_1", "SE_4_3"]), x, 0.5)
    assert (widths_of(twice.spec), twice.spec.se.reduction) == ((6, 6, 12, 24), 6)
    senet_zoo.save_pretrained(twice, tmp_path)
    assert same_tensors(senet_zoo.from_pretrained(tmp_path), twice)


def test_what_is_frozen_stays_frozen_and_what_learns_learns() -> None:
    model = network("se_resnet20").train(False)
    model.stem.requires_grad_(False)
    with torch.inference_mode():
        pruned = remove_channels(model, pictures(), 0.25)
    assert {name for name, each in pruned.named_parameters() if not each.requires_grad} == {
        name for name, _ in pruned.named_parameters() if name.startswith("stem.")
    }
    pruned.train()(pictures()).square().mean().backward()
    assert all(each.grad is not None for each in pruned.parameters() if each.requires_grad)
    assert remove_channels(model.requires_grad_(False), pictures(), 0.25).feature_channels == pruned.feature_channels


def test_a_gate_of_the_names_own_reduction_does_not_hide_the_widths(tmp_path: Path) -> None:
    """Pruned by half, r = 32 is the 16 of the name, under which timm has a network of other widths."""
    model = randomise(senet_zoo.create_model("se_resnet18", se=SE(reduction=32)))
    pruned = remove_channels(model, pictures(2).float(), 0.5)
    assert pruned.spec.se == MODELS["se_resnet18"].se
    senet_zoo.save_pretrained(pruned, tmp_path)
    assert senet_zoo.from_pretrained(tmp_path).spec == pruned.spec


def test_a_detector_on_it_is_rebuilt(tmp_path: Path) -> None:
    network = senet_zoo.create_model("se_resnet18", num_classes=0).eval()
    network = remove_channels(randomise(network), pictures(2).float(), 0.5)
    design = Design(side=64, longest=64, channels=8)
    detector = build(Kind.RETINANET, network, 3, design=design)
    config = DetectorConfig(
        Kind.RETINANET, "se_resnet18", network.spec.se, ("cat", "dog"), design, widths=widths_of(network.spec)
    )
    write_detector(detector, tmp_path, config)
    assert same_tensors(read_detector(tmp_path), detector)


REFUSED = {
    "0": (0.0, UsageError, "above 0 and below 1, got 0"),
    "1": (1.0, UsageError, "above 0 and below 1, got 1"),
    "below 0": (-0.5, UsageError, "above 0 and below 1, got -0.5"),
    "no number": (float("nan"), UsageError, "above 0 and below 1, got nan"),
    "too little": (0.06, UsageError, "a multiple of 1/16.*0.06 leaves nothing to remove: give at least 0.0625"),
}


@pytest.mark.parametrize(("share", "error", "message"), REFUSED.values(), ids=list(REFUSED))
def test_a_share_of_nothing_or_everything_is_refused(share: float, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        remove_channels(network("se_resnet20"), pictures(), share)


def test_a_share_is_rounded_down() -> None:
    assert remove_channels(network("se_resnet20"), pictures(), 0.3).feature_channels == {1: 12, 2: 24, 4: 48}
    most = remove_channels(network("se_resnet20"), pictures(), 0.999)
    assert most.feature_channels == {1: 1, 2: 2, 4: 4}


@pytest.mark.parametrize(
    ("name", "se", "error", "message"),
    [
        ("resnet20", None, UsageError, "starts with se_"),
        ("se_resnet20", SE(placement=Placement.INNER), SpecError, "placement=inner are inside the branch"),
        ("se_resnet20", SE(reduction=1), UsageError, "reduction 1 has a hidden unit for each channel"),
        ("se_densenet121", None, SpecError, "go from residual units .*not from a DenseLayer: choose such a network"),
        ("se_mobilenet", None, SpecError, "not from a DepthwiseSeparable"),
        ("se_shakeshake26_2x96d", None, SpecError, "not from a ShakeBottleneck|not from a ShakeBasic"),
    ],
)
def test_networks_without_such_sums_are_refused(name: str, se: SE | None, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        remove_channels(network(name, se), pictures(), 0.5)


def test_what_cannot_be_pruned_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = network("se_resnet20"), pictures()
    with pytest.raises(DataError, match="at least one picture"):
        remove_channels(model, x[:0], 0.5)
    with pytest.raises(UsageError, match="was inserted"):
        remove_channels(senet_zoo.insert_se(network("se_resnet20"), where="stem", example=x), x, 0.5)
    with pytest.raises(
        SpecError, match=r"stage 2 must have fewer or more channels than the map before it.*another share"
    ):
        remove_channels(network("se_resnet50"), x, 0.75)
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(UsageError, match=r"pip install 'senet-zoo\[prune\]'"):
        remove_channels(model, x, 0.5)


@pytest.mark.parametrize(
    ("widths", "message"),
    [
        ([12, 12, 24], r"at least 1 and at most \(16, 16, 32, 64\), got \(12, 12, 24\)"),
        ([12, 12, 24, 65], "at most"),
        ([12, 16, 24, 48], "stage 2 must have as many channels as the map before it"),
        ([0, 12, 24, 48], r"widths\[0\] must be a whole number from 1"),
        ("12", "widths must be a list of whole numbers from 1"),
        ([12, 12, 24, True], r"widths\[3\] must be a whole number from 1"),
    ],
)
def test_a_config_of_other_widths_is_refused(folder: Path, widths: object, message: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"widths": widths}))
    with pytest.raises(ManifestError, match=message):
        senet_zoo.from_pretrained(folder)


def test_widths_are_a_value() -> None:
    spec = MODELS["se_resnet50"].spec()
    assert widths_of(spec) == (64, 256, 512, 1024, 2048)
    assert narrowed(spec, widths_of(spec)) == spec
    assert widths_of(narrowed(spec, (64, 128, 256, 512, 1000))) == (64, 128, 256, 512, 1000)
    vgg = MODELS["se_vgg16"].spec()
    with pytest.raises(SpecError, match="go from residual units"):
        narrowed(vgg, tuple(width - 1 for width in widths_of(vgg)))
