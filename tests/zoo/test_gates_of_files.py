"""The gates of a file are those of its shapes: reduction, hidden units and biases; the rest is said by hand."""

from pathlib import Path

import pytest
import torch
from networks import randomise
from torch import nn

import senet_zoo
from senet_zoo import SE
from senet_zoo.errors import SpecError, UsageError, WeightsMismatch
from senet_zoo.networks.network import on_meta
from senet_zoo.networks.registry import MODELS
from senet_zoo.networks.squeeze_excite import Placement
from senet_zoo.weights.convert import convert, load_checkpoint

A1 = MODELS["se_mnasnet"].se
GATES = {
    "se_resnet20": [
        SE(reduction=8),
        SE(reduction=4, bias=False),
        SE(reduction=5),
        SE(reduction=1),
        SE(hidden=3),
        SE(bias=False, hidden=16),
    ],
    "se_preresnet20": [SE(reduction=8, bias=False)],
    "se_resnet18b": [SE(reduction=2), SE(hidden=16)],
    "se_mnasnet": [
        SE(reduction=8, placement=Placement.INNER, stages=A1.stages),
        SE(reduction=2, placement=Placement.INNER, stages=A1.stages, bias=False),
    ],
}


@pytest.mark.parametrize(("name", "se"), [(name, se) for name, gates in GATES.items() for se in gates])
@torch.no_grad()
def test_reduction_and_biases_come_from_the_shapes(name: str, se: SE, tmp_path: Path) -> None:
    theirs = randomise(senet_zoo.create_model(name, se=se, num_classes=3))
    torch.save({"state_dict": theirs.state_dict()}, tmp_path / "a.pth")
    net = load_checkpoint(name, tmp_path / "a.pth")
    assert net.spec.se == se
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(net(x), theirs(x))
    done = convert(tmp_path / "a.pth", tmp_path / "a.safetensors", model=name)
    assert done.variant == senet_zoo.weights.variant.to_text(se)
    assert load_checkpoint(name, tmp_path / "a.safetensors").spec.se == se


@torch.no_grad()
def test_what_shapes_do_not_tell_is_said_by_hand(tmp_path: Path) -> None:
    se = SE(reduction=8, placement=Placement.POST, stages=(3, 4))
    theirs = randomise(senet_zoo.create_model("se_resnet20", se=se, num_classes=3))
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    with pytest.raises(WeightsMismatch, match=r"missing: stages\.0\.0\.se"):
        convert(tmp_path / "a.pth", tmp_path / "a.safetensors", model="se_resnet20")
    done = convert(tmp_path / "a.pth", tmp_path / "a.safetensors", model="se_resnet20", se=se)
    assert done.variant == "reduction=8,placement=post,stages=3-4"
    with pytest.raises(UsageError, match=r"a gate \(reduction=8\) is that of a network; name it: model=NAME"):
        convert(tmp_path / "a.pth", tmp_path / "a.safetensors", se=SE(reduction=8))


def test_nvidias_network_has_as_many_parameters_as_it_counts() -> None:
    """Its gates have 16 hidden units in every stage."""
    net = on_meta(MODELS["se_resnext101b_32x4d"].spec(SE(hidden=16)))
    assert sum(parameter.numel() for parameter in net.parameters()) == 45_251_128


def test_hidden_units_go_with_a_saved_folder(tmp_path: Path) -> None:
    model = senet_zoo.create_model("se_resnet20", se=SE(hidden=2))
    senet_zoo.save_pretrained(model, tmp_path / "run")
    assert senet_zoo.from_pretrained(tmp_path / "run").spec.se == SE(hidden=2)
    senet_zoo.save_pretrained(senet_zoo.create_model("se_resnet20"), tmp_path / "usual")
    assert "hidden" not in (tmp_path / "usual" / "config.json").read_text()  # which older releases do not know


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: SE(reduction=8, hidden=16), "takes reduction or hidden, not both, got reduction=8 and hidden=16"),
        (lambda: SE(hidden=0), r"hidden=...\) must be a whole number from 1"),
        (lambda: SE(hidden=True), r"hidden=...\) must be a whole number from 1"),
        (lambda: SE(hidden=10**9), r"hidden=...\) must be a whole number from 1"),
    ],
)
def test_hidden_units_are_a_choice_of_their_own(make, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        make()


def test_gates_of_no_single_reduction_are_refused_by_their_shapes(tmp_path: Path) -> None:
    import timm

    theirs = timm.create_model("seresnet18", num_classes=3)
    theirs.layer1[0].se.fc1, theirs.layer1[0].se.fc2 = nn.Conv2d(64, 5, 1), nn.Conv2d(5, 64, 1)
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    with pytest.raises(
        WeightsMismatch, match=r"nearest, se_resnet18b_round8, .*stages\.0\.0\.se\.fc1\.bias: \(8,\) there"
    ):
        convert(tmp_path / "a.pth", tmp_path / "a.safetensors")


@pytest.mark.parametrize("classes", [5, 10])
def test_moskomules_cifar_networks_are_read(classes: int, tmp_path: Path) -> None:
    theirs = senet_zoo.create_model("se_resnet20", se=SE(reduction=8, bias=False), num_classes=classes).state_dict()
    names = {}
    for name, value in theirs.items():
        part = name.replace("stem.0.conv", "conv1").replace("stem.0.bn", "bn1").replace("classifier", "fc")
        for stage in range(3):
            part = part.replace(f"stages.{stage}.", f"layer{stage + 1}.")
        for layer in (1, 2):
            part = part.replace(f"branch.conv{layer}.conv", f"conv{layer}")
            part = part.replace(f"branch.conv{layer}.bn", f"bn{layer}")
            part = part.replace(f"se.fc{layer}", f"se.fc.{2 * layer - 2}")
        names[part.replace("shortcut.conv", "downsample.0").replace("shortcut.bn", "downsample.1")] = value
    torch.save(names, tmp_path / "net.pkl")
    done = convert(tmp_path / "net.pkl", tmp_path / "a.safetensors")
    assert (done.model, done.variant, done.read_as) == ("se_resnet20", "reduction=8,bias=false", "moskomule")
