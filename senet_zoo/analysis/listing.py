"""The models or the checkpoints of the zoo as rows of one table: accuracy, cost, size, picture, licence."""

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from senet_zoo.analysis import cost
from senet_zoo.errors import UsageError
from senet_zoo.networks import registry
from senet_zoo.networks.network import on_meta
from senet_zoo.support.machine import describe_machine, find_device
from senet_zoo.support.speeds import known_speeds
from senet_zoo.weights.cache import cached_size
from senet_zoo.weights.manifest import load_manifest
from senet_zoo.weights.rows import WeightsRow

GOLDEN = Path(__file__).parent / "golden.csv"
"""Parameters and multiply-adds of every model at its own size, which tests hold the networks to."""


@dataclass(frozen=True)
class ListedModel:
    """A model and its best checkpoint, or one checkpoint.

    Args:
        name: ``model``, or ``model.tag`` of a checkpoint.
        top1: the best accuracy that is known, in percent; None where none is.
        dataset: that it was measured on.
        parameters: trainable values.
        num_classes: number of logits.
        file_size: of the checkpoint's first file whose size is known, by the manifest or because it lies in the cache,
            or of the default one, in bytes; None where nobody has said it.
        float32_size: bytes of the parameters in float32, which a file has about; None without a checkpoint.
        picture: side of the pictures that it was made for, in pixels.
        license: SPDX name of the checkpoint, or of the default one; None where it is not known or there is none.
        labels: what the classes are; None for a model.
        weights: its checkpoints, the default first.
        speed: pictures a second, one at once, where `senet-zoo benchmark` measured the model on this machine.
    """

    name: str
    top1: float | None
    dataset: str | None
    parameters: int
    num_classes: int
    file_size: int | None
    float32_size: int | None
    picture: int
    license: str | None
    labels: str | None
    weights: tuple[str, ...]
    speed: float | None

    @property
    def multiply_adds(self) -> int:
        """Of convolutions and fully connected layers, for one picture of ``picture``; counted when it is asked for."""
        return _multiply_adds(self.name.partition(".")[0], self.picture, self.num_classes)


SORTS: Mapping[str, Callable[[ListedModel], tuple[object, ...]]] = {
    "name": lambda row: (registry.natural_order(row.name),),
    "top1": lambda row: (row.top1 is None, -(row.top1 or 0.0)),
    "parameters": lambda row: (row.parameters,),
    "multiply_adds": lambda row: (row.multiply_adds,),
    "file_size": lambda row: (row.float32_size is None, row.file_size or row.float32_size),
    "picture": lambda row: (row.picture,),
    "license": lambda row: (row.license or "~",),
    "speed": lambda row: (row.speed is None, -(row.speed or 0.0)),
}
"""Orders of rows: the best accuracy and the fastest first, otherwise the smallest."""


def list_rows(
    pattern: str = "*",
    *,
    pretrained: bool = False,
    weights: bool = False,
    sort: str | None = None,
    dims: int = 2,
) -> list[ListedModel]:
    """Rows of the models, or of the checkpoints, whose names match; nothing is downloaded.

    Args:
        pattern: shell wildcards; or a part of the name, in any case, with ``-`` for ``_``. Aliases count.
        pretrained: only models with published weights.
        weights: checkpoints instead of models.
        sort: one of `SORTS`; by default natural order of the models, each one's default checkpoint first.
        dims: only models that have a form of so many dimensions.

    Raises:
        UsageError: another order.

    Example:
        >>> [row.name for row in list_rows("SE-ResNet20")]
        ['se_resnet20', 'se_resnet200', 'se_resnet200d']
    """
    if sort is not None and sort not in SORTS:
        raise UsageError(f"rows are sorted by one of {', '.join(SORTS)}, got {sort!r}")
    manifest = load_manifest()
    rows = []
    for model in (name for name in registry.matching_names("*") if dims in registry.MODELS[name].dimensions):
        known = manifest.rows(model)
        if weights:
            rows += [_checkpoint(row) for row in known if _matches(pattern, row.name, model)]
        elif _matches(pattern, model) and (known or not pretrained):
            rows.append(_model(model, known))
    return rows if sort is None else sorted(rows, key=SORTS[sort])


def _matches(pattern: str, *names: str) -> bool:
    wanted = pattern.lower().replace("-", "_")
    aliases = [alias for alias, model in registry.ALIASES.items() if model == names[-1]]
    if any(wildcard in wanted for wildcard in "*?["):
        return any(fnmatchcase(name, wanted) for name in (*names, *aliases))
    return any(wanted in name for name in (*names, *aliases))


def _model(name: str, known: tuple[WeightsRow, ...]) -> ListedModel:
    rows, spec = [_checkpoint(row) for row in known], registry.MODELS[name].spec()
    best = max((row for row in rows if row.top1 is not None), key=lambda row: row.top1 or 0.0, default=None)
    return ListedModel(
        name,
        top1=None if best is None else best.top1,
        dataset=None if best is None else best.dataset,
        parameters=_golden()[name].parameters,
        num_classes=spec.num_classes,
        file_size=rows[0].file_size if rows else None,
        float32_size=rows[0].float32_size if rows else None,
        picture=spec.input_size,
        license=rows[0].license if rows else None,
        labels=None,
        weights=tuple(row.name for row in rows),
        speed=_speeds().get(name),
    )


def _checkpoint(row: WeightsRow) -> ListedModel:
    best = max(row.accuracies, key=lambda metric: metric.value or 0.0, default=None)
    sizes = [size for source in row.sources if (size := source.size or cached_size(source)) is not None]
    return ListedModel(
        row.name,
        top1=None if best is None else best.value,
        dataset=None if best is None else best.dataset,
        parameters=row.parameters,
        num_classes=row.num_classes,
        file_size=sizes[0] if sizes else None,
        float32_size=4 * row.parameters,
        picture=row.preprocessing.size,
        license=row.license,
        labels=row.labels,
        weights=(row.name,),
        speed=_speeds().get(row.model) if row.preprocessing.size == _own_size(row.model) else None,
    )


@dataclass(frozen=True)
class _Figures:
    parameters: int
    multiply_adds: int


@cache
def _own_size(model: str) -> int:
    return registry.MODELS[model].spec().input_size


@cache
def _speeds() -> Mapping[str, float]:
    return known_speeds(describe_machine(find_device(None)))


@cache
def _golden() -> Mapping[str, _Figures]:
    with GOLDEN.open(newline="", encoding="utf-8") as file:
        return {
            row["name"]: _Figures(int(row["parameters"]), int(row["multiply_adds"])) for row in csv.DictReader(file)
        }


@cache
def _multiply_adds(model: str, size: int, classes: int) -> int:
    """For pictures of ``size``; those of the model's own size and classes are known."""
    spec = registry.MODELS[model].spec()
    if (size, classes) == (spec.input_size, spec.num_classes):
        return _golden()[model].multiply_adds
    return cost.multiply_adds(on_meta(spec, num_classes=classes), size)
