"""An exported detector or segmenter that answers pictures, without torch."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy
from numpy.typing import NDArray

from senet_zoo.data.pictures import require_resizable, require_visible
from senet_zoo.errors import ExportError, ManifestError, UsageError
from senet_zoo.prediction.pipeline import Box, Failure, PixelClasses, Prediction, classify_pictures, require_counts
from senet_zoo.prediction.runtimes import OpenedFile
from senet_zoo.support.json_fields import Items, Member, Text, Whole, as_json, no_duplicates, read_as

if TYPE_CHECKING:
    from PIL.Image import Image

    from senet_zoo.prediction.sources import Source

THRESHOLD, MOST, BATCH = 0.5, 100, 4
"""Of a detector's boxes as in `senet_zoo.prediction.boxes`, and pictures that wait."""
Answer = tuple[str, tuple["Image", NDArray[numpy.float32]]]


@dataclass(frozen=True)
class TaskMetadata:
    """What the file of a detector or a segmenter says about it.

    Args:
        task: ``detection`` or ``segmentation``.
        network: such as ``faster_rcnn on se_resnet50``.
        classes: of a detector, in the order of the labels from 1; of a segmenter, of its logits.
        side: of a picture's shorter side when it is looked at, in pixels; a detector's file resizes by itself.
        longest: of its longer side at most; the same as ``side`` where there is no such bound.
        plain: numbers of classes that are no things, such as the background.
        senet_zoo: version of the library that wrote the file.
    """

    task: Annotated[str, Member(("detection", "segmentation"))]
    network: Annotated[str, Text()]
    classes: Annotated[tuple[str, ...], Items(Text(r"(?s).*"), 1)]
    side: Annotated[int, Whole(1, 10**5)]
    longest: Annotated[int, Whole(1, 10**5)]
    plain: Annotated[tuple[int, ...], Items(Whole(0, 255))]
    senet_zoo: Annotated[str, Text()]

    def text(self) -> str:
        """JSON, the same for the same values."""
        return json.dumps(as_json(self), ensure_ascii=True)


def is_task(text: str | None) -> bool:
    """Whether the metadata of a file are a detector's or a segmenter's."""
    try:
        found: object = json.loads(text or "null")
    except ValueError:
        return False
    return isinstance(found, dict) and "task" in found


def read_task_metadata(text: str, where: str) -> TaskMetadata:
    """The metadata of a file, every field checked.

    Raises:
        ExportError: senet_zoo did not write it, or an earlier one, which did not say all.
    """
    try:
        return read_as(TaskMetadata, json.loads(text, object_pairs_hook=no_duplicates), where)
    except (ManifestError, ValueError, RecursionError) as error:
        raise ExportError(
            f"the metadata of {where} are not as this senet_zoo writes them: {error}; export again"
        ) from error


@dataclass(frozen=True)
class ExportedTask:
    """An exported detector or segmenter, on the CPU; `senet_zoo.load_exported` makes it.

    Args:
        path: its file.
        metadata: what the file says about it.
        opened: the file in its runtime.
    """

    path: Path
    metadata: TaskMetadata
    opened: OpenedFile

    @property
    def task(self) -> str:
        """``detection`` or ``segmentation``."""
        return self.metadata.task

    @property
    def name(self) -> str:
        """Of the network."""
        return self.metadata.network

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of its classes."""
        return self.metadata.classes

    def __call__(self, x: NDArray[numpy.float32]) -> list[NDArray[Any]]:
        """Boxes, labels and scores of a picture (3, H, W), or logits of pictures (N, 3, H, W); pixels in [0, 1]."""
        return self.opened.outputs(x)

    def predict(
        self,
        sources: "Source | Iterable[Source]",
        *,
        top: int | None = None,
        batch: int | None = None,
        workers: int = 4,
        threshold: float | None = None,
    ) -> Iterator[Prediction | Failure]:
        """What is found in pictures, one result each in the order given; one that cannot be read stops no other.

        Args:
            sources: files, folders, ``file:`` URLs, PIL pictures, or uint8 arrays (H, W, 3); or one of them.
            top: boxes at most, 100 by default; of a segmenter, classes at most.
            batch: pictures that wait, decoded.
            workers: threads that decode pictures.
            threshold: least score of a detector's boxes, 0.5 by default.

        Raises:
            UsageError: a number out of range, or a threshold for a segmenter.
            ExportError: the network gives no finite numbers.
        """
        detects = self.task == "detection"
        if threshold is not None and not detects:
            raise UsageError(
                "a threshold is a detector's, and a segmenter answers with the class of each pixel",
                python=": leave threshold out",
                command_line=": leave --threshold out",
            )
        least = THRESHOLD if threshold is None else threshold
        if not 0.0 <= least <= 1.0:
            raise UsageError(f"threshold must be a score from 0 to 1, got {least}")
        most = (MOST if detects else len(self.labels)) if top is None else top
        at_once = BATCH if batch is None else batch
        require_counts(most, at_once, workers)
        answer = partial(self._find_boxes, most=most, least=least) if detects else partial(self._map, most=most)
        prepare = self._whole if detects else self._resized
        return classify_pictures(sources, prepare, answer, batch=at_once, workers=workers)

    def _whole(self, picture: "Image") -> tuple["Image", NDArray[numpy.float32]]:
        require_visible(*picture.size, self.metadata.longest)
        return picture, _pixels(picture)

    def _resized(self, picture: "Image") -> tuple["Image", NDArray[numpy.float32]]:
        from PIL.Image import Resampling

        side = self.metadata.side
        require_resizable(*picture.size, side)
        width, height = (side * length // min(picture.size) for length in picture.size)
        return picture, _pixels(picture.resize((width, height), Resampling.BILINEAR))

    def _find_boxes(self, pictures: Sequence[Answer], most: int, least: float) -> list[Prediction]:
        answers = []
        for path, (picture, x) in pictures:
            corners, labels, scores = self(x)
            self._require_finite(path, corners, scores)
            kept = [
                index
                for index in numpy.argsort(-scores, kind="stable").tolist()
                if scores[index] >= least and 0 < labels[index] <= len(self.labels)
            ][:most]
            boxes = []
            for index in kept:
                number = int(labels[index])
                left, top, right, bottom = map(float, corners[index])
                boxes.append(
                    Box(self.labels[number - 1], float(scores[index]), (left, top, right, bottom), number, None)
                )
            best: dict[str, float] = {}
            for box in boxes:
                best.setdefault(box.label, box.score)
            answers.append(Prediction(path, tuple(best.items()), self.name, tuple(boxes), picture.size))
        return answers

    def _map(self, pictures: Sequence[Answer], most: int) -> list[Prediction]:
        answers = []
        for path, (picture, x) in pictures:
            (logits,) = self(x[None])  # (1, classes, h, w)
            self._require_finite(path, logits)
            numbers = _classes_of(logits[0], picture.size)
            counts = numpy.bincount(numbers.ravel(), minlength=len(self.labels))
            order = [number for number in numpy.argsort(-counts, kind="stable").tolist() if counts[number]]
            shares = tuple((self.labels[number], float(counts[number] / numbers.size)) for number in order[:most])
            found = PixelClasses(numbers, self.labels, frozenset(self.metadata.plain))
            answers.append(Prediction(path, shares, self.name, None, picture.size, found))
        return answers

    def _require_finite(self, path: str, *values: NDArray[Any]) -> None:
        if not all(numpy.isfinite(each).all() for each in values):
            raise ExportError(f"what a network says must be finite, and of {path} it is not: check what was exported")


def _pixels(picture: "Image") -> NDArray[numpy.float32]:
    """(3, H, W), pixels in [0, 1]."""
    x = numpy.asarray(picture).transpose(2, 0, 1).astype(numpy.float32) / numpy.float32(255.0)
    return numpy.ascontiguousarray(x)


def _classes_of(logits: NDArray[numpy.float32], size: tuple[int, int]) -> NDArray[numpy.uint8]:
    """The likeliest class of each pixel of a picture of that size, the logits resized class by class."""
    from PIL import Image

    best: NDArray[numpy.float32] | None = None
    numbers = numpy.zeros((size[1], size[0]), dtype=numpy.uint8)
    for number, each in enumerate(logits):
        whole = numpy.asarray(Image.fromarray(numpy.ascontiguousarray(each)).resize(size, Image.Resampling.BILINEAR))
        if best is None:
            best = whole.copy()
            continue
        numbers[whole > best] = number
        numpy.maximum(best, whole, out=best)
    return numbers
