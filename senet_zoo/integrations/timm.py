"""`register`: ``timm.create_model("senet_zoo_se_resnet50")``, and timm's lists, data configs and scripts, on the zoo.

timm takes a name with ``/`` for a repository of the hub, and means other functions by ``resnet50`` or ``senet154``, so
that the zoo's names carry a prefix there.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from types import ModuleType
from typing import Any, cast

import torch
from torch import nn

from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import UsageError
from senet_zoo.integrations import import_client
from senet_zoo.networks import registry
from senet_zoo.networks.timm_interface import last_side
from senet_zoo.weights.catalogue import Weights, default_preprocessing
from senet_zoo.weights.config import HUB
from senet_zoo.weights.create import ModelOptions, create_model
from senet_zoo.weights.load import CLASSIFIER
from senet_zoo.weights.manifest import load_manifest
from senet_zoo.weights.rows import HubFile, PackageFile
from senet_zoo.weights.timm_config import crop_pct

PREFIX = "senet_zoo_"
_MODULE = "senet_zoo.integrations.timm.senet_zoo"  # timm files models under the last part: list_models(module=...)
_SOURCES = ("url", "file", "state_dict", "hf_hub_id", "hf_hub_filename")  # fields of a PretrainedCfg


def register() -> list[str]:
    """Make timm know every network of the zoo, as ``senet_zoo_MODEL``; a second call changes nothing.

    ``timm.create_model`` takes ``senet_zoo_MODEL.TAG`` too, and `pretrained`, ``num_classes``, ``in_chans``,
    ``drop_rate``, ``drop_path_rate``, ``global_pool``, ``features_only`` with ``out_indices``, ``output_stride``,
    ``device`` and ``dtype``; any other option is refused. Published weights are loaded by the zoo, which checks their
    hash. A network without any is an error with ``pretrained=True``, where timm itself starts at random.

    Returns:
        The names, without tags. ``timm.list_models(module="senet_zoo")`` lists them, too.

    Raises:
        UsageError: timm is not installed.
    """
    timm = import_client("timm", "timm")
    models = registry.matching_names("*")
    names = [PREFIX + model for model in models]
    if _MODULE in sys.modules:
        return names
    module: Any = ModuleType(_MODULE)  # register_model reads __all__ and default_cfgs of an entry's module
    configs = {PREFIX + key: config for model in models for key, config in _configs(model).items()}
    module.__all__, module.default_cfgs = [], timm.models.generate_default_cfgs(configs)
    sys.modules[_MODULE] = module
    for entry in map(_entry, models):
        setattr(module, entry.__name__, timm.models.register_model(entry))
    return names


def _entry(name: str) -> Callable[..., nn.Module]:
    def entry(
        pretrained: bool = False,
        pretrained_cfg: Any = None,
        pretrained_cfg_overlay: Mapping[str, Any] | None = None,
        cache_dir: object = None,
        num_classes: int | None = None,
        in_chans: int | None = None,
        drop_rate: float | None = None,
        drop_path_rate: float = 0.0,
        global_pool: str = "avg",
        features_only: bool = False,
        feature_cls: str | None = None,
        out_indices: int | Sequence[int] | None = None,
        output_stride: int = 32,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> nn.Module:
        timm, builder = import_client("timm", "timm"), import_client("timm.models._builder", "timm")
        if cache_dir is not None:
            raise UsageError(
                f"{PREFIX}{name} takes no cache_dir, got {cache_dir!r}; the zoo keeps weights where the environment "
                "variable SENET_ZOO_CACHE says"
            )
        if feature_cls not in (None, "list", "hook", "fx", "getter"):
            raise UsageError(
                f"features_only=True gives a list of maps; feature_cls={feature_cls!r} asks for another form"
            )
        if not features_only and (out_indices is not None or feature_cls is not None):
            raise UsageError("out_indices and feature_cls belong to features_only=True; add it, or drop them")
        config = builder.resolve_pretrained_cfg(entry.__name__, pretrained_cfg, pretrained_cfg_overlay)
        model_name, weights = _chosen(name, config) if pretrained else (name, None)
        options: ModelOptions = {
            "pretrained": pretrained and weights is None,
            "weights": weights,
            "num_classes": num_classes,
            "in_channels": in_chans,
            "dropout": drop_rate,
            "drop_path": drop_path_rate,
            "global_pool": global_pool,
            "output_stride": output_stride,
            "device": device,
            "dtype": dtype,
        }
        model: Any
        if features_only:
            model = create_model(model_name, features_only=True, out_indices=out_indices, **options)
            found = model.feature_info
            model.feature_info = timm.models.FeatureInfo(found.info, found.out_indices)
        else:
            model = create_model(model_name, **options)
        known = {field: value for field, value in config.to_dict().items() if value is not None}
        side = last_side(registry.find(name).spec(), known["input_size"][-1], known["input_size"][0])
        config = config.to_dict() | model.pretrained_cfg | {"pool_size": (side, side)} | known
        model.pretrained_cfg = model.default_cfg = config
        return cast("nn.Module", model.train())

    entry.__name__ = entry.__qualname__ = PREFIX + name
    entry.__module__ = _MODULE
    return entry


def _chosen(name: str, config: Any) -> tuple[str, str | None]:
    """What a PretrainedCfg says of the weights: ``model.tag`` and None, or the model and where else they lie."""
    timm = import_client("timm", "timm")
    key = f"{name}.{config.tag}" if config.tag else name
    known = timm.models.get_pretrained_cfg(PREFIX + key)
    asked = {
        field: value for field in _SOURCES if (value := getattr(config, field)) not in (None, getattr(known, field))
    }
    if not asked:
        return key, None
    if asked.keys() == {"file"}:
        return name, str(asked["file"])
    if asked.keys() == {"hf_hub_id"}:
        return name, f"{HUB}{asked['hf_hub_id']}"
    raise UsageError(
        f"weights of {PREFIX}{name} other than the published ones are one file or hf_hub_id in pretrained_cfg_overlay, "
        f"got {', '.join(asked)}; convert others by `senet-zoo convert`"
    )


def _configs(name: str) -> dict[str, dict[str, object]]:
    """The fields of a PretrainedCfg for each of a model's weights, by ``model.tag``; by ``model`` where it has none."""
    published = [Weights(row) for row in load_manifest().rows(name)]
    if not published:
        classes = registry.find(name).spec().num_classes
        return {name: _data_config(default_preprocessing(name), in_channels=3, num_classes=classes)}
    return {
        weights.name: {
            **_source(weights),
            **_data_config(weights.preprocessing, weights.row.in_channels, weights.row.num_classes),
            "label_names": weights.categories,
            "license": weights.row.license,
            "origin_url": weights.row.origin,
        }
        for weights in published
    }


def _data_config(preprocessing: Preprocessing, in_channels: int, num_classes: int) -> dict[str, object]:
    return {
        "input_size": (in_channels, preprocessing.size, preprocessing.size),
        "crop_pct": crop_pct(preprocessing),
        "interpolation": preprocessing.interpolation.value,
        "mean": preprocessing.mean,
        "std": preprocessing.std,
        "num_classes": num_classes,
        "classifier": CLASSIFIER.removesuffix(".weight"),
    }


def _source(weights: Weights) -> dict[str, str]:
    """Where the first of the published files lies."""
    match weights.row.sources[0]:
        case PackageFile(path):
            return {"file": str(files("senet_zoo") / path)}
        case HubFile(repo, revision, filename):
            hub = repo if revision is None else f"{repo}@{revision}"
            return {"hf_hub_id": hub, "hf_hub_filename": filename}
        case release:
            return {"url": release.url}
