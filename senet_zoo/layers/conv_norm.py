"""Convolution and batch normalisation, the pair that every block is laid from."""

from torch import Tensor, nn


class ConvNorm(nn.Module):
    """Convolution without bias, padded to keep odd kernels centred, then batch normalisation and an activation.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)) for odd kernels.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        act: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(out_channels)
        self.act = nn.Identity() if act is None else act

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.bn(self.conv(x)))
        return y


def relu() -> nn.Module:
    """The activation after batch normalisation; in place, for the normalised map has no other reader."""
    return nn.ReLU(inplace=True)
