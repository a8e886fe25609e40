"""`Preprocessing` as JSON: in the manifest, in configs and in exported networks. It needs no torch."""

from dataclasses import asdict

from senet_zoo.errors import UsageError
from senet_zoo.hub.fields import Fields
from senet_zoo.preprocessing import Interpolation, Preprocessing


def read_preprocessing(value: object, where: str) -> Preprocessing:
    """The JSON object ``preprocessing`` of a manifest's row or a model's config.

    Raises:
        ManifestError: it breaks a rule.
    """
    fields = Fields(value, f"{where}.preprocessing")
    size = fields.whole("size", 8, 1024)
    resize = fields.whole("resize", size, 2048)
    interpolation = fields.choice("interpolation", tuple(word.value for word in Interpolation))
    mean, std = _rgb(fields, "mean", 0.0), _rgb(fields, "std", 0.001)
    fields.done()
    try:
        return Preprocessing(size, resize, Interpolation(interpolation), mean, std)
    except UsageError as e:
        raise fields.refuse("*", interpolation, f"what preprocessing allows ({e})") from e


def preprocessing_json(preprocessing: Preprocessing) -> dict[str, object]:
    """The JSON object that `read_preprocessing` reads."""
    return {**asdict(preprocessing), "interpolation": preprocessing.interpolation.value}


def _rgb(fields: Fields, name: str, low: float) -> tuple[float, float, float]:
    value = fields.take(name)
    if not isinstance(value, list) or len(value) != 3:
        raise fields.refuse(name, value, "a list of three numbers, for R, G and B")
    channels = Fields(dict(zip("RGB", value, strict=True)), f"{fields.where}.{name}")
    return channels.number("R", low, 1.0), channels.number("G", low, 1.0), channels.number("B", low, 1.0)
