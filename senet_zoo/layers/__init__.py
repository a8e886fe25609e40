"""The bricks: one concept a file."""

from senet_zoo.layers.conv_norm import ConvNorm, relu
from senet_zoo.layers.drop_path import DropPath
from senet_zoo.layers.excitations import paper_names, recorded_excitations
from senet_zoo.layers.gated import Gated
from senet_zoo.layers.gating import Activation, GateFunction, Placement, Squeeze, Start
from senet_zoo.layers.initialisation import initialise
from senet_zoo.layers.local_response_norm import LocalResponseNorm
from senet_zoo.layers.squeeze_excite import SqueezeExcite, gates

__all__ = [
    "Activation",
    "ConvNorm",
    "DropPath",
    "GateFunction",
    "Gated",
    "LocalResponseNorm",
    "Placement",
    "Squeeze",
    "SqueezeExcite",
    "Start",
    "gates",
    "initialise",
    "paper_names",
    "recorded_excitations",
    "relu",
]
