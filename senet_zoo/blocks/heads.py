"""Heads: what lies between the last map and the logits, where it is more than a global mean."""

from dataclasses import dataclass

from torch import Tensor, nn

from senet_zoo.specs import linear_classifier


@dataclass(frozen=True)
class NormMean:
    """Batch norm, ReLU, global mean, dropout: the end of networks whose units begin with the norm (pre-activation)."""

    def num_features(self, channels: int) -> int:
        return channels

    def build(self, channels: int, dropout: float) -> nn.Module:
        return NormMeanHead(channels, dropout)

    def build_classifier(self, num_features: int, num_classes: int) -> nn.Module:
        return linear_classifier(num_features, num_classes)


class NormMeanHead(nn.Module):
    """``dropout(mean of relu(bn(x)))``."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.act = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.dropout(self.act(self.bn(x)).mean((2, 3)))
        return y
