"""Finer last maps: equal to other libraries' with the same weights, and to the old map where that had pixels."""

import pytest
import timm
import torch
import torchvision
from networks import distinct_tiny, randomise, scaled_difference
from torch import nn

from senet_zoo.analysis import cost
from senet_zoo.errors import SpecError, UsageError
from senet_zoo.networks.dilation import dilate
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS

TINY = distinct_tiny()
KINDS = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
# Their units concatenate, pool at other places or have no padding.
UNABLE = ("vgg", "alexnet", "densenet", "googlenet", "inception", "attention", "xception")
PLAIN = [name for name, spec in TINY.items() if spec.se is None and max(cost.on_meta(spec).feature_channels) == 32]


def network(name: str) -> ConvNet:
    model = ConvNet(TINY[name])
    randomise(model)
    return model


def pictures(side: int = 64) -> torch.Tensor:
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))


def transplant(source: nn.Module, target: nn.Module) -> None:
    """Copy every layer in order of definition."""
    ours, theirs = ([part for part in model.modules() if isinstance(part, KINDS)] for model in (source, target))
    for a, b in zip(ours, theirs, strict=True):
        b.load_state_dict({key: tensor.view(b.state_dict()[key].shape) for key, tensor in a.state_dict().items()})


@pytest.mark.parametrize("stride", [8, 16])
@torch.no_grad()
def test_torchvision_s_dilated_network_gives_the_same_map(stride: int) -> None:
    model = ConvNet(MODELS["resnet50b"].spec())
    randomise(model)
    theirs = torchvision.models.resnet50(replace_stride_with_dilation=[False, stride == 8, True]).eval()
    transplant(model, theirs)
    maps = {}
    theirs.layer4.register_forward_hook(lambda module, args, output: maps.update(last=output))
    theirs(pictures(72))
    found = dilate(model, stride).forward_features(pictures(72))
    assert found.shape == maps["last"].shape == (1, 2048, -(-72 // stride), -(-72 // stride))
    assert scaled_difference(found, maps["last"]) <= 1e-5


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize(
    ("ours", "theirs"), [("se_resnet50b", "seresnet50"), ("resnet18b", "resnet18"), ("se_resnext26d_32x4d", None)]
)
@torch.no_grad()
def test_timm_s_output_stride_gives_the_same_map(ours: str, theirs: str | None, stride: int) -> None:
    model = ConvNet(MODELS[ours].spec())
    randomise(model)
    oracle = timm.create_model(theirs or "seresnext26d_32x4d", output_stride=stride, num_classes=1000).eval()
    transplant(model, oracle)
    found, expected = dilate(model, stride).forward_features(pictures(72)), oracle.forward_features(pictures(72))
    if theirs:
        assert scaled_difference(found, expected) <= 1e-5
    else:  # the D form's average pools differ, as the docstring says
        assert found.shape == expected.shape
        assert scaled_difference(found, expected) > 1e-3


@pytest.mark.parametrize("stride", [8, 16])
@pytest.mark.parametrize("name", [name for name in PLAIN if not any(word in name for word in UNABLE)])
@torch.no_grad()
def test_the_old_map_is_every_other_pixel_of_the_new_one(name: str, stride: int) -> None:
    """Without gates, which average over more pixels."""
    model = network(name)
    finer = dilate(model, stride)
    old, new = model.forward_features(pictures(68)), finer.forward_features(pictures(68))
    every = 32 // stride
    assert max(finer.feature_channels) == stride
    assert finer.feature_channels[stride] == new.shape[1] == old.shape[1]
    assert torch.equal(finer.features(pictures(68), (4, stride))[-1], new)
    read = new[:, :, ::every, ::every][:, :, : old.shape[2], : old.shape[3]]
    torch.testing.assert_close(read, old, rtol=1e-4, atol=1e-4 * old.abs().max().item())
    assert list(finer.state_dict()) == list(model.state_dict())


@pytest.mark.parametrize("name", [name for name in PLAIN if any(word in name for word in UNABLE)])
def test_families_that_cannot_say_so(name: str) -> None:
    with pytest.raises(SpecError, match="choose a network of such a family"):
        dilate(ConvNet(TINY[name]), 8)


def test_what_has_no_stride_to_take_out_is_refused() -> None:
    small, large = ConvNet(MODELS["se_resnet20"].spec()), network("se_resnet18")
    with pytest.raises(UsageError, match=r"this one's maps are of stride 1, 2, 4; choose one such as se_resnet50"):
        dilate(small, 8)
    with pytest.raises(UsageError, match="must be 8 or 16, got 32"):
        dilate(large, 32)
    with pytest.raises(UsageError, match=r"are of stride 2, 4, 8;"):
        dilate(dilate(large, 8), 8)


def test_the_network_stays_as_it_was() -> None:
    model = network("se_resnet18")
    before = model.forward_features(pictures())
    finer = dilate(model, 8)
    next(finer.parameters()).data.zero_()
    assert torch.equal(model.forward_features(pictures()), before)
    assert max(model.feature_channels) == 32
