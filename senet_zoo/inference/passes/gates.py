"""Gates in a graph: which modules are gates, and each gate as an excitation (`MeanGate`) and a product.

Gates of other libraries are recognised by the names of their classes, so that the libraries need not be installed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.modules.conv import _ConvNd

from senet_zoo.networks.squeeze_excite import ACTIVATIONS, GATE_FUNCTIONS, Squeeze, SqueezeExcite, at_least_float32


class MeanGate(nn.Module):
    """``last(W2 inner(W1 z + b1) + b2)``, z being the mean of the map over its pixels.

    Args:
        w1: W1, (hidden, C_in). C_in need not be the number of channels that are gated.
        b1: (hidden,), or None.
        inner: function between the layers.
        w2: W2, (C, hidden).
        b2: (C,), or None.
        last: function behind them, such as the sigmoid.
        step: only every ``step``-th row and column is averaged: what a strided 1x1 convolution sees. An axis each;
            empty where all is.

    Shape:
        (N, C_in, H, W) -> (N, C, 1, 1), or over as many axes as the map has, computed in the weights' dtype.
    """

    def __init__(
        self,
        w1: Tensor,
        b1: Tensor | None,
        inner: Callable[[Tensor], Tensor],
        w2: Tensor,
        b2: Tensor | None,
        last: Callable[[Tensor], Tensor],
        step: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Parameter(w1, False), nn.Parameter(w2, False)
        self.b1, self.b2 = (None if b is None else nn.Parameter(b, False) for b in (b1, b2))
        self.inner, self.last = inner, last
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        """The gate over the map."""
        x = every(self.step, x)
        z = x.mean(tuple(range(2, x.ndim)), dtype=self.w1.dtype)  # (N, C_in)
        z = self.last(F.linear(self.inner(F.linear(z, self.w1, self.b1)), self.w2, self.b2))
        return z.to(x.dtype)[:, :, *(None,) * (x.ndim - 2)]

    def behind(self, weight: Tensor, bias: Tensor | None, step: tuple[int, ...]) -> "MeanGate":
        """The same gate, computed from what a linear layer before the map reads.

        The mean of ``weight h + bias`` over all pixels is ``weight mean(h) + bias``, and W1 follows with nothing
        between: both are one matrix.

        Args:
            weight: (C_in of this gate, channels of the layer's input).
            bias: (C_in of this gate,), or None.
            step: of the layer over its input's rows and columns.
        """
        w1 = self.w1.double() @ weight.double()
        b1 = torch.zeros_like(w1[:, 0]) if self.b1 is None else self.b1.double()
        if bias is not None:
            b1 = b1 + self.w1.double() @ bias.double()
        like = self.w1.dtype
        return MeanGate(w1.to(like), b1.to(like), self.inner, self.w2.data, _data(self.b2), self.last, step)

    def extra_repr(self) -> str:
        """Channels that it reads, hidden units, channels that it gates."""
        hidden, channels = self.w1.shape
        return f"{channels} -> {hidden} -> {self.w2.shape[0]}"


def every(step: tuple[int, ...], x: Tensor) -> Tensor:
    """Every ``step``-th pixel along each axis."""
    if all(each == 1 for each in step):
        return x
    return x[:, :, *(slice(None, None, each) for each in step)]


def _data(parameter: Tensor | None) -> Tensor | None:
    return None if parameter is None else parameter.detach()


@dataclass(frozen=True)
class ForeignGate:
    """Attribute names of the parts of another library's gate.

    Args:
        fc1: 1x1 convolution, or fully connected layer, to the hidden channels.
        inner: function between them.
        fc2: the same back.
        last: last function.
    """

    fc1: str
    inner: str
    fc2: str
    last: str


FOREIGN = {
    ("timm.models.senet", "SEModule"): ForeignGate("fc1", "relu", "fc2", "sigmoid"),
    ("timm.layers.squeeze_excite", "SEModule"): ForeignGate("fc1", "act", "fc2", "gate"),
    ("timm.models._efficientnet_blocks", "SqueezeExcite"): ForeignGate("conv_reduce", "act1", "conv_expand", "gate"),
    ("monai.networks.blocks.squeeze_and_excitation", "ChannelSELayer"): ForeignGate("fc.0", "fc.1", "fc.2", "fc.3"),
    ("torchvision.ops.misc", "SqueezeExcitation"): ForeignGate("fc1", "activation", "fc2", "scale_activation"),
}


def is_gate(module: nn.Module) -> bool:
    """Whether a graph shows ``module`` as one node: all gates of ours, and others that `excitation` covers."""
    return isinstance(module, SqueezeExcite) or _foreign(module) is not None


def take_apart(traced: fx.GraphModule) -> dict[str, str]:
    """Replace every gate by a `MeanGate` and a product, in place.

    Returns:
        The gates that stay as they are by name, and why.
    """
    stay = {}
    for node in [node for node in traced.graph.nodes if node.op == "call_module"]:
        gate = traced.get_submodule(node.target)
        if not is_gate(gate):
            continue
        if isinstance(gate, SqueezeExcite) and gate.squeeze is not Squeeze.MEAN:
            stay[str(node.target)] = f"its squeeze is {gate.squeeze.value}, not the mean"
            continue
        name = f"{node.target}_excitation"
        traced.add_submodule(name, excitation(gate))
        (x,) = node.args
        with traced.graph.inserting_before(node):
            scale = traced.graph.call_module(name, (x,))
            scale.meta["gate"] = str(node.target)
            node.replace_all_uses_with(traced.graph.call_function(torch.mul, (x, scale)))
        traced.graph.erase_node(node)
    return stay


def excitation(gate: nn.Module) -> MeanGate:
    """The excitation of a gate whose squeeze is the mean, as matrix products in float32 or wider."""
    if isinstance(gate, SqueezeExcite):
        inner, last = ACTIVATIONS[gate.activation], GATE_FUNCTIONS[gate.gate, gate.start]
        return MeanGate(_wide(gate.fc1.weight), _bias(gate.fc1), inner, _wide(gate.fc2.weight), _bias(gate.fc2), last)
    parts = cast("ForeignGate", _foreign(gate))
    fc1, fc2 = gate.get_submodule(parts.fc1), gate.get_submodule(parts.fc2)
    w1, w2 = (_wide(cast("Tensor", fc.weight)).flatten(1) for fc in (fc1, fc2))
    inner, last = gate.get_submodule(parts.inner), gate.get_submodule(parts.last)
    return MeanGate(w1, _bias(fc1), inner, w2, _bias(fc2), last)


def _foreign(module: nn.Module) -> ForeignGate | None:
    parts = FOREIGN.get((type(module).__module__, type(module).__qualname__))
    if parts is None or getattr(module, "add_maxpool", False) or getattr(module, "add_residual", False):
        return None
    has_norm = not isinstance(getattr(module, "bn", nn.Identity()), nn.Identity)
    inside = dict(module.named_modules())
    plain = all(_is_pointwise(inside.get(name)) for name in (parts.fc1, parts.fc2))
    return parts if plain and not has_norm else None


def _is_pointwise(layer: nn.Module | None) -> bool:
    return type(layer) is nn.Linear or (isinstance(layer, _ConvNd) and {*layer.kernel_size} == {1})


def _wide(tensor: Tensor) -> Tensor:
    return tensor.detach().to(at_least_float32(tensor.dtype))


def _bias(layer: nn.Module) -> Tensor | None:
    bias = cast("Tensor | None", layer.bias)
    return None if bias is None else _wide(bias)
