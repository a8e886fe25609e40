"""Parts of face networks: a stem with PReLU, the improved residual unit, and a head that ends in an embedding.

::

    shortcut(x) + gate(bn(conv(prelu(conv(bn(x))))))      nothing follows the sum

Source: Deng et al., ArcFace, arXiv:1801.07698, section 2.2.3 (BN-Conv-BN-PReLU-Conv-BN is its unit; TreB1eN's
PyTorch code has no batch norm behind the first convolution); https://github.com/TreB1eN/InsightFace_Pytorch, model.py.
The gate's places other than the branch's output are inferred from the SENet paper's figure 5.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from senet_zoo.networks.blocks.residual import Projection, ResidualBlock, ResidualGate
from senet_zoo.networks.dimensions import batch_norm, conv, grid_fields, grid_pool, max_pool
from senet_zoo.networks.layers import ConvNorm
from senet_zoo.networks.specs import SE, gate_at, linear_classifier
from senet_zoo.networks.squeeze_excite import Placement


@dataclass(frozen=True)
class PReLUStem:
    """One 3x3 convolution, batch norm, PReLU; the map is as large as the picture.

    Args:
        width: channels of its map.
    """

    width: int
    stride: int = 1

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, in_channels: int) -> nn.Module:
        return nn.Sequential(ConvNorm(in_channels, self.width, 3, act=nn.PReLU(self.width)))


@dataclass(frozen=True)
class ImprovedResidual:
    """Two 3x3 convolutions, the second of them strided, with a batch norm before and behind both.

    Args:
        width: channels of both, and of the output.
        stride: of the second convolution; a shortcut of as many channels takes every such pixel.
    """

    width: int
    stride: int = 1

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        strided = in_channels == self.width and self.stride > 1
        shortcut = max_pool(1, self.stride) if strided else Projection().build(in_channels, self.width, self.stride)
        return ResidualBlock(
            branch={
                "norm1": batch_norm(in_channels),
                "conv1": conv(in_channels, self.width, 3),
                "act1": nn.PReLU(self.width),
                "se": gate_at(se, Placement.INNER, self.width),
                "conv2": ConvNorm(self.width, self.width, 3, stride=self.stride),
            },
            gate=ResidualGate.of(se, in_channels, self.width),
            shortcut=shortcut,
            drop_path=drop_path,
            act=nn.Identity,
        )


@dataclass(frozen=True)
class Embedding:
    """Batch norm, dropout, one fully connected layer over the whole map, batch norm: the features of a face.

    Args:
        grid: side of the map that the layer sees; pictures of another size are averaged to it.
        width: features. Two faces are compared by the cosine of theirs.
    """

    grid: int
    width: int

    def num_features(self, channels: int) -> int:
        return self.width

    def build(self, channels: int, dropout: float) -> nn.Module:
        return EmbeddingHead(channels, self.grid, self.width, dropout)

    def build_classifier(self, num_features: int, num_classes: int) -> nn.Module:
        return linear_classifier(num_features, num_classes)


class EmbeddingHead(nn.Module):
    """``norm(W dropout(bn(x)) + b)``, the map flattened. Shape: (N, C, H, W) -> (N, width)."""

    def __init__(self, channels: int, grid: int, width: int, dropout: float) -> None:
        super().__init__()
        self.bn = batch_norm(channels)
        self.pool = grid_pool(grid)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(channels * grid_fields(grid), width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.linear(self.dropout(self.pool(self.bn(x))).flatten(1)))
        return y
