"""What an exported file says about its network: which it is, how pictures are prepared, what its logits mean."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from senet_zoo.data.preprocessing import Preprocessing, read_preprocessing
from senet_zoo.errors import ExportError, ManifestError
from senet_zoo.support.json_fields import WIDTHS, Fields, Nullable, Whole, as_json, no_duplicates


class Precision(Enum):
    """Arithmetic of the convolutions; gates and classifier are computed in float32 in either case."""

    FLOAT32 = "float32"
    INT8 = "int8"


@dataclass(frozen=True)
class Metadata:
    """The metadata of an exported file.

    Args:
        model: name of the network, or its class name if it is not from the zoo.
        se: every choice of its gate; None for a plain twin, and for networks of other libraries.
        weights_sha256: hash of the original's tensors, as `senet_zoo.inference.export` computes it.
        num_classes: number of logits; 0 for pooled features.
        in_channels: channels of the pictures.
        side: the only size of pictures that it takes, in pixels; None if it takes any size.
        precision: arithmetic of the convolutions.
        preprocessing: from a picture to the input; None if unknown.
        categories: class names in the order of the logits; None if unknown.
        senet_zoo: version of the library that wrote the file.
        widths: channels of the network's maps if some were removed; None for those of ``model``.
    """

    model: str
    se: Mapping[str, object] | None
    weights_sha256: str
    num_classes: int
    in_channels: int
    side: int | None
    precision: Precision
    preprocessing: Preprocessing | None
    categories: tuple[str, ...] | None
    senet_zoo: str
    widths: tuple[int, ...] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each logit: its category, or its number if categories are unknown."""
        return self.categories or tuple(f"class {index}" for index in range(self.num_classes))

    def text(self) -> str:
        """JSON, the same for the same values."""
        fields = {
            **vars(self),
            "precision": self.precision.value,
            "preprocessing": None if self.preprocessing is None else as_json(self.preprocessing),
        }
        return json.dumps(fields, sort_keys=True, ensure_ascii=False)


def read_metadata(text: str | None, where: str) -> Metadata:
    """The metadata of a file, every field checked.

    Args:
        text: what `Metadata.text` wrote; None if the file carries none.
        where: the file, for messages.

    Raises:
        ExportError: there is no metadata, or senet_zoo did not write it.
    """
    if text is None:
        raise ExportError(
            f"an exported network says which it is, and {where} does not: it comes from another tool, or another tool "
            "has stripped it. Export it with senet_zoo.export, or run it with its own runtime"
        )
    try:
        return _read(Fields(json.loads(text, object_pairs_hook=no_duplicates), where))
    except (ManifestError, ValueError) as error:
        raise ExportError(
            f"the metadata fields of {where} are not as senet_zoo writes them: {error}; export again"
        ) from error


def _read(fields: Fields) -> Metadata:
    num_classes = fields.whole("num_classes", 0, 10**6)
    preprocessing, categories, se = fields.take("preprocessing"), fields.take("categories"), fields.take("se")
    if se is not None and not isinstance(se, Mapping):
        raise fields.refuse("se", se, "an object or null")
    metadata = Metadata(
        model=fields.text("model"),
        se=se,
        weights_sha256=fields.text("weights_sha256", "[0-9a-f]{64}", "the 64 hex digits of a sha256"),
        num_classes=num_classes,
        in_channels=fields.whole("in_channels", 1, 10**4),
        side=fields.read("side", Nullable(Whole(1, 10**5))),
        precision=Precision(fields.choice("precision", tuple(each.value for each in Precision))),
        preprocessing=None if preprocessing is None else read_preprocessing(preprocessing, fields.where),
        categories=None if categories is None else _names(categories, num_classes, fields),
        senet_zoo=fields.text("senet_zoo"),
        widths=fields.read("widths", WIDTHS),
    )
    fields.done()
    return metadata


def _names(value: object, num_classes: int, fields: Fields) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value) or len(value) != num_classes:
        raise fields.refuse("categories", value, f"a list of {num_classes} texts, or null")
    return tuple(value)
