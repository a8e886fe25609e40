"""A detector as a folder: its tensors, a config.json with what rebuilds the detector around them, and a card."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from senet_zoo.detection.design import Design, DetectorConfig, Kind, Measurement
from senet_zoo.detection.models import build
from senet_zoo.errors import UsageError
from senet_zoo.support.json_fields import Fields, read_as
from senet_zoo.weights.config import SavedTask
from senet_zoo.weights.task_card import TaskCard
from senet_zoo.weights.task_folders import (
    FolderFormat,
    build_backbone,
    read_task_folder,
    task_files,
    write_task_folder,
)

REGIONS = ((0.0, 0.0, 1.0, 1.0), (0.1, 0.2, 0.6, 0.9), (0.55, 0.05, 0.95, 0.35), (0.3, 0.45, 0.5, 0.6))
"""Left, top, right and bottom, as shares of the fixed picture, of what a fingerprint asks the second stage about."""
PAPERS = {
    Kind.FASTER_RCNN: ("arXiv:1506.01497", "arXiv:1612.03144"),
    Kind.MASK_RCNN: ("arXiv:1703.06870", "arXiv:1612.03144"),
    Kind.RETINANET: ("arXiv:1708.02002", "arXiv:1612.03144"),
}


class DetectorFormat(FolderFormat[DetectorConfig]):
    """A detector's folder."""

    TASK: ClassVar[SavedTask] = SavedTask.DETECTION
    NOUN: ClassVar[str] = "detector"
    KINDS = Kind
    CONFIG = DetectorConfig
    MEASUREMENT = Measurement

    def _read_own(self, fields: Fields) -> dict[str, object]:
        return {"design": read_as(Design, fields.take("design"), f"{fields.where}.design")}

    def _write_own(self, config: DetectorConfig) -> dict[str, object]:
        return {"design": asdict(config.design)}

    def build(self, config: DetectorConfig) -> nn.Module:
        """The detector, with random weights."""
        network = build_backbone(config.backbone, config.se, config.widths)
        return build(config.kind, network, len(config.classes) + 1, design=config.design)

    def answer(self, network: nn.Module, config: DetectorConfig, picture: Tensor) -> Tensor:
        """Scores and corners of every anchor, and where there is a second stage, what it says of fixed regions."""
        detector: Any = network
        maps: dict[str, Tensor] = detector.backbone(detector.transform.normalize(picture)[None])
        if not hasattr(detector, "rpn"):
            return torch.cat([each.flatten() for each in detector.head(list(maps.values())).values()])
        found = [each for part in detector.rpn.head(list(maps.values())) for each in part]
        size, heads = picture.shape[1], detector.roi_heads
        regions = [picture.new_tensor([[share * size for share in region] for region in REGIONS])]
        of_regions = heads.box_head(heads.box_roi_pool(maps, regions, [(size, size)]))
        found += heads.box_predictor(of_regions)
        if heads.has_mask():
            masks = heads.mask_head(heads.mask_roi_pool(maps, regions, [(size, size)]))
            found.append(heads.mask_predictor(masks))
        return torch.cat([each.flatten() for each in found])

    def card(self, config: DetectorConfig, parameters: int) -> TaskCard:
        """With average precision by class and size."""
        design, found = config.design, config.measured
        figures: tuple[tuple[str, float | None], ...] = ()
        index: tuple[tuple[str, float | None], ...] = ()
        if found is not None:
            index = (("AP", found.ap), ("AP50", found.ap50))
            values = (("AP", found.ap), ("AP@0.5", found.ap50), ("AP@0.75", found.ap75))
            by_size = (("AP, small", found.small), ("AP, medium", found.medium), ("AP, large", found.large))
            by_class = tuple((f"AP, {name}", each) for name, each in zip(config.classes, found.per_class, strict=False))
            of_masks = () if found.mask_ap is None else (("AP of masks", found.mask_ap),)
            figures = values + of_masks + by_size + by_class
        return self._card(
            config,
            parameters,
            network=(
                ("detector", f"`{config.kind.value}` of torchvision, a pyramid of {design.channels} channels"),
                ("anchors", f"{', '.join(f'{side:g}' for side in design.anchors)} pixels"),
            ),
            figures=figures,
            index=tuple((name, value) for name, value in index if value),
            pictures=f"of any size: the shorter side becomes {design.side} pixels, the longer {design.longest} at most",
            papers=PAPERS[config.kind],
        )


FORMAT = DetectorFormat()


def save_pretrained(
    detector: nn.Module,
    folder: str | Path,
    config: DetectorConfig,
    *,
    license: str | None = None,  # noqa: A002 (the word of every model card)
) -> None:
    """Write a detector to a folder that `from_pretrained` reads.

    Args:
        detector: made by `senet_zoo.detection`.
        folder: made where there is none; files of an earlier save are replaced, files of others never.
        config: what rebuilds it.
        license: SPDX name for the card; by default that of the weights that the backbone started from.

    Raises:
        UsageError: a config of another kind of detector, a file of others in the way, or a malformed licence.
        WeightsUnavailable: the disk did not take it; nothing half-written is left.
    """
    config = _resolved(detector, config)
    made_as: object = getattr(detector, "weights", None)
    if isinstance(made_as, DetectorConfig) and made_as.kind is not config.kind:
        raise UsageError(f"the config says {config.kind.value}, and this detector is a {made_as.kind.value}")
    write_task_folder(FORMAT, detector, folder, config, license=license)


def from_pretrained(folder: str | Path, *, device: str | torch.device = "cpu") -> nn.Module:
    """The detector that `save_pretrained` wrote, in eval mode; its ``weights`` is its `DetectorConfig`.

    Raises:
        WeightsError: a file is missing or damaged, or holds another detector's tensors.
        ManifestError: ``config.json`` breaks a rule.
    """
    return read_task_folder(FORMAT, task_files(folder), device)[0]


def read_config(folder: str | Path) -> DetectorConfig:
    """What the ``config.json`` of a detector's folder says.

    Raises:
        WeightsNotFound: there is none.
        ManifestError: it breaks a rule, or is a classifier's; the message names the field.
        UnknownModelError: its backbone is none of the zoo's.
    """
    files = task_files(folder)
    return FORMAT.read(files.config, files.where)


def _resolved(detector: nn.Module, config: DetectorConfig) -> DetectorConfig:
    """The config with the mean and std that the detector was made with."""
    transform = detector.transform
    mean, std = tuple(transform.image_mean), tuple(transform.image_std)  # type: ignore[union-attr, arg-type]
    return replace(config, design=replace(config.design, mean=mean, std=std))
