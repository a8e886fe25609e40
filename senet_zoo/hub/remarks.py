"""What a safetensors file says of its tensors' input and output, as texts in its header's metadata.

===========================  =========================================================================================
key                          value
===========================  =========================================================================================
``senet_zoo.preprocessing``  a JSON object, as in the manifest: how a picture becomes the network's input
``senet_zoo.labels``         ``imagenet-1k``, ``imagenet-12k``, ``cifar10`` or ``imagenette``: the order of its logits
``senet_zoo.fingerprint``    a JSON object, as in the manifest: what the network answers to a fixed picture
===========================  =========================================================================================
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from senet_zoo.errors import ManifestError, WeightsCorrupted
from senet_zoo.hub.fields import no_duplicates
from senet_zoo.hub.preparation import preprocessing_json, read_preprocessing
from senet_zoo.hub.rows import (
    LABELS,
    Fingerprint,
    fingerprint_json,
    read_fingerprint,
)
from senet_zoo.preprocessing import Preprocessing

_PREPROCESSING, _LABELS, _FINGERPRINT = "senet_zoo.preprocessing", "senet_zoo.labels", "senet_zoo.fingerprint"


@dataclass(frozen=True)
class Remarks:
    """What is known beside the tensors; None for what nothing says.

    Args:
        preprocessing: how a picture becomes the network's input.
        labels: list of class names in the order of the logits.
        fingerprint: what the network answers to a fixed picture.
    """

    preprocessing: Preprocessing | None = None
    labels: str | None = None
    fingerprint: Fingerprint | None = None

    def metadata(self) -> dict[str, str]:
        """What `read_remarks` reads; nothing of what is not known."""
        metadata = {}
        if self.preprocessing is not None:
            metadata[_PREPROCESSING] = _text(preprocessing_json(self.preprocessing))
        if self.labels is not None:
            metadata[_LABELS] = self.labels
        if self.fingerprint is not None:
            metadata[_FINGERPRINT] = _text(fingerprint_json(self.fingerprint))
        return metadata


def read_remarks(metadata: Mapping[str, str], num_classes: int, path: Path) -> Remarks:
    """What the metadata of a file's header says.

    Args:
        metadata: of a checked header.
        num_classes: logits of the file's network.
        path: of the file, for messages.

    Raises:
        WeightsCorrupted: a value is none that this zoo writes.
    """
    prepared, labels, answer = (metadata.get(key) for key in (_PREPROCESSING, _LABELS, _FINGERPRINT))
    try:
        if labels is not None and labels not in LABELS:
            raise ValueError(f"labels must be one of {', '.join(LABELS)}, got {labels[:80]!r}")
        return Remarks(
            None if prepared is None else read_preprocessing(_parsed(prepared), "senet_zoo"),
            labels,
            None if answer is None else read_fingerprint(_parsed(answer), "senet_zoo", num_classes),
        )
    except (ManifestError, ValueError, RecursionError) as e:
        raise WeightsCorrupted(
            f"the metadata of {path} must be what senet-zoo writes: {str(e)[:300]}; convert the file again"
        ) from e


def _text(values: dict[str, object]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def _parsed(text: str) -> object:
    value: object = json.loads(text, object_pairs_hook=no_duplicates)
    return value
