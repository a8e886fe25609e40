"""Parameters, multiply-adds and gates of a network, counted without memory for its weights."""

import torch
from torch import nn

from senet_zoo.layers import SqueezeExcite
from senet_zoo.network import ConvNet
from senet_zoo.specs import NetworkSpec


def on_meta(spec: NetworkSpec) -> ConvNet:
    """The network without memory: shapes only."""
    with torch.device("meta"):
        return ConvNet(spec).eval()


def parameters(module: nn.Module) -> int:
    """Number of trainable values; running statistics are not among them."""
    return sum(parameter.numel() for parameter in module.parameters())


def gates(model: nn.Module) -> dict[str, SqueezeExcite]:
    """Every gate by the name of its module, in order of execution."""
    return {name: part for name, part in model.named_modules() if isinstance(part, SqueezeExcite)}


def multiply_adds(spec: NetworkSpec, size: int | None = None) -> int:
    """Multiply-adds of convolutions and fully connected layers for one picture of ``size`` x ``size`` pixels.

    The paper's "GFLOPs" are these, plus about one operation for each pooled element, which is not counted here.

    Args:
        spec: the architecture.
        size: side of the picture; the spec's own by default.
    """
    from torch.utils.flop_counter import FlopCounterMode

    model = on_meta(spec)
    side = size or spec.input_size
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, model.in_channels, side, side, device="meta"))
    return int(counter.get_total_flops()) // 2
