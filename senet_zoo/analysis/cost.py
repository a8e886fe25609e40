"""Parameters, multiply-adds, memory and gates of a network, counted without memory for its weights."""

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from senet_zoo.analysis.shapes import ShapesOnly
from senet_zoo.errors import UsageError
from senet_zoo.networks.blocks.heads import ClassMapClassifier
from senet_zoo.networks.network import ConvNet, on_meta
from senet_zoo.networks.specs import NetworkSpec
from senet_zoo.networks.squeeze_excite import Squeeze, SqueezeExcite, gates

VOLUME_SIDE = 64
_FLOAT32 = 4  # bytes


@dataclass(frozen=True)
class LayerCost:
    """What one layer costs for one picture.

    Args:
        name: name of its module.
        kind: name of its class.
        shape: shape of its output.
        parameters: number of trainable values.
        multiply_adds: 0 for all but a convolution, a fully connected layer or a gate.
        memory: bytes of the map that it writes, in float32.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    memory: int


@dataclass(frozen=True)
class Cost:
    """What a network costs for one picture, in eval mode.

    Args:
        size: side of the picture, in pixels.
        layers: in order of execution.
        pooled: elements of maps that are pooled: by a gate's squeeze, a pool, the head's global mean.
        summed: elements of the sums of two maps, as at the end of a residual branch.
    """

    size: int
    layers: tuple[LayerCost, ...]
    pooled: int
    summed: int

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of all layers."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def operations(self) -> int:
        """What the paper's "GFLOPs" are: multiply-adds, and one operation for each pooled or summed element."""
        return self.multiply_adds + self.pooled + self.summed

    @property
    def activation_memory(self) -> int:
        """Bytes of all maps that layers write, in float32: what training on one picture keeps, batch norms' included.

        Sums and concatenations between layers are not counted, and neither is what is changed in place.
        """
        return sum(layer.memory for layer in self.layers)


@dataclass(frozen=True)
class GateFormula:
    """The paper's equation 5: 2/r sum of N_s C_s^2, the weights of all gates without biases.

    Args:
        reduction: r.
        widths: how many gates there are over how many channels, (N_s, C_s), in the order of first appearance.
        value: of the formula, C_s / r rounded down as in the gates.
    """

    reduction: int
    widths: tuple[tuple[int, int], ...]
    value: int

    def __str__(self) -> str:
        r = self.reduction
        if all(width % r == 0 for _, width in self.widths):
            return f"2/{r} * ({' + '.join(f'{count}*{width}^2' for count, width in self.widths)})"
        return f"2 * ({' + '.join(f'{count}*{width}*{width // r}' for count, width in self.widths)})"


def parameters(module: nn.Module) -> int:
    """Number of trainable values; running statistics are not among them."""
    return sum(parameter.numel() for parameter in module.parameters())


def statistics(module: nn.Module) -> int:
    """Number of running means and variances; the paper counts them among its parameters."""
    return sum(buffer.numel() for name, buffer in module.named_buffers() if "running_" in name)


def se_parameters(model: nn.Module) -> int:
    """Weights of all gates without their biases: what the paper's equation 5 counts.

    Example:
        >>> from senet_zoo import create_model
        >>> se_parameters(create_model("se_resnet20"))
        2016
    """
    return sum(layer.weight.numel() for gate in gates(model).values() for layer in (gate.fc1, gate.fc2))


def gate_formula(model: ConvNet) -> GateFormula | None:
    """The paper's equation 5 for this network, from its reduction and the widths of its gates.

    None where it does not hold: without gates, or where the reduction is not of the gate's own width, as in MnasNet.
    """
    se, found = model.spec.se, gates(model).values()
    if (
        se is None
        or se.hidden is not None
        or any(gate.fc1.out_features != gate.fc1.in_features // se.reduction for gate in found)
    ):
        return None
    widths = Counter(gate.fc1.in_features for gate in found)
    value = sum(2 * count * width * (width // se.reduction) for width, count in widths.items())
    return GateFormula(se.reduction, tuple((count, width) for width, count in widths.items()), value)


def count(network: NetworkSpec | nn.Module, size: int | None = None) -> Cost:
    """What a network costs for one picture of ``size`` x ``size`` pixels; nothing is computed but shapes.

    Convolutions and fully connected layers are counted by their own arithmetic. A gate is one layer: its two products
    are at every pixel where it has no squeeze, and done twice where it squeezes by mean and max. What neither has
    parameters nor writes a new map (an identity, a ReLU in place) is no layer here, and neither is what does not run in
    eval mode.

    Args:
        network: an architecture, or a network of the zoo or elsewhere; it is left as it is.
        size: side of the picture, or along each axis of a volume or signal; by default the one that the network was
            made for, and at most 64 for volumes.

    Raises:
        UsageError: the picture is too small for the network, or ``size`` is missing for a network from elsewhere.
    """
    model = on_meta(network) if isinstance(network, NetworkSpec) else _shadow(network)
    if size is None:
        if not isinstance(model, ConvNet):
            raise UsageError(f"{type(model).__name__} does not say for which size it was made; pass size=...")
        size = default_side(model.spec)
    stem = next((part for part in model.modules() if isinstance(part, _ConvNd)), None)
    if stem is None or size < 1:
        raise UsageError(f"counting takes a network with a convolution and a size from 1, got size={size}")
    runs: list[_Run] = []
    shapes = ShapesOnly()
    hooks = [layer.register_forward_hook(partial(_record, runs, name)) for name, layer in _layers(model).items()]
    try:
        with torch.inference_mode(), shapes:
            model(torch.empty(1, stem.in_channels, *(size,) * len(stem.kernel_size), device="meta"))
    except (RuntimeError, UsageError) as e:
        shape = "x".join([str(size)] * len(stem.kernel_size))
        raise UsageError(f"a picture of {shape} pixels does not fit the network: {e}") from e
    finally:
        for hook in hooks:
            hook.remove()
    return Cost(size, _rows(runs), shapes.pooled, shapes.summed)


def default_side(spec: NetworkSpec) -> int:
    """Pixels along each axis of what a network is counted with: a volume of its pictures' side would be too large."""
    return min(spec.input_size, VOLUME_SIDE) if spec.dimensions.count == 3 else spec.input_size


def by_module(network: NetworkSpec | nn.Module, size: int | None = None) -> tuple[LayerCost, ...]:
    """The layers of a network and what each costs; see `count`."""
    return count(network, size).layers


def multiply_adds(network: NetworkSpec | nn.Module, size: int | None = None) -> int:
    """Multiply-adds of convolutions and fully connected layers for one picture of ``size`` x ``size`` pixels.

    The paper's "GFLOPs" are these, plus about one operation for each pooled or summed element: `Cost.operations`.
    """
    return count(network, size).multiply_adds


def activation_memory(network: NetworkSpec | nn.Module, size: int | None = None) -> int:
    """Bytes of all maps that layers write for one picture, in float32; see `Cost.activation_memory`."""
    return count(network, size).activation_memory


def _shadow(model: nn.Module) -> nn.Module:
    """The network on the meta device in eval mode: itself where it is that, else a copy without values."""
    tensors = [*model.parameters(), *model.buffers()]
    if not model.training and all(tensor.is_meta for tensor in tensors):
        return model
    memo: dict[int, object] = {
        id(tensor): nn.Parameter(tensor.to("meta"), False) if isinstance(tensor, nn.Parameter) else tensor.to("meta")
        for tensor in tensors
    }
    return copy.deepcopy(model, memo).eval()


def _layers(model: nn.Module) -> dict[str, nn.Module]:
    """Modules without children, and gates, by name."""
    inner = {id(layer) for gate in gates(model).values() for layer in gate.children()}
    return {
        name: part
        for name, part in model.named_modules()
        if id(part) not in inner and (isinstance(part, SqueezeExcite) or next(part.children(), None) is None)
    }


_Run = tuple[str, nn.Module, Tensor, Tensor]  # a layer's name, itself, its input and its output


def _record(runs: list[_Run], name: str, layer: nn.Module, inputs: tuple[object, ...], out: object) -> None:
    if inputs and isinstance(inputs[0], Tensor) and isinstance(out, Tensor):
        runs.append((name, layer, inputs[0], out))


def _rows(runs: list[_Run]) -> tuple[LayerCost, ...]:
    rows: dict[str, LayerCost] = {}
    for name, layer, x, out in runs:
        arithmetic = next((count for kind, count in _ARITHMETIC.items() if isinstance(layer, kind)), None)
        products = arithmetic(layer, x, out) if arithmetic else 0
        memory = 0 if out is x or isinstance(layer, nn.Flatten) else out.numel() * _FLOAT32
        own = parameters(layer)
        if name in rows:  # a layer that runs twice is one row
            products, memory = rows[name].multiply_adds + products, rows[name].memory + memory
        if own or memory:
            rows[name] = LayerCost(name, type(layer).__name__, tuple(out.shape), own, products, memory)
    return tuple(rows.values())


def _convolution(layer: _ConvNd, x: Tensor, out: Tensor) -> int:
    return out.numel() * layer.weight[0].numel()


def _fully_connected(layer: nn.Linear | ClassMapClassifier, x: Tensor, out: Tensor) -> int:
    return x.numel() // layer.in_features * layer.weight.numel()


def _gate(layer: SqueezeExcite, x: Tensor, out: Tensor) -> int:
    positions = {Squeeze.NONE: x[0, 0].numel(), Squeeze.BOTH: 2}.get(layer.squeeze, 1)
    return x.shape[0] * positions * (layer.fc1.weight.numel() + layer.fc2.weight.numel())


_ARITHMETIC: Mapping[type[nn.Module], Callable[..., int]] = {
    _ConvNd: _convolution,
    nn.Linear: _fully_connected,
    ClassMapClassifier: _fully_connected,
    SqueezeExcite: _gate,
}
