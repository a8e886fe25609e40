"""The manifest's row of a published network, from what its config says."""

import json
import re
from dataclasses import dataclass

from senet_zoo import registry
from senet_zoo.blueprint import on_meta
from senet_zoo.errors import ManifestError
from senet_zoo.hub.manifest import document, parse_manifest
from senet_zoo.hub.rows import LABELS, WeightsRow
from senet_zoo.hub.sources import HubFile
from senet_zoo.labels import categories
from senet_zoo.specs import NetworkSpec
from senet_zoo.zoo.card import PAPER, base_row
from senet_zoo.zoo.config import FolderConfig
from senet_zoo.zoo.folders import parameters_of


@dataclass(frozen=True)
class Credit:
    """Whose weights are: fields of a `WeightsRow`."""

    license: str | None
    license_source: str
    origin: str | None
    citation: str


def credit_of(config: FolderConfig, repo: str) -> Credit:
    """What a config's provenance says of it, and the row of the weights that it comes from.

    Args:
        config: of the network.
        repo: whose card names the licence.
    """
    base = base_row(config)
    licence = config.provenance.license if config.provenance else None
    if base is None:
        return Credit(licence, f"the model card of {repo}", None, PAPER)
    source = base.license_source if base.license == licence else f"the model card of {repo}"
    return Credit(licence, source, base.origin, base.citation)


def parameters_of_spec(spec: NetworkSpec, num_classes: int, in_channels: int) -> int:
    """Number of learnt values of a network that is never filled with any."""
    return parameters_of(on_meta(spec, num_classes=num_classes, in_channels=in_channels))


def as_tag(text: str) -> str:
    """A row's tag for what a repository calls its weights, such as ``v1_0`` for ``v1.0``."""
    return re.sub("[^a-z0-9]+", "_", text.lower()).strip("_")


def row_of(config: FolderConfig, source: HubFile, *, tag: str, parameters: int, credit: Credit) -> WeightsRow:
    """The row; what it says is what a reader of the manifest accepts.

    Args:
        config: of the network.
        source: where its tensors lie.
        tag: the row's own name after the model's.
        parameters: learnt values of the network.
        credit: whose it is.

    Raises:
        ManifestError: a row has no place for such a network; the message says why.
    """
    if config.se != registry.find(config.architecture).se:
        raise ManifestError(f"a row has no place for another gate than that of {config.architecture}")
    if config.widths is not None:
        raise ManifestError(f"a row has no place for other widths than those of {config.architecture}")
    labels = [name for name, count in LABELS.items() if config.categories == categories(name, count)]
    if not labels or config.preprocessing is None:
        raise ManifestError(f"a row needs preprocessing, and the class names of one of {', '.join(LABELS)}")
    row = WeightsRow(
        model=config.architecture,
        tag=tag,
        num_classes=config.num_classes,
        labels=labels[0],
        in_channels=config.in_channels,
        parameters=parameters,
        preprocessing=config.preprocessing,
        sources=(source,),
        metrics=config.provenance.metrics if config.provenance else (),
        license=credit.license,
        license_source=credit.license_source,
        origin=credit.origin,
        citation=credit.citation,
        training=None,
        fingerprint=config.fingerprint,
    )
    return parse_manifest(json.loads(json.dumps(document([row]))), "manifest").row(row.model, row.tag)
