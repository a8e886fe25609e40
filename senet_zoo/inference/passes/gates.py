"""Gates as graphs know them: which modules are gates, and a gate taken apart into the excitation and a product.

Other libraries' gates are known by the names of their classes, so that the libraries need not be there.
"""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, fx, nn

from senet_zoo.inference.mean_gate import MeanGate
from senet_zoo.layers import Squeeze, SqueezeExcite
from senet_zoo.layers.gating import ACTIVATIONS, GATE_FUNCTIONS
from senet_zoo.tensors import at_least_float32


@dataclass(frozen=True)
class ForeignGate:
    """Where another library's gate keeps its parts.

    Args:
        fc1: 1x1 convolution to the hidden channels.
        inner: the function between.
        fc2: 1x1 convolution back.
        last: the last function.
    """

    fc1: str
    inner: str
    fc2: str
    last: str


FOREIGN = {
    ("timm.models.senet", "SEModule"): ForeignGate("fc1", "relu", "fc2", "sigmoid"),
    ("timm.layers.squeeze_excite", "SEModule"): ForeignGate("fc1", "act", "fc2", "gate"),
    ("timm.models._efficientnet_blocks", "SqueezeExcite"): ForeignGate("conv_reduce", "act1", "conv_expand", "gate"),
    ("torchvision.ops.misc", "SqueezeExcitation"): ForeignGate("fc1", "activation", "fc2", "scale_activation"),
}


def is_gate(module: nn.Module) -> bool:
    """Whether a graph shows ``module`` as one node; gates of a form that is not covered are, if they are ours."""
    return isinstance(module, SqueezeExcite) or _foreign(module) is not None


def take_apart(traced: fx.GraphModule) -> dict[str, str]:
    """Replace every gate by a `MeanGate` and a product, in place.

    Returns:
        The gates that stay as they are by name, and why.
    """
    stay = {}
    for node in [node for node in traced.graph.nodes if node.op == "call_module"]:
        gate = traced.get_submodule(node.target)
        if not is_gate(gate):
            continue
        if isinstance(gate, SqueezeExcite) and gate.squeeze is not Squeeze.MEAN:
            stay[str(node.target)] = f"its squeeze is {gate.squeeze.value}, not the mean"
            continue
        name = f"{node.target}_excitation"
        traced.add_submodule(name, excitation(gate))
        (x,) = node.args
        with traced.graph.inserting_before(node):
            scale = traced.graph.call_module(name, (x,))
            scale.meta["gate"] = str(node.target)
            node.replace_all_uses_with(traced.graph.call_function(torch.mul, (x, scale)))
        traced.graph.erase_node(node)
    return stay


def excitation(gate: nn.Module) -> MeanGate:
    """The excitation of a gate whose squeeze is the mean, as matrix products in float32 or wider."""
    if isinstance(gate, SqueezeExcite):
        inner, last = ACTIVATIONS[gate.activation], GATE_FUNCTIONS[gate.gate, gate.start]
        return MeanGate(_wide(gate.fc1.weight), _bias(gate.fc1), inner, _wide(gate.fc2.weight), _bias(gate.fc2), last)
    parts = cast("ForeignGate", _foreign(gate))
    fc1, fc2 = gate.get_submodule(parts.fc1), gate.get_submodule(parts.fc2)
    w1, w2 = (_wide(cast("Tensor", fc.weight)).flatten(1) for fc in (fc1, fc2))
    inner, last = gate.get_submodule(parts.inner), gate.get_submodule(parts.last)
    return MeanGate(w1, _bias(fc1), inner, w2, _bias(fc2), last)


def _foreign(module: nn.Module) -> ForeignGate | None:
    parts = FOREIGN.get((type(module).__module__, type(module).__qualname__))
    if parts is None or getattr(module, "add_maxpool", False):
        return None
    has_norm = not isinstance(getattr(module, "bn", nn.Identity()), nn.Identity)
    layers = [getattr(module, name, None) for name in (parts.fc1, parts.fc2)]
    plain = all(type(layer) is nn.Conv2d and layer.kernel_size == (1, 1) for layer in layers)
    return parts if plain and not has_norm else None


def _wide(tensor: Tensor) -> Tensor:
    return tensor.detach().to(at_least_float32(tensor.dtype))


def _bias(layer: nn.Module) -> Tensor | None:
    bias = cast("Tensor | None", layer.bias)
    return None if bias is None else _wide(bias)
