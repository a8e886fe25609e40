"""The size that a detector resizes a picture to, in whole numbers, so that an exported file finds the same size.

torchvision computes ``floor(height * scale)`` in double precision, which OpenVINO does not have and ONNX Runtime rounds
otherwise. Here the quotient is divided in whole numbers, and one pixel is taken off exactly where double precision
loses it: where the quotient is whole, and the scale was rounded down by more than half a unit of the product.
"""

from fractions import Fraction
from math import floor, log2

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOST = 16384  # pixels of a side; a larger one counts as this one in the tables
UNIT = 2**53


def losses(numerator: int) -> Tensor:
    """How far ``numerator / side`` is rounded down in double precision, in units of its last bit, for each side."""
    found = [0.0]
    for side in range(1, MOST + 1):
        error = Fraction(numerator / side) * side / numerator - 1
        found.append(float(-error * UNIT) if error < 0 else 0.0)
    return torch.tensor(found)


def mantissas() -> Tensor:
    """Each whole number over the greatest power of two in it; 2 for a power itself, below which doubles lie closer."""
    found = [number / 2 ** floor(log2(number)) for number in range(1, MOST + 1)]
    return torch.tensor([1.0, *(2.0 if value == 1.0 else value for value in found)])


class TracedResize(nn.Module):
    """A picture resized as torchvision's detectors do, by operations that a tracer records for pictures of any size.

    Args:
        side: of the shorter side.
        longest: of the longer side at most.

    Shape:
        (3, H, W) -> (3, h, w).
    """

    def __init__(self, side: int, longest: int) -> None:
        super().__init__()
        self.side, self.longest = side, longest
        self.shorter_losses: Tensor
        self.longer_losses: Tensor
        self.mantissas: Tensor
        self.register_buffer("shorter_losses", losses(side))
        self.register_buffer("longer_losses", losses(longest))
        self.register_buffer("mantissas", mantissas())

    def forward(self, image: Tensor) -> Tensor:
        """The resized picture."""
        shape: Tensor = torch._shape_as_tensor(image)[-2:]
        height, width = self.size(shape)
        return F.interpolate(image[None], size=[height, width], mode="bilinear", align_corners=False)[0]

    def size(self, shape: Tensor) -> Tensor:
        """Height and width of the resized picture, (2,), of those that it has."""
        shorter, longer = shape.min(), shape.max()
        by_shorter = (self.side * longer <= self.longest * shorter).long()
        numerator = by_shorter * self.side + (1 - by_shorter) * self.longest
        denominator = by_shorter * shorter + (1 - by_shorter) * longer
        product = shape * numerator
        whole = torch.div(product, denominator, rounding_mode="floor")
        at = denominator.clamp(max=MOST)
        lost = by_shorter * self.shorter_losses[at] + (1 - by_shorter) * self.longer_losses[at]
        exact = (whole * denominator == product).long()
        below = (self.mantissas[whole.clamp(max=MOST)] * lost > 1.0).long()
        return whole - exact * below
