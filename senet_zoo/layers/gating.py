"""What a gate can be made of, each choice a value: its squeeze, its functions, its start, and where it sits.

The words are those of the paper's ablations (section 6) and of ``--se`` on the command line.
"""

from collections.abc import Callable, Mapping
from enum import Enum
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

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
    """With random weights, as in the paper; a sigmoid gate then starts near one half."""
    IDENTITY = "identity"
    """As exactly 1, for networks that are trained already: the last layer starts at zero, and the last function is
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
