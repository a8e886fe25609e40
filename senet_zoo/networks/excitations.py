"""A module of somebody else's network, with a gate behind it.

The gates of a network by the names of the paper, and what they say in one run.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from threading import get_ident
from typing import Any

from torch import Tensor, nn

from senet_zoo.networks.gate import Squeeze, SqueezeExcite, gates


class Gated(nn.Module):
    """``se(module(x))`` in the place where ``module`` alone was, so that the network's code need not change.

    Saved tensors keep the names they had: what was ``bn3.weight`` stays ``bn3.weight``, and only ``bn3.se.*`` is new.
    Weights of the network without gates therefore load with ``strict=False``, and those of the gated network too.

    Args:
        module: what was there.
        se: the gate over its output.

    Shape:
        that of ``module``, whose output is (N, C, H, W).

    Differs: a forward hook or a changed class would need no wrapper, but is lost without a word to tools that replace
    modules by their kind (``SyncBatchNorm.convert_sync_batchnorm``, the fusing of batch norms). The price:
    ``named_parameters`` says where a tensor lies, ``bn3.module.weight``, and ``state_dict`` how it is saved. Tools that
    take the two for one (``torch.distributed.checkpoint``, ``functional_call`` with a ``state_dict``) do not work here.
    """

    def __init__(self, module: nn.Module, se: SqueezeExcite) -> None:
        super().__init__()
        self.module = module
        self.se = se
        self.training = module.training
        nn.Module.register_state_dict_post_hook(self, _save_under_old_names)
        nn.Module.register_load_state_dict_pre_hook(self, _load_from_old_names)

    def forward(self, *args: Any) -> Tensor:
        """The gated output of the module."""
        y: Tensor = self.se(self.module(*args))
        return y


def _save_under_old_names(gated: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    ours = {key: state.pop(key) for key in [*state] if key.startswith(prefix)}
    inner = f"{prefix}module."
    state.update({prefix + key.removeprefix(inner) if key.startswith(inner) else key: ours[key] for key in ours})


def _load_from_old_names(gated: Gated, state: dict[str, Any], prefix: str, *_: Any) -> None:
    of_the_gate = {f"{prefix}se.{key}" for key in gated.se.state_dict()}
    for key in [key for key in state if key.startswith(prefix) and key not in of_the_gate]:
        state[f"{prefix}module.{key.removeprefix(prefix)}"] = state.pop(key)


def recorded_excitations(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """What every gate of any network says in one run, by the name of its module, in order of definition.

    The gate is computed once more than the run needs: its map is at hand, its excitation is not.

    Args:
        model: its hooks are as before when this returns or fails.
        images: its one input.

    Returns:
        (N, C) a gate, (N, C, H, W) without squeeze; of a gate that does not run, nothing.
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
        model: a network whose stages are ``model.stages``, and their blocks the stages' children.
        stage_numbers: of its stages, as the paper counts.
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
    """The words of a gate's name without those that wrappers add, and whether the gate itself was inserted."""
    owner, path, inserted = model, [], False
    for word in name.split("."):
        inserted = isinstance(owner, Gated) and word == "se"
        if not isinstance(owner, Gated) or inserted:
            path.append(word)
        owner = owner.get_submodule(word)
    return path, inserted
