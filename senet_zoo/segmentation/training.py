"""Segmentation as a task of a run, and `fit_segmenter`: from pictures with masks to a saved segmenter."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from senet_zoo.data.picture_paths import decoded
from senet_zoo.errors import UsageError
from senet_zoo.networks.network import ConvNet
from senet_zoo.segmentation.config import SEGMENTATION, SegmentationConfig, SegmentationRecipe
from senet_zoo.segmentation.design import PixelMeasurement, Segmenter, SegmenterConfig
from senet_zoo.segmentation.evaluation import PixelScores, check_metrics, confusion_of, scores_of
from senet_zoo.segmentation.figures import draw_maps
from senet_zoo.segmentation.layouts import MaskedPictures, digest_of, read_masks
from senet_zoo.segmentation.masks import IGNORED
from senet_zoo.segmentation.models import build
from senet_zoo.segmentation.pictures import MaskedTrainingPictures, PixelSample
from senet_zoo.segmentation.saved_folder import from_pretrained, save_pretrained
from senet_zoo.training.config_file import Form
from senet_zoo.training.distributed import check_machine, launched
from senet_zoo.training.dry_run import DryRun, dry_run, without_published
from senet_zoo.training.fit import check_start, opened_run
from senet_zoo.training.optimizers import Group
from senet_zoo.training.progress import Progress
from senet_zoo.training.randomness import seeded
from senet_zoo.training.run import Run
from senet_zoo.training.step_task import (
    StepResult,
    StepRow,
    StepTask,
    scaled_recipe,
    starting_backbone,
    take_over,
)
from senet_zoo.weights.config import SavedTask
from senet_zoo.weights.task_card import PREDICTIONS
from senet_zoo.weights.task_folders import build_backbone, task_at

if TYPE_CHECKING:
    from accelerate import Accelerator

# Layers whose outputs are counted by classes: torchvision's heads end in them, and so does a Unet's.
CLASS_LAYERS = re.compile(r"^(classifier\.4|aux_classifier\.4|head\.0)\.")
AUXILIARY = re.compile(r"^aux_classifier")  # which an earlier segmenter may lack


@dataclass(frozen=True)
class SegmentationRow(StepRow):
    """What was measured after some steps; all that `StepRow` takes, and what belongs to segmentation.

    Args:
        miou: mean intersection over union in percent.
        accuracy: percentage of pixels whose class is right.
    """

    miou: float
    accuracy: float

    def __str__(self) -> str:
        return (
            f"step {self.step}, loss {self.loss:.4f}, mIoU {self.miou:.1f}, pixels {self.accuracy:.1f} %, "
            f"rate {self.rate:.3g}"
        )


@dataclass(frozen=True)
class SegmentationResult(StepResult[SegmentationRow, PixelScores]):
    """What came of a run; all that `StepResult` takes, and what belongs to segmentation.

    Args:
        segmenter: its kind, such as ``deeplabv3``.
    """

    segmenter: str


def groups_of(model: nn.Module, recipe: SegmentationRecipe) -> list[Group]:
    """The parameters that learn: the backbone's and the others, weights and the rest."""
    found: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            backbone = name.startswith(("backbone.", "encoder."))
            found.setdefault((backbone, parameter.ndim > 1), []).append(parameter)
    return [
        Group(tuple(parameters), recipe.backbone_rate if backbone else 1.0, recipe.weight_decay if weights else 0.0)
        for (backbone, weights), parameters in sorted(found.items(), key=lambda item: item[0])
    ]


class Segmentation(StepTask[PixelSample, SegmentationResult]):
    """A segmenter that learns the class of every pixel.

    Raises:
        UsageError: a batch that cannot be divided or is too small, or a backbone without the maps that are needed.
        WeightsError: the weights to start from could not be had.
    """

    FORM: ClassVar[Form[Any]] = SEGMENTATION
    ROW: ClassVar[type[StepRow]] = SegmentationRow
    config: SegmentationConfig
    recipe: SegmentationRecipe
    saved: SegmenterConfig
    train: MaskedPictures
    val: MaskedPictures
    scores: PixelScores | None

    def __init__(
        self,
        config: SegmentationConfig,
        train: MaskedPictures,
        val: MaskedPictures,
        accelerator: "Accelerator",
        progress: Progress,
    ) -> None:
        recipe = scaled_recipe(config, len(train.pictures), accelerator.num_processes, progress)
        if config.kind is Segmenter.DEEPLABV3 and recipe.batch < 2 * accelerator.num_processes:
            raise UsageError(
                "deeplabv3 measures one value a picture in a batch norm, so that each process must see at least 2 "
                f"pictures a step, got {recipe.batch} for {accelerator.num_processes}"
            )
        model, saved = _start(config, recipe, train.classes)
        own = {"segmenter": config.kind.value, "ignore index": config.ignore_index, **asdict(recipe)}
        digest = digest_of(train, val)
        super().__init__(config, recipe, model, saved, train, val, digest, own, accelerator, progress)

    def training_pictures(self) -> MaskedTrainingPictures:
        return MaskedTrainingPictures(self.train, self.recipe, self.saved.mean, self.saved.std, self.config.seed)

    def choose_largest(self) -> int:
        return 0  # all of them are cut to one size

    def groups(self) -> list[Group]:
        return groups_of(self.model, self.recipe)

    def batch_loss(self, model: nn.Module, batch: list[PixelSample]) -> Tensor:
        device = self.accelerator.device
        images = torch.stack([sample.image for sample in batch]).to(device, non_blocking=True)
        classes = torch.stack([sample.classes for sample in batch]).to(device).long()
        found: dict[str, Tensor] = model(images)
        loss = _cross_entropy(found["out"], classes)
        if "aux" in found and self.recipe.auxiliary:
            loss = loss + self.recipe.auxiliary * _cross_entropy(found["aux"], classes)
        return loss

    def measure_scores(self) -> PixelScores:
        from accelerate.utils import gather_object

        confusion, unreadable = confusion_of(self.model, self.val, self.share, workers=self.config.workers)
        return scores_of(self.accelerator.reduce(confusion).cpu(), self.val, gather_object(unreadable))

    def row(self, step: int, rate: float, loss: float) -> SegmentationRow:
        assert self.scores is not None
        return SegmentationRow(step, rate, loss, self.scores.miou, self.scores.accuracy)

    def result(self) -> SegmentationResult:
        """The last measurement; a new one where all steps were done before an interruption."""
        return SegmentationResult(
            folder=self.config.folder,
            model=self.saved.backbone,
            classes=self.train.classes,
            rows=self.history,
            scores=self.scores or self.measure_scores(),
            skipped=self.skipped(),
            unreadable=tuple(self.unreadable.values()),
            segmenter=self.config.kind.value,
        )

    def write(self, folder: Path, result: SegmentationResult) -> Mapping[str, Sequence[float]]:
        scores, rows = result.scores, result.rows
        data = f"{decoded(Path(self.config.data).name) or 'data'} val"
        measured = PixelMeasurement(
            data, scores.pictures, scores.miou, scores.accuracy, tuple(scores.per_class.values())
        )
        save_pretrained(self.model, folder, replace(self.saved, measured=measured), license=self.config.license)
        draw_maps(folder / PREDICTIONS, self.model, self.val)
        return {"mIoU": [row.miou for row in rows], "pixel accuracy": [row.accuracy for row in rows]}


def fit_segmenter(config: SegmentationConfig, progress: Progress | None = None) -> SegmentationResult:
    """Train a segmenter and save it; under ``torchrun`` or ``accelerate launch``, in all processes together.

    The same command gives the same bits on the CPU, whether it was interrupted or not.

    Raises:
        UsageError: values that contradict each other or the machine, a backbone without the maps that are needed, or a
            folder that another run fills.
        DataError: a folder that nothing can be learnt from or measured on.
        TrainingError: the run cannot go on; the last good checkpoint is named.
        WeightsError: the weights to start from could not be had.
    """
    check_metrics()
    check_start(config, SegmentationRow)
    data = read_masks(config.data, ignored=config.ignore_index)
    with opened_run(config, progress) as (accelerator, told):
        return Run(config, _task(config, data, accelerator, told), accelerator, told).fit()


def plan_segmenter(config: SegmentationConfig, progress: Progress | None = None) -> DryRun:
    """What `fit_segmenter` would do and need in memory; nothing is trained, fetched or written.

    Raises:
        UsageError, DataError, WeightsError: as `fit_segmenter`, except for what lies in the output folder.
    """
    check_machine(config)
    check_metrics()
    config = without_published(config)
    data = read_masks(config.data, ignored=config.ignore_index)
    with launched(config) as accelerator:
        told = progress or Progress(silent=not accelerator.is_main_process)
        # A batch norm that sees one value cannot measure it.
        return dry_run(_task(config, data, accelerator, told), 2)


def _task(
    config: SegmentationConfig, data: tuple[MaskedPictures, ...], accelerator: "Accelerator", progress: Progress
) -> Segmentation:
    """The task; what of the data is left out is told before."""
    train, val = data
    for part, found in (("train", train), ("val", val)):
        for reason, number in found.skipped.items():
            progress.say(f"{part}: {number} {reason}")
    return Segmentation(config, train, val, accelerator, progress)


def _cross_entropy(logits: Tensor, classes: Tensor) -> Tensor:
    """The mean over pixels that are not left out; 0 where all of them are."""
    total = F.cross_entropy(logits.float(), classes, ignore_index=IGNORED, reduction="sum")
    return total / (classes != IGNORED).sum().clamp(min=1)


def _start(
    config: SegmentationConfig, recipe: SegmentationRecipe, classes: tuple[str, ...]
) -> tuple[nn.Module, SegmenterConfig]:
    """The segmenter before its first step, and what rebuilds it."""
    earlier: Any = None
    if config.weights is not None and task_at(config.weights) is SavedTask.SEGMENTATION:
        earlier = from_pretrained(config.weights)
    auxiliary = recipe.auxiliary > 0.0 and config.kind is not Segmenter.UNET
    with seeded(config.seed, "start"):
        network = starting_backbone(config, earlier, _network_of)
        model: Any = build(config.kind, network, len(classes), output_stride=recipe.output_stride, auxiliary=auxiliary)
    if model.weights is None:
        raise UsageError(f"a segmenter is saved by its backbone's name, and {config.model} has none")
    saved: SegmenterConfig = replace(model.weights, classes=classes, side=recipe.side)
    if earlier is not None:
        saved = replace(
            saved, mean=earlier.weights.mean, std=earlier.weights.std, provenance=earlier.weights.provenance
        )
        take_over(model, earlier, classes, CLASS_LAYERS, AUXILIARY)
    model.weights = saved
    return model, saved


def _network_of(segmenter: Any) -> ConvNet:
    """The network of a segmenter, whose blocks may have been dilated, anew."""
    known: SegmenterConfig = segmenter.weights
    return build_backbone(known.backbone, known.se, known.widths)
