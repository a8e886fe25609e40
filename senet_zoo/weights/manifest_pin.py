"""Changes to a manifest's file: one row more, or what was null pinned; everything else in it stays as it is."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from senet_zoo.errors import ManifestError, WeightsError, WeightsMismatch
from senet_zoo.support.files import atomic_file, disk_error
from senet_zoo.support.json_fields import as_json, read_json
from senet_zoo.weights.hub_metadata import RemoteFile, Servers
from senet_zoo.weights.manifest import VERSION, default_path, load_manifest, parse_manifest, text_of
from senet_zoo.weights.rows import HubFile, PackageFile, ReleaseFile, WeightsRow


@dataclass(frozen=True)
class Pin:
    """A field that was null and no longer is.

    Args:
        weights: ``model.tag``.
        source: its repository, or its address.
        field: ``revision``, ``sha256`` or ``size``.
        value: what the hub or the server said.
    """

    weights: str
    source: str
    field: str
    value: str | int


@dataclass(frozen=True)
class Unpinned:
    """A source with a field that stays null, and why."""

    weights: str
    source: str
    reason: str


@dataclass(frozen=True)
class Pinning:
    """What became of the nulls of a manifest."""

    path: Path
    pinned: tuple[Pin, ...]
    left: tuple[Unpinned, ...]


def add_row(path: Path, row: WeightsRow) -> None:
    """Write a row into a manifest, whole or not at all; the first row of a model is its default.

    Args:
        path: the file; made where there is none.
        row: what to add.

    Raises:
        ManifestError: the file breaks a rule, or a row of that name is there already, or published by the zoo.
        WeightsUnavailable: the disk did not take it.
    """
    content: dict[str, Any] = {"manifest_version": VERSION, "models": {}}
    manifests = [default_path()]
    if path.exists():
        content = _content(path)
        manifests.append(path)
    for manifest in manifests:
        if any(row.tag == other.tag for other in load_manifest(manifest).rows(row.model)):
            raise ManifestError(
                f"{row.name} must stand once, but {manifest} has a row of that name; choose another tag"
            )
    model = content["models"].setdefault(row.model, {"default": row.tag, "weights": {}})
    model["weights"][row.tag] = as_json(row)
    _write(path, content)


def pin_manifest(path: Path) -> Pinning:
    """Fill what is null in a manifest's sources with what the hubs and servers say of the files, and only that.

    No file is downloaded. A source that cannot be asked stays as it is, and so does one of which the hub says
    something else than the manifest. The file is laid out as `text_of` does: one that was stays the same but for the
    lines that are pinned.

    Raises:
        ManifestError: the file breaks a rule, and nothing is asked; or somebody changed it while hubs were.
        WeightsUnavailable: the disk did not take it; the file is as it was.
    """
    content, before = _content(path), read_json(path)
    servers, pinned, left = Servers(), list[Pin](), list[Unpinned]()
    for row, source, fields in _open_sources(path, content):
        place = source.repo if isinstance(source, HubFile) else source.url
        try:
            values = _missing(source, servers.describe(source))
        except WeightsError as e:
            left.append(Unpinned(row.name, place, str(e)))
            continue
        fields.update(values)
        pinned += [Pin(row.name, place, name, value) for name, value in values.items()]
    if pinned:
        if read_json(path) != before:
            raise ManifestError(
                f"{path} must stay as it is while hubs are asked, but somebody changed it; pin it again"
            )
        _write(path, content)
    return Pinning(path, tuple(pinned), tuple(left))


def _open_sources(
    path: Path, content: dict[str, Any]
) -> Iterator[tuple[WeightsRow, HubFile | ReleaseFile, dict[str, Any]]]:
    """Sources with a null, as values and as the JSON objects that they were read from."""
    for model, rows in load_manifest(path).models.items():
        for row in rows:
            objects = content["models"][model]["weights"][row.tag]["sources"]
            for source, fields in zip(row.sources, objects, strict=True):
                if not isinstance(source, PackageFile) and None in fields.values():
                    yield row, source, fields


def _missing(source: HubFile | ReleaseFile, said: RemoteFile | int) -> dict[str, str | int]:
    """The values of a source's null fields.

    Raises:
        WeightsMismatch: of those that are not null, one is another than the hub says.
    """
    if isinstance(said, int):
        return {"size": said}
    values: dict[str, str | int] = {"revision": said.commit, "sha256": said.sha256, "size": said.size}
    for name, value in values.items():
        known = getattr(source, name)
        if known not in (None, value):
            raise WeightsMismatch(
                f"{said.place}: the manifest's {name} is {known}, but the hub says {value}; find out which is meant"
            )
    return {name: value for name, value in values.items() if getattr(source, name) is None}


def _content(path: Path) -> dict[str, Any]:
    """The JSON object of a manifest that keeps every rule."""
    data = read_json(path)
    parse_manifest(data, path.name)
    return cast("dict[str, Any]", data)


def _write(path: Path, content: dict[str, Any]) -> None:
    text = text_of(content)
    parse_manifest(json.loads(text), path.name)
    try:
        with atomic_file(path.resolve()) as file:  # a link stays one
            file.write(text.encode())
    except OSError as e:
        raise disk_error(e, path.parent, "the path") from e
