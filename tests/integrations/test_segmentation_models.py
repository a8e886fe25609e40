"""segmentation_models.pytorch on encoders of the zoo."""

import sys
from collections.abc import Iterator

import pytest
import segmentation_models_pytorch as smp
import torch
from segmentation_models_pytorch.encoders import encoders

import senet_zoo
from senet_zoo.integrations.segmentation_models import Encoder, encoder_models, register
from senet_zoo.networks import registry
from senet_zoo.networks.network import on_meta

STRIDES = (2, 4, 8, 16, 32)
SMALL = ["se_resnet18", "se_preresnet18", "se_mobilenet", "se_shufflenet", "se_mnasnet", "se_googlenet", "se_vgg11"]


@pytest.fixture(autouse=True)
def registered() -> Iterator[list[str]]:
    before = dict(encoders)
    yield register()
    encoders.clear()
    encoders.update(before)


@pytest.mark.slow
def test_the_encoders_are_the_networks_whose_maps_a_decoder_can_use() -> None:
    assert encoder_models() == [name for name in registry.matching_names("*") if _has_exact_maps(name)]


def _has_exact_maps(name: str) -> bool:
    net = on_meta(registry.find(name).spec(), num_classes=0)
    if not set(STRIDES) <= set(net.feature_channels):
        return False
    maps = net.features(torch.zeros(1, 3, 96, 128, device="meta"), STRIDES)
    return all(x.shape[2:] == (96 // stride, 128 // stride) for x, stride in zip(maps, STRIDES, strict=True))


def test_encoders_are_named_with_and_without_weights(registered: list[str]) -> None:
    assert {"senet_zoo/se_resnet50", "senet_zoo/se_resnet50.caffe_in1k", "senet_zoo/mobilenet"} <= set(registered)
    assert len(encoder_models()) >= 90
    assert set(registered) <= set(smp.encoders.get_encoder_names())
    assert not {f"senet_zoo/{name}" for name in ("se_resnet20", "se_inception_v3", "alexnet")} & set(registered)


@pytest.mark.parametrize("name", SMALL)
def test_a_unet_trains_a_step(name: str) -> None:
    model = smp.Unet(f"senet_zoo/{name}", encoder_weights=None, classes=2, decoder_channels=(32, 16, 16, 8, 8))
    assert all(module.training for module in model.modules())
    loss = smp.losses.DiceLoss("multiclass")(model(torch.rand(2, 3, 64, 64)), torch.ones(2, 64, 64, dtype=torch.long))
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("name", SMALL[1:6:2])
@pytest.mark.parametrize("depth", [3, 5])
def test_maps_are_those_of_the_network(name: str, depth: int) -> None:
    encoder = smp.encoders.get_encoder(f"senet_zoo/{name}", in_channels=4, depth=depth).eval()
    x = torch.rand(1, 4, 64, 96)
    maps = encoder(x)
    assert maps[0] is x
    for ours, theirs in zip(
        senet_zoo.ConvNet.features(encoder.maps.network, x, STRIDES[:depth]), maps[1:], strict=True
    ):
        assert torch.equal(ours, theirs)
    assert [each.shape[1] for each in maps] == encoder.out_channels
    assert encoder.output_stride == 2**depth


@pytest.mark.parametrize("in_channels", [1, 3])
def test_published_weights_come_through_the_zoos_loader(in_channels: int) -> None:
    encoder = smp.encoders.get_encoder("senet_zoo/se_mobilenet.imagenette", in_channels=in_channels, weights=None)
    ours = senet_zoo.create_model("se_mobilenet.imagenette", pretrained=True, in_channels=in_channels)
    x = torch.rand(1, in_channels, 64, 64)
    assert torch.equal(encoder.eval()(x)[-1], ours.forward_features(x))


@pytest.mark.parametrize("output_stride", [8, 16])
def test_last_maps_are_dilated(output_stride: int) -> None:
    encoder = smp.encoders.get_encoder("senet_zoo/se_resnet18", output_stride=output_stride)
    maps = encoder.eval()(torch.rand(1, 3, 64, 64))
    assert [64 // each.shape[2] for each in maps] == [min(2**i, output_stride) for i in range(6)]
    assert [each.shape[1] for each in maps] == encoder.out_channels
    assert encoder.output_stride == output_stride


def test_deeplab_and_fpn_take_the_encoder() -> None:
    for architecture in (smp.DeepLabV3Plus, smp.FPN):
        model = architecture("senet_zoo/se_resnet18", encoder_weights=None, classes=3).eval()
        assert model(torch.rand(1, 3, 64, 64)).shape == (1, 3, 64, 64)


def test_a_family_that_needs_its_strides_says_so() -> None:
    with pytest.raises(senet_zoo.SpecError, match="such as se_resnet50"):
        smp.encoders.get_encoder("senet_zoo/se_googlenet", output_stride=16)


@pytest.mark.parametrize("weights", ["imagenet", "caffe_in1k"])
def test_weights_are_named_in_the_encoders_name(weights: str) -> None:
    with pytest.raises(senet_zoo.UsageError, match=r"se_resnet50\.caffe_in1k, with encoder_weights=None; got"):
        smp.Unet("senet_zoo/se_resnet18", encoder_weights=weights)


@pytest.mark.parametrize("depth", [0, 6])
def test_a_depth_out_of_range_is_refused(depth: int) -> None:
    with pytest.raises(senet_zoo.UsageError, match="depth"):
        Encoder("se_resnet18", depth=depth)


def test_an_encoder_is_exported() -> None:
    encoder = smp.encoders.get_encoder("senet_zoo/se_resnet18").eval()
    x = torch.rand(1, 3, 64, 64)
    exported = torch.export.export(encoder, (x,), strict=True).module()
    assert all(torch.equal(a, b) for a, b in zip(exported(x), encoder(x), strict=True))


def test_a_missing_client_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch.encoders", None)
    with pytest.raises(senet_zoo.UsageError, match="pip install segmentation-models-pytorch"):
        register()
