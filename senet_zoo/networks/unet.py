"""`UNet`: a label for every pixel, voxel or sample, by a small decoder on any network of the zoo, of any dimensions."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from senet_zoo.errors import UsageError
from senet_zoo.networks.dimensions import Dimensions, conv, layers_of
from senet_zoo.networks.layers import ConvNorm, initialise, relu
from senet_zoo.networks.network import ConvNet

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


class UNet(nn.Module):
    """A network as the encoder, and a decoder that brings its deepest map back to the input's size, map by map.

    Each step enlarges the map to the size of the next finer one, joins both and convolves them twice. The sizes need
    not divide by the strides, and along a volume's depth the strides may be others than along its rows.

    Args:
        encoder: a network of the zoo; it is trained in place, and its head and classifier are left out.
        num_classes: of every voxel, the background included.
        widths: channels of the decoder's maps, from the deepest step to the finest.

    Shape:
        (N, C, ...) -> (N, num_classes, ...), the axes being those of the encoder: (D, H, W) for volumes.

    Raises:
        UsageError: no classes, or more widths than the encoder has maps.

    Source: Ronneberger et al., arXiv:1505.04597, figure 1; over volumes Çiçek et al., arXiv:1606.06650.

    Differs: maps are enlarged by linear interpolation, not by transposed convolutions, and there is no dropout.

    Example:
        >>> import senet_zoo
        >>> encoder = senet_zoo.create_model("se_resnet18", dims=3, in_channels=1)
        >>> UNet(encoder, num_classes=2)(torch.zeros(2, 1, 16, 48, 48)).shape
        torch.Size([2, 2, 16, 48, 48])
    """

    def __init__(self, encoder: ConvNet, num_classes: int, widths: tuple[int, ...] = (256, 128, 64, 32)) -> None:
        super().__init__()
        channels = dict(encoder.feature_channels)
        if num_classes < 1:
            raise UsageError(f"a U-Net's num_classes must be at least 1, got {num_classes}")
        if not 1 <= len(widths) < len(channels) or min(widths) < 1:
            raise UsageError(
                f"a U-Net takes a width for each step of its decoder, 1 to {len(channels) - 1} on this encoder with "
                f"maps of stride {', '.join(map(str, channels))}, got {widths}"
            )
        self.strides = tuple(channels)[-len(widths) - 1 :]
        encoder.reset_classifier(0)
        encoder.head = nn.Identity()
        self.encoder = encoder
        self.mode = _MODES[encoder.spec.dimensions.count]
        with layers_of(Dimensions(encoder.spec.dimensions.count)):
            steps, deep = [], channels[self.strides[-1]]
            for stride, width in zip(self.strides[-2::-1], widths, strict=True):
                steps.append(
                    nn.Sequential(
                        ConvNorm(deep + channels[stride], width, 3, act=relu()), ConvNorm(width, width, 3, act=relu())
                    )
                )
                deep = width
            self.steps = nn.ModuleList(steps)
            self.classifier = conv(deep, num_classes, 1, bias=True)
        for part in (self.steps, self.classifier):
            initialise(part)

    def forward(self, x: Tensor) -> Tensor:
        *finer, deep = self.encoder.features(x, self.strides)
        for step, skip in zip(self.steps, reversed(finer), strict=True):
            deep = step(torch.cat((self._enlarged(deep, skip), skip), dim=1))
        return self._enlarged(self.classifier(deep), x)

    def _enlarged(self, x: Tensor, like: Tensor) -> Tensor:
        return F.interpolate(x, size=like.shape[2:], mode=self.mode, align_corners=False)
