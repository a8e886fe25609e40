"""`set_fused`: let the residual units of a network run their end as one operation in training, where that is faster."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from senet_zoo.errors import UsageError
from senet_zoo.networks.blocks.residual import ResidualBlock
from senet_zoo.networks.fused.custom_op import fused_end
from senet_zoo.networks.fused.implementations import implementation_on
from senet_zoo.networks.squeeze_excite import SqueezeExcite
from senet_zoo.support.timing import interleaved, timed

SHAPE = (4, 256, 28, 28)
ROUNDS = 9
MIN_SPEEDUP = 1.05  # for "auto": less is lost in the noise


@cache
def measured_speedup(device: torch.device, dtype: torch.dtype) -> float:
    """Time of the layers over time of the operation, forward and backward, at one end of a unit with its gate.

    The median of the ratios of nine rounds, in which both take turns, without the time of the compiler. Above 1, the
    operation is faster. Costs a fraction of a second, besides the compiler's seconds on a CPU.
    """
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.inference_mode(False):
        with torch.device(device):
            norm, gate = nn.BatchNorm2d(SHAPE[1]), SqueezeExcite(SHAPE[1])
            y, shortcut, gradient = (
                torch.randn(SHAPE, dtype=dtype).to(memory_format=torch.channels_last) for _ in range(3)
            )
        ends: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            "layers": lambda y, shortcut: F.relu(gate(norm(y)) + shortcut, inplace=True),
            "operation": partial(fused_end, norm=norm, gate=gate),
        }
        turns = {name: partial(timed, partial(_step, end, y, shortcut, gradient), device) for name, end in ends.items()}
        for turn in turns.values():  # the compiler's
            turn()
        return interleaved(turns, ROUNDS).ratio("layers", "operation").median


def _step(end: Callable[[Tensor, Tensor], Tensor], y: Tensor, shortcut: Tensor, gradient: Tensor) -> None:
    with torch.enable_grad():
        end(y.detach().requires_grad_(), shortcut.detach().requires_grad_()).backward(gradient)


@dataclass(frozen=True)
class Fusion:
    """What the residual units of a model do in training.

    Args:
        fused: names of the units that run their end as one operation.
        plain: names of the units that run layer by layer, and why.
    """

    fused: tuple[str, ...]
    plain: Mapping[str, str]


@dataclass(frozen=True)
class AutoFusion:
    """What "auto" decides for a model.

    Args:
        fuse: whether the units that can be fused are.
        because: what was measured, or why nothing was.
    """

    fuse: bool
    because: str


def set_fused(model: nn.Module, fused: bool | Literal["auto"] = True) -> Fusion:
    """Let training run batch norm, squeeze, excitation, scale, sum and ReLU of residual units as one operation.

    The same function with the same gradients, up to rounding, with two passes over the maps forward and two backward,
    keeping two maps of three for the backward pass. Plain twins run batch norm, sum and ReLU as one. Parameters, their
    names and the saved model stay as they are, and eval mode runs layer by layer as before, so that logits and exported
    graphs stay the same to the last bit. A unit that the operation does not cover, or whose layers are hooked or
    replaced later (synchronised batch norm), runs layer by layer as well.

    On a CPU the passes are compiled when first run, in some seconds; without a C++ compiler they run in plain PyTorch,
    slower than the layers, and a warning is logged. Small maps gain no time there, only memory: below some 300,000
    values a batch and map, calls cost what the passes save (``benchmarks/fused.py``).

    Args:
        model: a network of the zoo, or a module that holds one; it is changed in place.
        fused: "auto" fuses where that is at least 5 % faster at the end of one unit, measured once a process on the
            model's device and in its precision, so that two machines may round differently.

    Returns:
        The `fusion` of the model now.

    Raises:
        UsageError: ``fused`` is True and no unit can be fused, or it is none of the three values.

    Differs: fused units have no second derivative (gradient penalties), and say so.

    Example:
        >>> import senet_zoo
        >>> model = senet_zoo.create_model("se_resnet20").train()
        >>> len(senet_zoo.set_fused(model).fused)
        9
    """
    if fused is not True and fused is not False and fused != "auto":
        raise UsageError(f'set_fused takes True, False or "auto", got {fused!r}')
    units = residual_units(model)
    reasons = {name: unit.why_plain() for name, unit in units.items()}
    possible = [unit for name, unit in units.items() if not reasons[name]]
    if fused is True and not possible:
        counts = Counter(reasons.values())
        why = "; ".join(f"{why} ({count} units)" for why, count in counts.items()) or "it has no residual unit of ours"
        raise UsageError(f'set_fused(model, True) needs a unit that can be fused: {why}. "auto" leaves such a model be')
    wanted = bool(possible) and (auto_fusion(model).fuse if fused == "auto" else fused)
    for unit in units.values():
        unit.fused = wanted and unit in possible
    return fusion(model)


def fusion(model: nn.Module) -> Fusion:
    """Which residual units of a model run their end as one operation in training, and why the others do not."""
    units = residual_units(model)
    plain = {name: unit.why_plain() or "it is not switched on" for name, unit in units.items()}
    fused = tuple(name for name, unit in units.items() if unit.fused and not unit.why_plain())
    return Fusion(fused, MappingProxyType({name: why for name, why in plain.items() if name not in fused}))


def residual_units(model: nn.Module) -> dict[str, ResidualBlock]:
    """Residual units by the names of their modules."""
    return {name: part for name, part in model.named_modules() if isinstance(part, ResidualBlock)}


def auto_fusion(model: nn.Module, dtype: torch.dtype | None = None) -> AutoFusion:
    """Whether "auto" fuses a model's units here: where that is measured faster, and never in plain PyTorch.

    Args:
        model: a network of the zoo, or a module that holds one.
        dtype: precision of its maps; None for that of its weights.
    """
    unit = next((unit for unit in residual_units(model).values() if not unit.why_plain()), None)
    if unit is None:
        return AutoFusion(False, "no residual unit can be")
    weight = next(unit.parameters())
    dtype = dtype or weight.dtype
    if because := implementation_on(weight.device.type, dtype).because:
        return AutoFusion(False, because)
    measured = measured_speedup(torch.device(weight.device), dtype)
    return AutoFusion(measured >= MIN_SPEEDUP, f"measured {measured:.2f} times as fast as layer by layer")
