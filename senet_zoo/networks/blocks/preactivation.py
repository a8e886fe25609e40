"""Pre-activation units: norm and ReLU stand before each convolution, and nothing follows the sum.

::

    y = relu(bn(x))
    x + branch(y)                 where shapes stay
    projection(y) + branch(y)     where they change; the projection is a bare convolution

The gate's places keep their meaning. Standard: on the branch's output. Pre: on the branch's input, which is y; the
shortcut carries its map ungated. Identity: on the shortcut. Post: on the sum, because no ReLU follows it. Inner: after
the 3x3, its norm and ReLU, before the last convolution.

Source: He et al., Identity Mappings in Deep Residual Networks, arXiv:1603.05027, figure 4e; its authors' Torch file
``resnet-pre-act.lua`` (one norm for both paths where shapes change). The gate's places are inferred from the paper's
figure 5, which draws the original unit.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from senet_zoo.errors import SpecError
from senet_zoo.networks.blocks.residual import ResidualBlock, ResidualGate, StrideAt
from senet_zoo.networks.dimensions import batch_norm, conv
from senet_zoo.networks.layers import relu
from senet_zoo.networks.specs import SE, BlockSpec, gate_at
from senet_zoo.networks.squeeze_excite import Placement


@dataclass(frozen=True)
class PreBasic:
    """Two 3x3 convolutions.

    Args:
        width: channels of the second convolution, and of the output.
        stride: of the first convolution.
        inner: channels of the first convolution, where the sums have lost some; ``width`` by default.
    """

    width: int
    stride: int = 1
    inner: int | None = None

    def out_channels(self, in_channels: int) -> int:
        return self.width

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        inner = self.inner or self.width
        unit = ResidualBlock(
            branch={
                "conv1": _conv(in_channels, inner, 3, self.stride),
                "norm2": batch_norm(inner),
                "relu2": relu(),
                "se": gate_at(se, Placement.INNER, inner),
                "conv2": _conv(inner, self.width, 3),
            },
            gate=ResidualGate.of(se, in_channels, self.width),
            shortcut=_shortcut(in_channels, self.width, self.stride),
            drop_path=drop_path,
            act=nn.Identity,
        )
        return Preactivated(batch_norm(in_channels), relu(), unit)


@dataclass(frozen=True)
class PreBottleneck:
    """1x1 reduce, 3x3, 1x1 increase.

    Args:
        width: channels of the first 1x1 and of the 3x3.
        out: channels of the last 1x1, and of the output.
        stride: by which the block shrinks its map.
        stride_at: where it shrinks.

    Raises:
        SpecError: ``stride_at`` is a pool.
    """

    width: int
    out: int
    stride: int = 1
    stride_at: StrideAt = StrideAt.SPATIAL

    def __post_init__(self) -> None:
        if self.stride_at is StrideAt.POOL:
            raise SpecError(
                "a pre-activation bottleneck shrinks its map in the first 1x1 or the 3x3 and has no pool; "
                "got stride_at=StrideAt.POOL"
            )

    def out_channels(self, in_channels: int) -> int:
        return self.out

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        stride = {at: self.stride if at is self.stride_at else 1 for at in StrideAt}
        unit = ResidualBlock(
            branch={
                "conv1": _conv(in_channels, self.width, 1, stride[StrideAt.REDUCE]),
                "norm2": batch_norm(self.width),
                "relu2": relu(),
                "conv2": _conv(self.width, self.width, 3, stride[StrideAt.SPATIAL]),
                "norm3": batch_norm(self.width),
                "relu3": relu(),
                "se": gate_at(se, Placement.INNER, self.width),
                "conv3": _conv(self.width, self.out, 1),
            },
            gate=ResidualGate.of(se, in_channels, self.out),
            shortcut=_shortcut(in_channels, self.out, self.stride),
            drop_path=drop_path,
            act=nn.Identity,
        )
        return Preactivated(batch_norm(in_channels), relu(), unit)


@dataclass(frozen=True)
class Unnormalised:
    """A unit without its first norm and ReLU, because the stem has them: the first unit of Torch's ``preresnet.lua``.

    Args:
        unit: the unit; a projection on its shortcut reads the stem's map too.
    """

    unit: BlockSpec

    @property
    def stride(self) -> int:
        return self.unit.stride

    def out_channels(self, in_channels: int) -> int:
        return self.unit.out_channels(in_channels)

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        module = self.unit.build(in_channels, se, drop_path)
        module.norm, module.act = nn.Identity(), nn.Identity()
        return module


class Preactivated(nn.Module):
    """A residual unit in which the branch and a projection read ``act(norm(x))``, and an identity shortcut carries x.

    Args:
        norm: what normalises the input, or the identity.
        act: the activation behind it. It must not work in place where ``norm`` is the identity, because the shortcut
            carries the same map.
        unit: the residual unit, with no activation after its sum.
    """

    def __init__(self, norm: nn.Module, act: nn.Module, unit: ResidualBlock) -> None:
        super().__init__()
        self.norm = norm
        self.act = act
        self.unit = unit
        self.projects = not isinstance(unit.shortcut, nn.Identity)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.norm(x))
        return self.unit.join(y, y if self.projects else x)


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Module:
    return conv(in_channels, out_channels, kernel, stride=stride)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    if in_channels == out_channels and stride == 1:
        return nn.Identity()
    return _conv(in_channels, out_channels, 1, stride)
