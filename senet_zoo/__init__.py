"""Squeeze-and-Excitation networks: exact, pretrained, verified.

>>> import senet_zoo
>>> model = senet_zoo.create_model("se_resnet20", pretrained=True)
"""

from importlib import import_module
from typing import TYPE_CHECKING

from senet_zoo.errors import DataError as DataError
from senet_zoo.errors import ExportError as ExportError
from senet_zoo.errors import ManifestError as ManifestError
from senet_zoo.errors import OptimizationError as OptimizationError
from senet_zoo.errors import PictureError as PictureError
from senet_zoo.errors import PublishError as PublishError
from senet_zoo.errors import SenetZooError as SenetZooError
from senet_zoo.errors import SignatureError as SignatureError
from senet_zoo.errors import SpecError as SpecError
from senet_zoo.errors import TrainingError as TrainingError
from senet_zoo.errors import UnknownModelError as UnknownModelError
from senet_zoo.errors import UnknownWeightsError as UnknownWeightsError
from senet_zoo.errors import UsageError as UsageError
from senet_zoo.errors import WeightsAccessDenied as WeightsAccessDenied
from senet_zoo.errors import WeightsCorrupted as WeightsCorrupted
from senet_zoo.errors import WeightsError as WeightsError
from senet_zoo.errors import WeightsMismatch as WeightsMismatch
from senet_zoo.errors import WeightsNotFound as WeightsNotFound
from senet_zoo.errors import WeightsUnavailable as WeightsUnavailable
from senet_zoo.errors import WeightsUnsafe as WeightsUnsafe
from senet_zoo.version import __version__ as __version__

if TYPE_CHECKING:  # what a type checker sees; a test holds it equal to _HOMES
    from senet_zoo import analysis as analysis
    from senet_zoo import data as data
    from senet_zoo import detection as detection
    from senet_zoo import errors as errors
    from senet_zoo import evaluation as evaluation
    from senet_zoo import inference as inference
    from senet_zoo import integrations as integrations
    from senet_zoo import networks as networks
    from senet_zoo import prediction as prediction
    from senet_zoo import segmentation as segmentation
    from senet_zoo import training as training
    from senet_zoo import weights as weights
    from senet_zoo.analysis.cost import se_parameters as se_parameters
    from senet_zoo.analysis.info import ModelInfo as ModelInfo
    from senet_zoo.analysis.info import model_info as model_info
    from senet_zoo.data.preprocessing import Interpolation as Interpolation
    from senet_zoo.data.preprocessing import Preprocessing as Preprocessing
    from senet_zoo.inference.export import export as export
    from senet_zoo.inference.optimize import optimize as optimize
    from senet_zoo.networks.dilation import dilate as dilate
    from senet_zoo.networks.dimensions import DepthPadding as DepthPadding
    from senet_zoo.networks.dimensions import Dimensions as Dimensions
    from senet_zoo.networks.feature_maps import FeatureListNet as FeatureListNet
    from senet_zoo.networks.fused.set_fused import Fusion as Fusion
    from senet_zoo.networks.fused.set_fused import fusion as fusion
    from senet_zoo.networks.fused.set_fused import set_fused as set_fused
    from senet_zoo.networks.insertion import insert_se as insert_se
    from senet_zoo.networks.insertion import remove_se as remove_se
    from senet_zoo.networks.network import ConvNet as ConvNet
    from senet_zoo.networks.specs import SE as SE
    from senet_zoo.networks.squeeze_excite import Activation as Activation
    from senet_zoo.networks.squeeze_excite import GateFunction as GateFunction
    from senet_zoo.networks.squeeze_excite import Placement as Placement
    from senet_zoo.networks.squeeze_excite import Squeeze as Squeeze
    from senet_zoo.networks.squeeze_excite import SqueezeExcite as SqueezeExcite
    from senet_zoo.networks.squeeze_excite import Start as Start
    from senet_zoo.networks.squeeze_excite import gates as gates
    from senet_zoo.prediction.embed import EmbeddingKind as EmbeddingKind
    from senet_zoo.prediction.embed import Embeddings as Embeddings
    from senet_zoo.prediction.embed import embed as embed
    from senet_zoo.prediction.exported_model import ExportedModel as ExportedModel
    from senet_zoo.prediction.exported_model import load_exported as load_exported
    from senet_zoo.prediction.pipeline import Prediction as Prediction
    from senet_zoo.prediction.predictor import Predictor as Predictor
    from senet_zoo.prediction.predictor import predict as predict
    from senet_zoo.tasks import from_pretrained as from_pretrained
    from senet_zoo.tasks import push_to_hub as push_to_hub
    from senet_zoo.tasks import save_pretrained as save_pretrained
    from senet_zoo.tasks import verify as verify
    from senet_zoo.tasks import verify_deep as verify_deep
    from senet_zoo.weights.catalogue import Weights as Weights
    from senet_zoo.weights.catalogue import get_weights as get_weights
    from senet_zoo.weights.catalogue import is_model as is_model
    from senet_zoo.weights.catalogue import list_models as list_models
    from senet_zoo.weights.catalogue import list_pretrained as list_pretrained
    from senet_zoo.weights.catalogue import list_weights as list_weights
    from senet_zoo.weights.config import FolderConfig as FolderConfig
    from senet_zoo.weights.convert import load_checkpoint as load_checkpoint
    from senet_zoo.weights.create import create_model as create_model
    from senet_zoo.weights.download import download as download
    from senet_zoo.weights.inflation import Inflation as Inflation
    from senet_zoo.weights.verify import Verification as Verification

# Imported when first asked for: an exported network answers without torch, and most programs need little of this.
_HOMES = {
    "analysis.cost": "se_parameters",
    "analysis.info": "ModelInfo model_info",
    "data.preprocessing": "Interpolation Preprocessing",
    "inference.export": "export",
    "inference.optimize": "optimize",
    "networks.dilation": "dilate",
    "networks.dimensions": "DepthPadding Dimensions",
    "networks.feature_maps": "FeatureListNet",
    "networks.fused.set_fused": "Fusion fusion set_fused",
    "networks.squeeze_excite": "Activation GateFunction Placement Squeeze SqueezeExcite Start gates",
    "networks.insertion": "insert_se remove_se",
    "networks.network": "ConvNet",
    "networks.specs": "SE",
    "prediction.embed": "EmbeddingKind Embeddings embed",
    "prediction.exported_model": "ExportedModel load_exported",
    "prediction.pipeline": "Prediction",
    "prediction.predictor": "Predictor predict",
    "tasks": "from_pretrained push_to_hub save_pretrained verify verify_deep",
    "weights.catalogue": "Weights get_weights is_model list_models list_pretrained list_weights",
    "weights.config": "FolderConfig",
    "weights.convert": "load_checkpoint",
    "weights.create": "create_model",
    "weights.inflation": "Inflation",
    "weights.download": "download",
    "weights.verify": "Verification",
}
_HOME_OF = {name: f"senet_zoo.{module}" for module, names in _HOMES.items() for name in names.split()}
_ROOMS = frozenset(
    [
        "analysis",
        "data",
        "detection",
        "errors",
        "evaluation",
        "inference",
        "integrations",
        "networks",
        "prediction",
        "segmentation",
        "training",
        "weights",
    ]
)
_ERRORS = {name for name in globals() if name.endswith("Error") or name.startswith("Weights")}
__all__ = sorted({*_HOME_OF, *_ERRORS})


def __getattr__(name: str) -> object:
    if name in _ROOMS:
        return import_module(f"senet_zoo.{name}")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'senet_zoo' has no attribute {name!r}")
    return globals().setdefault(name, getattr(import_module(_HOME_OF[name]), name))


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF, *_ROOMS})
