"""Convolutions in a plain chain with gates: the units of VGG, AlexNet, Network in Network and CifarNet.

Nothing is summed or concatenated here, so a gate has one place, after the ReLU (the paper, section 3.3: "by insertion
after the non-linearity following each convolution"), and stochastic depth has no branch to drop.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from senet_zoo.errors import SpecError
from senet_zoo.networks.blocks.pools import MaxWindow, NoPool
from senet_zoo.networks.dimensions import batch_norm, conv
from senet_zoo.networks.layer_function import LayerFunction
from senet_zoo.networks.layers import gelu, relu
from senet_zoo.networks.specs import SE, PoolSpec, only_gate
from senet_zoo.networks.squeeze_excite import Placement

_NO_POOL, _HALVED = NoPool(), MaxWindow(2)


@LayerFunction
def no_norm(channels: int) -> nn.Module:
    """Nothing that normalises."""
    return nn.Identity()


@dataclass(frozen=True)
class Convolution:
    """A convolution with bias, what normalises it, ReLU, the gate.

    Args:
        width: channels of its map.
        kernel: side of the convolution.
        shrink: stride of the convolution.
        padding: padding of the convolution; by default what keeps an odd kernel centred.
        pool: the pool before the convolution.
        norm: makes the normalisation of so many channels; the identity by default.
    """

    width: int
    kernel: int = 3
    shrink: int = 1
    padding: int | None = None
    pool: PoolSpec = _NO_POOL
    norm: Callable[[int], nn.Module] = no_norm

    @property
    def stride(self) -> int:
        """The stride of the pool and the convolution together."""
        return self.pool.stride * self.shrink

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        _require_no_drop_path(drop_path)
        return ConvolutionBlock(
            pool=self.pool.build(),
            conv=conv(in_channels, self.width, self.kernel, stride=self.shrink, padding=self.padding, bias=True),
            norm=self.norm(self.width),
            gate=only_gate(se, Placement.STANDARD, self.width, "a plain convolution"),
        )


class ConvolutionBlock(nn.Module):
    """``gate(relu(norm(conv(pool(x)))))``."""

    def __init__(self, pool: nn.Module, conv: nn.Module, norm: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.pool = pool
        self.conv = conv
        self.bn = norm
        self.act = relu()
        self.se = gate

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.se(self.act(self.bn(self.conv(self.pool(x)))))
        return y


@dataclass(frozen=True)
class PixelPerceptron:
    """The mlpconv layer: a convolution and a perceptron of 1x1 convolutions at every pixel, the gate at its end.

    Each convolution has a bias and a ReLU, and no batch norm.

    Args:
        widths: channels of the first convolution and of each 1x1.
        kernel: side of the first convolution.
        pool: the pool before the convolution.

    Source: Lin et al., Network In Network, arXiv:1312.4400, figure 1b.
    """

    widths: tuple[int, ...]
    kernel: int
    pool: PoolSpec = _NO_POOL

    @property
    def stride(self) -> int:
        return self.pool.stride

    def out_channels(self, in_channels: int) -> int:
        return self.widths[-1]

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        _require_no_drop_path(drop_path)
        gate = only_gate(se, Placement.STANDARD, self.widths[-1], "an mlpconv layer")
        return PixelPerceptronBlock(self.pool.build(), in_channels, self.widths, self.kernel, gate)


class PixelPerceptronBlock(nn.Module):
    """``gate(relu(conv1x1(... relu(conv(pool(x))))))``."""

    def __init__(
        self, pool: nn.Module, in_channels: int, widths: tuple[int, ...], kernel: int, gate: nn.Module
    ) -> None:
        super().__init__()
        self.pool = pool
        self.layers = nn.Sequential()
        for width in widths:
            self.layers.append(conv(in_channels, width, kernel, bias=True))
            self.layers.append(relu())
            in_channels, kernel = width, 1
        self.se = gate

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.se(self.layers(self.pool(x)))
        return y


@dataclass(frozen=True)
class PooledPair:
    """Two 3x3 convolutions with batch norm and GELU; the first map is pooled, the second is gated behind its norm.

    The pool comes before the norm, where airbench has it: the first convolution sees the whole map.

    Args:
        width: channels of both maps.
        pool: behind the first convolution.

    Source: Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, arXiv:2404.00498, for the unit without its gate.
    """

    width: int
    pool: PoolSpec = _HALVED

    @property
    def stride(self) -> int:
        return self.pool.stride

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        _require_no_drop_path(drop_path)
        gate = only_gate(se, Placement.STANDARD, self.width, "a pair of plain convolutions")
        return PooledPairBlock(in_channels, self.width, self.pool.build(), gate)


class PooledPairBlock(nn.Module):
    """``gelu(gate(norm(conv(gelu(norm(pool(conv(x))))))))``."""

    def __init__(self, in_channels: int, width: int, pool: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.conv1 = conv(in_channels, width, 3)
        self.pool = pool
        self.bn1 = batch_norm(width)
        self.act1 = gelu()
        self.conv2 = conv(width, width, 3)
        self.bn2 = batch_norm(width)
        self.se = gate
        self.act2 = gelu()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act1(self.bn1(self.pool(self.conv1(x))))
        y: Tensor = self.act2(self.se(self.bn2(self.conv2(x))))
        return y


def _require_no_drop_path(drop_path: float) -> None:
    if drop_path > 0.0:
        raise SpecError(
            "stochastic depth drops residual branches and a plain chain of convolutions has none; drop_path must be 0"
        )
