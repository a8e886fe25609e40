"""Segmenters on the zoo's networks: torchvision's, and a decoder of segmentation_models_pytorch."""

import pytest
import torch
import torchvision
from networks import distinct_tiny, randomise, scaled_difference
from segmentation_models_pytorch.base import SegmentationHead
from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from torch import Tensor, nn

from senet_zoo.errors import SpecError, UsageError
from senet_zoo.networks.dilation import dilate
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS
from senet_zoo.segmentation import deeplabv3, fcn

TINY = distinct_tiny()


class Encoder(nn.Module):
    """A network of the zoo as an encoder of segmentation_models_pytorch: the picture, then a map for each stride."""

    def __init__(self, network: ConvNet) -> None:
        super().__init__()
        self.network = network
        self.strides = [stride for stride in network.feature_channels if stride > 1]
        self.out_channels = [network.in_channels, *(network.feature_channels[stride] for stride in self.strides)]

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x, *self.network.features(x, self.strides)]


@pytest.mark.parametrize("build", [fcn, deeplabv3])
@pytest.mark.parametrize("stride", [8, 16])
def test_every_pixel_gets_its_logits_and_every_parameter_a_gradient(build, stride: int) -> None:
    torch.manual_seed(0)
    model = build(ConvNet(TINY["se_resnet18"]), 3, output_stride=stride, auxiliary=True).train()
    found = model(torch.randn(2, 3, 64, 80))
    assert {name: tuple(logits.shape) for name, logits in found.items()} == {
        "out": (2, 3, 64, 80),
        "aux": (2, 3, 64, 80),
    }
    sum(logits.square().mean() for logits in found.values()).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@torch.no_grad()
def test_torchvision_s_own_segmenter_gives_the_same_logits() -> None:
    """FCN on ResNet-50, of which torchvision's is built with dilation 2 and 4."""
    torch.manual_seed(0)
    network = ConvNet(MODELS["resnet50b"].spec())
    randomise(network)
    ours = fcn(network, 5)
    theirs = torchvision.models.segmentation.fcn_resnet50(weights=None, weights_backbone=None, num_classes=5).eval()
    kinds = (nn.Conv2d, nn.BatchNorm2d)
    for a, b in zip(
        [part for part in ours.modules() if isinstance(part, kinds)],
        [part for part in theirs.modules() if isinstance(part, kinds)],
        strict=True,
    ):
        b.load_state_dict(a.state_dict())
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert scaled_difference(ours(x)["out"], theirs(x)["out"]) <= 1e-5


@torch.no_grad()
def test_a_decoder_of_segmentation_models_pytorch() -> None:
    x = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    encoder = Encoder(ConvNet(TINY["se_resnet50b"])).eval()
    unet = UnetDecoder(encoder.out_channels, (32, 16, 16, 8, 8)).eval()
    assert SegmentationHead(8, 4)(unet(encoder(x))).shape == (1, 4, 64, 96)

    finer = Encoder(dilate(ConvNet(TINY["se_resnet50b"]), 16)).eval()
    plus = DeepLabV3PlusDecoder(finer.out_channels, 4, 16, (6, 12, 18), 16, False, 0.5).eval()
    # Its skip is the map two places after the picture, of stride 4; its last map has a stride of 16.
    assert plus(finer(x)).shape == (1, 16, 16, 24)


def test_what_cannot_be_built_says_why() -> None:
    with pytest.raises(SpecError, match="such as se_resnet50"):
        fcn(ConvNet(TINY["se_densenet121"]), 3)
    with pytest.raises(UsageError, match="at least 1, got 0"):
        deeplabv3("se_resnet18", 0)
    with pytest.raises(UsageError, match="a network was given"):
        fcn(ConvNet(TINY["se_resnet18"]), 3, pretrained=True)
