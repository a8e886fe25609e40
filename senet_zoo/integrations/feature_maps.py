"""`FeatureMaps`: a network that ends in its maps, as other libraries take encoders and backbones.

The maps themselves come from `networks.network.ConvNet.features`.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from senet_zoo.networks.dilation import dilate
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.specs import NetworkSpec


class FeatureMaps(nn.Module):
    """The deepest map of each stride, also where a stride became a dilation.

    Args:
        network: its head and classifier are taken off.
        strides: some of the network's, in ascending order.
        output_stride: strides above it become dilations.

    Shape:
        (N, in_channels, H, W) -> for each stride (N, channels, H / reduction, W / reduction).

    Raises:
        UsageError: an output stride that is neither 8 nor 16, or no finer than the network.
        SpecError: the family's blocks cannot go without their stride.
    """

    def __init__(self, network: ConvNet, strides: Sequence[int], output_stride: int = 32) -> None:
        super().__init__()
        ends, channels = last_parts(network.spec), network.feature_channels
        self.positions = tuple(ends[stride] for stride in strides)
        self.channels = [channels[stride] for stride in strides]
        self.reductions = [min(stride, output_stride) for stride in strides]
        self.network = dilate(network, output_stride) if output_stride < max(channels) else network
        self.network.reset_classifier(0)
        self.network.head = nn.Identity()

    def forward(self, x: Tensor) -> list[Tensor]:
        """The maps, fine to coarse."""
        maps = []
        for position, part in enumerate((self.network.stem, self.network.pool, *self.network.stages)):
            x = self.network.run(part, x)
            if position in self.positions:
                maps.append(x)
            if position == self.positions[-1]:
                break
        return maps


def last_parts(spec: NetworkSpec) -> dict[int, int]:
    """Of each stride, the last part whose map has it: 0 is the stem, 1 the pool, 2 the first stage."""
    stride, parts = 1, {}
    for position, factor in enumerate((spec.stem.stride, spec.pool.stride, *(stage.stride for stage in spec.stages))):
        stride *= factor
        parts[stride] = position
    return parts
