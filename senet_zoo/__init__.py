"""Squeeze-and-Excitation networks: exact, pretrained, verified.

>>> import senet_zoo
>>> model = senet_zoo.create_model("se_resnet20", pretrained=True)
"""

from importlib import import_module
from typing import TYPE_CHECKING

from senet_zoo.analysis.cost import se_parameters
from senet_zoo.analysis.info import ModelInfo, model_info
from senet_zoo.layers import Activation, GateFunction, Placement, Squeeze, SqueezeExcite, Start, gates
from senet_zoo.network import ConvNet
from senet_zoo.preprocessing import Interpolation, Preprocessing
from senet_zoo.specs import SE
from senet_zoo.zoo.catalogue import Weights, get_weights, list_models, list_weights
from senet_zoo.zoo.checks import Verification
from senet_zoo.zoo.config import FolderConfig
from senet_zoo.zoo.create import create_model
from senet_zoo.zoo.folders import from_pretrained, save_pretrained
from senet_zoo.zoo.verification import download, verify, verify_deep

if TYPE_CHECKING:
    from senet_zoo.insertion import insert_se, remove_se
    from senet_zoo.zoo.conversion import load_checkpoint
    from senet_zoo.zoo.publishing import push_to_hub

__version__ = "0.1.0"

__all__ = [
    "Activation",
    "ConvNet",
    "FolderConfig",
    "GateFunction",
    "Interpolation",
    "ModelInfo",
    "Placement",
    "Preprocessing",
    "SE",
    "Squeeze",
    "SqueezeExcite",
    "Start",
    "Verification",
    "Weights",
    "create_model",
    "download",
    "from_pretrained",
    "gates",
    "get_weights",
    "insert_se",
    "list_models",
    "list_weights",
    "load_checkpoint",
    "model_info",
    "push_to_hub",
    "remove_se",
    "save_pretrained",
    "se_parameters",
    "verify",
    "verify_deep",
]

# Imported when first asked for: they cost the most, and most programs never ask.
_LATE = {
    "insert_se": "senet_zoo.insertion",
    "load_checkpoint": "senet_zoo.zoo.conversion",
    "push_to_hub": "senet_zoo.zoo.publishing",
    "remove_se": "senet_zoo.insertion",
}


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module 'senet_zoo' has no attribute {name!r}")
    return getattr(import_module(_LATE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})
