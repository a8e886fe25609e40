"""What the manifest knows of one checkpoint, as frozen values; reading checks every field."""

import re
from dataclasses import asdict, dataclass

from senet_zoo.hub.fields import Fields
from senet_zoo.hub.preparation import read_preprocessing
from senet_zoo.hub.sources import HubFile, PackageFile, ReleaseFile, Source, read_source
from senet_zoo.preprocessing import Preprocessing

MODEL_NAME = r"[a-z][a-z0-9]*(_[a-z0-9]+)*"
TAG = r"[a-z0-9]+(_[a-z0-9]+)*"
ORIGIN = r"https://[^\s@]+"
INDEX = r"0|[1-9][0-9]{0,5}"
LEAST_SCALE, MOST_LOGIT, MOST_LOGITS, MOST_SUMS = 1e-9, 1e9, 64, 64  # in a fingerprint
LABELS = {"imagenet-1k": 1000, "imagenet-12k": 11821, "cifar10": 10, "imagenette": 10}


@dataclass(frozen=True)
class Metric:
    """An accuracy that somebody measured.

    Args:
        name: ``top1`` or ``top5``, percent of pictures.
        value: None where it is not known.
        dataset: the pictures, such as ``imagenet-1k val``.
        size: side of the square that the network saw, in pixels.
        who: who measured it, and where it is written.
        measured_by_us: whether a command in this tree made the number.
    """

    name: str
    value: float | None
    dataset: str
    size: int
    who: str
    measured_by_us: bool


@dataclass(frozen=True)
class Epoch:
    """One line of a training log: mean loss, accuracy on the held-out split in percent, and how long it took."""

    epoch: int
    loss: float
    validation_top1: float
    seconds: float


@dataclass(frozen=True)
class Training:
    """How a checkpoint of this zoo was made.

    Args:
        command: what repeats it, from the top of the tree.
        recipe: its name in `senet_zoo.training.recipes`, or in `senet_zoo.training.embedded.recipe`.
        seed: of initialisation, order and augmentation.
        selection: how the kept state was chosen, and on which pictures.
        log: one row an epoch.
    """

    command: str
    recipe: str
    seed: int
    selection: str
    log: tuple[Epoch, ...]


@dataclass(frozen=True)
class Fingerprint:
    """What the published function answers to a fixed picture; `senet_zoo.zoo.fingerprint` makes and compares it.

    Args:
        size: side of the picture, in pixels.
        scale: root mean square of all logits, to which deviations are compared.
        logits: pairs of index and value, the greatest logit among them; rounded.
        sums: weighted sums of all logits, so that the order of those that are not kept matters too; rounded.
    """

    size: int
    scale: float
    logits: tuple[tuple[int, float], ...]
    sums: tuple[float, ...]


@dataclass(frozen=True)
class WeightsRow:
    """One checkpoint: what it is, where it lies, how to feed it, how good it is, and whose it is.

    Args:
        model: name of the network; the function that the weights belong to.
        tag: tells this checkpoint from the model's others.
        num_classes: logits of the classifier.
        labels: the list of class names: ``imagenet-1k``, ``imagenet-12k``, ``cifar10`` or ``imagenette``.
        in_channels: channels of its pictures.
        parameters: number of learnt values, classifier included.
        preprocessing: how a picture becomes its input.
        sources: where the file lies, in the order in which they are tried.
        metrics: measured accuracies.
        license: SPDX name in lower case, or None where it is not known.
        license_source: who says so.
        origin: https address of whoever trained it; None for this project's own.
        citation: the paper of the network or of the recipe.
        training: how it was made, for the checkpoints of this zoo; None for all others.
        fingerprint: what the function answers to a fixed picture, or None where nobody has run it yet.
    """

    model: str
    tag: str
    num_classes: int
    labels: str
    in_channels: int
    parameters: int
    preprocessing: Preprocessing
    sources: tuple[Source, ...]
    metrics: tuple[Metric, ...]
    license: str | None
    license_source: str
    origin: str | None
    citation: str
    training: Training | None
    fingerprint: Fingerprint | None = None

    @property
    def name(self) -> str:
        """``model.tag``."""
        return f"{self.model}.{self.tag}"


def read_row(model: str, tag: str, fields: Fields) -> WeightsRow:
    """The row of ``model.tag``, every field checked.

    Raises:
        ManifestError: a field is missing, unknown, or breaks its rule.
    """
    labels = fields.choice("labels", tuple(LABELS))
    num_classes = fields.whole("num_classes", 1, 1_000_000)
    if num_classes != LABELS[labels]:
        raise fields.refuse("num_classes", num_classes, f"{LABELS[labels]}, the number of labels of {labels}")
    training = fields.take("training")
    fingerprint = fields.take_optional("fingerprint")
    row = WeightsRow(
        model=model,
        tag=tag,
        num_classes=num_classes,
        labels=labels,
        in_channels=fields.whole("in_channels", 1, 1024),
        parameters=fields.whole("parameters", 1, 10**10),
        preprocessing=read_preprocessing(fields.take("preprocessing"), fields.where),
        sources=tuple(read_source(source) for source in fields.objects("sources", least=1)),
        metrics=tuple(read_metric(metric) for metric in fields.objects("metrics", least=0)),
        license=fields.text_or_null("license"),
        license_source=fields.text("license_source"),
        origin=fields.text_or_null("origin", ORIGIN, "an https address"),
        citation=fields.text("citation"),
        training=None if training is None else _training(Fields(training, f"{fields.where}.training")),
        fingerprint=None if fingerprint is None else read_fingerprint(fingerprint, fields.where, num_classes),
    )
    fields.done()
    return row


def row_json(row: WeightsRow) -> dict[str, object]:
    """The JSON object from which `read_row` reads the same row."""
    kinds = {PackageFile: "package", HubFile: "hub", ReleaseFile: "release"}
    values = asdict(row)
    del values["model"], values["tag"]
    values["preprocessing"]["interpolation"] = row.preprocessing.interpolation.value
    values["sources"] = [{"kind": kinds[type(source)], **asdict(source)} for source in row.sources]
    values["fingerprint"] = None if row.fingerprint is None else fingerprint_json(row.fingerprint)
    return values


def fingerprint_json(fingerprint: Fingerprint) -> dict[str, object]:
    """The JSON object from which `read_fingerprint` reads the same value."""
    return {**asdict(fingerprint), "logits": {str(index): value for index, value in fingerprint.logits}}


def read_fingerprint(value: object, where: str, num_classes: int) -> Fingerprint:
    """The JSON object ``fingerprint`` of a manifest's row or a model's config.

    Args:
        value: as parsed.
        where: the path to the object that holds it, for messages.
        num_classes: logits of the network.

    Raises:
        ManifestError: it breaks a rule.
    """
    fields = Fields(value, f"{where}.fingerprint")
    size, scale = fields.whole("size", 8, 1024), fields.number("scale", LEAST_SCALE, MOST_LOGIT)
    logits = _kept_logits(fields, num_classes)
    sums = fields.take("sums")
    if not isinstance(sums, list) or not 1 <= len(sums) <= MOST_SUMS:
        raise fields.refuse("sums", sums, f"a list of 1 to {MOST_SUMS} numbers")
    numbers = Fields(dict(zip(map(str, range(len(sums))), sums, strict=True)), f"{fields.where}.sums")
    kept = tuple(numbers.number(str(place), -MOST_LOGIT, MOST_LOGIT) for place in range(len(sums)))
    fields.done()
    return Fingerprint(size, scale, logits, kept)


def _kept_logits(fields: Fields, num_classes: int) -> tuple[tuple[int, float], ...]:
    value = fields.take("logits")
    if not isinstance(value, dict) or not 1 <= len(value) <= MOST_LOGITS:
        raise fields.refuse("logits", value, f"an object of 1 to {MOST_LOGITS} numbers by index")
    for index in value:
        if re.fullmatch(INDEX, index) is None or int(index) >= num_classes:
            raise fields.refuse("logits", index, f"an object whose keys are indices below {num_classes}")
    logits = Fields(value, f"{fields.where}.logits")
    return tuple((int(index), logits.number(index, -MOST_LOGIT, MOST_LOGIT)) for index in value)


def read_metric(fields: Fields) -> Metric:
    """The metric that ``fields`` describes.

    Raises:
        ManifestError: a field breaks its rule.
    """
    metric = Metric(
        name=fields.choice("name", ("top1", "top5")),
        value=fields.number_or_null("value", 0.0, 100.0),
        dataset=fields.text("dataset"),
        size=fields.whole("size", 8, 1024),
        who=fields.text("who"),
        measured_by_us=fields.flag("measured_by_us"),
    )
    fields.done()
    return metric


def _training(fields: Fields) -> Training:
    training = Training(
        command=fields.text("command"),
        recipe=fields.text("recipe"),
        seed=fields.whole("seed", 0, 2**63),
        selection=fields.text("selection"),
        log=tuple(_epoch(epoch) for epoch in fields.objects("log", least=1)),
    )
    fields.done()
    return training


def _epoch(fields: Fields) -> Epoch:
    epoch = Epoch(
        epoch=fields.whole("epoch", 1, 100_000),
        loss=fields.number("loss", 0.0, 1e6),
        validation_top1=fields.number("validation_top1", 0.0, 100.0),
        seconds=fields.number("seconds", 0.0, 1e9),
    )
    fields.done()
    return epoch
