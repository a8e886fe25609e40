"""Every problem of a manifest: its form, what the zoo and files on this machine say, and hubs, where they are asked."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from senet_zoo.errors import ManifestError, SpecError, UsageError, WeightsError
from senet_zoo.formats.dialects import DIALECTS, NATIVE
from senet_zoo.networks import registry
from senet_zoo.networks.families.family import Model
from senet_zoo.support.json_fields import read_json
from senet_zoo.weights import installed_figures
from senet_zoo.weights.download import find_local
from senet_zoo.weights.file_hashes import VerifiedFile, digest
from senet_zoo.weights.hub_repository import RemoteFile, Servers, fetch_header
from senet_zoo.weights.load import Checkpoint, open_checkpoint
from senet_zoo.weights.manifest import default_path, load_manifest, manifest_problems, sound_rows
from senet_zoo.weights.manifest_edit import parameters_of_spec
from senet_zoo.weights.rows import HubFile, PackageFile, ReleaseFile, Source, WeightsRow
from senet_zoo.weights.verify import Finding, Verification

_FORM = "form"
_PINNED = ("revision", "sha256", "size")


def check_manifest(path: Path, servers: Servers | None = None) -> Verification:
    """Check every row, and list every problem.

    Of each row: that its fields keep their rules, its model is one of the zoo's and has as many parameters, whoever
    publishes its files publishes that function, no hash is another than the file's name ends in, its gate is one that
    the model can have, nothing of it stands twice, its licence is known, every metric has its figure, and none is
    missing that torchvision or timm, where they are installed, publish. Of each of its files that is on this machine:
    the bytes, and that its tensors are exactly the network's.

    Args:
        path: the manifest.
        servers: who is asked for commit, sha256 and size of each file, and for the header of those that are not here;
            None for nobody.

    Returns:
        A check a row, or one a problem; ``form`` is what hinders reading.
    """
    try:
        data = read_json(path)
        form = manifest_problems(data, path.name)
    except ManifestError as e:
        return Verification(str(path), None, None, (Finding(_FORM, False, str(e)),))
    rows = tuple(sound_rows(data))
    checks = [Finding(_FORM, False, problem) for problem in form] or [Finding(_FORM, True, "keeps every rule")]
    duplicates = _duplicates(rows, path)
    for row in rows:
        problems = [*duplicates.get(row.name, ()), *_row_problems(row, servers)]
        checks += [Finding(row.name, False, problem) for problem in problems] or [
            Finding(row.name, True, _summary(row))
        ]
    return Verification(str(path), path, digest(path), tuple(checks))


def _duplicates(rows: tuple[WeightsRow, ...], path: Path) -> Mapping[str, list[str]]:
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
                problems[row.name].append(f"{_address(source)} stands twice in this row; remove one of them")
            # Weights belong to one function: other rows have other bytes.
            for key in (file, getattr(source, "sha256", None) or file):
                if owners.setdefault(key, row.name) != row.name:
                    problems[row.name].append(f"{_address(source)} is a file of {owners[key]}; remove it from one row")
    return {name: list(dict.fromkeys(found)) for name, found in problems.items()}


def _file(source: Source) -> object:
    """What two sources of one file have in common."""
    return (source.repo, source.filename, source.revision) if isinstance(source, HubFile) else _address(source)


def _address(source: Source) -> str:
    match source:
        case PackageFile():
            return source.path
        case HubFile():
            return f"{source.repo}/{source.filename}"
        case ReleaseFile():
            return source.url


def _row_problems(row: WeightsRow, servers: Servers | None) -> Iterator[str]:
    model = registry.MODELS.get(row.model)
    if model is None:
        alias = registry.ALIASES.get(row.model)
        yield f"no model of the zoo is named so; {f'its name here is {alias}' if alias else 'see senet-zoo list'}"
        return
    if row.license is None:
        yield "its licence is not known; find out who may use it, and name it"
    for metric in row.metrics:
        if metric.value is None:
            yield (
                f"its {metric.name} at {metric.size} pixels names a source ({metric.who}) and no figure; copy the "
                f"figure from there, or remove the metric"
            )
    yield from installed_figures.problems(row)
    if row.se is not None and row.se == model.se:
        yield "its gate is the model's own; leave se out"
    try:
        spec = model.spec(row.se)
    except (SpecError, UsageError) as e:
        yield f"its gate is none of {model.name}: {e}"
        return
    parameters = parameters_of_spec(spec, row.num_classes, row.in_channels)
    if parameters != row.parameters:
        yield f"the network has {parameters} parameters, but the row says {row.parameters}"
    for source in row.sources:
        try:
            found = find_local(source)
            yield from _file_problems(row, model, source, found)
            if servers is not None and not isinstance(source, PackageFile):
                yield from _answer_problems(row, model, source, found, servers.describe(source))
        except WeightsError as e:
            yield str(e)


def _file_problems(row: WeightsRow, model: Model, source: Source, found: VerifiedFile | None) -> Iterator[str]:
    """What is wrong with a source as far as this machine can tell."""
    dialect = DIALECTS[source.dialect]
    if isinstance(source, ReleaseFile) and not _agrees_with_its_name(source):
        stated = "sha1" if source.sha256_prefix is None else "sha256"
        yield f"{source.url}: its {stated} must start with the digits that end the file's name; correct one of them"
    if dialect is not NATIVE and dialect.name not in model.published_as:
        yield f"{_address(source)}: nobody publishes {model.name} under the names of {dialect.used_by} ({dialect.name})"
    elif found is not None:
        yield from _tensor_problems(row, model, open_checkpoint(found.path, dialect))


def _agrees_with_its_name(source: ReleaseFile) -> bool:
    """Whether the first digits of a hash, with which libraries end a file's name, are those of the row."""
    named = re.search(r"-([0-9a-f]{8,64})(\.[A-Za-z0-9]+)+$", source.filename)
    if named is None or re.fullmatch(r"20\d{6}", named[1]):  # a day
        return True
    known = source.sha256_prefix or source.sha1 or ""
    return known.startswith(named[1]) or named[1].startswith(known)


def _answer_problems(
    row: WeightsRow, model: Model, source: HubFile | ReleaseFile, found: VerifiedFile | None, answer: RemoteFile | int
) -> Iterator[str]:
    """What a hub or a server says otherwise than the row."""
    answers = (None, None, answer) if isinstance(answer, int) else (answer.commit, answer.sha256, answer.size)
    for name, value in zip(_PINNED, answers, strict=True):
        known = getattr(source, name, None)
        if None not in (known, value) and known != value:
            yield f"{_address(source)}: its {name} is {known} in the manifest, but {value} where it lies"
    if isinstance(answer, RemoteFile) and found is None:
        yield from _tensor_problems(
            row, model, Checkpoint(answer.label, DIALECTS[source.dialect], fetch_header(answer))
        )


def _tensor_problems(row: WeightsRow, model: Model, file: Checkpoint) -> Iterator[str]:
    """What is wrong with the names and shapes of a file."""
    spec = model.spec(row.se)
    file.check(model, spec, row.num_classes)
    if file.in_channels(spec) != row.in_channels:
        yield f"{file.path}: it takes {file.in_channels(spec)} channels, but the row says {row.in_channels}"


def _summary(row: WeightsRow) -> str:
    unpinned = [
        f"{name} of {_address(source)}"
        for source in row.sources
        for name in _PINNED
        if getattr(source, name, ...) is None
    ]
    return f"sound; not known: {', '.join(unpinned)}" if unpinned else "sound, and every file is pinned"
