"""A module of somebody else's network, with a gate behind it."""

from typing import Any

from torch import Tensor, nn

from senet_zoo.layers.squeeze_excite import SqueezeExcite


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
