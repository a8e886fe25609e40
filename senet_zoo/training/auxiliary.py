"""Training with auxiliary classifiers: GoogLeNet has two, Inception v3 has one."""

from collections.abc import Callable

from torch import Tensor, nn

from senet_zoo.errors import UsageError
from senet_zoo.networks.layers import initialise
from senet_zoo.networks.network import ConvNet

Criterion = Callable[[Tensor, Tensor], Tensor]
"""From logits (N, num_classes) and labels to a loss."""


class WithAuxiliary(nn.Module):
    """A network and the auxiliary classifiers that its spec names, for training.

    The classifiers belong to this module alone: the network inside, its state dict and its logits stay what they are
    without it. Save and run ``network``; throw the rest away.

    Args:
        network: with a classifier; it is trained in place.

    Shape:
        (N, in_channels, H, W) -> logits (N, num_classes), and a tuple of auxiliary logits of the same shape, in the
        order of ``network.spec.auxiliary``.

    Raises:
        UsageError: the network has no auxiliary classifiers, or no classifier of its own.

    Source: Szegedy et al., Going Deeper with Convolutions, arXiv:1409.4842, section 5.

    Example:
        >>> import torch
        >>> from senet_zoo import create_model
        >>> training = WithAuxiliary(create_model("se_googlenet", num_classes=10).train())
        >>> loss = training.loss(torch.zeros(2, 3, 224, 224), torch.tensor([0, 1]), nn.functional.cross_entropy)
        >>> loss.shape
        torch.Size([])
    """

    def __init__(self, network: ConvNet) -> None:
        super().__init__()
        spec = network.spec
        if not spec.auxiliary:
            raise UsageError("this network has no auxiliary classifiers: its spec names none; train it as it is")
        if not network.num_classes:
            raise UsageError("auxiliary classifiers learn what the network's own learns; num_classes must not be 0")
        self.network = network
        like = next(network.parameters())
        widths = _widths(network)
        self.heads = nn.ModuleList(
            auxiliary.head.build(widths[auxiliary.stage, auxiliary.block], network.num_classes)
            for auxiliary in spec.auxiliary
        ).to(like.device, like.dtype)
        initialise(self.heads)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The network's logits, and the auxiliary ones."""
        network, spec = self.network, self.network.spec
        x, logits = network.pool(network.stem(x)), []
        for number, stage in zip(spec.stage_numbers, network.stages, strict=True):
            blocks, start = list(stage.children()), 0
            for auxiliary, head in zip(spec.auxiliary, self.heads, strict=True):
                if auxiliary.stage == number:
                    x, start = network.run(nn.Sequential(*blocks[start : auxiliary.block]), x), auxiliary.block
                    logits.append(head(x))
            x = network.run(nn.Sequential(*blocks[start:]), x)
        return network.forward_head(x), tuple(logits)

    def loss(self, x: Tensor, labels: Tensor, criterion: Criterion) -> Tensor:
        """The network's loss, and each auxiliary one by its weight: ``main + sum of weight * auxiliary``."""
        logits, auxiliary = self(x)
        total = criterion(logits, labels)
        for spec, inner in zip(self.network.spec.auxiliary, auxiliary, strict=True):
            total = total + spec.weight * criterion(inner, labels)
        return total


def _widths(network: ConvNet) -> dict[tuple[int, int], int]:
    """Channels behind every block by the number of its stage and its own, which counts from 1."""
    spec, widths = network.spec, {}
    width = spec.stem.out_channels(network.in_channels)
    for number, stage in zip(spec.stage_numbers, spec.stages, strict=True):
        for position, block in enumerate(stage.blocks, start=1):
            widths[number, position] = width = block.out_channels(width)
    return widths
