"""Layers that the blocks share, and `initialise`, the random start of every network."""

from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.modules.conv import _ConvNd

from senet_zoo.networks.dimensions import Side, batch_norm, conv
from senet_zoo.networks.layer_function import LayerFunction
from senet_zoo.networks.squeeze_excite import widened


class ConvNorm(nn.Module):
    """Convolution without bias, then batch normalisation and an activation.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: side of the convolution's window, or its height and width.
        stride: stride of the convolution.
        padding: zeros on each side; by default as many as keep an odd kernel centred.
        groups: groups of the convolution.
        eps: what the batch norm adds to the variance.
        act: activation after the batch norm; the identity by default.

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
        stride: Side = 1,
        padding: Side | None = None,
        groups: int = 1,
        eps: float = 1e-5,
        act: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.conv = conv(in_channels, out_channels, kernel, stride=stride, padding=padding, groups=groups)
        self.bn = batch_norm(out_channels, eps)
        self.act = nn.Identity() if act is None else act

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.bn(self.conv(x)))
        return y


@LayerFunction
def relu() -> nn.Module:
    """The activation after batch normalisation; in place, because nothing else reads the normalised map."""
    return nn.ReLU(inplace=True)


@LayerFunction
def silu() -> nn.Module:
    """``x * sigmoid(x)``, in place of the ReLU after batch normalisation."""
    return nn.SiLU(inplace=True)


@LayerFunction
def identity() -> nn.Module:
    """No layer at all."""
    return nn.Identity()


def gelu() -> nn.Module:
    """``x * Phi(x)``, Phi being that of the normal distribution (Hendrycks and Gimpel, arXiv:1606.08415)."""
    return nn.GELU()


def drop_path(x: Tensor, rate: float) -> Tensor:
    """Zero whole samples of a residual branch with probability ``rate``, scaling the rest by 1 / (1 - rate).

    Shape: (N, C, ...) -> (N, C, ...).
    Source: Huang et al., Deep Networks with Stochastic Depth, arXiv:1603.09382.
    """
    keep = x.new_empty((x.shape[0], *(1,) * (x.dim() - 1))).bernoulli_(1.0 - rate)
    return x * keep.div_(1.0 - rate)


fx.wrap("drop_path")  # its code asks for the number of dimensions, which a trace cannot


class DropPath(nn.Module):
    """Drop a residual branch per sample while training; the identity in eval mode.

    Args:
        rate: probability of dropping a sample's branch, 0 <= rate < 1.

    Source: Huang et al., Deep Networks with Stochastic Depth, arXiv:1603.09382.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        return drop_path(x, self.rate) if self.training and self.rate > 0.0 else x

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


class LocalResponseNorm(nn.Module):
    """Divide each value by the strength of its neighbours in five channels around it.

    ::

        y_c = x_c / (1 + 1e-4 / 5 * sum of x_k squared, k = c - 2 .. c + 2) ** 0.75

    Shape:
        (N, C, H, W) -> (N, C, H, W).

    Source: Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks, section 3.3; the
    constants are those of Caffe's ``bvlc_googlenet``.

    Differs: computed in float32 even where the input is half precision, because squares leave float16's range.
    """

    def forward(self, x: Tensor) -> Tensor:
        return _local_response_norm(x)


def _local_response_norm(x: Tensor) -> Tensor:
    return F.local_response_norm(widened(x), size=5, alpha=1e-4, beta=0.75, k=1.0).to(x.dtype)


fx.wrap("_local_response_norm")  # its code asks for the number of dimensions, which a trace cannot


def initialise(module: nn.Module) -> None:
    """Set every parameter and buffer under ``module``: He for convolutions, ones and zeros for batch normalisation.

    The gates' fully connected layers and the classifier get PyTorch's own uniform start: the authors found that the
    choice does not matter there. Every layer that the zoo uses is covered: a network whose memory is not
    initialised is complete after this call.

    Source: He et al., Delving Deep into Rectifiers, arXiv:1502.01852; the paper, section 5.1.
    """
    if isinstance(module, _ConvNd):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
        return
    reset = getattr(module, "reset_parameters", None)  # of batch norms, fully connected layers and gates
    if reset is not None:
        reset()  # its own layers included
        return
    if [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
        raise TypeError(f"initialise() does not know how {type(module).__name__} starts")
    for child in module.children():
        initialise(child)
