"""`load_exported`: an ONNX or OpenVINO file as a network that answers pictures, without torch."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
from numpy.typing import NDArray

from senet_zoo.data.pictures import require_resizable
from senet_zoo.data.preprocessing import Interpolation, Preprocessing
from senet_zoo.errors import ExportError, UsageError
from senet_zoo.prediction.exported_metadata import Metadata, read_metadata
from senet_zoo.prediction.exported_task import ExportedTask, is_task, read_task_metadata
from senet_zoo.prediction.pipeline import Failure, Prediction, classify_pictures, require_counts
from senet_zoo.prediction.runtimes import Runtime, open_file

if TYPE_CHECKING:
    from PIL.Image import Image

    from senet_zoo.prediction.sources import Source


def pixels(picture: "Image", preprocessing: Preprocessing) -> NDArray[numpy.float32]:
    """A picture as the network's input, bit for bit what `Preprocessing.transforms` makes of it with torchvision.

    Shape:
        RGB -> (3, size, size).

    Raises:
        PictureError: resized it would be too large.

    Source: torchvision's documented rules: the longer side is rounded down, the corner of the cut to the even pixel.
    """
    from PIL.Image import Resampling

    filters = {Interpolation.BILINEAR: Resampling.BILINEAR, Interpolation.BICUBIC: Resampling.BICUBIC}
    size, short = preprocessing.size, preprocessing.resize
    require_resizable(*picture.size, short)
    width, height = (short * side // min(picture.size) for side in picture.size)
    if (width, height) != picture.size:
        picture = picture.resize((width, height), filters[preprocessing.interpolation])
    left, top = round((width - size) / 2), round((height - size) / 2)
    cut = numpy.asarray(picture.crop((left, top, left + size, top + size)))  # (size, size, 3)
    x = cut.transpose(2, 0, 1).astype(numpy.float32) * numpy.float32(1 / 255)  # a product, as in torchvision
    mean, std = (numpy.array(v, numpy.float32)[:, None, None] for v in (preprocessing.mean, preprocessing.std))
    return numpy.ascontiguousarray((x - mean) / std)


@dataclass(frozen=True)
class ExportedModel:
    """An exported network, on the CPU.

    Args:
        path: its file.
        metadata: what the file says about it.
        run: computes logits in a runtime.

    Shape:
        float32 (N, in_channels, H, W) -> float32 (N, num_classes), as numpy arrays.
    """

    path: Path
    metadata: Metadata
    run: Callable[[NDArray[numpy.float32]], NDArray[numpy.float32]]

    def __call__(self, x: NDArray[numpy.float32]) -> NDArray[numpy.float32]:
        """Logits of pictures."""
        return self.run(x)

    @property
    def task(self) -> str:
        """What the network answers."""
        return "classification"

    @property
    def name(self) -> str:
        """Of the network."""
        return self.metadata.model

    @property
    def labels(self) -> tuple[str, ...]:
        """A name for each logit."""
        return self.metadata.labels

    def predict(
        self, sources: "Source | Iterable[Source]", *, top: int = 5, batch: int = 32, workers: int = 4
    ) -> Iterator[Prediction | Failure]:
        """Classify pictures, one result each in the order given; one that cannot be read does not stop the others.

        Args:
            sources: files, folders, ``file:`` URLs, PIL pictures, or uint8 arrays (H, W, 3); or one of them.
            top: classes in each prediction, or all of them where the model has fewer.
            batch: pictures that the network sees at once.
            workers: threads that decode pictures.

        Raises:
            UsageError: a number below 1, or a network without classes.
            ExportError: the file does not say how pictures are prepared, or the network gives no finite scores.
        """
        require_counts(top, batch, workers)
        if self.metadata.num_classes == 0:
            raise UsageError(
                f"predict names classes, and the network of {self.path} has none: it answers features",
                python="; call it with arrays",
                command_line="; run the file by its own runtime",
            )
        preprocessing = self.metadata.preprocessing
        if preprocessing is None:
            raise ExportError(
                f"{self.path} does not say how a picture becomes its input",
                python=": export it with preprocessing=..., or call the network with arrays of your own",
                command_line=": export it from a folder or from weights that say it",
            )
        prepare = partial(pixels, preprocessing=preprocessing)
        return classify_pictures(sources, prepare, partial(self._classify, top=top), batch=batch, workers=workers)

    def _classify(self, pictures: Sequence[tuple[str, NDArray[numpy.float32]]], top: int) -> list[Prediction]:
        logits = self(numpy.stack([x for _, x in pictures]))  # (N, classes)
        if not numpy.isfinite(logits).all():
            raise ExportError(
                f"scores must be finite, and those of {pictures[0][0]} or a picture in its batch are not: check the "
                "weights that were exported"
            )
        odds = numpy.exp(logits - logits.max(1, keepdims=True))
        shares = odds / odds.sum(1, keepdims=True)
        best = numpy.argsort(-shares, axis=1, kind="stable")[:, :top]
        labels = self.metadata.labels
        return [
            Prediction(path, tuple((labels[i], float(row[i])) for i in indices), self.metadata.model)
            for (path, _), indices, row in zip(pictures, best, shares, strict=True)
        ]


def load_exported(path: str | os.PathLike[str], *, runtime: Runtime | None = None) -> ExportedModel | Any:
    """A network that `senet_zoo.export` wrote, ready to answer pictures; torch is neither needed nor imported.

    Args:
        path: a ``.onnx`` file, or an OpenVINO ``.xml`` with its ``.bin`` beside it.
        runtime: default: ONNX Runtime for ``.onnx``, OpenVINO for ``.xml``. OpenVINO reads both.

    Raises:
        UsageError: the runtime is not installed (the message names the extra), or does not read such files.
        ExportError: no such file, a damaged one, or one of another tool.

    Returns:
        An `ExportedModel`; of a detector's or a segmenter's file, an `ExportedTask` with the same `predict`.
    """
    file = Path(path).expanduser()
    opened = open_file(file, Runtime.of(file) if runtime is None else runtime)
    if is_task(opened.metadata):
        return ExportedTask(file, read_task_metadata(str(opened.metadata), str(file)), opened)
    metadata = read_metadata(opened.metadata, str(file))
    if metadata.preprocessing is not None and metadata.side not in (None, metadata.preprocessing.size):
        raise UsageError(
            f"{file} takes pictures of {metadata.side} pixels and prepares them at {metadata.preprocessing.size}: "
            "export it again"
        )
    return ExportedModel(file, metadata, opened.run)
