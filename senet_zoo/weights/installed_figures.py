"""What libraries that are installed here publish of weights, to compare with the rows of a manifest.

torchvision carries the accuracies of its weights, timm their licences; timm's accuracies stand in a table that lies
beside its package only where it is installed from its repository (``pip install -e``).
"""

import csv
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from senet_zoo.weights.rows import HubFile, ReleaseFile, Source, WeightsRow

DATASET = "imagenet-1k val"
_TORCHVISION, _TIMM = "https://download.pytorch.org/", "timm/"
_TABLE = Path("results", "results-imagenet.csv")


@dataclass(frozen=True)
class Published:
    """What one library says of weights.

    Args:
        library: with its version.
        accuracies: percent on `DATASET`, by name (``top1``, ``top5``) and side of the pictures.
        license: None where it says none.
    """

    library: str
    accuracies: Mapping[tuple[str, int], float] = field(default_factory=lambda: MappingProxyType({}))
    license: str | None = None


def published(row: WeightsRow) -> Iterator[Published]:
    """What each library says of the files of a row; nothing of those that are not installed."""
    for source in row.sources:
        found = _by_torchvision(source) or _by_timm(source)
        if found is not None:
            yield found


def problems(row: WeightsRow) -> Iterator[str]:
    """What a row leaves open, or says otherwise, that an installed library publishes."""
    ours = {(metric.name, metric.size): metric for metric in row.metrics if metric.dataset == DATASET}
    for theirs in published(row):
        if row.license is None and theirs.license:
            yield f"{theirs.library} says that its licence is {theirs.license}; copy it"
        for (name, side), figure in theirs.accuracies.items():
            metric = ours.get((name, side))
            if metric is None or metric.value is None:
                yield f"its {name} at {side} pixels is not known, and {theirs.library} publishes {figure:g}; copy it"
            elif metric.who.startswith(theirs.library.split()[0]) and abs(metric.value - figure) > 5e-4:
                yield f"its {name} at {side} pixels is {metric.value:g} here, and {figure:g} in {theirs.library}"


def _by_torchvision(source: Source) -> Published | None:
    if not isinstance(source, ReleaseFile) or not source.url.startswith(_TORCHVISION):
        return None
    return _torchvision_weights().get(source.url)


@cache
def _torchvision_weights() -> Mapping[str, Published]:
    import torchvision
    from torchvision.models import get_model_weights, list_models

    found = {}
    for weights in (each for name in list_models() for each in get_model_weights(name)):
        said: Mapping[str, float] = weights.meta.get("_metrics", {}).get("ImageNet-1K", {})
        side = getattr(weights.transforms(), "crop_size", None)
        names = {"top1": "acc@1", "top5": "acc@5"}
        figures = {(ours, side[0]): said[theirs] for ours, theirs in names.items() if side and theirs in said}
        found[weights.url] = Published(f"torchvision {torchvision.__version__.partition('+')[0]}", figures)
    return found


def _by_timm(source: Source) -> Published | None:
    timm = _timm()
    if timm is None or not isinstance(source, HubFile) or not source.repo.startswith(_TIMM):
        return None
    name = source.repo.removeprefix(_TIMM)
    config = timm.get_pretrained_cfg(name)
    figures = _timm_table().get(name, {})
    return None if config is None else Published(f"timm {timm.__version__}", figures, config.license)


@cache
def _timm() -> Any:
    try:
        return importlib.import_module("timm")
    except ImportError:
        return None


@cache
def _timm_table() -> Mapping[str, Mapping[tuple[str, int], float]]:
    """The accuracies of timm's table, by weights; empty where timm was not installed from its repository."""
    path = Path(_timm().__file__).parents[1] / _TABLE
    if not path.is_file():
        return {}
    found: dict[str, dict[tuple[str, int], float]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            figures = found.setdefault(line["model"], {})
            figures |= {(name, int(line["img_size"])): float(line[name]) for name in ("top1", "top5")}
    return found
