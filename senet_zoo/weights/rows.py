"""What the manifest knows of one checkpoint, as frozen values; reading checks every field."""

from dataclasses import asdict, dataclass

from senet_zoo.data.preprocessing import Preprocessing, read_preprocessing
from senet_zoo.formats.metadata import LABELS, Fingerprint, fingerprint_json, read_fingerprint
from senet_zoo.support.json_fields import Fields
from senet_zoo.weights.sources import HubFile, PackageFile, ReleaseFile, Source, read_source

MODEL_NAME = r"[a-z][a-z0-9]*(_[a-z0-9]+)*"
TAG = r"[a-z0-9]+(_[a-z0-9]+)*"
ORIGIN = r"https://[^\s@]+"


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
