"""MONAI's SE networks over signals, pictures and volumes are the same functions, and weights go both ways."""

from pathlib import Path

import pytest
import torch
from networks import others_slow, randomise, scaled_difference
from safetensors.torch import load_file

from senet_zoo import Dimensions, UsageError, create_model, gates, insert_se, load_checkpoint
from senet_zoo.formats.dialects import MONAI, translate
from senet_zoo.inference.rewriting import rewrite
from senet_zoo.networks.registry import find
from senet_zoo.networks.unet import UNet
from senet_zoo.weights.convert import convert
from senet_zoo.weights.libraries import TARGETS, target_of
from senet_zoo.weights.load import shapes_of

nets = pytest.importorskip("monai.networks.nets", reason="needs monai")
SIDES = {1: 97, 2: 49, 3: 33}
PAIRS = TARGETS["monai"]


@pytest.mark.parametrize("dims", SIDES)
@pytest.mark.parametrize("name", others_slow(PAIRS, ["se_resnet50"]))
def test_logits_equal_monais_and_weights_go_both_ways(name: str, dims: int) -> None:
    theirs = getattr(nets, PAIRS[name])(spatial_dims=dims, in_channels=2, num_classes=5).eval()
    randomise(theirs)
    ours = create_model(name, dims=dims, in_channels=2, num_classes=5).eval()
    ours.load_state_dict(translate(theirs.state_dict(), MONAI))
    x = torch.rand(1, 2, *(SIDES[dims],) * dims, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs(x)
        assert scaled_difference(ours(x), expected) < 1e-5
        target = target_of("monai", find(name), ours.spec.se)
        assert target is not None
        back = target.tensors(ours, ours.state_dict())
        theirs.load_state_dict(back, strict=True)
        assert torch.equal(theirs(x), expected)
    assert shapes_of(ours) == {key: tuple(value.shape) for key, value in translate(back, MONAI).items()}


def test_what_monai_does_with_a_network_works() -> None:
    from monai.data import MetaTensor
    from monai.inferers import sliding_window_inference

    model = create_model("se_resnet20", pretrained=True, dims=3, in_channels=1)
    x = torch.rand(1, 1, 8, 16, 16)
    assert torch.equal(torch.Tensor(model(MetaTensor(x))), model(x))
    net = UNet(create_model("se_resnet20", dims=3, in_channels=1), 2, (16, 8)).eval()
    assert sliding_window_inference(torch.rand(1, 1, 20, 24, 24), (16, 16, 16), 2, net).shape == (1, 2, 20, 24, 24)


def test_gates_go_into_monais_networks() -> None:
    theirs = nets.resnet18(spatial_dims=3, n_input_channels=1, num_classes=2).eval()
    x = torch.rand(1, 1, 32, 32, 32)
    before = theirs(x)
    assert len(gates(insert_se(theirs, example=x))) == 8
    assert torch.equal(theirs(x), before)


def test_files_of_monais_networks_are_converted_both_ways(tmp_path: Path) -> None:
    theirs = nets.SEResNet50(spatial_dims=3, in_channels=1, num_classes=2).eval()
    torch.save(theirs.state_dict(), tmp_path / "monai.pth")
    ours = load_checkpoint("se_resnet50", tmp_path / "monai.pth")
    assert (ours.spec.dimensions, ours.in_channels, ours.num_classes) == (Dimensions(3), 1, 2)
    assert convert(tmp_path / "monai.pth", tmp_path / "ours.safetensors").model == "se_resnet50"
    back = convert(tmp_path / "ours.safetensors", tmp_path / "back.safetensors", to="monai")
    assert back.foreign_model == "SEResNet50"
    assert load_file(tmp_path / "back.safetensors").keys() == theirs.state_dict().keys()
    with pytest.raises(UsageError, match="MONAI alone has networks of 3 dimensions; leave --to out"):
        convert(tmp_path / "ours.safetensors", tmp_path / "timm.safetensors", to="timm")


@pytest.mark.parametrize("dims", [2, 3])
def test_monais_gates_move_before_their_convolution(dims: int) -> None:
    theirs = randomise(nets.SEResNet50(spatial_dims=dims, in_channels=1, num_classes=2)).eval()
    rewriting = rewrite(theirs)
    assert (len(rewriting.early), rewriting.folded) == (16, 53)
    x = torch.rand(1, 1, *(33,) * dims)
    with torch.no_grad():
        assert scaled_difference(rewriting.network(x), theirs(x)) < 1e-5
