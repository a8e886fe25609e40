"""Every rule of form that a manifest breaks, where reading it stops at the first.

A whole manifest checked against the zoo, the files on this machine and, where asked for, the hubs.
"""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import ManifestError, WeightsError
from senet_zoo.formats.dialects import DIALECTS, NATIVE
from senet_zoo.networks import registry
from senet_zoo.networks.families.family import Model
from senet_zoo.support.json_fields import read_json
from senet_zoo.weights.cache import digest
from senet_zoo.weights.checks import Check, Verification
from senet_zoo.weights.download import here
from senet_zoo.weights.hub_metadata import RemoteFile, Servers, fetch_header
from senet_zoo.weights.huggingface import Found
from senet_zoo.weights.load import Checkpoint, open_checkpoint
from senet_zoo.weights.manifest import VERSION, default_path, load_manifest, parse_manifest
from senet_zoo.weights.manifest_add import parameters_of_spec
from senet_zoo.weights.rows import Metric, WeightsRow, row_json
from senet_zoo.weights.sources import HubFile, PackageFile, ReleaseFile, Source

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


_FORM = "form"
_PINNED = ("revision", "sha256", "size")


def check_manifest(path: Path, servers: Servers | None = None) -> Verification:
    """Check every row, and list every problem.

    Of each row: that its fields keep their rules, its model is one of the zoo's and has as many parameters, whoever
    publishes its files publishes that function, nothing of it stands twice, and its licence is known. Of each of its
    files that is on this machine: the bytes, and that its tensors are exactly the network's.

    Args:
        path: the manifest.
        servers: who is asked for commit, sha256 and size of each file, and for the header of those that are not here;
            None for nobody.

    Returns:
        A check a row, or one a problem; ``form`` is what hinders reading.
    """
    try:
        found = review(path)
    except ManifestError as e:
        return Verification(str(path), None, None, (Check(_FORM, False, str(e)),))
    checks = [Check(_FORM, False, breach) for breach in found.breaches] or [Check(_FORM, True, "keeps every rule")]
    twice = _twice(found.rows, path)
    for row in found.rows:
        problems = [*twice.get(row.name, ()), *_problems(row, servers)]
        checks += [Check(row.name, False, problem) for problem in problems] or [Check(row.name, True, _summary(row))]
    return Verification(str(path), path, digest(path), tuple(checks))


def _twice(rows: tuple[WeightsRow, ...], path: Path) -> Mapping[str, list[str]]:
    """What names a file or a row that another row has already, by the row's name."""
    problems: dict[str, list[str]] = defaultdict(list)
    if path.resolve() != default_path().resolve():
        published = load_manifest(default_path())
        for row in rows:
            if any(row.tag == other.tag and row != other for other in published.rows(row.model)):
                problems[row.name].append("the zoo publishes other weights of that name; give yours another tag")
    owners: dict[object, str] = {}
    for row in rows:
        files = [_file(source) for source in row.sources]
        for source, file in zip(row.sources, files, strict=True):
            if files.count(file) > 1:
                problems[row.name].append(f"{_place(source)} stands twice in this row; remove one of them")
            # Weights belong to one function: other rows have other bytes.
            for key in (file, getattr(source, "sha256", None) or file):
                if owners.setdefault(key, row.name) != row.name:
                    problems[row.name].append(f"{_place(source)} is a file of {owners[key]}; remove it from one row")
    return {name: list(dict.fromkeys(found)) for name, found in problems.items()}


def _file(source: Source) -> object:
    """What two sources of one file have in common."""
    return (source.repo, source.filename, source.revision) if isinstance(source, HubFile) else _place(source)


def _place(source: Source) -> str:
    match source:
        case PackageFile():
            return source.path
        case HubFile():
            return f"{source.repo}/{source.filename}"
        case ReleaseFile():
            return source.url


def _problems(row: WeightsRow, servers: Servers | None) -> Iterator[str]:
    model = registry.MODELS.get(row.model)
    if model is None:
        alias = registry.ALIASES.get(row.model)
        yield f"no model of the zoo is named so; {f'its name here is {alias}' if alias else 'see senet-zoo list'}"
        return
    if row.license is None:
        yield "its licence is not known; find out who may use it, and name it"
    parameters = parameters_of_spec(model.spec(), row.num_classes, row.in_channels)
    if parameters != row.parameters:
        yield f"the network has {parameters} parameters, but the row says {row.parameters}"
    for source in row.sources:
        try:
            found = here(source)
            yield from _of_file(row, model, source, found)
            if servers is not None and not isinstance(source, PackageFile):
                yield from _of_answer(row, model, source, found, servers.describe(source))
        except WeightsError as e:
            yield str(e)


def _of_file(row: WeightsRow, model: Model, source: Source, found: Found | None) -> Iterator[str]:
    """What is wrong with a source as far as this machine can tell."""
    dialect = DIALECTS[source.dialect]
    if dialect is not NATIVE and dialect.name not in model.published_as:
        yield f"{_place(source)}: nobody publishes {model.name} under the names of {dialect.used_by} ({dialect.name})"
    elif found is not None:
        yield from _of_tensors(row, model, open_checkpoint(found.path, dialect))


def _of_answer(
    row: WeightsRow, model: Model, source: HubFile | ReleaseFile, found: Found | None, said: RemoteFile | int
) -> Iterator[str]:
    """What a hub or a server says otherwise than the row."""
    answers = (None, None, said) if isinstance(said, int) else (said.commit, said.sha256, said.size)
    for name, answer in zip(_PINNED, answers, strict=True):
        known = getattr(source, name, None)
        if None not in (known, answer) and known != answer:
            yield f"{_place(source)}: its {name} is {known} in the manifest, but {answer} where it lies"
    if isinstance(said, RemoteFile) and found is None:
        yield from _of_tensors(row, model, Checkpoint(said.place, DIALECTS[source.dialect], fetch_header(said)))


def _of_tensors(row: WeightsRow, model: Model, file: Checkpoint) -> Iterator[str]:
    """What is wrong with the names and shapes of a file."""
    spec = model.spec()
    file.check(model, spec, row.num_classes)
    if file.in_channels(spec) != row.in_channels:
        yield f"{file.path}: it takes {file.in_channels(spec)} channels, but the row says {row.in_channels}"


def _summary(row: WeightsRow) -> str:
    unpinned = [
        f"{name} of {_place(source)}"
        for source in row.sources
        for name in _PINNED
        if getattr(source, name, ...) is None
    ]
    return f"sound; not known: {', '.join(unpinned)}" if unpinned else "sound, and every file is pinned"
