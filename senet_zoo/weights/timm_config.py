"""The ``config.json`` of timm's form: what ``timm.create_model("hf-hub:org/name")`` reads, and timm itself publishes.

Source: ``timm.models`` and the repositories of https://huggingface.co/timm, as of timm 0.9 and newer.
"""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

from senet_zoo.data.labels import categories
from senet_zoo.data.preprocessing import Interpolation, Preprocessing, read_preprocessing
from senet_zoo.errors import UnknownModelError
from senet_zoo.formats.metadata import LABELS
from senet_zoo.networks.families.family import Model
from senet_zoo.networks.network import on_meta
from senet_zoo.support.json_fields import Fields, Items, Whole
from senet_zoo.weights.libraries import named_by, target_of
from senet_zoo.weights.load import CLASSIFIER, first_convolution

OURS, PRETRAINED = "senet_zoo", "pretrained_cfg"
TIMM_WRAPPER = "timm_wrapper"
"""The ``model_type`` of what transformers saves of timm's networks, with or without ``pretrained_cfg``."""

_OVERRIDES = ("num_classes", "label_names", "label_descriptions")  # of pretrained_cfg, by fields of the whole
_DEFAULTS = {"input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": 0.875, "crop_mode": "center"}
_INPUT_SIZE = Items(Whole(1, 10**4), 3, 3, "three whole numbers up to 10000: channels, height and width")
_POOL = "avg"  # the head of every function that timm shares with the zoo
_OF_TRANSFORMERS = (
    *("architectures", "do_pooling", "dtype", "initializer_range", "model_type", "transformers_version"),
    *("problem_type", "torch_dtype"),
)
"""What transformers' TimmWrapper adds when it saves a folder again; none of it changes the function."""
_LABELS_OF_TAG = {"in1k": "imagenet-1k", "in12k": "imagenet-12k"}

_log = logging.getLogger("senet_zoo")


@dataclass(frozen=True)
class TimmConfig:
    """What a config of timm's form says.

    Args:
        name: of the network, in timm.
        num_classes: logits; 0 for pooled features.
        in_channels: of the pictures.
        preprocessing: from a picture to the input; None where it is not said, or cannot be said here.
        categories: class names in the order of the logits, or None where they are not known.
        ours: what this zoo wrote beside timm's fields, as parsed; None where timm itself wrote them.
    """

    name: str
    num_classes: int
    in_channels: int
    preprocessing: Preprocessing | None
    categories: tuple[str, ...] | None
    ours: object

    @property
    def model(self) -> Model:
        """The zoo's network of this function.

        Raises:
            UnknownModelError: it has none.
        """
        model = named_by("timm", self.name)
        if model is None:
            raise UnknownModelError(
                f"no model of the zoo is known to be the function of timm's {self.name!r}",
                python="; senet_zoo.list_models() lists all",
                command_line="; senet-zoo list prints all",
            )
        return model


def names_ours(data: Mapping[str, object]) -> bool:
    """Whether a parsed config of timm's form is that of a network that the zoo has too."""
    name = data.get("architecture")
    return isinstance(name, str) and named_by("timm", name) is not None


def read_timm(data: Mapping[str, object], where: str) -> TimmConfig:
    """What a parsed config of timm's form says.

    Fields that do not change the function are passed over; a config that this zoo wrote has none.

    Args:
        data: the JSON object.
        where: its file or address, for messages.

    Raises:
        ManifestError: a field breaks its rule, or makes another function of the network.
    """
    top = Fields(data, where)
    name, ours = top.text("architecture"), top.take_optional(OURS)
    weights = Fields(_completed(top), f"{where}.{PRETRAINED}")
    num_classes = weights.whole("num_classes", 0, 10**6)
    channels, *side = weights.read("input_size", _INPUT_SIZE)
    arguments = Fields({"in_chans": channels, **_object(top, "model_args")}, f"{where}.model_args")
    config = TimmConfig(
        name=name,
        num_classes=num_classes,
        in_channels=arguments.whole("in_chans", 1, 10**4),
        preprocessing=_preprocessing(weights, side),
        categories=_categories(weights, num_classes),
        ours=ours,
    )
    for fields, key, expected in (
        (arguments, "num_classes", num_classes),
        (arguments, "global_pool", _POOL),
        (top, "global_pool", _POOL),
    ):
        value = fields.take_optional(key)
        if value not in (None, expected):
            raise fields.refuse(key, value, f"{expected!r}, with which {name} is a function of the zoo")
    arguments.done()
    if ours is not None:
        weights.take_optional("first_conv")
        weights.take_optional("classifier")
        for name in _OF_TRANSFORMERS:
            top.take_optional(name)
        top.done()
        weights.done()
    return config


def timm_json(config: TimmConfig) -> dict[str, object]:
    """The JSON object from which timm builds the network, and `read_timm` reads the same value."""
    p, first, classifier = config.preprocessing, *_ends(config.model)
    side = config.model.spec().input_size if p is None else p.size
    weights: dict[str, object] = {
        "input_size": [config.in_channels, side, side],
        # Older timm takes what is named here for filters of RGB, and where they are not, starts them at random.
        "first_conv": first if config.in_channels == 3 else None,
        "classifier": classifier,
    }
    if p is not None:
        weights |= {"interpolation": p.interpolation.value, "crop_pct": crop_pct(p), "mean": p.mean, "std": p.std}
    names = {} if config.categories is None else {"label_names": config.categories}
    return {
        "architecture": config.name,
        "num_classes": config.num_classes,
        **names,
        PRETRAINED: weights,
        OURS: config.ours,
    }


def crop_pct(preprocessing: Preprocessing) -> float:
    """What timm divides the input's side by, and rounds down, to find the size that it resizes a picture to."""
    size, resize = preprocessing.size, preprocessing.resize
    share = size / resize
    return share if math.floor(size / share) == resize else math.nextafter(share, 0)


def _object(fields: Fields, name: str) -> dict[str, object]:
    value = fields.take_optional(name)
    if value is not None and not isinstance(value, dict):
        raise fields.refuse(name, value, "an object")
    return value or {}


def _completed(top: Fields) -> dict[str, object]:
    """``pretrained_cfg`` as timm completes it, with the values of its evaluation in place of those of its training."""
    given = {**_DEFAULTS, **_object(top, PRETRAINED)}
    given |= {key: value for key in _OVERRIDES if (value := top.take_optional(key)) is not None}
    tests = {key: value for key in ("input_size", "crop_pct") if (value := given.pop(f"test_{key}", None)) is not None}
    return {**given, **tests}


def _preprocessing(weights: Fields, side: list[int]) -> Preprocessing | None:
    crop, mode = weights.number("crop_pct", 0.001, 10), weights.take("crop_mode")
    interpolation = weights.take("interpolation")
    mean, std = (_per_channel(weights.take_optional(key)) for key in ("mean", "std"))
    if mean is None and std is None:
        return None
    words = [word.value for word in Interpolation]
    if side[0] != side[1] or crop > 1 or mode != "center" or interpolation not in words or None in (mean, std):
        _log.warning(
            "%s resizes, crops or normalises in a way that senet_zoo has no words for; its preprocessing is not taken "
            "over",
            weights.where,
        )
        return None
    values = {"size": side[0], "resize": math.floor(side[0] / crop), "interpolation": interpolation}
    return read_preprocessing({**values, "mean": mean, "std": std}, weights.where)


def _per_channel(value: object) -> list[object] | None:
    """Three values; a grey picture's one stands for each. None for what is neither."""
    if not isinstance(value, list) or len(value) not in (1, 3):
        return None
    return value * 3 if len(value) == 1 else value


def _categories(weights: Fields, num_classes: int) -> tuple[str, ...] | None:
    names, texts = weights.take_optional("label_names"), _object(weights, "label_descriptions")
    tag = weights.take_optional("tag")
    if names is None:
        labels = _LABELS_OF_TAG.get(str(tag).rpartition("_")[2], "")
        return categories(labels, num_classes) if LABELS.get(labels) == num_classes else None
    listed = [names.get(str(index)) for index in range(len(names))] if isinstance(names, dict) else names
    known = [texts.get(name, name) for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    found = tuple(text for text in known if isinstance(text, str))
    if not isinstance(listed, list) or not len(listed) == len(found) == num_classes:
        raise weights.refuse("label_names", names, f"one text for each of the {num_classes} classes")
    return found


def _ends(model: Model) -> tuple[str, str]:
    """What timm calls the convolution that meets the picture, and the classifier."""
    target = target_of("timm", model, model.se)
    assert target is not None, "a network whose names are not known is not written in timm's form"
    whole = on_meta(model.spec(), num_classes=1)
    native = whole.state_dict()
    names = dict(zip(native, target.tensors(whole, native), strict=True))
    first, classifier = names[first_convolution(whole.spec)], names[CLASSIFIER]
    return first.removesuffix(".weight"), classifier.removesuffix(".weight")
