"""A segmenter as a folder: its tensors, a config.json with what rebuilds the segmenter around them, and a card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from senet_zoo.errors import ManifestError
from senet_zoo.segmentation.design import PixelMeasurement, Segmenter, SegmenterConfig
from senet_zoo.segmentation.models import build
from senet_zoo.support.json_fields import Fields, Flag
from senet_zoo.weights.config import SavedTask
from senet_zoo.weights.task_card import TaskCard
from senet_zoo.weights.task_folders import (
    TRIPLE,
    FolderFormat,
    build_backbone,
    read_task_folder,
    task_files,
    write_task_folder,
)

PAPERS = {
    Segmenter.FCN: ("arXiv:1411.4038",),
    Segmenter.DEEPLABV3: ("arXiv:1706.05587",),
    Segmenter.UNET: ("arXiv:1505.04597",),
}


class SegmenterFormat(FolderFormat[SegmenterConfig]):
    """A segmenter's folder."""

    TASK: ClassVar[SavedTask] = SavedTask.SEGMENTATION
    NOUN: ClassVar[str] = "segmenter"
    KINDS = Segmenter
    CONFIG = SegmenterConfig
    MEASUREMENT = PixelMeasurement

    def _read_own(self, fields: Fields) -> dict[str, object]:
        return {
            "output_stride": fields.whole("output_stride", 8, 32),
            "auxiliary": fields.read("auxiliary", Flag()),
            "side": fields.whole("side", 16, 10**4),
            "mean": fields.read("mean", TRIPLE),
            "std": fields.read("std", TRIPLE),
        }

    def read(self, data: Mapping[str, object], where: str) -> SegmenterConfig:
        """As `FolderFormat.read`; the output stride is one that the kind may have."""
        config = super().read(data, where)
        if config.output_stride not in ((32,) if config.kind is Segmenter.UNET else (8, 16)):
            raise ManifestError(f"{where}.output_stride must be 8 or 16, or 32 for a unet, got {config.output_stride}")
        return config

    def _write_own(self, config: SegmenterConfig) -> dict[str, object]:
        return {
            "output_stride": config.output_stride,
            "auxiliary": config.auxiliary,
            "side": config.side,
            "mean": config.mean,
            "std": config.std,
        }

    def build(self, config: SegmenterConfig) -> nn.Module:
        """The segmenter, with random weights."""
        network = build_backbone(config.backbone, config.se, config.widths)
        return build(
            config.kind,
            network,
            len(config.classes),
            output_stride=config.output_stride,
            auxiliary=config.auxiliary,
        )

    def answer(self, network: nn.Module, config: SegmenterConfig, picture: Tensor) -> Tensor:
        """The logits of every pixel, the picture normalised as the segmenter's config says."""
        mean, std = (picture.new_tensor(values)[:, None, None] for values in (config.mean, config.std))
        # The class's own forward: in a run Accelerate has put one of another precision before it.
        found: dict[str, Tensor] = cast("Any", type(network)).forward(network, ((picture - mean) / std)[None])
        return found["out"]

    def card(self, config: SegmenterConfig, parameters: int) -> TaskCard:
        """With intersection over union by class."""
        found = config.measured
        figures: tuple[tuple[str, float | None], ...] = ()
        if found is not None:
            by_class = tuple(
                (f"IoU, {name}", each) for name, each in zip(config.classes, found.per_class, strict=False)
            )
            figures = (("mIoU", found.miou), ("pixel accuracy", found.accuracy), *by_class)
        library = "segmentation_models.pytorch" if config.kind is Segmenter.UNET else "torchvision"
        return self._card(
            config,
            parameters,
            network=(
                ("segmenter", f"`{config.kind.value}` of {library}"),
                ("output stride", str(config.output_stride)),
            ),
            figures=figures,
            index=() if found is None else (("mean_iou", found.miou),),
            pictures=f"of any size: the shorter side becomes {config.side} pixels",
            papers=PAPERS[config.kind],
        )


FORMAT = SegmenterFormat()


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
    return FORMAT.read(files.config, files.where)
