"""`SqueezeExcite`, the one gate that every network of the zoo shares, and the choices that it is made of.

The values of the choices are those of the paper's ablations (section 6) and of ``--se`` on the command line.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import copy
from enum import Enum
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._jit_internal import is_scripting  # torch.jit.is_scripting, which checkers do not see
from torch.nn import functional as F

from senet_zoo.errors import SpecError

Function = Callable[[Tensor], Tensor]


class Placement(Enum):
    """Where a gate sits in its unit (figure 5; section 6.5)."""

    STANDARD = "standard"
    """On the branch's output, before the sum."""
    PRE = "pre"
    """On the branch's input; the shortcut carries the map as it was."""
    POST = "post"
    """After the sum and its ReLU."""
    IDENTITY = "identity"
    """On the shortcut, after its projection where there is one."""
    INNER = "inner"
    """Inside the branch, after the 3x3 convolution and its ReLU: the paper's SE_3x3."""


class Squeeze(Enum):
    """How a map becomes one number a channel (section 6.2, 7.1)."""

    MEAN = "mean"
    MAX = "max"
    BOTH = "both"
    """Mean and max through the same two layers, added before the gate's last function (Woo et al., CBAM,
    arXiv:1807.06521, equation 2)."""
    NONE = "none"
    """No squeeze: both layers run at every pixel, and so does the gate (the paper's NoSqueeze)."""


class Activation(Enum):
    """The function between the gate's two layers; the paper has ReLU."""

    RELU = "relu"
    SILU = "silu"
    GELU = "gelu"
    LEAKY_RELU = "leaky_relu"


class GateFunction(Enum):
    """The gate's last function (section 6.3)."""

    SIGMOID = "sigmoid"
    HARD_SIGMOID = "hard_sigmoid"
    TANH = "tanh"
    RELU = "relu"


class Start(Enum):
    """How a fresh gate begins."""

    RANDOM = "random"
    """With random weights, as in the paper; a sigmoid gate then begins near one half."""
    IDENTITY = "identity"
    """At exactly 1, for networks that are trained already: the last layer starts at zero, and the last function is
    scaled or shifted so that 0 gives 1: 2 sigmoid(z), 2 hard_sigmoid(z), 1 + tanh(z), relu(1 + z)."""


def _twice_sigmoid(z: Tensor) -> Tensor:
    return 2.0 * torch.sigmoid(z)


def _twice_hard_sigmoid(z: Tensor) -> Tensor:
    return 2.0 * F.hardsigmoid(z)


def _one_plus_tanh(z: Tensor) -> Tensor:
    return 1.0 + torch.tanh(z)


def _relu_of_one_plus(z: Tensor) -> Tensor:
    return torch.relu(1.0 + z)


ACTIVATIONS: Mapping[Activation, Function] = MappingProxyType(
    {
        Activation.RELU: torch.relu,
        Activation.SILU: F.silu,
        Activation.GELU: F.gelu,
        Activation.LEAKY_RELU: F.leaky_relu,
    }
)

GATE_FUNCTIONS: Mapping[tuple[GateFunction, Start], Function] = MappingProxyType(
    {
        (GateFunction.SIGMOID, Start.RANDOM): torch.sigmoid,
        (GateFunction.HARD_SIGMOID, Start.RANDOM): F.hardsigmoid,
        (GateFunction.TANH, Start.RANDOM): torch.tanh,
        (GateFunction.RELU, Start.RANDOM): torch.relu,
        (GateFunction.SIGMOID, Start.IDENTITY): _twice_sigmoid,
        (GateFunction.HARD_SIGMOID, Start.IDENTITY): _twice_hard_sigmoid,
        (GateFunction.TANH, Start.IDENTITY): _one_plus_tanh,
        (GateFunction.RELU, Start.IDENTITY): _relu_of_one_plus,
    }
)


class SqueezeExcite(nn.Module):
    """Scale each channel by a gate computed from all channels: ``x * s``.

    ::

        z = mean over H, W of x             squeeze      (N, C)      over all axes that x has
        s = sigmoid(W2 relu(W1 z))          excitation   (N, C), each between 0 and 1

    Args:
        channels: C, the width of the map to gate.
        reduction: r; the hidden layer has C // r units.
        bias: whether both fully connected layers have biases (the released weights do, the paper's ablations do not).
        squeeze: what takes the mean's place.
        activation: what takes the inner ReLU's place.
        gate: what takes the sigmoid's place.
        start: at random, or at exactly 1 everywhere.
        hidden: units of the hidden layer; None for C // r.

    Shape:
        (N, C, H, W) -> (N, C, H, W), or over signals (N, C, L) and volumes (N, C, D, H, W).

    Raises:
        SpecError: ``reduction`` leaves no hidden unit.

    Source:
        Hu et al., Squeeze-and-Excitation Networks, arXiv:1709.01507, equations 2 to 4, and section 6 for the
        variants.

    Differs:
        C // r is never rounded to a multiple of 8, as in timm's and mmpretrain's ``seresnet18``. The layers are
        ``nn.Linear``, not 1x1 convolutions: the same function, and less overhead at batch 1. The gate is computed in
        float32 even where autocast or the weights are half precision, since a mean over a large map, or its product
        with W1, can leave float16's range. Both layers are called, except where their weights are half precision and
        nothing is hooked to them.

    Example:
        >>> gate = SqueezeExcite(64)
        >>> gate(torch.zeros(2, 64, 7, 7)).shape
        torch.Size([2, 64, 7, 7])
        >>> gate.excitation(torch.zeros(2, 64, 7, 7)).shape
        torch.Size([2, 64, 1, 1])
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        *,
        bias: bool = True,
        squeeze: Squeeze = Squeeze.MEAN,
        activation: Activation = Activation.RELU,
        gate: GateFunction = GateFunction.SIGMOID,
        start: Start = Start.RANDOM,
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        hidden = hidden_units(channels, reduction) if hidden is None else hidden
        self.squeeze, self.activation, self.gate, self.start = squeeze, activation, gate, start
        self._inner, self._last = ACTIVATIONS[activation], GATE_FUNCTIONS[gate, start]
        self.fc1 = nn.Linear(channels, hidden, bias=bias)
        self.fc2 = nn.Linear(hidden, channels, bias=bias)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """PyTorch's own uniform start, except that the last layer is zero where the gate starts as the identity."""
        self.fc1.reset_parameters()
        self.fc2.reset_parameters()
        if self.start is Start.IDENTITY:
            nn.init.zeros_(self.fc2.weight)
            if self.fc2.bias is not None:
                nn.init.zeros_(self.fc2.bias)

    def excitation(self, x: Tensor) -> Tensor:
        """The gate itself, not yet applied, in float32 or wider.

        Shape: (N, C, H, W) -> (N, C, 1, 1), or (N, C, H, W) without squeeze.
        """
        if isinstance(x, fx.Proxy):  # what it is traced into asks for autocast when it runs
            return self._excitation(x)
        with _without_autocast(x):
            return self._excitation(x)

    def _excitation(self, x: Tensor) -> Tensor:
        match self.squeeze:
            case Squeeze.MEAN:
                z = self._layers(_mean(x))  # (N, C)
            case Squeeze.MAX:
                z = self._layers(_max(x))
            case Squeeze.BOTH:
                z = self._layers(_mean(x)) + self._layers(_max(x))
            case Squeeze.NONE:
                return self._last(self._layers(widened(x).movedim(1, -1)).movedim(-1, 1))  # (N, C, H, W)
        return _spread(self._last(z), x)

    def _layers(self, z: Tensor) -> Tensor:
        """W2 activation(W1 z). Shape: (..., C) -> (..., C)."""
        return _run(self.fc2, self._inner(_run(self.fc1, z)))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.excitation(x).to(x.dtype)

    def extra_repr(self) -> str:
        return f"squeeze={self.squeeze.value}, activation={self.activation.value}, gate={self.gate.value}"


class Gated(nn.Module):
    """A module of any network with a gate behind it, ``se(module(x))``; the network's code need not change.

    Saved tensors keep the names they had: what was ``bn3.weight`` stays ``bn3.weight``, and only ``bn3.se.*`` is new.
    Weights of the network without gates therefore load with ``strict=False``, and those of the gated network too.

    Args:
        module: the module that is gated.
        se: the gate over its output.

    Shape:
        As ``module``, which returns (N, C, H, W).

    Differs: a forward hook or a changed class would need no wrapper, but is lost in silence to tools that replace
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


def gates(model: nn.Module) -> dict[str, SqueezeExcite]:
    """Every gate of a network, its own and inserted ones, by the name of its module, in order of definition.

    Example:
        >>> gates(nn.Sequential(nn.Conv2d(3, 32, 1), SqueezeExcite(32)))
        {'1': SqueezeExcite(
          squeeze=mean, activation=relu, gate=sigmoid
          (fc1): Linear(in_features=32, out_features=2, bias=True)
          (fc2): Linear(in_features=2, out_features=32, bias=True)
        )}
    """
    return {name: part for name, part in model.named_modules() if isinstance(part, SqueezeExcite)}


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """The precision in which gates are computed: float32, or the input's own where that is wider."""
    return torch.promote_types(dtype, torch.float32)


def hidden_units(channels: int, reduction: int) -> int:
    """C // r, the units of the gate's hidden layer.

    Raises:
        SpecError: ``reduction`` leaves none.
    """
    if reduction < 1 or channels // reduction < 1:
        raise SpecError(
            f"a gate over {channels} channels needs a reduction from 1 to {channels}, got {reduction}: "
            f"{channels} // {reduction} would leave no hidden unit. Choose a smaller reduction."
        )
    return channels // reduction


def _run(layer: nn.Module, z: Tensor) -> Tensor:
    """The layer's output in the precision of ``z``.

    The layer is called, so that hooks, adapters and whatever else stands in its place take part. Only weights of half
    precision, because the product must not be, and a trace by `torch.fx` take a function in its stead.
    """
    if type(layer) is not nn.Linear or "forward" in layer.__dict__:
        return _run_foreign(layer, z)
    if isinstance(z, fx.Proxy):
        return _wide_linear(z, layer.weight, layer.bias)
    if layer.weight.dtype == z.dtype:
        y: Tensor = layer(z)
        return y
    if layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks or layer._backward_pre_hooks:
        wide = copy(layer)  # with the same hooks
        wide._parameters = {name: None if p is None else p.to(z.dtype) for name, p in layer._parameters.items()}  # type: ignore[misc]
        return wide(z)  # type: ignore[no-any-return]
    return _wide_linear(z, layer.weight, layer.bias)


def _run_foreign(layer: nn.Module, z: Tensor) -> Tensor:
    """The output of what stands in a layer's place (an adapter, a quantised or offloaded layer), in its own precision.

    Weights that lie elsewhere until the layer is called have a dtype all the same.
    """
    if isinstance(z, fx.Proxy):
        y: Tensor = layer(z)
        return y
    dtype = next((p.dtype for p in layer.parameters() if p.is_floating_point()), z.dtype)
    y = layer(z.to(dtype))
    return y.to(z.dtype)


# What follows is in a traced graph as it stands. Some trace first and script the graph, and TorchScript reads less.
def _wide_linear(z: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if is_scripting():
        return F.linear(z, weight.to(z.dtype), None if bias is None else bias.to(z.dtype))
    with _without_autocast(z):
        return F.linear(z, weight.to(z.dtype), None if bias is None else bias.to(z.dtype))


def _without_autocast(x: Tensor) -> AbstractContextManager[object]:
    device = x.device.type
    enabled = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if enabled else nullcontext()


def _mean(x: Tensor) -> Tensor:
    """The mean over pixels, in float32 or wider. Shape: (N, C, ...) -> (N, C)."""
    if is_scripting():
        return widened(x).flatten(2).mean(2)
    dtype, axes = at_least_float32(x.dtype), tuple(range(2, x.dim()))
    return x.mean(axes) if x.dtype == dtype else x.mean(axes, dtype=dtype)


def _max(x: Tensor) -> Tensor:
    """The maximum over pixels, in float32 or wider. Shape: (N, C, ...) -> (N, C)."""
    if is_scripting():
        return widened(x).flatten(2).amax(2)
    return widened(x.amax(tuple(range(2, x.dim()))))


def _spread(z: Tensor, x: Tensor) -> Tensor:
    """Numbers a channel as a map of one pixel, with as many axes as ``x``. Shape: (N, C) -> (N, C, 1, ...)."""
    if is_scripting():
        while z.dim() < x.dim():
            z = z.unsqueeze(-1)
        return z
    return z[:, :, None, None] if x.dim() == 4 else z.reshape(*z.shape, *(1,) * (x.dim() - 2))


def widened(x: Tensor) -> Tensor:
    """The same numbers in float32, or as they are where they are as wide."""
    if is_scripting():
        return x if x.dtype == torch.float64 else x.float()
    return x.to(at_least_float32(x.dtype))


for _name in ("_wide_linear", "_mean", "_max", "_spread", "widened"):  # each asks for what a trace does not know
    fx.wrap(_name)
