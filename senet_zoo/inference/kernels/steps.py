"""The kernels as parts of a network. Triton is imported when one runs, for not every machine has it."""

import torch
from torch import Tensor, nn

from senet_zoo.inference.mean_gate import MeanGate


class Squeezed(nn.Module):
    """What ends a convolution, in the memory of its result, and the shares of the means of that.

    Args:
        bias: of the convolution, (C,); None for none.
        relu: whether the result is rectified.
    """

    def __init__(self, bias: Tensor | None, relu: bool) -> None:
        super().__init__()
        self.bias = None if bias is None else nn.Parameter(bias, False)
        self.relu = relu

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The map, and the shares (N, T, C)."""
        from senet_zoo.inference.kernels.squeeze import squeeze_

        if not y.is_contiguous(memory_format=torch.channels_last):
            y = y.contiguous(memory_format=torch.channels_last)
        return y, squeeze_(y, self.bias, self.relu)


class Excitation(nn.Module):
    """A gate whose functions are ReLU and sigmoid, from the shares of the means.

    Args:
        gate: what it computes.
        dtype: of the result.
    """

    def __init__(self, gate: MeanGate, dtype: torch.dtype) -> None:
        super().__init__()
        self.w1, self.w2 = (nn.Parameter(w.detach().contiguous(), False) for w in (gate.w1, gate.w2))
        biases = ((gate.w1, gate.b1), (gate.w2, gate.b2))
        self.b1, self.b2 = (nn.Parameter(w.new_zeros(len(w)) if b is None else b, False) for w, b in biases)
        self.dtype = dtype

    def forward(self, shares: Tensor) -> Tensor:
        """The gate, (N, C, 1, 1)."""
        from senet_zoo.inference.kernels.excitation import excite

        return excite(shares, self.w1, self.b1, self.w2, self.b2, self.dtype)[:, :, None, None]


class PointwiseEnd(nn.Module):
    """``gate * conv(h) + shortcut`` of a 1x1 convolution, rectified or not.

    Args:
        conv: the convolution; of one group, stride 1, not padded.
        relu: whether the result is rectified.
    """

    def __init__(self, conv: nn.Conv2d, relu: bool) -> None:
        super().__init__()
        weight = conv.weight.detach().flatten(1).contiguous()
        self.weight = nn.Parameter(weight, False)
        self.bias = nn.Parameter(weight.new_zeros(len(weight)) if conv.bias is None else conv.bias.detach(), False)
        self.relu = relu

    def forward(self, h: Tensor, shortcut: Tensor, gate: Tensor | None = None) -> Tensor:
        """The unit's output, of a gate (N, C, 1, 1) or none."""
        from senet_zoo.inference.kernels.pointwise import pointwise_end

        gate = None if gate is None else gate.flatten(1).contiguous()
        return pointwise_end(h, self.weight, self.bias, gate, shortcut, self.relu)
