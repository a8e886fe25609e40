"""What ``config.json`` beside a model's tensors says: all that rebuilds the network around them."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from senet_zoo import registry
from senet_zoo.errors import ManifestError, UsageError, WeightsNotFound
from senet_zoo.hub.atomic import atomic_file, disk_error
from senet_zoo.hub.fields import Fields, read_json
from senet_zoo.hub.rows import read_preprocessing
from senet_zoo.preprocessing import Preprocessing
from senet_zoo.specs import SE
from senet_zoo.zoo.variant import from_json, to_json

if TYPE_CHECKING:
    from torchvision.transforms.v2 import Transform

CONFIG, TENSORS = "config.json", "model.safetensors"


@dataclass(frozen=True)
class FolderConfig:
    """What ``config.json`` says.

    Args:
        architecture: name of the model.
        se: its gate, with every choice spelt out; None for a plain twin.
        num_classes: logits; 0 for pooled features.
        in_channels: of the pictures.
        preprocessing: from a picture to the input, or None where it is not known.
        categories: class names in the order of the logits, or None where they are not known.
    """

    architecture: str
    se: SE | None
    num_classes: int
    in_channels: int
    preprocessing: Preprocessing | None = None
    categories: tuple[str, ...] | None = None

    def transforms(self) -> "Transform":
        """The torchvision v2 transform of the preprocessing.

        Raises:
            UsageError: the folder does not say what it is.
        """
        if self.preprocessing is None:
            raise UsageError(f"{CONFIG} of {self.architecture} names no preprocessing; save it with one")
        return self.preprocessing.transforms()


def read_config(folder: Path) -> FolderConfig:
    """What the ``config.json`` of a folder says.

    Raises:
        WeightsNotFound: there is none.
        ManifestError: it breaks a rule; the message names the field.
        UnknownModelError: its architecture is none of the zoo's.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise WeightsNotFound(
            f"a saved model is a folder with {TENSORS} and {CONFIG}, but there is no {path}; without it, name the "
            f"model: create_model(NAME, weights={str(folder)!r})"
        )
    fields = Fields(read_json(path), str(path))
    se = fields.take("se")
    if se is not None and not isinstance(se, dict):
        raise fields.refuse("se", se, "an object, or null for a plain twin")
    preprocessing = fields.take("preprocessing")
    config = FolderConfig(
        architecture=registry.find(fields.text("architecture")).name,
        se=None if se is None else _gate(fields, se),
        num_classes=fields.whole("num_classes", 0, 10**6),
        in_channels=fields.whole("in_channels", 1, 10**4),
        preprocessing=None if preprocessing is None else read_preprocessing(preprocessing, fields.where),
        categories=_categories(fields),
    )
    fields.done()
    plain = registry.find(config.architecture).se is None
    if plain != (config.se is None):
        raise fields.refuse("se", se, f"{'null' if plain else 'an object'}, for {config.architecture}")
    if config.categories is not None and len(config.categories) != config.num_classes:
        raise fields.refuse("categories", config.categories, f"as many names as num_classes ({config.num_classes})")
    return config


def config_beside(weights: str | Path) -> FolderConfig | None:
    """What the ``config.json`` of a folder of weights says; None for a file, or a folder without one."""
    folder = Path(weights).expanduser()
    return read_config(folder) if (folder / CONFIG).is_file() else None


def write_config(folder: Path, config: FolderConfig) -> None:
    """Write the ``config.json`` of a folder, whole or not at all.

    Raises:
        WeightsUnavailable: the disk did not take it.
    """
    try:
        with atomic_file(folder / CONFIG) as file:
            file.write(json.dumps(_as_json(config), indent=2, ensure_ascii=False).encode() + b"\n")
    except OSError as e:
        raise disk_error(e, folder, "the path") from e


def _gate(fields: Fields, se: dict[str, object]) -> SE:
    try:
        return from_json(se)
    except UsageError as e:
        raise ManifestError(f"{fields.where}.se: {e}") from e


def _categories(fields: Fields) -> tuple[str, ...] | None:
    names = fields.take("categories")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise fields.refuse("categories", names, "a list of texts, or null")
    return tuple(names)


def _as_json(config: FolderConfig) -> dict[str, object]:
    p = config.preprocessing
    return {
        "architecture": config.architecture,
        "se": None if config.se is None else to_json(config.se),
        "num_classes": config.num_classes,
        "in_channels": config.in_channels,
        "preprocessing": None if p is None else {**asdict(p), "interpolation": p.interpolation.value},
        "categories": config.categories,
    }
