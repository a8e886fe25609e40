"""The unit's end as a custom operator of PyTorch: `fused_end` over a unit's modules, and what forbids it.

Two operators are registered, forward and backward; no compiler looks into them.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.library import custom_op
from torch.nn.modules import module as torch_modules

from senet_zoo.errors import UsageError
from senet_zoo.networks.fused.implementations import implementation_on
from senet_zoo.networks.fused.reference import flat, pixels_first, unflat
from senet_zoo.networks.squeeze_excite import Activation, GateFunction, Squeeze, SqueezeExcite, Start, at_least_float32


def fused_end(y: Tensor, shortcut: Tensor, norm: nn.BatchNorm2d, gate: SqueezeExcite | None) -> Tensor:
    """``relu(shortcut + gate(norm(y)))`` as one operation; without gate, ``relu(shortcut + norm(y))``.

    The norm's running statistics move as they would, and are used where the norm is in eval mode. Only shapes are
    checked: ask `why_not_fused` first. Where there is no variance to learn from, one pixel of one sample, the norm
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
    """What watches or changes the calls of modules, because a fused unit makes none; empty where nothing does."""
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


@custom_op("senet_zoo::residual_end", mutates_args=())
def residual_end(
    y: Tensor,
    shortcut: Tensor,
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    fc1_weight: Tensor | None,
    fc1_bias: Tensor | None,
    fc2_weight: Tensor | None,
    fc2_bias: Tensor | None,
    eps: float,
    of_batch: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """``relu(shortcut + s * bn(y))``; the running statistics are read where ``of_batch`` is false, and never written.

    Returns:
        The output, and what the backward pass and the running statistics need of it, without gradients: m (N, C),
        mu (C,), var (C,), h (N, C // r) and s (N, C), in float32 or wider; h and s are empty without a gate.
    """
    if y.shape != shortcut.shape:
        raise UsageError(
            f"the branch and the shortcut of a unit must agree in shape, got {tuple(y.shape)} and "
            f"{tuple(shortcut.shape)}"
        )
    layers = _plain_tensors(fc1_weight, fc1_bias, fc2_weight, fc2_bias)
    tensors = _plain_tensors(weight, bias, running_mean, running_var)
    implementation, dim = implementation_on(y.device.type, y.dtype).implementation, 1 if pixels_first(y) else 2
    with _own_precision(y):
        rows = (flat(x.detach(), like=y) for x in (y, shortcut))
        out, m, mu, var, h, s = implementation.forward(*rows, *tensors, layers, eps, of_batch, dim)
    return unflat(out, like=y), m, mu, var, h, s


@residual_end.register_fake
def _(y: Tensor, shortcut: Tensor, *parameters: Any) -> tuple[Tensor, ...]:
    _, _, _, _, fc1_weight, *_ = parameters
    torch._check(y.shape == shortcut.shape)
    n, c = y.shape[:2]
    m = y.new_empty((n, c), dtype=at_least_float32(y.dtype))
    h, s = ((0,), (0,)) if fc1_weight is None else ((n, fc1_weight.shape[0]), (n, c))
    out = _empty_like(y, torch.promote_types(y.dtype, shortcut.dtype))
    return out, m, m.new_empty(c), m.new_empty(c), m.new_empty(h), m.new_empty(s)


@custom_op("senet_zoo::residual_end_backward", mutates_args=())
def residual_end_backward(
    gradient: Tensor,
    y: Tensor,
    out: Tensor,
    m: Tensor,
    mu: Tensor,
    var: Tensor,
    h: Tensor,
    s: Tensor,
    weight: Tensor,
    bias: Tensor,
    fc1_weight: Tensor | None,
    fc1_bias: Tensor | None,
    fc2_weight: Tensor | None,
    fc2_bias: Tensor | None,
    eps: float,
    of_batch: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The gradients of y, the shortcut, weight, bias and the gate's four; empty where there is no gate."""
    layers = _plain_tensors(fc1_weight, fc1_bias, fc2_weight, fc2_bias)
    tensors = _plain_tensors(m, mu, var, h, s, weight, bias)
    implementation, dim = implementation_on(y.device.type, y.dtype).implementation, 1 if pixels_first(y) else 2
    with _own_precision(y):
        rows = (flat(x.detach(), like=y) for x in (gradient, y, out))
        dy, dshortcut, *of_parameters = implementation.backward(*rows, *tensors, layers, eps, of_batch, dim)
    if fc1_weight is None:
        of_parameters += [m.new_empty(0) for _ in range(4)]
    dweight, dbias, d1, db1, d2, db2 = of_parameters
    return unflat(dy, like=y), unflat(dshortcut, like=y), dweight, dbias, d1, db1, d2, db2


@residual_end_backward.register_fake
def _(gradient: Tensor, y: Tensor, out: Tensor, m: Tensor, *rest: Any) -> tuple[Tensor, ...]:
    _, _, _, _, _, _, fc1_weight, *_ = rest
    c = y.shape[1]
    shapes: list[tuple[Any, ...]] = [(0,)] * 4
    if fc1_weight is not None:
        hidden = fc1_weight.shape[0]
        shapes = [(hidden, c), (hidden,), (c, hidden), (c,)]
    of_gate = (m.new_empty(shape) for shape in shapes)
    return _empty_like(y, y.dtype), _empty_like(y, out.dtype), m.new_empty(c), m.new_empty(c), *of_gate


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    y, shortcut, weight, bias, _, _, *layers, eps, of_batch = inputs
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(y, *output, weight, bias, *layers)
    ctx.eps, ctx.of_batch, ctx.shortcut_dtype = eps, of_batch, shortcut.dtype


def _back(ctx: Any, gradient: Tensor | None, *_: object) -> tuple[Tensor | None, ...]:
    if gradient is None:
        return (None,) * 12
    y, out, m, mu, var, h, s, weight, bias, *layers = ctx.saved_tensors
    dy, dshortcut, dweight, dbias, *dlayers = residual_end_backward(
        gradient, y, out, m, mu, var, h, s, weight, bias, *layers, ctx.eps, ctx.of_batch
    )
    of_layers = (None if layer is None else d.to(layer.dtype) for layer, d in zip(layers, dlayers, strict=True))
    dshortcut = dshortcut.to(ctx.shortcut_dtype)
    return dy, dshortcut, dweight.to(weight.dtype), dbias.to(bias.dtype), None, None, *of_layers, None, None


residual_end.register_autograd(_back, setup_context=_keep)


def _plain_tensors(*parameters: Tensor | None) -> tuple[Any, ...]:
    # Neither parameters nor gradients concern what runs below autograd; a compiler would look at both.
    return tuple(None if parameter is None else parameter.detach() for parameter in parameters)


@contextmanager
def _own_precision(y: Tensor) -> Iterator[None]:
    device = y.device.type
    with (
        torch.no_grad(),
        torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext(),
    ):
        yield


def _empty_like(y: Tensor, dtype: torch.dtype) -> Tensor:
    layout = torch.channels_last if pixels_first(y) else torch.contiguous_format
    return torch.empty_like(y, dtype=dtype, memory_format=layout)
