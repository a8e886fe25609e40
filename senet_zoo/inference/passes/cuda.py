"""Residual units by Triton kernels: squeeze in the pass before, excitation in one kernel, the end in the product.

Each kernel replaces operations that PyTorch would run one by one. Where a kernel does not cover a unit these stay, and
the reason is reported. Triton is imported when a kernel runs, because not every machine has it.
"""

import copy
import operator
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import cast

import torch
from torch import Tensor, fx, nn

from senet_zoo.inference.passes.gates import MeanGate
from senet_zoo.inference.passes.graph import end_of_sum, erase, layer_at, only_reader, other_addend, shape_of

MOST_HIDDEN = 256
"""Hidden units of a gate that a program of `triton_kernels.excite` holds."""
DEVICES = ("cuda",)
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class Squeezed(nn.Module):
    """Bias and ReLU behind a convolution, in the memory of its result, and shares of the means of that.

    Args:
        bias: of the convolution, (C,), or None.
        relu: whether a ReLU follows.
    """

    def __init__(self, bias: Tensor | None, relu: bool) -> None:
        super().__init__()
        self.bias = None if bias is None else nn.Parameter(bias, False)
        self.relu = relu

    def forward(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The map, and the shares (N, T, C), T being the number of tiles."""
        from senet_zoo.inference.passes.triton_kernels import squeeze_

        if not y.is_contiguous(memory_format=torch.channels_last):
            y = y.contiguous(memory_format=torch.channels_last)
        return y, squeeze_(y, self.bias, self.relu)


class Excitation(nn.Module):
    """A gate whose functions are ReLU and sigmoid, from shares of the means.

    Args:
        gate: the same gate in PyTorch's operations.
        dtype: of the result.
    """

    def __init__(self, gate: MeanGate, dtype: torch.dtype) -> None:
        super().__init__()
        self.w1, self.w2 = (nn.Parameter(w.detach().contiguous(), False) for w in (gate.w1, gate.w2))
        biases = ((gate.w1, gate.b1), (gate.w2, gate.b2))
        self.b1, self.b2 = (nn.Parameter(w.new_zeros(len(w)) if b is None else b, False) for w, b in biases)
        self.dtype = dtype

    def forward(self, shares: Tensor) -> Tensor:
        """The gate, (N, C, 1, 1)."""
        from senet_zoo.inference.passes.triton_kernels import excite

        return excite(shares, self.w1, self.b1, self.w2, self.b2, self.dtype)[:, :, None, None]


class PointwiseEnd(nn.Module):
    """``gate * conv(h) + shortcut`` of a 1x1 convolution, with or without a ReLU.

    Args:
        conv: one group, stride 1, not padded.
        relu: whether a ReLU follows.
    """

    def __init__(self, conv: nn.Conv2d, relu: bool) -> None:
        super().__init__()
        weight = conv.weight.detach().flatten(1).contiguous()
        self.weight = nn.Parameter(weight, False)
        self.bias = nn.Parameter(weight.new_zeros(len(weight)) if conv.bias is None else conv.bias.detach(), False)
        self.relu = relu

    def forward(self, h: Tensor, shortcut: Tensor, gate: Tensor | None = None) -> Tensor:
        """The output of a unit with a gate (N, C, 1, 1) or without."""
        from senet_zoo.inference.passes.triton_kernels import pointwise_end

        gate = None if gate is None else gate.flatten(1).contiguous()
        return pointwise_end(h, self.weight, self.bias, gate, shortcut, self.relu)


@dataclass(frozen=True)
class Kernels:
    """What Triton kernels run.

    Args:
        squeezes: gates whose squeeze is part of the pass behind the convolution before.
        excitations: gates that are one kernel.
        ends: last convolutions with their gate, if any, and their sum.
        plain: how many gates, sums or whole networks stay with PyTorch's operations, by reason.
    """

    squeezes: int = 0
    excitations: int = 0
    ends: int = 0
    plain: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        done = (
            f"by Triton {self.ends} ends of units with their convolution, {self.excitations} excitations, "
            f"{self.squeezes} squeezes with the bias before"
        )
        return "; ".join([done, *(f"{count} by PyTorch: {reason}" for reason, count in self.plain.items())])


def why_unsupported(device: torch.device, dtype: torch.dtype) -> str:
    """Why the kernels cannot run; empty if they can."""
    if find_spec("triton") is None:
        return "Triton is not installed"
    if dtype not in DTYPES:
        return f"the kernels do not compute in {str(dtype).removeprefix('torch.')}"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return "the kernels need compute capability 8.0"
    return ""


def use_kernels(network: fx.GraphModule, dtype: torch.dtype) -> Kernels:
    """Put the kernels, in place, into a network: canonical, channels last, its nodes with their shapes."""
    plain: Counter[str] = Counter()
    ends = sum(_end(network, node, plain) for node in list(network.graph.nodes) if node.target is torch.add)
    squeezes = excitations = 0
    for node in list(network.graph.nodes):
        gate = layer_at(network, node, MeanGate)
        if gate is None:
            continue
        if why := _not_covered(gate):
            plain[why] += 1
            continue
        squeezes += _excitation(network, node, gate, dtype)
        excitations += 1
    network.graph.eliminate_dead_code()
    return Kernels(squeezes, excitations, ends, dict(plain))


def _end(network: fx.GraphModule, total: fx.Node, plain: Counter[str]) -> bool:
    """Make one kernel of a sum and the 1x1 convolution behind one of its addends, gated or not."""
    addends = [arg for arg in total.args if isinstance(arg, fx.Node)]
    for addend in sorted(addends, key=lambda arg: arg.target is not torch.mul):  # the gated one first
        shortcut = other_addend(total, addend)
        gated = addend.target is torch.mul
        y, scale = addend.args if gated else (addend, None)
        conv = layer_at(network, y, nn.Conv2d)
        if shortcut is None or (gated and layer_at(network, scale, MeanGate) is None):
            continue
        if why := _not_an_end(conv, addend, cast("fx.Node", y), gated, shortcut):
            plain.update([why] if gated else [])
            continue
        last = end_of_sum(total)
        source = cast("fx.Node", y)
        network.add_submodule(f"{source.target}_end", PointwiseEnd(cast("nn.Conv2d", conv), last is not total))
        arguments = (source.args[0], shortcut, *([scale] if gated else []))
        with network.graph.inserting_before(last):
            new = network.graph.call_module(f"{source.target}_end", cast("tuple[fx.Node, ...]", arguments))
        new.meta |= last.meta | {"new_tensor": True}
        last.replace_all_uses_with(new)
        erase(network, last, total, addend, source)
        return True
    return False


def _not_an_end(conv: nn.Conv2d | None, addend: fx.Node, y: fx.Node, gated: bool, shortcut: fx.Node) -> str:
    if conv is None or conv.kernel_size != (1, 1):
        return "no 1x1 convolution makes the map that is gated"
    if gated and len(y.users) > 1:
        return "the gate is computed behind its map"
    if conv.groups > 1 or conv.stride != (1, 1) or conv.padding not in ((0, 0), "valid", "same"):
        return "the last convolution is grouped, strided or padded"
    if only_reader(addend) is None or len(y.users) > 1 or shape_of(shortcut) != shape_of(addend):
        return "the map is read elsewhere, too, or the shortcut has another shape"
    return ""


def _not_covered(gate: MeanGate) -> str:
    if gate.inner is not torch.relu and type(gate.inner) is not nn.ReLU:
        return "gates with another activation than ReLU"
    if gate.last is not torch.sigmoid and type(gate.last) is not nn.Sigmoid:
        return "gates with another function than the sigmoid"
    if any(each != 1 for each in gate.step):
        return "gates that see every other pixel"
    if gate.w1.shape[0] > MOST_HIDDEN:
        return f"gates of more than {MOST_HIDDEN} hidden units"
    return ""


def _excitation(network: fx.GraphModule, node: fx.Node, gate: MeanGate, dtype: torch.dtype) -> bool:
    """Make a gate one kernel behind its squeeze. Returns whether the squeeze became part of the pass before it."""
    (x,) = cast("tuple[fx.Node]", node.args)
    relu = x.target is torch.relu
    before = cast("fx.Node", x.args[0]) if relu else x
    conv = layer_at(network, before, nn.Conv2d)
    alone = conv is not None and (not relu or only_reader(before) is x)
    name = f"{node.target}_squeeze"
    squeezed = Squeezed(conv.bias, relu) if alone and conv is not None else Squeezed(None, relu=False)
    network.add_submodule(name, squeezed)
    network.add_submodule(f"{node.target}_excite", Excitation(gate, _dtype(network, node, dtype)))
    if alone and conv is not None:
        before.target = f"{before.target}_unbiased"
        network.add_submodule(before.target, _unbiased(conv))
    source = before if alone else x
    with network.graph.inserting_after(x):
        pair = network.graph.call_module(name, (source,))
    with network.graph.inserting_after(pair):
        finished = network.graph.call_function(operator.getitem, (pair, 0))
        shares = network.graph.call_function(operator.getitem, (pair, 1))
    finished.meta |= x.meta | {"new_tensor": alone}
    if alone:
        x.replace_all_uses_with(finished, lambda user: user not in (pair, x))
    with network.graph.inserting_before(node):
        new = network.graph.call_module(f"{node.target}_excite", (shares,))
    new.meta |= node.meta
    node.replace_all_uses_with(new)
    network.graph.erase_node(node)
    if relu and alone:
        network.graph.erase_node(x)
    return alone


def _dtype(network: fx.GraphModule, node: fx.Node, dtype: torch.dtype) -> torch.dtype:
    """The dtype of a gate: float32 if kernels read it, otherwise that of the maps."""
    read_by_kernels = all(layer_at(network, user, PointwiseEnd) is not None for user in node.users)
    return torch.float32 if read_by_kernels else dtype


def _unbiased(conv: nn.Conv2d) -> nn.Conv2d:
    other = copy.copy(conv)  # its settings; the weight is shared
    other._parameters = {}
    other.weight = conv.weight
    other.register_parameter("bias", None)
    return other
