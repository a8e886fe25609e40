"""`FeatureListNet`: a network that ends in its maps, as detectors, segmenters and other libraries take backbones."""

from collections.abc import Sequence

from torch import Tensor, nn

from senet_zoo.networks.dilation import dilate
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.timm_interface import MapInfo, numbers_of_maps


class FeatureInfo:
    """The maps that a module returns, as ``timm.models.FeatureInfo`` tells them.

    Args:
        info: all maps of the network.
        out_indices: numbers of those that are returned.
    """

    def __init__(self, info: Sequence[MapInfo], out_indices: Sequence[int]) -> None:
        self.info = list(info)
        self.out_indices = tuple(out_indices)

    def channels(self) -> list[int]:
        """Channels of each map."""
        return [self.info[i]["num_chs"] for i in self.out_indices]

    def reduction(self) -> list[int]:
        """Stride of each map."""
        return [self.info[i]["reduction"] for i in self.out_indices]

    def module_name(self) -> list[str]:
        """Name of the module whose output each map is."""
        return [self.info[i]["module"] for i in self.out_indices]

    def get_dicts(self) -> list[MapInfo]:
        """All of it, map by map."""
        return [self.info[i] for i in self.out_indices]

    def __len__(self) -> int:
        return len(self.info)


class FeatureListNet(nn.Module):
    """The maps of a network without its head: what ``create_model(..., features_only=True)`` returns.

    Args:
        network: the network, which is taken apart: the head and the stages behind the last map go.
        indices: numbers of the maps in `feature_info`, or how many of the last ones; all by default.
        output_stride: strides above it become dilations, by `senet_zoo.dilate`; the maps are as many as before.

    Shape:
        (N, in_channels, H, W) -> one (N, C, H / reduction, W / reduction) for each of the maps.

    Raises:
        UsageError: there is no such map, or no such output stride.
        SpecError: the family's blocks cannot go without their stride.

    Example:
        >>> import senet_zoo, torch
        >>> maps = senet_zoo.create_model("se_resnet18", features_only=True, out_indices=(1, 3))
        >>> maps.feature_info.channels(), [tuple(each.shape) for each in maps(torch.zeros(2, 3, 64, 64))]
        ([64, 256], [(2, 64, 16, 16), (2, 256, 4, 4)])
    """

    def __init__(
        self, network: ConvNet, indices: int | Sequence[int] | None = None, output_stride: int | None = None
    ) -> None:
        super().__init__()
        info = network.feature_info
        if output_stride is not None:
            network = with_output_stride(network, output_stride)
            info = [MapInfo({**each, "reduction": min(each["reduction"], output_stride)}) for each in info]
        self.feature_info = FeatureInfo(info, numbers_of_maps(indices, len(info)))
        self.pretrained_cfg = self.default_cfg = network.pretrained_cfg
        network.reset_classifier(0, "")
        parts = ["stem", "pool", *(f"stages.{i}" for i in range(len(network.stages)))]
        self.positions = tuple(parts.index(name) for name in self.feature_info.module_name())
        for name in parts[max(2, self.positions[-1] + 1) :]:
            network.set_submodule(name, nn.Sequential())
        self.network = network
        self.training = network.training

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for position, part in enumerate((self.network.stem, self.network.pool, *self.network.stages)):
            x = self.network.run(part, x)
            if position in self.positions:
                maps.append(x)
        return maps


def with_output_stride(network: ConvNet, output_stride: int) -> ConvNet:
    """The network, or where its last map is coarser than that stride its dilated copy.

    Raises:
        UsageError: an output stride that is not 8, 16 or 32.
        SpecError: the family's blocks cannot go without their stride.
    """
    fine = output_stride == 32 or output_stride >= max(network.feature_channels)
    return network if fine and output_stride in (8, 16, 32) else dilate(network, output_stride)
