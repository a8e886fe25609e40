"""The weights manifest: which checkpoints exist, read once into frozen values."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from senet_zoo.errors import ManifestError, UnknownWeightsError
from senet_zoo.support import settings
from senet_zoo.support.json_fields import Fields, read_json, shown
from senet_zoo.weights.rows import MODEL_NAME, TAG, WeightsRow, read_row, row_json

FILENAME = "weights_manifest.json"
VERSION = 1


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
                f"no public checkpoint of {model} is known{_or_list('; near misses with one: ', near)}. Build it "
                f"without pretrained=True, or give your own file as weights="
            )
        tags = [row.tag for row in rows]
        near = get_close_matches(str(tag), tags, n=2, cutoff=0.5)
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
    models: dict[str, dict[str, object]] = {}
    weights: dict[str, dict[str, object]] = {}
    for row in rows:
        weights.setdefault(row.model, {})[row.tag] = row_json(row)
        models.setdefault(row.model, {"default": row.tag, "weights": weights[row.model]})
    return {"manifest_version": VERSION, "models": models}


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
    top = Fields(data, where)
    version = top.take("manifest_version")
    if type(version) is not int or version != VERSION:
        raise ManifestError(
            f"{where}.manifest_version must be {VERSION}, got {shown(version)}: the manifest was made for another "
            f"senet_zoo; pip install --upgrade senet-zoo"
        )
    models = {}
    for model, fields in top.table("models", MODEL_NAME, "names of models, such as se_resnet50"):
        default = fields.text("default", TAG, "a tag, such as caffe_in1k")
        rows = {tag: read_row(model, tag, row) for tag, row in fields.table("weights", TAG, "tags, such as caffe_in1k")}
        fields.done()
        if default not in rows:
            raise fields.refuse("default", default, f"one of the model's tags ({', '.join(rows)})")
        models[model] = (rows.pop(default), *rows.values())
    top.done()
    return Manifest(MappingProxyType(models))


def _or_list(before: str, words: list[str]) -> str:
    return before + " or ".join(words) if words else ""
