"""The excitations of a network's gates in one run, and the paper's names of the gates: ``SE_4_6``."""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from threading import get_ident

from torch import Tensor, nn

from senet_zoo.networks.squeeze_excite import Gated, Squeeze, SqueezeExcite, gates


def recorded_excitations(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """The excitation of every gate in one run of any network, by the name of the gate's module, in order of definition.

    Each gate is computed twice, because its hook sees the map and not the excitation.

    Args:
        model: the network; its hooks are as before when this returns or fails.
        images: its input.

    Returns:
        (N, C) for a gate, or (N, C, H, W) for one without squeeze. Gates that do not run are left out.
    """
    found: dict[str, Tensor] = {}
    thread = get_ident()

    def record(name: str, gate: nn.Module, args: tuple[Tensor, ...], _: Tensor) -> None:
        assert isinstance(gate, SqueezeExcite)
        if get_ident() == thread:  # another one may use the same network
            s = gate.excitation(args[0])
            found[name] = s if gate.squeeze is Squeeze.NONE else s.flatten(1)

    own = gates(model)
    with ExitStack() as hooks:
        for name, gate in own.items():
            hooks.callback(gate.register_forward_hook(partial(record, name)).remove)
        model(images)
    return {name: found[name] for name in own if name in found}


def paper_names(model: nn.Module, stage_numbers: Sequence[int]) -> dict[str, str]:
    """The paper's name of every gate, by the name of its module, in order of definition.

    ``SE_4_6`` is the gate of stage 4's block 6. Blocks are counted from 1 as the family's file lists them, those
    without a gate too (a pool, a transition); an inception unit or a dense layer is a block. Where a block has several
    gates, they are counted: ``SE_4_6_1``, ``SE_4_6_2``. A gate that was inserted, or stands outside the stages, keeps
    the name of its module.

    Args:
        model: a network that keeps its stages in ``model.stages``, and the blocks as their children.
        stage_numbers: the paper's numbers of the stages.
    """
    names = {}
    for module in gates(model):
        path, inserted = _path(model, module)
        own = path[0] == "stages" and not inserted
        names[module] = f"SE_{stage_numbers[int(path[1])]}_{int(path[2]) + 1}" if own else module
    shared, seen = Counter(names.values()), Counter[str]()
    for module, name in names.items():
        if shared[name] > 1:
            seen[name] += 1
            names[module] = f"{name}_{seen[name]}"
    return names


def _path(model: nn.Module, name: str) -> tuple[list[str], bool]:
    """A gate's name in parts, without those that wrappers add, and whether the gate itself was inserted."""
    owner, path, inserted = model, [], False
    for part in name.split("."):
        inserted = isinstance(owner, Gated) and part == "se"
        if not isinstance(owner, Gated) or inserted:
            path.append(part)
        owner = owner.get_submodule(part)
    return path, inserted
