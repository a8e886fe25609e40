"""torchvision's segmenters on any network of the zoo that `senet_zoo.networks.dilation.dilate` takes."""

from collections import OrderedDict
from typing import TYPE_CHECKING

from torch import Tensor, nn

from senet_zoo.errors import UsageError
from senet_zoo.networks.dilation import dilate
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.widths import widths_of
from senet_zoo.weights.create import create_model

if TYPE_CHECKING:
    from torchvision.models.segmentation import FCN, DeepLabV3


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

    maps = _maps(backbone, num_classes, pretrained, output_stride)
    head = FCNHead(maps.channels["out"], num_classes)
    return FCN(maps, head, _auxiliary(maps, num_classes) if auxiliary else None).eval()


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

    maps = _maps(backbone, num_classes, pretrained, output_stride)
    head = DeepLabHead(maps.channels["out"], num_classes, tuple(96 * by // output_stride for by in (1, 2, 3)))
    return DeepLabV3(maps, head, _auxiliary(maps, num_classes) if auxiliary else None).eval()


def _maps(backbone: ConvNet | str, num_classes: int, pretrained: bool, output_stride: int) -> LastMaps:
    if num_classes < 1:
        raise UsageError(f"a segmenter's num_classes must be at least 1, got {num_classes}")
    if isinstance(backbone, ConvNet) and pretrained:
        raise UsageError("pretrained=True fetches the weights of a name, and a network was given, which has its own")
    network = create_model(backbone, pretrained=pretrained) if isinstance(backbone, str) else backbone
    return LastMaps(dilate(network, output_stride))


def _auxiliary(maps: LastMaps, num_classes: int) -> nn.Module:
    from torchvision.models.segmentation.fcn import FCNHead

    head: nn.Module = FCNHead(maps.channels["aux"], num_classes)
    return head
