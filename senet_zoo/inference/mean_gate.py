"""The excitation alone: from a map to its gate, as matrix products."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MeanGate(nn.Module):
    """``last(W2 inner(W1 z + b1) + b2)``, z being the mean of the map over its pixels.

    Args:
        w1: W1, (hidden, C_in). C_in need not be the number of channels that are gated.
        b1: (hidden,), or None.
        inner: the function between the layers.
        w2: W2, (C, hidden).
        b2: (C,), or None.
        last: the gate's last function.
        step: only every ``step``-th row and column is squeezed: what a strided 1x1 convolution sees.

    Shape:
        (N, C_in, H, W) -> (N, C, 1, 1), computed in the weights' dtype.
    """

    def __init__(
        self,
        w1: Tensor,
        b1: Tensor | None,
        inner: Callable[[Tensor], Tensor],
        w2: Tensor,
        b2: Tensor | None,
        last: Callable[[Tensor], Tensor],
        step: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Parameter(w1, False), nn.Parameter(w2, False)
        self.b1, self.b2 = (None if b is None else nn.Parameter(b, False) for b in (b1, b2))
        self.inner, self.last = inner, last
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        """The gate over the map."""
        if self.step != (1, 1):
            x = x[:, :, :: self.step[0], :: self.step[1]]
        z = x.mean((2, 3), dtype=self.w1.dtype)  # (N, C_in)
        z = self.last(F.linear(self.inner(F.linear(z, self.w1, self.b1)), self.w2, self.b2))
        return z.to(x.dtype)[:, :, None, None]

    def behind(self, weight: Tensor, bias: Tensor | None, step: tuple[int, int]) -> "MeanGate":
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
        """Widths."""
        hidden, channels = self.w1.shape
        return f"{channels} -> {hidden} -> {self.w2.shape[0]}"


def _data(parameter: Tensor | None) -> Tensor | None:
    return None if parameter is None else parameter.detach()
