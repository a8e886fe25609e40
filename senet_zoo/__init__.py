"""Squeeze-and-Excitation networks: exact, pretrained, verified.

>>> import senet_zoo
>>> model = senet_zoo.create_model("se_resnet20", pretrained=True)
"""

from importlib import import_module
from typing import TYPE_CHECKING

from senet_zoo.version import __version__ as __version__

if TYPE_CHECKING:
    from senet_zoo.analysis.cost import se_parameters
    from senet_zoo.analysis.info import ModelInfo, model_info
    from senet_zoo.blocks.fusion import Fusion, fusion, set_fused
    from senet_zoo.exported.model import ExportedModel, load_exported
    from senet_zoo.inference.export.exporting import export
    from senet_zoo.inference.optimize import optimize
    from senet_zoo.insertion import insert_se, remove_se
    from senet_zoo.layers import Activation, GateFunction, Placement, Squeeze, SqueezeExcite, Start, gates
    from senet_zoo.network import ConvNet
    from senet_zoo.preprocessing import Interpolation, Preprocessing
    from senet_zoo.specs import SE
    from senet_zoo.zoo.catalogue import Weights, get_weights, list_models, list_weights
    from senet_zoo.zoo.checks import Verification
    from senet_zoo.zoo.config import FolderConfig
    from senet_zoo.zoo.conversion import load_checkpoint
    from senet_zoo.zoo.create import create_model
    from senet_zoo.zoo.folders import from_pretrained, save_pretrained
    from senet_zoo.zoo.publishing import push_to_hub
    from senet_zoo.zoo.verification import download, verify, verify_deep


__all__ = [
    "Activation",
    "ConvNet",
    "ExportedModel",
    "FolderConfig",
    "Fusion",
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
    "export",
    "from_pretrained",
    "fusion",
    "gates",
    "get_weights",
    "insert_se",
    "list_models",
    "list_weights",
    "load_checkpoint",
    "load_exported",
    "model_info",
    "optimize",
    "push_to_hub",
    "remove_se",
    "save_pretrained",
    "se_parameters",
    "set_fused",
    "verify",
    "verify_deep",
]

# Imported when first asked for: an exported network answers without torch, and most programs need little of this.
_HOMES = {
    "Activation": "senet_zoo.layers",
    "ConvNet": "senet_zoo.network",
    "ExportedModel": "senet_zoo.exported.model",
    "FolderConfig": "senet_zoo.zoo.config",
    "Fusion": "senet_zoo.blocks.fusion",
    "GateFunction": "senet_zoo.layers",
    "Interpolation": "senet_zoo.preprocessing",
    "ModelInfo": "senet_zoo.analysis.info",
    "Placement": "senet_zoo.layers",
    "Preprocessing": "senet_zoo.preprocessing",
    "SE": "senet_zoo.specs",
    "Squeeze": "senet_zoo.layers",
    "SqueezeExcite": "senet_zoo.layers",
    "Start": "senet_zoo.layers",
    "Verification": "senet_zoo.zoo.checks",
    "Weights": "senet_zoo.zoo.catalogue",
    "create_model": "senet_zoo.zoo.create",
    "download": "senet_zoo.zoo.verification",
    "export": "senet_zoo.inference.export.exporting",
    "from_pretrained": "senet_zoo.zoo.folders",
    "fusion": "senet_zoo.blocks.fusion",
    "gates": "senet_zoo.layers",
    "get_weights": "senet_zoo.zoo.catalogue",
    "insert_se": "senet_zoo.insertion",
    "list_models": "senet_zoo.zoo.catalogue",
    "list_weights": "senet_zoo.zoo.catalogue",
    "load_checkpoint": "senet_zoo.zoo.conversion",
    "load_exported": "senet_zoo.exported.model",
    "model_info": "senet_zoo.analysis.info",
    "optimize": "senet_zoo.inference.optimize",
    "push_to_hub": "senet_zoo.zoo.publishing",
    "remove_se": "senet_zoo.insertion",
    "save_pretrained": "senet_zoo.zoo.folders",
    "se_parameters": "senet_zoo.analysis.cost",
    "set_fused": "senet_zoo.blocks.fusion",
    "verify": "senet_zoo.zoo.verification",
    "verify_deep": "senet_zoo.zoo.verification",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'senet_zoo' has no attribute {name!r}")
    return globals().setdefault(name, getattr(import_module(_HOMES[name]), name))


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
