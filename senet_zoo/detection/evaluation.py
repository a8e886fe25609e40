"""Average precision as COCO defines it, by COCO's own code, which torchmetrics calls; and who is taken for whom."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import Tensor, nn

from senet_zoo.data.outlines import mask_of
from senet_zoo.detection.coco import CocoData
from senet_zoo.detection.design import STANDARD
from senet_zoo.detection.pictures import CocoValidationPictures, Sample, UnreadPicture
from senet_zoo.errors import DataError, UsageError
from senet_zoo.training.batches import Share, batches_by_key
from senet_zoo.training.metrics import write_table

if TYPE_CHECKING:
    from collections.abc import Callable


CERTAIN = 0.5  # least score of a box that is counted by class, and least share of a mask's pixel
OVERLAP = 0.5  # least intersection over union of a box with the thing that it is
RunLengths = list[dict[str, Any]]


@dataclass(frozen=True)
class Scores:
    """What a detector finds, in percent; None where no thing of that kind is in the data.

    Args:
        ap: average precision, the mean over overlaps of 0.50, 0.55, ..., 0.95 and over classes: COCO's own measure.
        ap50: the same at an overlap of 0.5.
        ap75: at 0.75.
        small: the first one, of things under 32 x 32 pixels.
        medium: of those under 96 x 96.
        large: of those above.
        per_class: the first one, for each class.
        pictures: that were looked at.
        unreadable: pictures that could not be read, with the reason; they are left out.
        mask_ap: the first one, of masks and not of boxes; None where the detector or the data has none.
        mask_ap50: the same at an overlap of 0.5.
    """

    ap: float
    ap50: float
    ap75: float
    small: float | None
    medium: float | None
    large: float | None
    per_class: Mapping[str, float | None]
    pictures: int
    unreadable: tuple[str, ...]
    mask_ap: float | None = None
    mask_ap50: float | None = None


def check_metrics() -> None:
    """Refuse to begin where the libraries that measure are not installed.

    Raises:
        UsageError: they are not.
    """
    for name in ("torchmetrics", "pycocotools"):
        if find_spec(name) is None:
            raise UsageError(f"detection needs {name}: pip install 'senet-zoo[detection]'")


def evaluate_detector(
    model: nn.Module,
    data: CocoData,
    *,
    batch: int = 4,
    workers: int = 0,
    progress: "Callable[[int], object] | None" = None,
) -> Scores:
    """Measure a detector on every picture of a split, those without boxes included.

    Args:
        model: a detector whose label n is the n-th class of the data; left in eval mode, on its device.
        data: pictures and boxes.
        batch: pictures at once.
        workers: processes that read.
        progress: told the number of pictures done since it was last told.

    Raises:
        DataError: no picture can be read.
        UsageError: the libraries that measure are not installed.

    Source: COCO's ``cocoeval``; at most 100 boxes of a picture count.
    """
    check_metrics()
    return score(data, list(detect(model, data, Share(0, 1), batch=batch, workers=workers, progress=progress)))


@dataclass(frozen=True)
class Detections:
    """What a detector finds in a picture, and what is there.

    Args:
        index: of the picture.
        predicted: boxes, labels and scores.
        true: boxes, labels, area and iscrowd.
        masks: COCO's run lengths of both, where there are any: masks of a whole data set would not fit into memory.
    """

    index: int
    predicted: dict[str, Tensor]
    true: dict[str, Tensor]
    masks: tuple[RunLengths, RunLengths] | None = None


@torch.inference_mode()
def detect(
    model: nn.Module,
    data: CocoData,
    share: Share,
    *,
    batch: int,
    workers: int,
    progress: "Callable[[int], object] | None" = None,
) -> Iterator[Detections | UnreadPicture]:
    """What a detector finds in a process's share of the pictures; other arguments as `evaluate_detector`."""
    device = next(model.parameters()).device
    model.eval()
    keys = share.of(len(data.pictures), batch)
    longest: Any = getattr(getattr(model, "transform", None), "max_size", STANDARD.longest)
    for samples in batches_by_key(CocoValidationPictures(data.pictures, longest), keys, list, workers):
        readable = [sample for sample in samples if isinstance(sample, Sample)]
        yield from (sample for sample in samples if isinstance(sample, UnreadPicture))
        if readable:
            predicted = model([sample.image.to(device) for sample in readable])
            for sample, each in zip(readable, predicted, strict=True):
                masks, true_masks = None, sample.target.get("masks")
                if "masks" in each and (true_masks is not None or not len(sample.target["labels"])):
                    told = [] if true_masks is None else _encoded(true_masks)
                    masks = (_encoded(each["masks"][:, 0] >= CERTAIN), told)
                boxes = {name: value.cpu() for name, value in each.items() if name != "masks"}
                true = {name: value for name, value in sample.target.items() if name != "masks"}
                yield Detections(sample.index, boxes, true, masks)
        if progress is not None:
            progress(len(samples))


def score(data: CocoData, found: Sequence[Detections | UnreadPicture]) -> Scores:
    """Average precision of what was found.

    Raises:
        DataError: no picture could be read.
    """
    ordered = sorted(found, key=lambda each: each.index)
    unreadable = tuple(each.reason for each in ordered if isinstance(each, UnreadPicture))
    if len(unreadable) == len(found):
        raise DataError(f"of {len(unreadable)} pictures none can be read, the last because: {unreadable[-1]}")
    detected = [each for each in ordered if isinstance(each, Detections)]
    metric = _metric("bbox")
    for each in detected:
        metric.update([each.predicted], [each.true])
    scores = _scores(metric.compute(), data, unreadable)
    if not all(each.masks is not None for each in detected):
        return scores
    if not any(each.masks and each.masks[0] for each in detected):  # which torchmetrics takes for no data
        return replace(scores, mask_ap=0.0, mask_ap50=0.0)
    metric = _metric("segm")
    for each in detected:
        said, true = each.masks or ([], [])
        metric.update([{**each.predicted, "masks": _decoded(said)}], [{**each.true, "masks": _decoded(true)}])
    of_masks = metric.compute()
    return replace(scores, mask_ap=_percent(float(of_masks["map"])), mask_ap50=_percent(float(of_masks["map_50"])))


def confusion_of(data: CocoData, found: Sequence[Detections | UnreadPicture]) -> Tensor:
    """Things by true class (row) and said class (column); the last of both is none of them.

    Boxes that score at least `CERTAIN`, the best first, each take the true box that they overlap most, by at least
    `OVERLAP`, of those that are free. What is left over was missed, or is nothing. Boxes over crowds do not count.

    Shape:
        -> int64 (classes + 1, classes + 1).
    """
    from torchvision.ops import box_iou

    none = len(data.classes)
    counts = torch.zeros(none + 1, none + 1, dtype=torch.int64)
    for each in found:
        if not isinstance(each, Detections):
            continue
        kept = ((each.predicted["scores"] >= CERTAIN) & (each.predicted["labels"] > 0)).nonzero().flatten()
        kept = kept[each.predicted["scores"][kept].argsort(descending=True, stable=True)]
        overlaps = box_iou(each.predicted["boxes"][kept].float(), each.true["boxes"])
        crowds, free = each.true["iscrowd"] == 1, (each.true["iscrowd"] == 0).tolist()
        for row, label in zip(overlaps, each.predicted["labels"][kept].tolist(), strict=True):
            best = max((number for number, is_free in enumerate(free) if is_free), key=row.__getitem__, default=None)
            if best is not None and row[best] >= OVERLAP:
                free[best] = False
                counts[each.true["labels"][best] - 1, label - 1] += 1
            elif not (row[crowds] >= OVERLAP).any():
                counts[none, label - 1] += 1
        for label, is_free in zip(each.true["labels"].tolist(), free, strict=True):
            counts[label - 1, none] += is_free
    return counts


def _metric(kind: str) -> Any:
    """COCO's measure of boxes, ``bbox``, or of masks, ``segm``."""
    from torchmetrics.detection import MeanAveragePrecision

    metric = MeanAveragePrecision(
        box_format="xyxy",
        iou_type=kind,  # type: ignore[arg-type]
        # COCO's own in double precision: torchmetrics' in single miss a recall of exactly 0.6, and others.
        iou_thresholds=numpy.linspace(0.5, 0.95, 10).tolist(),
        rec_thresholds=numpy.linspace(0.0, 1.0, 101).tolist(),
        class_metrics=kind == "bbox",
        backend="pycocotools",
        sync_on_compute=False,
    )
    metric.warn_on_many_detections = False  # COCO's limit is meant
    return metric


def _encoded(masks: Tensor) -> RunLengths:
    from pycocotools import mask as coco_mask

    found: RunLengths = [coco_mask.encode(mask.copy(order="F")) for mask in masks.byte().cpu().numpy()]
    return [{**each, "counts": each["counts"].decode()} for each in found]


def _decoded(masks: RunLengths) -> Tensor:
    """uint8 (n, H, W)."""
    if not masks:
        return torch.zeros(0, 1, 1, dtype=torch.uint8)
    return torch.stack([torch.from_numpy(mask_of(mask, *reversed(mask["size"]))) for mask in masks])


def write_per_class(path: Path, scores: Scores) -> None:
    """Average precision of each class as CSV; empty where the data has none of the class.

    Raises:
        UsageError: the file cannot be written.
    """
    write_table(path, ("class", "ap"), scores.per_class)


def _scores(result: Mapping[str, torch.Tensor], data: CocoData, unreadable: tuple[str, ...]) -> Scores:
    # One number a class, or one for the only class.
    numbers, values = result["classes"].reshape(-1).tolist(), result["map_per_class"].reshape(-1).tolist()
    by_number = dict(zip(numbers, values, strict=True))
    return Scores(
        ap=100.0 * float(result["map"]),
        ap50=100.0 * float(result["map_50"]),
        ap75=100.0 * float(result["map_75"]),
        small=_percent(float(result["map_small"])),
        medium=_percent(float(result["map_medium"])),
        large=_percent(float(result["map_large"])),
        per_class={name: _percent(by_number.get(number, -1.0)) for number, name in enumerate(data.classes, 1)},
        pictures=len(data.pictures) - len(unreadable),
        unreadable=unreadable,
    )


def _percent(share: float) -> float | None:
    """COCO writes -1 where there is nothing to find."""
    return None if share < 0.0 else 100.0 * share
