"""What is known of a saved model beside its tensors, as frozen values."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from senet_zoo import registry
from senet_zoo.blocks.widths import Widths
from senet_zoo.errors import UsageError
from senet_zoo.hub.rows import Fingerprint, Metric
from senet_zoo.preprocessing import Preprocessing
from senet_zoo.specs import SE, NetworkSpec

if TYPE_CHECKING:
    from torchvision.transforms.v2 import Transform

CONFIG = "config.json"


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
        fingerprint: what the network answers to a fixed picture; None in older folders, and for a network that has
            none, as one without logits.
        timm: what timm calls the network, where names and config are written so that timm reads the folder too.
        widths: channels of the stem's map and of each stage's, where some were removed; None for the architecture's
            own.
    """

    architecture: str
    se: SE | None
    num_classes: int
    in_channels: int
    preprocessing: Preprocessing | None = None
    categories: tuple[str, ...] | None = None
    provenance: Provenance | None = None
    fingerprint: Fingerprint | None = None
    timm: str | None = None
    widths: Widths | None = None

    @property
    def spec(self) -> NetworkSpec:
        """The network's architecture.

        Raises:
            UsageError: the architecture has no such gate or widths.
        """
        return registry.find(self.architecture).spec(self.se, self.widths)

    def transforms(self) -> "Transform":
        """The torchvision v2 transform of the preprocessing.

        Raises:
            UsageError: the folder does not say what it is.
        """
        if self.preprocessing is None:
            raise UsageError(f"{CONFIG} of {self.architecture} names no preprocessing; save it with one")
        return self.preprocessing.transforms()
