"""`WhitenedStart`: filters that are computed from training pictures before the first step, and others that copy."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from senet_zoo.errors import UsageError
from senet_zoo.networks.network import ConvNet
from senet_zoo.training.optimizers import require


@dataclass(frozen=True)
class WhitenedStart:
    """A stem that whitens patches and never learns, and convolutions that begin by passing their channels on.

    The first half of the stem's filters are the eigenvectors of the covariance of all patches, each divided by the root
    of its eigenvalue; the second half are their negatives. Batch norms' scales stay at 1, too.

    Args:
        pictures: training pictures whose patches are measured; all where there are fewer.
        eps: added to the eigenvalues.

    Source: Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, arXiv:2404.00498, sections 3.1 and 3.2.
    """

    pictures: int = 5000
    eps: float = 5e-4

    def __post_init__(self) -> None:
        require(self.pictures >= 1, f"pictures must be at least 1, got {self.pictures}")
        require(self.eps > 0.0, f"eps must be above 0, got {self.eps}")

    @torch.no_grad()
    def apply(self, network: ConvNet, images: Tensor) -> None:
        """Set the filters of a network that has not learnt yet.

        Args:
            network: whose stem is one unpadded convolution with two filters for each number of a patch.
            images: normalised pictures, (N, C, H, W).

        Raises:
            UsageError: its stem is another.
        """
        stem = whitened_layer(network)
        filters = whitening_filters(images, stem.kernel_size[0], self.eps)
        stem.weight.copy_(torch.cat([filters, -filters]))
        assert stem.bias is not None
        nn.init.zeros_(stem.bias)
        for layer in network.stages.modules():
            if isinstance(layer, nn.Conv2d) and layer.groups == 1:
                nn.init.dirac_(layer.weight[: layer.in_channels])

    def freeze(self, network: ConvNet) -> None:
        """Take out of learning what stays as it begins."""
        whitened_layer(network).weight.requires_grad_(False)
        for norm in (part for part in network.modules() if isinstance(part, _BatchNorm)):
            norm.weight.requires_grad_(False)


def whitened_layer(network: ConvNet) -> nn.Conv2d:
    """The convolution of the stem that can whiten patches.

    Raises:
        UsageError: there is none.
    """
    layers = [part for part in network.stem.modules() if isinstance(part, nn.Conv2d)]
    if len(layers) == 1:
        (layer,) = layers
        numbers = layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1]
        if layer.out_channels == 2 * numbers and layer.padding == (0, 0) and layer.bias is not None:
            return layer
    raise UsageError(
        "a stem that whitens patches is one unpadded convolution with bias and two filters for each number of a patch, "
        f"and that of {network.spec.name} is not: train se_cifarnet or cifarnet, or choose another recipe"
    )


def whitening_filters(images: Tensor, side: int, eps: float) -> Tensor:
    """Filters that make patches white: of the identity as covariance.

    Shape: images (N, C, H, W) -> (C * side * side, C, side, side), the strongest eigenvector first.
    """
    channels, size = images.shape[1], images.shape[1] * side * side
    patches = images.unfold(2, side, 1).unfold(3, side, 1)  # (N, C, H', W', side, side)
    rows = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, size).double()
    values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
    filters: Tensor = (vectors / (values + eps).sqrt()).flip(1).T
    return filters.reshape(size, channels, side, side).float()
