"""Segmenters on any network of the zoo: torchvision's on dilated networks, and segmentation_models.pytorch's Unet."""

from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from senet_zoo.data.labels import numbered_classes
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import UsageError
from senet_zoo.networks import registry
from senet_zoo.networks.dilation import dilate
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.widths import widths_of
from senet_zoo.segmentation.design import Segmenter, SegmenterConfig
from senet_zoo.weights.catalogue import Weights
from senet_zoo.weights.config import FolderConfig
from senet_zoo.weights.create import create_model
from senet_zoo.weights.task_folders import provenance_from

if TYPE_CHECKING:
    from torchvision.models.segmentation import FCN, DeepLabV3

Model = TypeVar("Model", bound=nn.Module)
STRIDES = (2, 4, 8, 16, 32)  # of the maps that a Unet decodes
DECODER = (256, 128, 64, 32, 16)  # channels of its five steps, coarse to fine: segmentation_models.pytorch's own


class LastMaps(nn.Module):
    """The last map of a network, and that of the stage before it, as torchvision's segmenters take them.

    Args:
        network: its head and classifier are left out.

    Shape:
        (N, C, H, W) -> ``"out"`` and ``"aux"``: (N, channels, H / stride, W / stride).
    """

    def __init__(self, network: ConvNet) -> None:
        super().__init__()
        self.body = network
        self.body.reset_classifier(0)
        self.body.head = nn.Identity()

    @property
    def channels(self) -> dict[str, int]:
        """Of each map."""
        widths = widths_of(self.body.spec)
        return {"out": widths[-1], "aux": widths[-2]}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Both maps."""
        x = self.body.pool(self.body.stem(x))
        maps = []
        for stage in self.body.stages:
            x = self.body.run(stage, x)
            maps.append(x)
        return OrderedDict(out=maps[-1], aux=maps[-2])


def fcn(
    backbone: ConvNet | str,
    num_classes: int,
    *,
    pretrained: bool = False,
    output_stride: int = 8,
    auxiliary: bool = False,
) -> "FCN":
    """Fully convolutional network, torchvision's.

    Args:
        backbone: a network of the zoo, which is copied, or a model's name.
        num_classes: of every pixel, the background included.
        pretrained: load the published classification weights of the name.
        output_stride: of the last map, 8 or 16.
        auxiliary: a second classifier on the stage before the last, for training.

    Returns:
        A segmenter in eval mode: (N, 3, H, W) -> ``"out"``, and ``"aux"`` where asked for, (N, num_classes, H, W). It
        takes pictures normalised as the backbone's weights ask.

    Raises:
        UsageError: a number out of range, or a network whose last map has another stride than 32.
        SpecError: the family's blocks cannot go without their stride.
        WeightsError: the published weights could not be had.

    Source: Long et al., arXiv:1411.4038.
    """
    from torchvision.models.segmentation import FCN
    from torchvision.models.segmentation.fcn import FCNHead

    network = _network(backbone, num_classes, pretrained)
    maps = LastMaps(dilate(network, output_stride))
    head = FCNHead(maps.channels["out"], num_classes)
    model = FCN(maps, head, _auxiliary(maps, num_classes) if auxiliary else None).eval()
    return _described(model, Segmenter.FCN, network, num_classes, output_stride, auxiliary)


def deeplabv3(
    backbone: ConvNet | str,
    num_classes: int,
    *,
    pretrained: bool = False,
    output_stride: int = 8,
    auxiliary: bool = False,
) -> "DeepLabV3":
    """DeepLab v3, torchvision's.

    Args, Returns and Raises: as `fcn`.

    Source: Chen et al., arXiv:1706.05587: rates 12, 24 and 36 at an output stride of 8, 6, 12 and 18 at 16.
    """
    from torchvision.models.segmentation import DeepLabV3
    from torchvision.models.segmentation.deeplabv3 import DeepLabHead

    network = _network(backbone, num_classes, pretrained)
    maps = LastMaps(dilate(network, output_stride))
    head = DeepLabHead(maps.channels["out"], num_classes, tuple(96 * by // output_stride for by in (1, 2, 3)))
    model = DeepLabV3(maps, head, _auxiliary(maps, num_classes) if auxiliary else None).eval()
    return _described(model, Segmenter.DEEPLABV3, network, num_classes, output_stride, auxiliary)


class UnetSegmenter(nn.Module):
    """A decoder of segmentation_models.pytorch over the maps of a network, of any size of picture.

    Args:
        network: its head and classifier are left out.
        num_classes: of every pixel.

    Shape:
        (N, 3, H, W) -> ``"out"``: (N, num_classes, H, W).

    Raises:
        UsageError: the network lacks one of the strides 2, 4, 8, 16 and 32, or the library is not installed.

    Source: Ronneberger et al., arXiv:1505.04597; the decoder is segmentation_models.pytorch's.
    """

    def __init__(self, network: ConvNet, num_classes: int) -> None:
        super().__init__()
        try:
            from segmentation_models_pytorch.base import SegmentationHead
            from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
        except ImportError as error:
            raise UsageError(
                "a Unet is decoded by segmentation_models.pytorch: pip install 'senet-zoo[segmentation]'"
            ) from error
        if not set(STRIDES) <= set(network.feature_channels):
            raise UsageError(
                f"a Unet needs a network with maps of stride 2, 4, 8, 16 and 32, and this one's are of stride "
                f"{', '.join(map(str, network.feature_channels))}; choose one such as se_resnet50"
            )
        with torch.no_grad():
            maps = deepcopy(network).eval().features(torch.zeros(1, network.in_channels, 96, 96), STRIDES)
        if [found.shape[-1] for found in maps] != [96 // stride for stride in STRIDES]:
            raise UsageError(
                "a Unet needs a network whose maps have exactly their share of a picture's side, and this one's "
                "convolutions are not padded; choose one such as se_resnet50"
            )
        self.encoder = network
        self.encoder.reset_classifier(0)
        self.encoder.head = nn.Identity()
        channels = [network.feature_channels[stride] for stride in STRIDES]
        self.decoder = UnetDecoder([network.in_channels, *channels], DECODER, len(DECODER))
        self.head = SegmentationHead(DECODER[-1], num_classes)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Logits of every pixel."""
        height, width = x.shape[-2:]
        # Every map must be twice as large as the next; what is added below and to the right is cut off again.
        whole = F.pad(x, (0, -width % STRIDES[-1], 0, -height % STRIDES[-1]))
        logits: Tensor = self.head(self.decoder([whole, *self.encoder.features(whole, STRIDES)]))
        return OrderedDict(out=logits[..., :height, :width])


def unet(backbone: ConvNet | str, num_classes: int, *, pretrained: bool = False) -> UnetSegmenter:
    """U-Net with a network of the zoo as its encoder.

    Args, Returns and Raises: as `fcn`; any network with maps of stride 2, 4, 8, 16 and 32 goes.

    Source: Ronneberger et al., arXiv:1505.04597.
    """
    network = _network(backbone, num_classes, pretrained)
    return _described(
        UnetSegmenter(deepcopy(network), num_classes).eval(), Segmenter.UNET, network, num_classes, 32, False
    )


def build(
    kind: Segmenter, backbone: ConvNet, num_classes: int, *, output_stride: int = 8, auxiliary: bool = False
) -> nn.Module:
    """The segmenter of that kind; arguments as `fcn`. A Unet has neither an output stride nor an auxiliary head."""
    if kind is Segmenter.UNET:
        return unet(backbone, num_classes)
    makers: dict[Segmenter, Callable[..., nn.Module]] = {Segmenter.FCN: fcn, Segmenter.DEEPLABV3: deeplabv3}
    return makers[kind](backbone, num_classes, output_stride=output_stride, auxiliary=auxiliary)


def _network(backbone: ConvNet | str, num_classes: int, pretrained: bool) -> ConvNet:
    """The network itself, or that of a name."""
    if num_classes < 1:
        raise UsageError(f"a segmenter's num_classes must be at least 1, got {num_classes}")
    if isinstance(backbone, ConvNet) and pretrained:
        raise UsageError("pretrained=True fetches the weights of a name, and a network was given, which has its own")
    return create_model(backbone, pretrained=pretrained) if isinstance(backbone, str) else backbone


def _described(
    model: Model, kind: Segmenter, network: ConvNet, num_classes: int, output_stride: int, auxiliary: bool
) -> Model:
    """The segmenter, which knows what rebuilds it where a name of the zoo spells its network."""
    entry = registry.model_of(network.spec)
    record = network.weights
    known = record.preprocessing if isinstance(record, Weights | FolderConfig) else None
    usual = known or Preprocessing(size=224, resize=256)
    made: Any = model
    made.weights = (
        None
        if entry is None
        else SegmenterConfig(
            kind,
            entry[0].name,
            network.spec.se,
            numbered_classes(num_classes),
            output_stride=output_stride,
            auxiliary=auxiliary,
            mean=usual.mean,
            std=usual.std,
            widths=entry[1],
            provenance=provenance_from(network),
        )
    )
    return model


def _auxiliary(maps: LastMaps, num_classes: int) -> nn.Module:
    from torchvision.models.segmentation.fcn import FCNHead

    head: nn.Module = FCNHead(maps.channels["aux"], num_classes)
    return head
