"""The weights manifest: which checkpoints exist, read once into frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from senet_zoo.errors import ManifestError, UnknownWeightsError
from senet_zoo.hub.fields import Fields, read_json
from senet_zoo.hub.rows import MODEL_NAME, TAG, WeightsRow, read_row

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
        path: the JSON file; None for the zoo's own, which is read once.

    Raises:
        ManifestError: it cannot be read, was made for another version of senet_zoo, or a field breaks its rule.
    """
    return _own_manifest(default_path()) if path is None else _read(path)


def default_path() -> Path:
    """The zoo's own manifest: inside an installed package, or at the top of the tree that it is imported from."""
    package = Path(__file__).resolve().parents[1]
    inside = package / FILENAME
    return inside if inside.is_file() else package.parent / FILENAME


@lru_cache(maxsize=1)
def _own_manifest(path: Path) -> Manifest:
    return _read(path)


def _read(path: Path) -> Manifest:
    top = Fields(read_json(path), path.name)
    version = top.take("manifest_version")
    if type(version) is not int or version != VERSION:
        raise ManifestError(
            f"{path.name}.manifest_version must be {VERSION}, got {version!r}: the manifest was made for another "
            f"senet_zoo; pip install --upgrade senet-zoo"
        )
    models = {}
    for model, fields in top.table("models", MODEL_NAME, "names of models, such as se_resnet50").items():
        default = fields.text("default", TAG, "a tag, such as caffe_in1k")
        rows = {
            tag: read_row(model, tag, row)
            for tag, row in fields.table("weights", TAG, "tags, such as caffe_in1k").items()
        }
        fields.done()
        if default not in rows:
            raise fields.refuse("default", default, f"one of the model's tags ({', '.join(rows)})")
        models[model] = (rows.pop(default), *rows.values())
    top.done()
    return Manifest(MappingProxyType(models))


def _or_list(before: str, words: list[str]) -> str:
    return before + " or ".join(words) if words else ""
