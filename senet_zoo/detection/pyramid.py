"""`Pyramid`: the maps of a network at several strides, as torchvision's detectors take them."""

from collections import OrderedDict
from copy import deepcopy
from typing import TYPE_CHECKING, Self

from torch import Tensor, nn

from senet_zoo.errors import UsageError
from senet_zoo.networks.network import ConvNet

if TYPE_CHECKING:
    from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

STRIDES = (4, 8, 16, 32)


class Pyramid(nn.Module):
    """Maps of a network at several strides, made alike by a feature pyramid (torchvision's).

    The network's head and classifier are left out. A frozen stage learns nothing, and its batch norms use and keep
    their running statistics.

    Args:
        network: copied, so that the one given stays as it is.
        strides: of the maps that go into the pyramid.
        channels: of its maps.
        extra: what makes coarser maps of the last ones; by default one more, of every second pixel.
        trainable_stages: stages that learn, counted from the last one; the stem counts as a stage. None for all.
        frozen_norm: freeze all batch norms, their scale and shift included, as detectors do whose batches are small.

    Shape:
        (N, C, H, W) -> maps ``"0"``, ``"1"``, ... of (N, channels, H / stride, W / stride), and those of ``extra``.

    Raises:
        UsageError: the network lacks one of the strides, or has not so many stages.

    Source: Lin et al., arXiv:1612.03144.
    """

    def __init__(
        self,
        network: ConvNet,
        *,
        strides: tuple[int, ...] = STRIDES,
        channels: int = 256,
        extra: "ExtraFPNBlock | None" = None,
        trainable_stages: int | None = None,
        frozen_norm: bool = False,
    ) -> None:
        from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

        super().__init__()
        found = network.feature_channels
        if not set(strides) <= set(found):
            raise UsageError(
                f"a pyramid needs a network whose four stages give maps of stride {_listed(strides)}, and this one's "
                f"are of stride {_listed(tuple(found))}; choose one such as se_resnet50"
            )
        self.body = deepcopy(network)
        self.body.reset_classifier(0)
        self.body.head = nn.Identity()
        self.fpn = FeaturePyramidNetwork([found[stride] for stride in strides], channels, extra or LastLevelMaxPool())
        self.strides = strides
        self.out_channels = channels  # torchvision's detectors read it
        self._frozen = _freeze(self.body, trainable_stages, frozen_norm)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The pyramid's maps by name, from fine to coarse."""
        maps = self.body.features(x, self.strides)
        pyramid: dict[str, Tensor] = self.fpn(OrderedDict((str(i), each) for i, each in enumerate(maps)))
        return pyramid

    def train(self, mode: bool = True) -> Self:
        """Training mode for all but the frozen batch norms."""
        super().train(mode)
        for norm in self._frozen:
            norm.eval()
        return self


def _freeze(body: ConvNet, trainable_stages: int | None, frozen_norm: bool) -> list[nn.BatchNorm2d]:
    """Take what is frozen out of training, and return the batch norms among it."""
    parts = [body.stem, *body.stages]
    trainable = len(parts) if trainable_stages is None else trainable_stages
    if not 0 <= trainable <= len(parts):
        raise UsageError(f"this network has {len(parts)} stages to train, the stem included; got {trainable}")
    frozen = parts[: len(parts) - trainable]
    for part in frozen:
        part.requires_grad_(False)
    norms = [
        module
        for part in (parts if frozen_norm else frozen)
        for module in part.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    for norm in norms:
        norm.requires_grad_(False)
    return norms


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))
