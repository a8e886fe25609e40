"""A segmenter as a folder: its tensors, a config.json with what rebuilds the segmenter around them, and a card."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from senet_zoo.errors import ManifestError, UsageError
from senet_zoo.segmentation.design import PixelMeasurement, Segmenter, SegmenterConfig
from senet_zoo.segmentation.models import build
from senet_zoo.support.json_fields import Fields, Items, Nullable, Number, Record, as_json
from senet_zoo.weights.config import SavedTask
from senet_zoo.weights.task_card import TaskCard, percents
from senet_zoo.weights.task_folders import (
    FolderFormat,
    backbone_json,
    build_backbone,
    read_task_folder,
    take_backbone,
    take_classes,
    take_provenance,
    task_files,
    write_task_folder,
)

TASK = SavedTask.SEGMENTATION.value
PAPERS = {
    Segmenter.FCN: ("arXiv:1411.4038",),
    Segmenter.DEEPLABV3: ("arXiv:1706.05587",),
    Segmenter.UNET: ("arXiv:1505.04597",),
}
_TRIPLE = Items(Number(-1e9, 1e9), 3, 3, "a list of 3 numbers")


def save_pretrained(
    segmenter: nn.Module,
    folder: str | Path,
    config: SegmenterConfig,
    *,
    license: str | None = None,  # noqa: A002 (the word of every model card)
) -> None:
    """Write a segmenter to a folder that `from_pretrained` reads.

    Args:
        segmenter: made by `senet_zoo.segmentation`.
        folder: made where there is none; files of an earlier save are replaced, files of others never.
        config: what rebuilds it.
        license: SPDX name for the card; by default that of the weights that the backbone started from.

    Raises:
        UsageError: a file of others in the way, or a malformed licence.
        WeightsUnavailable: the disk did not take it; nothing half-written is left.
    """
    write_task_folder(FORMAT, segmenter, folder, config, license=license)


def from_pretrained(folder: str | Path, *, device: str | torch.device = "cpu") -> nn.Module:
    """The segmenter that `save_pretrained` wrote, in eval mode; its ``weights`` is its `SegmenterConfig`.

    Raises:
        WeightsError: a file is missing or damaged, or holds another segmenter's tensors.
        ManifestError: ``config.json`` breaks a rule.
    """
    return read_task_folder(FORMAT, task_files(folder), device)[0]


def read_config(folder: str | Path) -> SegmenterConfig:
    """What the ``config.json`` of a segmenter's folder says.

    Raises:
        WeightsNotFound: there is none.
        ManifestError: it breaks a rule, or is of another task; the message names the field.
        UnknownModelError: its backbone is none of the zoo's.
    """
    files = task_files(folder)
    return _read(files.config, files.where)


def _read(data: Mapping[str, object], where: str) -> SegmenterConfig:
    fields = Fields(data, where)
    if fields.take_optional("task") != TASK:
        raise ManifestError(f"{where} must say task {TASK!r}, and does not: it is no segmenter's")
    kind = Segmenter(fields.choice("segmenter", tuple(kind.value for kind in Segmenter)))
    backbone, se, widths = take_backbone(fields)
    classes = take_classes(fields)
    stride = fields.whole("output_stride", 8, 32)
    auxiliary = fields.take("auxiliary")
    if not isinstance(auxiliary, bool):
        raise fields.refuse("auxiliary", auxiliary, "true or false")
    side = fields.whole("side", 16, 10**4)
    mean, std = fields.read("mean", _TRIPLE), fields.read("std", _TRIPLE)
    measured = fields.read("measured", Nullable(Record(PixelMeasurement), may_lack=True))
    provenance = take_provenance(fields)
    fields.done()
    if stride not in ((32,) if kind is Segmenter.UNET else (8, 16)):
        raise ManifestError(f"{where}.output_stride must be 8 or 16, or 32 for a unet, got {stride}")
    try:
        return SegmenterConfig(
            kind, backbone, se, classes, stride, auxiliary, side, mean, std, widths, measured, provenance=provenance
        )
    except UsageError as error:
        raise ManifestError(f"{where}: {error}") from error


def _write(config: SegmenterConfig) -> dict[str, object]:
    return {
        "task": TASK,
        "segmenter": config.kind.value,
        **backbone_json(config.backbone, config.se, config.widths),
        "classes": config.classes,
        "output_stride": config.output_stride,
        "auxiliary": config.auxiliary,
        "side": config.side,
        "mean": config.mean,
        "std": config.std,
        "measured": None if config.measured is None else as_json(config.measured),
    }


def _build(config: SegmenterConfig) -> nn.Module:
    network = build_backbone(config.backbone, config.se, config.widths)
    return build(
        config.kind,
        network,
        len(config.classes),
        output_stride=config.output_stride,
        auxiliary=config.auxiliary,
    )


def _describe(config: SegmenterConfig) -> str:
    return f"{config.kind.value} on {config.backbone}"


def _card(config: SegmenterConfig, parameters: int) -> TaskCard:
    found = config.measured
    figures = None
    if found is not None:
        by_class = tuple((f"IoU, {name}", each) for name, each in zip(config.classes, found.per_class, strict=False))
        values = (("mIoU", found.miou), ("pixel accuracy", found.accuracy), *by_class)
        figures = (f"{found.data} ({found.pictures} pictures)", percents(values))
    library = "segmentation_models.pytorch" if config.kind is Segmenter.UNET else "torchvision"
    return TaskCard(
        task=SavedTask.SEGMENTATION,
        title=_describe(config),
        backbone=config.backbone,
        se=config.se,
        widths=config.widths,
        classes=config.classes,
        parameters=parameters,
        network=(("segmenter", f"`{config.kind.value}` of {library}"), ("output stride", str(config.output_stride))),
        measured=figures,
        index=() if found is None or found.miou is None else (("mean_iou", found.miou),),
        pictures=f"of any size: the shorter side becomes {config.side} pixels",
        papers=PAPERS[config.kind],
        provenance=config.provenance,
    )


FORMAT = FolderFormat(SavedTask.SEGMENTATION, _read, _write, _build, _describe, _card)
