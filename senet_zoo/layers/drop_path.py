"""Stochastic depth as a layer."""

from torch import Tensor, nn

from senet_zoo.tensors import drop_path


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
