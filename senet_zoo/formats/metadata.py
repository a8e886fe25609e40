"""What a safetensors file says of its tensors' input and output, as texts in its header's metadata.

===========================  =========================================================================================
key                          value
===========================  =========================================================================================
``senet_zoo.preprocessing``  a JSON object, as in the manifest: how a picture becomes the network's input
``senet_zoo.labels``         ``imagenet-1k``, ``cifar10``, ... (`LABELS`): the order of its logits
``senet_zoo.fingerprint``    a JSON object, as in the manifest: what the network answers to a fixed picture
===========================  =========================================================================================
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import ManifestError, WeightsCorrupted
from senet_zoo.support.json_fields import (
    BAD,
    Cursor,
    FieldRule,
    Items,
    Member,
    Nullable,
    Number,
    Record,
    Whole,
    as_json,
    no_duplicates,
    read_as,
    rules_of,
    shown,
)

INDEX = r"0|[1-9][0-9]{0,5}"
LEAST_SCALE, MOST_LOGIT, MOST_LOGITS, MOST_SUMS = 1e-9, 1e9, 64, 64  # in a fingerprint
LABELS = {
    "imagenet-1k": 1000,
    "imagenet-12k": 11821,
    "cifar10": 10,
    "imagenette": 10,
    "cifar100": 100,
    "svhn": 10,
    "cub": 200,
}
_PREFIX = "senet_zoo"
_LOGIT = Number(-MOST_LOGIT, MOST_LOGIT)


@dataclass(frozen=True)
class Logits(FieldRule):
    """An object of 1 to ``most`` numbers by their index, which is below the ``num_classes`` around it."""

    logit: Number
    most: int

    def read(self, value: Any, cursor: Cursor) -> Any:
        """Pairs of index and logit."""
        if not isinstance(value, dict) or not 1 <= len(value) <= self.most:
            return cursor.refuse(f"an object of 1 to {self.most} numbers by index", value)
        count = cursor.around.get("num_classes") or 10**6  # of features nobody says how many there are
        for index in value:
            if re.fullmatch(INDEX, index) is None or (type(count) is int and int(index) >= count):
                return cursor.refuse(f"an object whose keys are indices below {shown(count)}", index)
        logits = tuple((int(index), self.logit.read(logit, cursor.at(f".{index}"))) for index, logit in value.items())
        return BAD if any(logit is BAD for _, logit in logits) else logits

    def write(self, value: Any) -> object:
        """The object from which `read` makes these pairs."""
        return {str(index): logit for index, logit in value}


@dataclass(frozen=True)
class Fingerprint:
    """What the published function answers to a fixed picture; `senet_zoo.weights.fingerprint` makes and compares it.

    Args:
        size: side of the picture, in pixels.
        scale: root mean square of all logits or features, to which deviations are compared.
        logits: pairs of index and value, the greatest logit among them; rounded. Of a network without classifier these
            are its pooled features.
        sums: weighted sums of all of them, so that the order of those that are not kept matters too; rounded.
    """

    size: Annotated[int, Whole(8, 1024)]
    scale: Annotated[float, Number(LEAST_SCALE, MOST_LOGIT)]
    logits: Annotated[tuple[tuple[int, float], ...], Logits(_LOGIT, MOST_LOGITS)]
    sums: Annotated[
        tuple[float, ...],
        Items(_LOGIT, 1, MOST_SUMS, f"a list of 1 to {MOST_SUMS} numbers", tuple(map(str, range(MOST_SUMS)))),
    ]


@dataclass(frozen=True)
class FileMetadata:
    """What a file says of its network; None where it does not say it.

    Args:
        preprocessing: how a picture becomes the network's input.
        labels: list of class names in the order of the logits.
        fingerprint: what the network answers to a fixed picture.
    """

    preprocessing: Annotated[Preprocessing | None, Nullable(Record(Preprocessing))] = None
    labels: Annotated[str | None, Nullable(Member(tuple(LABELS)))] = None
    fingerprint: Annotated[Fingerprint | None, Nullable(Record(Fingerprint))] = None

    def texts(self) -> dict[str, str]:
        """What `parse_metadata` reads; nothing of what is not known."""
        return {
            f"{_PREFIX}.{name}": value if isinstance(value, str) else _text(value)
            for name, value in as_json(self).items()
            if value is not None
        }


def parse_metadata(metadata: Mapping[str, str], num_classes: int, path: Path) -> FileMetadata:
    """What the metadata of a file's header says.

    Args:
        metadata: of a checked header.
        num_classes: logits of the file's network.
        path: of the file, for messages.

    Raises:
        WeightsCorrupted: a value is none that this zoo writes.
    """
    values: dict[str, object] = {name: metadata.get(f"{_PREFIX}.{name}") for name in rules_of(FileMetadata)}
    try:
        for name in ("preprocessing", "fingerprint"):
            text = metadata.get(f"{_PREFIX}.{name}")
            values[name] = None if text is None else json.loads(text, object_pairs_hook=no_duplicates)
            if text is not None and values[name] is None:
                raise ValueError(f"{name} must be a JSON object, got null")
        return read_as(FileMetadata, values, _PREFIX, {"num_classes": num_classes})
    except (ManifestError, ValueError, RecursionError) as e:
        raise WeightsCorrupted(
            f"the metadata of {path} must be what senet-zoo writes: {str(e)[:300]}; convert the file again"
        ) from e


def _text(values: object) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"))
