"""A graph's code with everything that it needs in reach.

A module looks for each tensor in three dictionaries and calls a layer through two functions more. Behind a convolution,
which leaves little of Python in the cache, that is much of what an operation on a small map costs.
"""

from functools import partial
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from torch import Tensor, fx

from senet_zoo.inference.measuring import Network
from senet_zoo.inference.passes.lean_gate import LeanGate


def straight(network: fx.GraphModule) -> Network:
    """The same function of what the network holds now; later changes of it are not seen."""
    names = sorted({str(node.target) for node in network.graph.nodes if node.op in ("get_attr", "call_module")})
    if any(below.startswith(f"{name}.") for name, below in pairwise(names)):
        return network  # a part that is called, and a part of it as well
    reach = SimpleNamespace()
    for name in names:
        *path, last = name.split(".")
        part, place = network, reach
        for step in path:
            part, place = getattr(part, step), vars(place).setdefault(step, SimpleNamespace())
        setattr(place, last, _plain(getattr(part, last)))
    return partial(type(network).forward, reach)


def _plain(part: Any) -> Any:
    if isinstance(part, Tensor):
        return part.detach()
    return part.function() if isinstance(part, LeanGate) else part.forward
