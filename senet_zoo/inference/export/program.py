"""A rewritten network as a program of torch.export, which every form is written from."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

DIMENSIONS = ("batch", "height", "width")
BATCH = 2  # a batch of one would be taken for a constant
HEIGHT, WIDTH = 259, 227  # odd, different, and so large that no map is a pixel wide: that would be a constant, too


def program_of(network: nn.Module, in_channels: int, side: int | None) -> ExportedProgram:
    """Record the network's operations; nothing is computed.

    Args:
        network: of `senet_zoo.inference.rewriting.rewrite`.
        in_channels: of the pictures.
        side: of the only pictures that it will take; None for pictures of any height and width.

    Raises:
        Exception: torch.export's own, of many types, where the network fixes a size.
    """
    height, width = (side, side) if side else (HEIGHT, WIDTH)
    free = {0: Dim.DYNAMIC} if side else {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    example = torch.zeros(BATCH, in_channels, height, width)
    with torch.no_grad(), _silent("torch.fx.experimental.symbolic_shapes"):
        return torch.export.export(network, (example,), dynamic_shapes=(free,), strict=False)


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """It prints a page of stack where a pool's rounding is too much for its algebra, and goes on rightly."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
