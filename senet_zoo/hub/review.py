"""Every rule of form that a manifest breaks, where reading it stops at the first."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from senet_zoo.errors import ManifestError
from senet_zoo.hub.fields import read_json
from senet_zoo.hub.manifest import VERSION, parse_manifest
from senet_zoo.hub.rows import Metric, WeightsRow, row_json
from senet_zoo.hub.sources import HubFile
from senet_zoo.preprocessing import Preprocessing

_CLASSES = ("labels", "num_classes")  # one rule spans both
_LISTS = ("sources", "metrics")
_ROW = WeightsRow(
    model="a",
    tag="a",
    num_classes=1000,
    labels="imagenet-1k",
    in_channels=3,
    parameters=1,
    preprocessing=Preprocessing(224, 256),
    sources=(HubFile("a/a", None, "a", None, None, "native"),),
    metrics=(Metric("top1", None, "none", 224, "nobody", False),),
    license=None,
    license_source="nobody",
    origin=None,
    citation="none",
    training=None,
)
_SOUND: dict[str, Any] = json.loads(json.dumps(row_json(_ROW)))
"""A row that keeps every rule: what breaks one shows when it takes a part's place in it."""


@dataclass(frozen=True)
class Review:
    """A manifest that may break rules.

    Args:
        rows: those that can be read.
        breaches: what breaks a rule, each as reading would say it; none means that the manifest can be read.
    """

    rows: tuple[WeightsRow, ...]
    breaches: tuple[str, ...]


def review(path: Path) -> Review:
    """Read every row, and every part of a row that cannot be read, on its own: no mistake hides another.

    Of an object inside a row, such as one source, the first mistake is named.

    Raises:
        ManifestError: the file cannot be read, is no JSON object, or was made for another version.
    """
    data = read_json(path)
    if not isinstance(data, dict) or data.get("manifest_version") != VERSION:
        parse_manifest(data, path.name)
    rows: list[WeightsRow] = []
    breaches = [_breach(document, path) for document in _frames(data)]
    for model, tag, row in _rows(data):
        document = _document(model, tag, row)
        breach = _breach(document, path)
        breaches.append(breach)
        if breach is None:
            rows += parse_manifest(document, path.name).rows(model)
        elif isinstance(row, dict):
            breaches += [_breach(_document(model, tag, part), path) for part in _parts(row, path)]
    return Review(tuple(rows), tuple(dict.fromkeys(filter(None, breaches))))


def _breach(document: object, path: Path) -> str | None:
    try:
        parse_manifest(document, path.name)
    except ManifestError as e:
        return str(e)
    return None


def _document(model: str, tag: str, row: object) -> dict[str, Any]:
    return {"manifest_version": VERSION, "models": {model: {"default": tag, "weights": {tag: row}}}}


def _frames(data: Any) -> Iterator[object]:
    """The document and each of its models, with sound rows in place of their own."""
    models = data.get("models")
    if not isinstance(models, dict) or not models:
        yield data
        return
    yield {**data, "models": _document("a", "a", _SOUND)["models"]}
    for name, model in models.items():
        weights = model.get("weights") if isinstance(model, dict) else None
        sound = {**model, "weights": dict.fromkeys(weights, _SOUND)} if isinstance(weights, dict) else model
        yield {"manifest_version": VERSION, "models": {name: sound}}


def _rows(data: Any) -> Iterator[tuple[str, str, object]]:
    models = data.get("models")
    for model, fields in models.items() if isinstance(models, dict) else ():
        weights = fields.get("weights") if isinstance(fields, dict) else None
        for tag, row in weights.items() if isinstance(weights, dict) else ():
            yield model, tag, row


def _parts(row: dict[str, Any], path: Path) -> Iterator[dict[str, Any]]:
    """Sound rows, each with one part of a row in place of its own: a field, a source, a metric, or a field lacking."""
    sound = _with(row, _SOUND, _CLASSES)
    yield sound
    if _breach(_document("a", "a", sound), path) is not None:
        sound = _SOUND
    for name in [name for name in {**_SOUND, **row} if name not in _CLASSES]:
        found = row.get(name)
        if name in _LISTS and isinstance(found, list) and found:
            # Sound ones before it, so that the message counts as the file does.
            yield from ({**sound, name: _SOUND[name] * place + [item]} for place, item in enumerate(found))
        else:
            yield _with(row, sound, (name,))


def _with(row: dict[str, Any], sound: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """``sound`` with those fields as ``row`` has them, or without them where it has none."""
    kept = {name: value for name, value in sound.items() if name not in names}
    return kept | {name: row[name] for name in names if name in row}
