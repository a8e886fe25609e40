"""Intersection over union, from torchmetrics' confusion matrix, of what a segmenter says of whole pictures."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from senet_zoo.errors import DataError, UsageError
from senet_zoo.segmentation.design import SegmenterConfig
from senet_zoo.segmentation.layouts import MaskedPictures
from senet_zoo.segmentation.masks import IGNORED
from senet_zoo.segmentation.pictures import MaskedValidationPictures, PixelSample, UnreadMask
from senet_zoo.training.batches import Share, batches_by_key
from senet_zoo.training.metrics import write_table

MOST_LOGITS = 2**27  # numbers that are resized at once, 512 MB; larger pictures get the classes of the smaller map


@dataclass(frozen=True)
class PixelScores:
    """What a segmenter says, in percent.

    Args:
        miou: mean over the classes that are there of intersection over union.
        accuracy: share of pixels whose class is right.
        per_class: intersection over union of each class; None where it is neither there nor said.
        pictures: that were looked at.
        unreadable: pictures that could not be read, with the reason; they are left out.
    """

    miou: float
    accuracy: float
    per_class: Mapping[str, float | None]
    pictures: int
    unreadable: tuple[str, ...]


def check_metrics() -> None:
    """Refuse to begin where the library that measures is not installed.

    Raises:
        UsageError: it is not.
    """
    if find_spec("torchmetrics") is None:
        raise UsageError("segmentation needs torchmetrics: pip install 'senet-zoo[segmentation]'")


def evaluate_segmenter(
    model: nn.Module,
    data: MaskedPictures,
    *,
    workers: int = 0,
    progress: Callable[[int], object] | None = None,
) -> PixelScores:
    """Measure a segmenter on every picture.

    Args:
        model: whose logit n is the n-th class of the data, and whose ``weights`` say how pictures are prepared; left in
            eval mode, on its device.
        data: pictures and masks.
        workers: processes that read.
        progress: told the number of pictures done since it was last told.

    Raises:
        DataError: no picture can be read, or a mask holds what is no class.
        UsageError: the library that measures is not installed.
    """
    check_metrics()
    confusion, unreadable = confusion_of(model, data, Share(0, 1), workers=workers, progress=progress)
    return scores_of(confusion, data, unreadable)


@torch.inference_mode()
def classes_of(model: nn.Module, x: Tensor, size: tuple[int, int]) -> Tensor:
    """The class of each pixel, uint8 (H, W), of one prepared picture.

    Args:
        model: a segmenter.
        x: (1, 3, h, w).
        size: width and height of the answer.
    """
    logits: Tensor = model(x)["out"]  # (1, classes, h, w)
    if logits.shape[1] * size[0] * size[1] <= MOST_LOGITS:
        whole = F.interpolate(logits, size=(size[1], size[0]), mode="bilinear", align_corners=False)
        return whole.argmax(1)[0].to(torch.uint8)
    small = logits.argmax(1, keepdim=True).to(torch.uint8)
    return F.interpolate(small, size=(size[1], size[0]), mode="nearest")[0, 0]


def confusion_of(
    model: nn.Module,
    data: MaskedPictures,
    share: Share,
    *,
    workers: int,
    progress: Callable[[int], object] | None = None,
) -> tuple[Tensor, list[tuple[int, str]]]:
    """Pixels by true class (row) and said class (column) in a process's share, and the pictures left out, by index."""
    from torchmetrics.classification import MulticlassConfusionMatrix

    given: Any = model
    config: SegmenterConfig = given.weights
    device = next(model.parameters()).device
    model.eval()
    metric = MulticlassConfusionMatrix(len(data.classes), ignore_index=IGNORED, sync_on_compute=False).to(device)
    unreadable: list[tuple[int, str]] = []
    for sample in _samples(data, config, share, workers):
        if isinstance(sample, UnreadMask):
            unreadable.append((sample.index, sample.reason))
        else:
            said = classes_of(model, sample.image[None].to(device), (sample.classes.shape[1], sample.classes.shape[0]))
            metric.update(said.long()[None], sample.classes.to(device).long()[None])
        if progress is not None:
            progress(1)
    return metric.confmat, unreadable


def _samples(
    data: MaskedPictures, config: SegmenterConfig, share: Share, workers: int
) -> Iterator[PixelSample | UnreadMask]:
    pictures = MaskedValidationPictures(data, config.side, config.mean, config.std)
    for (sample,) in batches_by_key(pictures, share.of(len(data.pictures), 1), list, workers):
        yield sample


def write_per_class(path: Path, scores: PixelScores) -> None:
    """Intersection over union of each class as CSV; empty where a class is neither there nor said.

    Raises:
        UsageError: the file cannot be written.
    """
    write_table(path, ("class", "iou"), scores.per_class)


def scores_of(confusion: Tensor, data: MaskedPictures, unreadable: Sequence[tuple[int, str]]) -> PixelScores:
    """Intersection over union from pixels by true class (row) and said class (column).

    Raises:
        DataError: no pixel was measured.
    """
    reasons = tuple(reason for _, reason in sorted(unreadable))
    if not confusion.sum():
        last = f", the last because: {reasons[-1]}" if reasons else ", because every pixel is left out"
        raise DataError(f"a picture must be measured, and of {len(data.pictures)} none can be{last}")
    right, exact = confusion.diag().double(), confusion.double()
    values = right / (exact.sum(0) + exact.sum(1) - right)  # a class that is neither there nor said has no value
    there = ~values.isnan()
    return PixelScores(
        miou=100.0 * float(values[there].mean()),
        accuracy=100.0 * float(confusion.trace()) / float(confusion.sum()),
        per_class={
            name: 100.0 * float(value) if known else None
            for name, value, known in zip(data.classes, values, there, strict=True)
        },
        pictures=len(data.pictures) - len(reasons),
        unreadable=reasons,
    )
