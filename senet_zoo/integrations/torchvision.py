"""`register`: torchvision's `get_model`, `list_models`, `get_model_weights` and `get_weight` know the zoo's networks.

A name that torchvision has keeps the network that torchvision means by it.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import torch

from senet_zoo.analysis import cost
from senet_zoo.errors import UnknownWeightsError
from senet_zoo.networks import registry
from senet_zoo.networks.network import ConvNet, on_meta
from senet_zoo.weights.catalogue import Weights, list_models
from senet_zoo.weights.create import create_model
from senet_zoo.weights.manifest import load_manifest
from senet_zoo.weights.rows import HubFile, PackageFile

if TYPE_CHECKING:
    from torchvision.models import WeightsEnum

_DATASETS = {"imagenet-1k val": "ImageNet-1K"}  # as torchvision spells them
_METRICS = {"top1": "acc@1", "top5": "acc@5"}


def register() -> list[str]:
    """Make torchvision know every network of the zoo whose name it does not have; a second call changes nothing.

    A network with weights has a ``WeightsEnum`` of torchvision's, named as its model (``SE_RESNET50_Weights``), with a
    member for each tag (``CAFFE_IN1K``) and ``DEFAULT``. Its ``transforms``, ``meta`` and ``url`` are those of the
    published weights; ``get_state_dict`` loads through the zoo, which checks the hash, and never asks torchvision to
    download.

    Returns:
        The names that torchvision now builds with the zoo's networks, in training mode, as it builds its own.
    """
    import torchvision.models
    from torchvision.models import _api

    names = []
    for name in list_models():
        known = _api.BUILTIN_MODELS.get(name)
        if known is None:
            weights = weights_enum(name)
            setattr(torchvision.models, weights.__name__, weights)  # where torchvision's get_weight looks
            known = _api.register_model(name)(_builder(name, weights))
        if known.__module__ == __name__:
            names.append(name)
    return names


@cache
def weights_enum(name: str) -> "type[WeightsEnum]":
    """The published weights of a model in torchvision's form; an enum without members where it has none.

    Raises:
        UnknownModelError: no such model.
    """
    model = registry.find(name).name
    rows = load_manifest().rows(model)
    members = {row.tag.upper(): _as_torchvision(Weights(row)) for row in rows}
    if rows:
        members["DEFAULT"] = members[rows[0].tag.upper()]
    make: Any = _base()  # an enum without members makes enums
    enum: type[WeightsEnum] = make(_enum_name(model), members, module=__name__)
    return enum


def __getattr__(name: str) -> object:
    # Members are pickled by the name of their enum.
    model = name.removesuffix("_Weights").lower()
    if name.endswith("_Weights") and model in registry.MODELS and name == _enum_name(model):
        return weights_enum(model)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _base() -> "type[WeightsEnum]":
    from torchvision.models import WeightsEnum

    class ZooWeights(WeightsEnum):
        """Weights that the zoo loads."""

        def get_state_dict(self, progress: bool = True, check_hash: bool = True) -> dict[str, Any]:
            """The published tensors by name; the hash is checked whatever ``check_hash`` says."""
            return dict(create_model(_zoo_name(self), pretrained=True).state_dict())

    return ZooWeights


def _zoo_name(weights: "WeightsEnum") -> str:
    return f"{type(weights).__name__.removesuffix('_Weights')}.{weights.name}".lower()


def _enum_name(model: str) -> str:
    return f"{model.upper()}_Weights"


def _builder(name: str, enum: "type[WeightsEnum]") -> Callable[..., ConvNet]:
    def build(
        *,
        weights: Any = None,
        num_classes: int | None = None,
        in_channels: int | None = None,
        dropout: float | None = None,
        drop_path: float = 0.0,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> ConvNet:
        chosen = name if weights is None else _zoo_name(_checked(enum, name, weights))
        return create_model(
            chosen,
            pretrained=weights is not None,
            num_classes=num_classes,
            in_channels=in_channels,
            dropout=dropout,
            drop_path=drop_path,
            device=device,
            dtype=dtype,
        ).train()

    build.__name__ = build.__qualname__ = name
    build.__doc__ = f"`senet_zoo.create_model` of {name}; ``weights`` is a member of {enum.__name__} or its name."
    build.__annotations__["weights"] = enum | None  # where torchvision's get_model_weights looks
    return build


def _checked(enum: "type[WeightsEnum]", model: str, weights: object) -> "WeightsEnum":
    if isinstance(weights, enum):
        return weights
    if isinstance(weights, str):
        member = enum.__members__.get(weights.removeprefix(f"{enum.__name__}."))
        if member is not None:
            return member
    known = ", ".join(enum.__members__) or "none are published"
    raise UnknownWeightsError(f"weights of {model} must be a member of {enum.__name__} ({known}), got {weights!r}")


def _as_torchvision(weights: Weights) -> Any:
    from torchvision.models import Weights as TorchvisionWeights
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms._presets import ImageClassification

    row, p = weights.row, weights.preprocessing
    transforms = partial(
        ImageClassification,
        crop_size=p.size,
        resize_size=p.resize,
        mean=p.mean,
        std=p.std,
        interpolation=InterpolationMode(p.interpolation.value),
    )
    known: dict[str, Any] = {
        "num_params": row.parameters,
        "categories": list(weights.categories),
        "recipe": row.origin if row.training is None else row.training.command,
        "license": row.license,
        "_metrics": _metrics(weights),
        "_docs": f"{weights.name} of senet_zoo: {row.citation}.",
    }
    size = row.sources[0].size
    known["_file_size"] = None if size is None else round(size / 1024**2, 3)
    meta: Any = _Meta(known, weights)
    return TorchvisionWeights(url=_url(weights), transforms=transforms, meta=meta)


class _Meta(Mapping[str, Any]):
    """A dictionary that counts multiply-adds and looks for the smallest picture when it is asked."""

    def __init__(self, known: Mapping[str, Any], weights: Weights) -> None:
        self._known, self._weights = known, weights
        self._counted: Mapping[str, Callable[[], Any]] = {
            "_ops": partial(_operations, weights),
            "min_size": partial(_least_size, weights.row.model),
        }

    def __getitem__(self, key: str) -> Any:
        return self._counted[key]() if key in self._counted else self._known[key]

    def __iter__(self) -> Iterator[str]:
        return iter((*self._known, *self._counted))

    def __len__(self) -> int:
        return len(self._known) + len(self._counted)

    def __eq__(self, other: object) -> bool:  # torchvision compares members
        return isinstance(other, _Meta) and self._weights.name == other._weights.name

    def __repr__(self) -> str:
        return repr(dict(self))


@cache
def _operations(weights: Weights) -> float:
    """Billions of multiply-adds for a picture of the preprocessing, as torchvision counts them."""
    row = weights.row
    network = on_meta(registry.find(row.model).spec(), num_classes=row.num_classes, in_channels=row.in_channels)
    return round(cost.multiply_adds(network, row.preprocessing.size) / 1e9, 3)


@cache
def _least_size(model: str) -> tuple[int, int]:
    """Height and width of the smallest square picture that the network takes."""
    spec = registry.find(model).spec()
    network = on_meta(spec)

    def takes(side: int) -> bool:
        try:
            network(torch.empty(1, 3, side, side, device="meta"))
        except RuntimeError:
            return False
        return True

    side = 1 + bisect_left(range(1, spec.input_size), True, key=takes)
    return side, side


def _metrics(weights: Weights) -> Mapping[str, Mapping[str, float]]:
    """Published accuracies, in percent, at the size of the preprocessing."""
    found: dict[str, dict[str, float]] = {}
    for metric in weights.metrics:
        if metric.size == weights.preprocessing.size and metric.value is not None:
            dataset = _DATASETS.get(metric.dataset, metric.dataset)
            found.setdefault(dataset, {})[_METRICS[metric.name]] = metric.value
    return found


def _url(weights: Weights) -> str:
    """Where the first of the published files lies."""
    match weights.row.sources[0]:
        case PackageFile(path):
            return f"package:senet_zoo/{path}"
        case HubFile(repo, revision, filename):
            return f"https://huggingface.co/{repo}/resolve/{revision or 'main'}/{filename}"
        case release:
            return release.url
