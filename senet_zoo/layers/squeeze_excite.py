"""The one gate that every network of the zoo shares."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from senet_zoo.errors import SpecError
from senet_zoo.tensors import at_least_float32


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate computed from all channels: ``x * s``.

    ::

        z = mean over H, W of x             squeeze      (N, C)
        s = sigmoid(W2 relu(W1 z))          excitation   (N, C), each between 0 and 1

    Args:
        channels: C, the width of the map to gate.
        reduction: r; the hidden layer has C // r units.
        bias: whether both fully connected layers have biases (the released weights do, the paper's ablations do not).

    Shape:
        (N, C, H, W) -> (N, C, H, W).

    Raises:
        SpecError: ``reduction`` leaves no hidden unit.

    Source:
        Hu et al., Squeeze-and-Excitation Networks, arXiv:1709.01507, equations 2 to 4.

    Differs:
        C // r is never rounded to a multiple of 8, as timm's and mmpretrain's ``seresnet18`` do. The layers are
        ``nn.Linear``, not 1x1 convolutions: the same function, and less overhead at batch 1. The gate is computed in
        float32 even where autocast or the weights are half precision, since a mean over a large map, or its product
        with W1, can leave float16's range.

    Example:
        >>> gate = SqueezeExcite(64)
        >>> gate(torch.zeros(2, 64, 7, 7)).shape
        torch.Size([2, 64, 7, 7])
        >>> gate.excitation(torch.zeros(2, 64, 7, 7)).shape
        torch.Size([2, 64, 1, 1])
    """

    def __init__(self, channels: int, reduction: int = 16, *, bias: bool = True) -> None:
        super().__init__()
        hidden = hidden_units(channels, reduction)
        self.fc1 = nn.Linear(channels, hidden, bias=bias)
        self.fc2 = nn.Linear(hidden, channels, bias=bias)

    def excitation(self, x: Tensor) -> Tensor:
        """The gate itself, not yet applied. Shape: (N, C, H, W) -> (N, C, 1, 1), in float32 or wider."""
        device = x.device.type
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            with torch.autocast(device, enabled=False):
                return self._excitation(x)
        return self._excitation(x)

    def _excitation(self, x: Tensor) -> Tensor:
        dtype = at_least_float32(x.dtype)
        z = x.mean((2, 3), dtype=dtype)  # (N, C)
        s = torch.sigmoid(_linear(self.fc2, torch.relu(_linear(self.fc1, z))))
        return s[:, :, None, None]

    def forward(self, x: Tensor) -> Tensor:
        return x * self.excitation(x).to(x.dtype)


def hidden_units(channels: int, reduction: int) -> int:
    """C // r, the width of the gate's hidden layer; refuses what would leave none."""
    if reduction < 1 or channels // reduction < 1:
        raise SpecError(
            f"a gate over {channels} channels needs a reduction from 1 to {channels}, got {reduction}: "
            f"{channels} // {reduction} would leave no hidden unit. Choose a smaller reduction."
        )
    return channels // reduction


def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    # Weights may be half precision; the product must not be.
    bias = None if layer.bias is None else layer.bias.to(x.dtype)
    return F.linear(x, layer.weight.to(x.dtype), bias)
