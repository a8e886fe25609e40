"""The weights manifest: which checkpoints exist, read once into frozen values."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from senet_zoo.errors import ManifestError, UnknownWeightsError
from senet_zoo.support import settings
from senet_zoo.support.json_fields import (
    BAD,
    Cursor,
    Fields,
    Record,
    Table,
    Text,
    Whole,
    as_json,
    cut,
    problems,
    read_as,
    read_json,
    shown,
)
from senet_zoo.weights.libraries import named_by
from senet_zoo.weights.rows import MODEL_NAME, TAG, WeightsRow

FILENAME = "weights_manifest.json"
VERSION = 1


@dataclass(frozen=True)
class DefaultTag(Text):
    """A tag, one of those of the ``weights`` beside it."""

    def take(self, value: Any) -> Any:
        """Nothing: what lies beside it must be asked."""
        return BAD

    def read(self, value: Any, cursor: Cursor) -> Any:
        """The tag."""
        tags = cursor.around.get("weights")
        if super().read(value, cursor) is BAD or not isinstance(tags, dict) or not tags or value in tags:
            return value
        return cursor.refuse(f"one of the model's tags ({cut(', '.join(tags))})", value)


@dataclass(frozen=True)
class ModelWeights:
    """The checkpoints of a model as they stand in the file.

    Args:
        default: the tag that ``pretrained=True`` takes.
        weights: rows by their tag.
    """

    default: Annotated[str, DefaultTag(TAG, "a tag, such as caffe_in1k")]
    weights: Annotated[Mapping[str, WeightsRow], Table("tag", Record(WeightsRow), TAG, "tags, such as caffe_in1k")]


@dataclass(frozen=True)
class ManifestFile:
    """The JSON document of a manifest.

    Args:
        manifest_version: of its form.
        models: by their name.
    """

    manifest_version: Annotated[int, Whole(VERSION, VERSION)]
    models: Annotated[
        Mapping[str, ModelWeights],
        Table("model", Record(ModelWeights), MODEL_NAME, "names of models, such as se_resnet50"),
    ]


@dataclass(frozen=True)
class Manifest:
    """Every checkpoint, by model; each model's first row is its default."""

    models: Mapping[str, tuple[WeightsRow, ...]]

    def rows(self, model: str) -> tuple[WeightsRow, ...]:
        """The checkpoints of a model, its default first; empty where there are none."""
        return self.models.get(model, ())

    def row(self, model: str, tag: str | None = None) -> WeightsRow:
        """The checkpoint ``model.tag``; without a tag, the model's default.

        Raises:
            UnknownWeightsError: there is none; the message lists the tags that exist and the near misses.
        """
        rows = self.rows(model)
        for row in rows:
            if tag is None or row.tag == tag:
                return row
        if not rows:
            near = get_close_matches(model, self.models, n=4, cutoff=0.75)
            raise UnknownWeightsError(
                f"no public checkpoint of {model} is known{_or_list('; near misses with one: ', near)}",
                python=". Build it without pretrained=True, or give your own file as weights=",
                command_line=". senet-zoo list --weights prints all; your own file or folder goes in as --weights",
            )
        gated = model.startswith("se")
        others = [
            row.name
            for rows in self.models.values()
            for row in rows
            if row.tag == tag and row.model.startswith("se") == gated
        ]
        elsewhere = get_close_matches(f"{model}.{tag}", others, n=2, cutoff=0.9)  # another form of the same network
        near = elsewhere or get_close_matches(str(tag), [row.tag for row in rows], n=2, cutoff=0.5)
        theirs = named_by("timm", model)
        if theirs is not None and any(row.tag == tag for row in self.rows(theirs.name)):
            raise UnknownWeightsError(
                f"{model} has no checkpoint tagged {tag!r}; did you mean {theirs.name}.{tag}, the function that timm "
                f"calls {model}?"
            )
        raise UnknownWeightsError(
            f"{model} has no checkpoint tagged {tag!r}{_or_list('; did you mean ', near)}. "
            f"It has: {', '.join(row.name for row in rows)}"
        )


def load_manifest(path: Path | None = None) -> Manifest:
    """Read a manifest and check every field of it.

    Args:
        path: the JSON file; None for the zoo's own, which is read once, and the rows that SENET_ZOO_MANIFEST adds.

    Raises:
        ManifestError: it cannot be read, was made for another version of senet_zoo, or a field breaks its rule; or
            SENET_ZOO_MANIFEST holds a row of the name of a published one that says something else.
    """
    if path is not None:
        return _read(path)
    private = settings.private_manifest()
    own = _own_manifest(default_path())
    return own if private is None else _with_private(default_path(), private, _state(private))


def document(rows: Iterable[WeightsRow]) -> dict[str, object]:
    """The JSON document of a manifest with these rows; the first of each model is its default."""
    models: dict[str, dict[str, WeightsRow]] = {}
    for row in rows:
        models.setdefault(row.model, {})[row.tag] = row
    return as_json(ManifestFile(VERSION, {name: ModelWeights(next(iter(tags)), tags) for name, tags in models.items()}))


def text_of(content: object) -> str:
    """A manifest as it is committed: a line a field, but lists of numbers, epochs and logits on one line each."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    for short in (r"\[\s+([-\d.,\s]+?)\s+\]", r"\{\s+(\"epoch\": [^{}]*?)\s+\}", r"\{\s+(\"\d+\": [^{}]*?)\s+\}"):
        text = re.sub(short, _on_one_line, text)
    return text + "\n"


def _on_one_line(match: re.Match[str]) -> str:
    return match[0][0] + " ".join(match[1].split()) + match[0][-1]


def default_path() -> Path:
    """The zoo's own manifest: inside an installed package, or at the top of the tree that it is imported from."""
    package = Path(__file__).resolve().parents[1]
    inside = package / FILENAME
    return inside if inside.is_file() else package.parent / FILENAME


@lru_cache(maxsize=1)
def _own_manifest(path: Path) -> Manifest:
    return _read(path)


@lru_cache(maxsize=1)
def _with_private(own: Path, private: Path, state: tuple[int, int] | None) -> Manifest:
    models = dict(_own_manifest(own).models)
    for model, rows in _read(private).models.items():
        published = {row.tag: row for row in models.get(model, ())}
        for row in rows:
            if published.get(row.tag, row) != row:
                raise ManifestError(
                    f"SENET_ZOO_MANIFEST may add weights but not change published ones, and {row.name} of {private} "
                    f"differs from the zoo's own row; give your weights another tag, or unset SENET_ZOO_MANIFEST"
                )
        models[model] = (*published.values(), *(row for row in rows if row.tag not in published))
    return Manifest(MappingProxyType(models))


def _state(path: Path) -> tuple[int, int] | None:
    """What changes when a file is replaced, so that a manifest is read again then; None where there is no file."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def _read(path: Path) -> Manifest:
    return parse_manifest(read_json(path), path.name)


def parse_manifest(data: object, where: str) -> Manifest:
    """A parsed manifest, every field checked.

    Args:
        data: the JSON value.
        where: its file, for messages.

    Raises:
        ManifestError: a field breaks its rule.
    """
    _require_version(data, where)
    file = read_as(ManifestFile, data, where)
    models = {}
    for model, entry in file.models.items():
        rows = dict(entry.weights)
        models[model] = (rows.pop(entry.default), *rows.values())
    return Manifest(MappingProxyType(models))


def manifest_problems(data: object, where: str) -> list[str]:
    """Every mistake of which `parse_manifest` would name the first.

    Raises:
        ManifestError: the manifest was made for another version.
    """
    _require_version(data, where)
    return problems(ManifestFile, data, where)


def sound_rows(data: Any) -> Iterator[WeightsRow]:
    """The rows that can be read, whatever is wrong with the rest of a parsed manifest."""
    models = data.get("models") if isinstance(data, dict) else None
    for model, entry in models.items() if isinstance(models, dict) else ():
        weights = entry.get("weights") if isinstance(entry, dict) else None
        for tag, row in weights.items() if isinstance(weights, dict) else ():
            alone = {"manifest_version": VERSION, "models": {model: {"default": tag, "weights": {tag: row}}}}
            if not problems(ManifestFile, alone, ""):
                yield parse_manifest(alone, "").row(model)


def _require_version(data: object, where: str) -> None:
    version = Fields(data, where).take("manifest_version")
    if type(version) is not int or version != VERSION:
        raise ManifestError(
            f"{where}.manifest_version must be {VERSION}, got {shown(version)}: the manifest was made for another "
            f"senet_zoo; pip install --upgrade senet-zoo"
        )


def _or_list(before: str, names: list[str]) -> str:
    return before + " or ".join(names) if names else ""
