"""What ``config.json`` beside a model's tensors says: all that rebuilds the network around them, and whose they are."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from senet_zoo import registry
from senet_zoo.errors import ManifestError, UsageError, WeightsNotFound
from senet_zoo.hub.atomic import atomic_file, disk_error
from senet_zoo.hub.fields import Fields, read_json
from senet_zoo.hub.rows import MODEL_NAME, TAG, Metric, read_metric, read_preprocessing
from senet_zoo.hub.sources import SHA256
from senet_zoo.preprocessing import Preprocessing
from senet_zoo.specs import SE
from senet_zoo.zoo.variant import from_json, to_json

if TYPE_CHECKING:
    from torchvision.transforms.v2 import Transform

CONFIG, TENSORS = "config.json", "model.safetensors"
HUB = "hf://"
LICENSE = r"[a-z0-9][a-z0-9.+-]{0,63}"


@dataclass(frozen=True)
class Provenance:
    """Where the tensors of a folder come from, and what was measured of them.

    Args:
        sha256: of the ``model.safetensors`` that the rest speaks of.
        base: the published weights (``model.tag``) that they are, or were trained on from; None for neither.
        license: SPDX name in lower case, or None where nobody chose one.
        metrics: measured with exactly these tensors.
    """

    sha256: str
    base: str | None = None
    license: str | None = None
    metrics: tuple[Metric, ...] = ()


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
        provenance: whose tensors these are; None in folders that do not say it.
    """

    architecture: str
    se: SE | None
    num_classes: int
    in_channels: int
    preprocessing: Preprocessing | None = None
    categories: tuple[str, ...] | None = None
    provenance: Provenance | None = None

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
    return parse_config(read_json(path), str(path))


def parse_config(data: object, where: str) -> FolderConfig:
    """What a parsed ``config.json`` says, every field checked.

    Args:
        data: the JSON value.
        where: its file or address, for messages.

    Raises:
        ManifestError: it breaks a rule; the message names the field.
        UnknownModelError: its architecture is none of the zoo's.
    """
    fields = Fields(data, where)
    se = fields.take("se")
    if se is not None and not isinstance(se, dict):
        raise fields.refuse("se", se, "an object, or null for a plain twin")
    preprocessing = fields.take("preprocessing")
    provenance = fields.take_optional("provenance")
    config = FolderConfig(
        architecture=registry.find(fields.text("architecture")).name,
        se=None if se is None else _gate(fields, se),
        num_classes=fields.whole("num_classes", 0, 10**6),
        in_channels=fields.whole("in_channels", 1, 10**4),
        preprocessing=None if preprocessing is None else read_preprocessing(preprocessing, fields.where),
        categories=_categories(fields),
        provenance=None if provenance is None else _provenance(Fields(provenance, f"{where}.provenance")),
    )
    fields.done()
    plain = registry.find(config.architecture).se is None
    if plain != (config.se is None):
        raise fields.refuse("se", se, f"{'null' if plain else 'an object'}, for {config.architecture}")
    if config.categories is not None and len(config.categories) != config.num_classes:
        raise fields.refuse("categories", config.categories, f"as many names as num_classes ({config.num_classes})")
    return config


def config_beside(weights: str | Path) -> FolderConfig | None:
    """What the ``config.json`` of a folder, or of a hub's repository, says; None where this zoo wrote none there.

    Args:
        weights: a path, or ``hf://org/name@revision``.

    Raises:
        ManifestError: it breaks a rule.
        WeightsError: the hub did not deliver it.
    """
    if str(weights).startswith(HUB):
        return _on_hub(str(weights))
    path = Path(weights).expanduser() / CONFIG
    return read_config(path.parent) if path.is_file() and _is_ours(read_json(path)) else None


def _on_hub(address: str) -> FolderConfig | None:
    from senet_zoo.hub.fetch import locate_hub
    from senet_zoo.hub.text_files import fetch_text

    repo, _, revision = address.removeprefix(HUB).partition("@")
    # The tensors come first: they settle which commit a bare name means, and the config is read at the same one.
    commit = locate_hub(repo, revision or None).revision
    path = None if commit is None else fetch_text(repo, commit, CONFIG)
    data = None if path is None else read_json(path)
    return parse_config(data, f"{HUB}{repo}@{commit}/{CONFIG}") if _is_ours(data) else None


def _is_ours(data: object) -> bool:
    # Other libraries write a config.json too; none of them says which gate its network carries.
    return isinstance(data, Mapping) and "se" in data


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


def _provenance(fields: Fields) -> Provenance:
    provenance = Provenance(
        sha256=fields.text("sha256", SHA256, "the 64 hex digits of a sha256"),
        base=fields.text_or_null("base", rf"{MODEL_NAME}\.{TAG}", "the name of published weights, model.tag"),
        license=fields.text_or_null("license", LICENSE, "an SPDX name in lower case, such as apache-2.0"),
        metrics=tuple(read_metric(metric) for metric in fields.objects("metrics", least=0)),
    )
    fields.done()
    return provenance


def check_license(name: str) -> None:
    """Refuse what is no licence's name.

    Raises:
        UsageError: it is not of the form of one.
    """
    if re.fullmatch(LICENSE, name) is None:
        raise UsageError(f"a licence is an SPDX name in lower case, such as apache-2.0 or mit, got {name!r}")


def _categories(fields: Fields) -> tuple[str, ...] | None:
    names = fields.take("categories")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise fields.refuse("categories", names, "a list of texts, or null")
    return tuple(names)


def _as_json(config: FolderConfig) -> dict[str, object]:
    p, provenance = config.preprocessing, config.provenance
    return {
        "architecture": config.architecture,
        "se": None if config.se is None else to_json(config.se),
        "num_classes": config.num_classes,
        "in_channels": config.in_channels,
        "preprocessing": None if p is None else {**asdict(p), "interpolation": p.interpolation.value},
        "categories": config.categories,
        "provenance": None if provenance is None else asdict(provenance),
    }
