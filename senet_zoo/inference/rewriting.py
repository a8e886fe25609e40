"""The portable half of `senet_zoo.optimize`: a network rewritten by exact algebra in PyTorch's standard operations.

The result runs on every device, at every size and batch, and exports like any other network.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import fx, nn

from senet_zoo.inference.passes.early_gate import move_gates_early
from senet_zoo.inference.passes.fold import fold_constants, fold_norms
from senet_zoo.inference.passes.gates import take_apart
from senet_zoo.inference.passes.graph import PREFIX, canonicalise, trace


@dataclass(frozen=True)
class Rewriting:
    """A rewritten network, and what was done.

    Args:
        network: the same function in eval mode; its operations are a graph of `torch.fx`.
        folded: number of batch norms that became part of a convolution.
        norms: number of batch norms that stay.
        early: names of the gates that are computed before the convolution that they scale.
        late: names of the other gates, and why they stay behind it.
        opaque: names of parts that cannot be traced; they run as they are.
    """

    network: fx.GraphModule
    folded: int
    norms: int
    early: tuple[str, ...]
    late: Mapping[str, str]
    opaque: tuple[str, ...]


@torch.no_grad()
def rewrite(model: nn.Module) -> Rewriting:
    """The same function with batch norms folded and gates computed early, in standard operations.

    ``model`` is in eval mode and takes one tensor (N, C, H, W). It is not changed, and nothing is shared with it.

    Example:
        >>> import senet_zoo
        >>> rewriting = rewrite(senet_zoo.create_model("se_resnet50").eval())
        >>> rewriting.folded, len(rewriting.early), rewriting.late
        (53, 16, {})
    """
    network, opaque = trace(copy.deepcopy(model))
    canonicalise(network)
    uncovered = take_apart(network)
    folded, norms = fold_norms(network)
    early, late = move_gates_early(network)
    fold_constants(network)
    network.graph.eliminate_dead_code()
    network.delete_all_unused_submodules()
    network.graph.lint()
    network.recompile()
    network.eval().requires_grad_(False)
    return Rewriting(
        network,
        folded,
        norms,
        tuple(map(_own_name, early)),
        {_own_name(name): reason for name, reason in (uncovered | late).items()},
        tuple(map(_own_name, dict.fromkeys(opaque))),
    )


def in_channels_of(network: fx.GraphModule) -> int:
    """Channels of the pictures of a rewritten network: those that its first convolution reads."""
    reached: set[fx.Node] = set()
    for node in network.graph.nodes:
        if node.op == "placeholder" or reached & set(node.all_input_nodes):
            reached.add(node)
            layer = network.get_submodule(str(node.target)) if node.op == "call_module" else None
            channels = getattr(layer, "in_channels", None)
            if isinstance(channels, int):
                return channels
    return 3


def _own_name(name: str) -> str:
    return name.removeprefix(PREFIX).lstrip(".") or "the network"
