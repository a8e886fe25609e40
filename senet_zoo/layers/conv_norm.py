"""Convolution and batch normalisation, the pair that every block is laid from."""

from torch import Tensor, nn

Side = int | tuple[int, int]
"""One number for a square, or height and width."""


class ConvNorm(nn.Module):
    """Convolution without bias, then batch normalisation and an activation.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel: side of the convolution.
        stride: of the convolution.
        padding: on each side; by default what keeps an odd kernel centred.
        groups: of the convolution.
        eps: added to the variance.
        act: what follows; the identity by default.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)) for odd kernels and the default
        padding.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Side,
        *,
        stride: int = 1,
        padding: Side | None = None,
        groups: int = 1,
        eps: float = 1e-5,
        act: nn.Module | None = None,
    ) -> None:
        super().__init__()
        padding = centred(kernel) if padding is None else padding
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel, stride=stride, padding=padding, groups=groups, bias=False
        )
        self.bn = nn.BatchNorm2d(out_channels, eps=eps)
        self.act = nn.Identity() if act is None else act

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.bn(self.conv(x)))
        return y


def centred(kernel: Side) -> Side:
    """The padding that keeps an odd kernel centred on its pixel."""
    return kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)


def relu() -> nn.Module:
    """The activation after batch normalisation; in place, for the normalised map has no other reader."""
    return nn.ReLU(inplace=True)
