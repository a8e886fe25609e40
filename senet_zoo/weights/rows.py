"""What the manifest knows of one checkpoint and of its files: frozen values that declare the rules of their JSON."""

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath
from typing import Annotated, Any

from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import SenetZooError, UsageError
from senet_zoo.formats.containers import MOST_BYTES
from senet_zoo.formats.dialects import DIALECTS
from senet_zoo.formats.metadata import LABELS, Fingerprint
from senet_zoo.networks.specs import SE
from senet_zoo.support.json_fields import (
    BAD,
    Cursor,
    FieldRule,
    Flag,
    Items,
    Member,
    Nullable,
    Number,
    OneOf,
    Record,
    Text,
    Whole,
)
from senet_zoo.weights.variant import from_json, to_json

MODEL_NAME = r"[a-z][a-z0-9]*(_[a-z0-9]+)*"
TAG = r"[a-z0-9]+(_[a-z0-9]+)*"
ORIGIN = r"https://[^\s@]+"
REPO = r"[A-Za-z0-9][A-Za-z0-9_-]*/[A-Za-z0-9][A-Za-z0-9._-]*"
COMMIT = r"[0-9a-f]{40}"
REVISION = r"(?=.{1,250}$)[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*"
SHA256 = r"[0-9a-f]{64}"
SHA1 = r"[0-9a-f]{40}"
PREFIX = r"[0-9a-f]{8,64}"
# Relative, no segment starts with a dot (so no ".."), and none is a device name of Windows.
_DEVICE = r"([Cc][Oo][Nn]|[Pp][Rr][Nn]|[Aa][Uu][Xx]|[Nn][Uu][Ll]|[Cc][Oo][Mm][0-9]|[Ll][Pp][Tt][0-9])"
_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
PATH = rf"(?!(.*/)?{_DEVICE}(\.|/|$)){_NAME}(/{_NAME})*"
# Plain http only where nobody can listen in; no user names in the address; a plain file name at the end.
URL = (
    r"(https://[A-Za-z0-9.-]+|http://(localhost|127\.0\.0\.1|\[::1\]))(:[0-9]+)?/([^\s@]*/)?"
    rf"(?!{_DEVICE}(\.|$)){_NAME}"
)

OWN = "own"
"""Labels of a row that brings its class names with it."""

_PATH = Text(PATH, "a relative path with / that leaves no folder, such as weights/model.safetensors")
_SHA256 = Text(SHA256, "the 64 hex digits of a sha256")
_SIZE = Whole(1, MOST_BYTES)
_DIALECT = Member(tuple(DIALECTS))


@dataclass(frozen=True)
class PackageFile:
    """A safetensors file inside the installed package.

    Args:
        path: below the package's folder, with ``/``.
        sha256: of the file, 64 hex digits.
        size: in bytes.
        dialect: how its tensors are named; see `senet_zoo.formats.dialects`.
    """

    path: Annotated[str, _PATH]
    sha256: Annotated[str, _SHA256]
    size: Annotated[int, _SIZE]
    dialect: Annotated[str, _DIALECT]


@dataclass(frozen=True)
class HubFile:
    """A safetensors file in a repository of a hub that speaks Hugging Face's protocol.

    Args:
        repo: ``organisation/name``.
        revision: the commit, 40 hex digits; None: not known, the hub's newest is resolved once and kept. Outside a
            manifest it may be a tag or a branch, which is resolved once too.
        filename: inside the repository.
        sha256: of the file, 64 hex digits; None: not known, the bytes are checked against what the hub reports.
        size: in bytes; None: not known.
        dialect: how its tensors are named; see `senet_zoo.formats.dialects`.
    """

    repo: Annotated[str, Text(REPO, "organisation/name")]
    revision: Annotated[str | None, Nullable(Text(COMMIT, "the 40 hex digits of a commit, never a branch or tag"))]
    filename: Annotated[str, _PATH]
    sha256: Annotated[str | None, Nullable(_SHA256)]
    size: Annotated[int | None, Nullable(_SIZE)]
    dialect: Annotated[str, _DIALECT]


@dataclass(frozen=True)
class HashOf(Nullable):
    """The first digits of a release's sha256; null where its publisher gives a sha1, which then stands beside it."""

    def take(self, value: Any) -> Any:
        """The digits; null is looked at with its surroundings."""
        return BAD if value is None else self.rule.take(value)

    def read(self, value: Any, cursor: Cursor) -> Any:
        """The digits, or None."""
        if value is None and not isinstance(cursor.around.get("sha1"), str):
            return cursor.refuse("the first 8 to 64 hex digits of a sha256, or null beside a sha1", value)
        return super().read(value, cursor)


@dataclass(frozen=True)
class ReleaseFile:
    """A torch file of a public release: fetched once, hash checked, kept as safetensors.

    Args:
        url: https address of the file.
        sha256_prefix: the first 8 or more hex digits of its sha256; None where its publisher gives a sha1 instead.
        size: in bytes; None: not known.
        dialect: how its tensors are named; see `senet_zoo.formats.dialects`.
        sha1: of the torch file, 40 hex digits; of the one inside, where the address ends in ``.zip``. None: not known.
    """

    url: Annotated[
        str, Text(URL, "an https address without user name (http only on this machine) that ends in a plain file name")
    ]
    sha256_prefix: Annotated[str | None, HashOf(Text(PREFIX, "the first 8 to 64 hex digits of a sha256"))]
    size: Annotated[int | None, Nullable(_SIZE)]
    dialect: Annotated[str, _DIALECT]
    sha1: Annotated[str | None, Nullable(Text(SHA1, "the 40 hex digits of a sha1"), may_lack=True)] = None

    @property
    def proof(self) -> str:
        """What is known of its hash, and how much that proves."""
        if self.sha256_prefix is None:
            return f"has the sha1 {self.sha1}, which tells damage; two files of one sha1 can be made"
        digits = len(self.sha256_prefix)
        weak = "" if digits >= 32 else f": {digits} of 64 hex digits, which tell damage but not a forgery"
        return f"starts with {self.sha256_prefix}{weak}"

    @property
    def filename(self) -> str:
        """The last part of the address."""
        return PurePosixPath(self.url).name


Source = PackageFile | HubFile | ReleaseFile
SOURCES = OneOf({"package": PackageFile, "hub": HubFile, "release": ReleaseFile})


def split_revision(address: str) -> tuple[str, str | None]:
    """The two parts of ``organisation/name@revision``; the revision is None where the address has no ``@``."""
    repo, at, revision = address.partition("@")
    return repo, revision if at else None


def require_hub_file(repo: str, revision: str | None, filename: str) -> None:
    """Refuse what names no file of a hub, before anything is asked.

    Args:
        repo: ``organisation/name``.
        revision: a commit, tag or branch; None for the newest commit.
        filename: inside the repository.

    Raises:
        UsageError: one of them is not of that form.
    """
    for name, value, pattern, rule in (
        ("repo", repo, REPO, "organisation/name"),
        ("revision", revision, REVISION, "a commit of 40 hex digits, a tag or a branch, or nothing for the newest"),
        ("filename", filename, PATH, "a relative path inside the repository"),
    ):
        if value is not None and re.fullmatch(pattern, value) is None:
            raise UsageError(f"{name} of a hub file must be {rule}, got {value!r}")


class PinState(Enum):
    """How much a row knows of its files before they are fetched, in one word."""

    PINNED = "pinned"
    """Of every source the commit, where it has one, the whole sha256 and the size."""
    HASHED = "hashed"
    """Of a source at least the first digits of a sha256, or a sha1."""
    UNPINNED = "unpinned"
    """No hash: the bytes are checked against what the hub reports of them."""


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

    name: Annotated[str, Member(("top1", "top5"))]
    value: Annotated[float | None, Nullable(Number(0.0, 100.0))]
    dataset: Annotated[str, Text()]
    size: Annotated[int, Whole(8, 1024)]
    who: Annotated[str, Text()]
    measured_by_us: Annotated[bool, Flag()]


@dataclass(frozen=True)
class Epoch:
    """One line of a training log.

    Args:
        epoch: counted from 1.
        loss: mean of the epoch.
        validation_top1: percent of the held-out pictures.
        seconds: how long it took.
    """

    epoch: Annotated[int, Whole(1, 100_000)]
    loss: Annotated[float, Number(0.0, 1e6)]
    validation_top1: Annotated[float, Number(0.0, 100.0)]
    seconds: Annotated[float, Number(0.0, 1e9)]


@dataclass(frozen=True)
class Training:
    """How a checkpoint of this zoo was made.

    Args:
        command: what repeats it, from the top of the tree.
        recipe: its name in `senet_zoo.training.recipes`, or at the commit that ``selection`` names.
        seed: of initialisation, order and augmentation.
        selection: how the kept state was chosen, and on which pictures.
        log: one row an epoch.
    """

    command: Annotated[str, Text()]
    recipe: Annotated[str, Text()]
    seed: Annotated[int, Whole(0, 2**63)]
    selection: Annotated[str, Text()]
    log: Annotated[tuple[Epoch, ...], Items(Record(Epoch), least=1)]


@dataclass(frozen=True)
class LabelCount(Whole):
    """As many as the ``labels`` beside it."""

    def take(self, value: Any) -> Any:
        """Nothing: what lies beside it must be asked."""
        return BAD

    def read(self, value: Any, cursor: Cursor) -> Any:
        """The number."""
        labels = cursor.around.get("labels")
        count = LABELS.get(labels, value) if isinstance(labels, str) else value
        if super().read(value, cursor) is BAD:
            return BAD
        if labels == OWN and "categories" not in cursor.around:
            return cursor.refuse(f"the number of class names, which stand in categories where labels is {OWN!r}", value)
        return value if value == count else cursor.refuse(f"{count}, the number of labels of {labels}", value)


@dataclass(frozen=True)
class OwnNames(Nullable):
    """The class names of a row whose ``labels`` are `OWN`; null beside all others."""

    def take(self, value: Any) -> Any:
        """Nothing by itself: the list is looked at with its surroundings."""
        return BAD

    def read(self, value: Any, cursor: Cursor) -> Any:
        """The names, or None."""
        own, count = cursor.around.get("labels") == OWN, cursor.around.get("num_classes")
        if own == (value is None) or (isinstance(value, list) and len(value) != count):
            return cursor.refuse(f"a name for each of num_classes where labels is {OWN!r}, and null elsewhere", value)
        return super().read(value, cursor)


@dataclass(frozen=True)
class Gate(FieldRule):
    """A gate, as ``config.json`` of a saved folder spells it."""

    def read(self, value: Any, cursor: Cursor) -> Any:
        """The `SE`."""
        try:
            return from_json(value)
        except SenetZooError as error:
            return cursor.refuse(f"a gate ({error})", value)

    def write(self, value: Any) -> object:
        """The JSON object from which `read` makes it."""
        return to_json(value)


@dataclass(frozen=True)
class WeightsRow:
    """One checkpoint: what it is, where it lies, how to feed it, how good it is, and whose it is.

    Args:
        model: name of the network; the function that the weights belong to.
        tag: tells this checkpoint from the model's others.
        num_classes: logits of the classifier.
        labels: the list of class names: ``imagenet-1k``, ``imagenet-12k``, ``cifar10``, ``cifar100``, ``svhn``,
            ``cub``, ``imagenette``, or ``own`` for names that stand in ``categories``.
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
        categories: class names of the row's own, in the order of the logits; None where ``labels`` names them.
        se: the gate, where it is another than the model's own, such as one without biases; None for that.
    """

    model: str
    tag: str
    num_classes: Annotated[int, LabelCount(1, 1_000_000)]
    labels: Annotated[str, Member((*LABELS, OWN))]
    in_channels: Annotated[int, Whole(1, 1024)]
    parameters: Annotated[int, Whole(1, 10**10)]
    preprocessing: Annotated[Preprocessing, Record(Preprocessing)]
    sources: Annotated[tuple[Source, ...], Items(SOURCES, least=1)]
    metrics: Annotated[tuple[Metric, ...], Items(Record(Metric))]
    license: Annotated[str | None, Nullable(Text())]
    license_source: Annotated[str, Text()]
    origin: Annotated[str | None, Nullable(Text(ORIGIN, "an https address"))]
    citation: Annotated[str, Text()]
    training: Annotated[Training | None, Nullable(Record(Training))]
    fingerprint: Annotated[Fingerprint | None, Nullable(Record(Fingerprint), may_lack=True)] = None
    categories: Annotated[tuple[str, ...] | None, OwnNames(Items(Text(), least=1), may_lack=True)] = None
    se: Annotated[SE | None, Nullable(Gate(), may_lack=True)] = None

    @property
    def name(self) -> str:
        """``model.tag``."""
        return f"{self.model}.{self.tag}"

    @property
    def accuracies(self) -> tuple[Metric, ...]:
        """The known top-1 accuracies on the pictures of the first: a mean of several views is another figure."""
        known = [metric for metric in self.metrics if metric.name == "top1" and metric.value is not None]
        return tuple(metric for metric in known if metric.dataset == known[0].dataset)

    @property
    def pin_state(self) -> PinState:
        """How much is known of its files."""
        if all(_is_pinned(source) for source in self.sources):
            return PinState.PINNED
        return PinState.HASHED if any(_hash_of(source) for source in self.sources) else PinState.UNPINNED


def _hash_of(source: Source) -> str | None:
    return source.sha256_prefix or source.sha1 if isinstance(source, ReleaseFile) else source.sha256


def _is_pinned(source: Source) -> bool:
    whole = re.fullmatch(SHA256, _hash_of(source) or "") is not None
    return whole and source.size is not None and getattr(source, "revision", "") is not None
