"""Local response normalisation, what stood in the place of batch normalisation before there was one."""

from torch import Tensor, nn

from senet_zoo.tensors import at_least_float32


class LocalResponseNorm(nn.LocalResponseNorm):
    """Divide each value by the strength of its neighbours in five channels around it.

    ::

        y_c = x_c / (1 + 1e-4 / 5 * sum of x_k squared, k = c - 2 .. c + 2) ** 0.75

    Shape:
        (N, C, H, W) -> (N, C, H, W).

    Source: Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks, section 3.3; the
    constants are those of Caffe's ``bvlc_googlenet``.

    Differs: computed in float32 even where the input is half precision, for squares leave float16's range.
    """

    def __init__(self) -> None:
        super().__init__(size=5, alpha=1e-4, beta=0.75, k=1.0)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(at_least_float32(x.dtype))).to(x.dtype)
