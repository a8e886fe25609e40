"""The operation over the modules that it stands for: their parameters, their running statistics, their limits."""

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

from senet_zoo.layers.fused.operator import residual_end
from senet_zoo.layers.gating import Activation, GateFunction, Squeeze, Start
from senet_zoo.layers.squeeze_excite import SqueezeExcite


def fused_end(y: Tensor, shortcut: Tensor, norm: nn.BatchNorm2d, gate: SqueezeExcite | None) -> Tensor:
    """``relu(shortcut + gate(norm(y)))`` as one operation; without gate, ``relu(shortcut + norm(y))``.

    The norm's running statistics move as they would, and are used where the norm is in eval mode. Nothing is checked
    but shapes: ask `why_not_fused` first. Where there is no variance to learn from, one pixel of one sample, the norm
    itself is called, and raises what it always does.

    Shape:
        (N, C, H, W) twice -> (N, C, H, W).

    Differs: has no second derivative, and says so when asked for one.
    """
    count = y.numel() // y.shape[1]
    if norm.training and count <= 1:
        y = norm(y)
        return torch.relu(shortcut + (y if gate is None else gate(y)))
    fc1, fc2 = (None, None) if gate is None else (gate.fc1, gate.fc2)
    out: Tensor
    out, _, mean, var, _, _ = residual_end(
        y,
        shortcut,
        norm.weight,
        norm.bias,
        norm.running_mean,
        norm.running_var,
        None if fc1 is None else fc1.weight,
        None if fc1 is None else fc1.bias,
        None if fc2 is None else fc2.weight,
        None if fc2 is None else fc2.bias,
        norm.eps,
        norm.training,
    )
    if norm.training:
        _track(norm, mean, var, count)
    return out


@torch.no_grad()
def _track(norm: nn.BatchNorm2d, mean: Tensor, var: Tensor, count: int) -> None:
    """Move the running statistics as `torch.nn.BatchNorm2d` does; the variance without its bias."""
    running_mean, running_var, batches = norm.running_mean, norm.running_var, norm.num_batches_tracked
    assert running_mean is not None
    assert running_var is not None
    assert batches is not None
    batches.add_(1)
    for running, new in ((running_mean, mean), (running_var, var * (count / (count - 1)))):
        share = batches.to(running.dtype).reciprocal() if norm.momentum is None else norm.momentum
        running.lerp_(new.to(running.dtype), share)


def why_not_fused(norm: nn.Module, gate: nn.Module) -> str:
    """What forbids `fused_end` for these two; empty where nothing does.

    Args:
        norm: what stands before the gate.
        gate: the gate, or the identity.
    """
    if type(norm) is not nn.BatchNorm2d:
        return f"its norm is {type(norm).__name__}, not BatchNorm2d"
    if norm.weight is None or norm.running_mean is None or not norm.track_running_stats:
        return "its batch norm has no weight or keeps no running statistics"
    if type(gate) is nn.Identity:
        return why_observed(norm, gate)
    if type(gate) is not SqueezeExcite or type(gate.fc1) is not nn.Linear or type(gate.fc2) is not nn.Linear:
        return f"its gate is {type(gate).__name__}, or has other layers than SqueezeExcite"
    made_of = (gate.squeeze, gate.activation, gate.gate, gate.start)
    if made_of != (Squeeze.MEAN, Activation.RELU, GateFunction.SIGMOID, Start.RANDOM):
        return "its gate is made of " + ", ".join(part.value for part in made_of) + ", not mean, relu, sigmoid, random"
    return why_observed(norm, gate, gate.fc1, gate.fc2)


def why_observed(*parts: nn.Module) -> str:
    """Names what watches or changes the calls of modules, for a fused unit makes none; empty where nothing does."""
    if any(hooks for hooks in _EVERYWHERE):
        return "a hook over all modules is registered"
    for part in parts:
        if part._forward_hooks or part._forward_pre_hooks or part._backward_hooks or part._backward_pre_hooks:
            return f"its {type(part).__name__} has a hook"
        if "forward" in part.__dict__:
            return f"its {type(part).__name__} has a forward of its own"
    return ""


_EVERYWHERE = (
    torch_modules._global_forward_hooks,
    torch_modules._global_forward_pre_hooks,
    torch_modules._global_backward_hooks,
    torch_modules._global_backward_pre_hooks,
)
