"""Inception units: a gate on a concatenation, or in a residual unit whose branch is one.

Source: Szegedy et al., Going Deeper with Convolutions, arXiv:1409.4842, figure 2b; Szegedy et al., Inception-v4,
Inception-ResNet and the Impact of Residual Connections on Learning, arXiv:1602.07261, figures 3 to 19.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from senet_zoo.errors import SpecError
from senet_zoo.networks.blocks.layer_specs import LayerBlock, LayerSpec
from senet_zoo.networks.blocks.residual import ResidualBlock, ResidualGate
from senet_zoo.networks.layers import DropPath, relu
from senet_zoo.networks.specs import SE, gate_at, only_gate
from senet_zoo.networks.squeeze_excite import Placement


@dataclass(frozen=True)
class Inception(LayerBlock):
    """An Inception module: a concatenation, or a chain that ends in one, and the gate on its output.

    Source: the paper, figure 2: the transformation to gate is the whole module. In the authors' released
    SE-BN-Inception the modules of stride 2 carry a gate as well.
    """

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        if drop_path > 0.0:
            raise SpecError(
                "stochastic depth drops residual branches and an Inception module has none; drop_path must be 0"
            )
        gate = only_gate(se, Placement.STANDARD, self.out_channels(in_channels), "an Inception module")
        return InceptionModule(self.unit.build(in_channels), gate)


class InceptionModule(nn.Module):
    """``gate(unit(x))``."""

    def __init__(self, unit: nn.Module, gate: nn.Module) -> None:
        super().__init__()
        self.unit = unit
        self.se = gate

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.se(self.unit(x))
        return y


@dataclass(frozen=True)
class InceptionResidual:
    """A concatenation, a linear 1x1 back to the input's width, the gate, a scale; then the sum and a ReLU.

    Args:
        unit: the layers before the 1x1.
        scale: what the gated branch is multiplied by.
        act: makes the activation after the sum.

    Source: Szegedy et al., arXiv:1602.07261, figures 10, 11, 13, 16, 17, 19 and 20. An inner gate sits on the
    concatenation.

    Differs: the 1x1 has a bias and no batch norm, as in TensorFlow's networks, timm and pytorchcv.
    """

    unit: LayerSpec
    scale: float
    act: Callable[[], nn.Module] = relu
    stride: int = 1

    def out_channels(self, in_channels: int) -> int:
        return in_channels

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        width = self.unit.out_channels(in_channels)
        return ScaledResidualBlock(
            branch={
                "unit": self.unit.build(in_channels),
                "se": gate_at(se, Placement.INNER, width),
                "increase": nn.Conv2d(width, in_channels, 1),
            },
            gate=ResidualGate.of(se, in_channels, in_channels),
            scale=self.scale,
            drop_path=drop_path,
            act=self.act,
        )


class ScaledResidualBlock(ResidualBlock):
    """``act(x + scale * gate(branch(x)))``, a `ResidualBlock` that scales its branch.

    Args:
        scale: what the branch is multiplied by, after a gate in the standard placement.
    """

    def __init__(
        self,
        branch: dict[str, nn.Module],
        gate: ResidualGate,
        scale: float,
        drop_path: float,
        act: Callable[[], nn.Module],
    ) -> None:
        super().__init__(branch, gate, nn.Identity(), drop_path, act)
        self.drop_path = ScaledDropPath(drop_path, scale)


class ScaledDropPath(DropPath):
    """Scale a residual branch, and drop it per sample while training."""

    def __init__(self, rate: float, scale: float) -> None:
        super().__init__(rate)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.scale * x)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, scale={self.scale}"
