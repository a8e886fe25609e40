"""Segmentation as a task of a run, and `fit_segmenter`: from pictures with masks to a saved segmenter."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from senet_zoo.support.files import folder_lock
from senet_zoo.training.batches import ContinuousSampler, Share, batches_by_key, resumable
from senet_zoo.training.checkpoints import TrainingCheckpoint
from senet_zoo.training.config_file import values_of_config
from senet_zoo.training.distributed import check_machine, launched
from senet_zoo.training.metrics import LossRow, plot_steps
from senet_zoo.training.optimizers import SGD, Group
from senet_zoo.training.progress import Progress
from senet_zoo.training.randomness import seed_of, seeded
from senet_zoo.training.run import Run, Task, refuse_finished
from senet_zoo.weights.config import SavedTask, check_license
from senet_zoo.weights.create import create_model
from senet_zoo.weights.foreign_files import refuse_foreign
from senet_zoo.weights.task_card import CURVES, PREDICTIONS
from senet_zoo.weights.task_folders import build_backbone, task_at

if TYPE_CHECKING:
    from accelerate import Accelerator

# Layers whose outputs are counted by classes: torchvision's heads end in them, and so does a Unet's.
CLASS_LAYERS = re.compile(r"^(classifier\.4|aux_classifier\.4|head\.0)\.")
STRETCHES = 100  # points of a loss curve


@dataclass(frozen=True)
class SegmentationRow:
    """What was measured after some steps.

    Args:
        step: how many.
        rate: learning rate of the last one.
        loss: mean of the steps since the row before.
        miou: mean intersection over union in percent.
        accuracy: percentage of pixels whose class is right.
    """

    step: int
    rate: float
    loss: float
    miou: float
    accuracy: float

    def __str__(self) -> str:
        return (
            f"step {self.step}, loss {self.loss:.4f}, mIoU {self.miou:.1f}, pixels {self.accuracy:.1f} %, "
            f"rate {self.rate:.3g}"
        )


@dataclass(frozen=True)
class SegmentationResult:
    """What came of a run.

    Args:
        folder: what `senet_zoo.segmentation.from_pretrained` reads.
        segmenter: its kind, such as ``deeplabv3``.
        model: name of the backbone.
        classes: in the order of the logits.
        rows: every measurement on val.
        scores: of the saved segmenter on val.
        skipped: what of the data was left out or guessed, by part and reason.
        unreadable: why each training picture was skipped that could not be read.
    """

    folder: Path
    segmenter: str
    model: str
    classes: tuple[str, ...]
    rows: tuple[SegmentationRow, ...]
    scores: PixelScores
    skipped: Mapping[str, Mapping[str, int]]
    unreadable: tuple[str, ...]


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


class Segmentation(Task[list[PixelSample], SegmentationResult]):
    """A segmenter that learns the class of every pixel.

    Raises:
        UsageError: a batch that cannot be divided or is too small, or a backbone without the maps that are needed.
        WeightsError: the weights to start from could not be had.
    """

    def __init__(
        self,
        config: SegmentationConfig,
        train: MaskedPictures,
        val: MaskedPictures,
        accelerator: "Accelerator",
        progress: Progress,
    ) -> None:
        self.config, self.train, self.val = config, train, val
        self.accelerator, self.progress = accelerator, progress
        share = Share(accelerator.process_index, accelerator.num_processes)
        self.recipe = _scaled_recipe(config, len(train.pictures), share.ranks, progress)
        self.model, self.saved = _start(config, self.recipe, train.classes)
        super().__init__({"model": self.model}, self._identity(), self.recipe.steps, share)
        self.history: tuple[SegmentationRow, ...] = ()
        self.loss_sum = 0.0  # over the steps since the last row
        self.losses: tuple[LossRow, ...] = ()  # means of stretches of the run, for the curves
        self.stretch: list[float] = []  # losses of the steps since the last of them
        self.scores: PixelScores | None = None
        self.digest = digest_of(train, val)
        if config.data_digest not in (None, self.digest):
            progress.say(f"{config.data} holds other pictures than those that this configuration was made with")

    def _identity(self) -> Mapping[str, object]:
        config = self.config
        identity = {
            "task": "segmentation",
            "segmenter": config.kind.value,
            "model": config.model,
            "pretrained": config.pretrained,
            "weights": None if config.weights is None else str(config.weights),
            "data": str(config.data),
            "classes": self.train.classes,
            "training pictures": len(self.train.pictures),
            "validation pictures": len(self.val.pictures),
            "ignore index": config.ignore_index,
            "measure steps": config.measure_steps,
            "precision": config.precision,
            "seed": config.seed,
            **asdict(self.recipe),
        }
        values: dict[str, object] = json.loads(json.dumps(identity))  # as a checkpoint gives it back
        return values

    def config_values(self, *, finished: bool) -> dict[str, object]:
        chosen = replace(
            self.config, recipe=self.recipe, epochs=None, batch=None, rate=None, size=None, data_digest=self.digest
        )
        return values_of_config(chosen, SEGMENTATION, self.config.recipe)

    def prepare(self, checkpoint: TrainingCheckpoint | None) -> None:
        if checkpoint is None:
            return
        state: dict[str, Any] = dict(checkpoint.state)
        self.history = tuple(SegmentationRow(**row) for row in state["rows"])
        self.loss_sum, self.unreadable = state["loss"], dict(state["unreadable"])
        self.losses = tuple(LossRow(*row) for row in state["losses"])
        self.stretch = list(state["stretch"])
        self.progress.say(f"going on after step {checkpoint.step}")

    def state(self) -> dict[str, object]:
        return {
            "rows": [asdict(row) for row in self.history],
            "loss": self.loss_sum,
            "losses": [[row.step, row.loss] for row in self.losses],
            "stretch": self.stretch,
            "unreadable": [[index, reason] for index, reason in self.unreadable.items()],
        }

    def batches(self, start: int, *, pin: bool) -> Iterator[list[PixelSample]]:
        config, recipe, saved = self.config, self.recipe, self.saved
        keys = ContinuousSampler(len(self.train.pictures), recipe.batch, recipe.steps, config.seed, self.share, start)
        augmented = MaskedTrainingPictures(self.train, recipe, saved.mean, saved.std, config.seed)
        return resumable(batches_by_key(augmented, keys, list, config.workers))

    def optimizer(self, phase: str) -> torch.optim.Optimizer:
        return SGD(momentum=self.recipe.momentum).build(groups_of(self.model, self.recipe))

    def rate(self, step: int) -> float:
        return self.recipe.rate_at(step)

    def begin(self, step: int) -> None:
        self.model.train()
        self.progress.begin(self.config.kind.value, self.steps, step, unit="steps")

    def loss(self, model: nn.Module, batch: list[PixelSample], step: int, piece: int) -> tuple[Tensor, Tensor]:
        self.progress.skip(self.unreadable, dict(pair for sample in batch for pair in sample.unreadable))
        device = self.accelerator.device
        torch.manual_seed(seed_of(self.config.seed, "step", step, self.share.rank))
        images = torch.stack([sample.image for sample in batch]).to(device, non_blocking=True)
        classes = torch.stack([sample.classes for sample in batch]).to(device).long()
        found: dict[str, Tensor] = model(images)
        loss = _cross_entropy(found["out"], classes)
        if "aux" in found and self.recipe.auxiliary:
            loss = loss + self.recipe.auxiliary * _cross_entropy(found["aux"], classes)
        return loss, torch.stack([loss.detach(), torch.ones_like(loss)])

    def count(self, step: int, sums: list[float]) -> None:
        loss = sums[0] / sums[1]
        self.loss_sum += loss
        self.stretch.append(loss)
        if len(self.stretch) == max(1, self.steps // STRETCHES) or step == self.steps:
            self.losses = (*self.losses, LossRow(step, sum(self.stretch) / len(self.stretch)))
            self.stretch = []
        self.progress.advance(1, self._mean_loss(step))

    def is_measured(self, step: int) -> bool:
        every = self.config.measure_steps
        return step == self.steps or bool(every and step % every == 0)

    def measure(self, step: int, rate: float) -> SegmentationRow:
        self.scores = self._measure()
        row = SegmentationRow(step, rate, self._mean_loss(step), self.scores.miou, self.scores.accuracy)
        self.history, self.loss_sum = (*self.history, row), 0.0
        return row

    def is_done(self, step: int) -> bool:
        return step == self.steps

    def result(self) -> SegmentationResult:
        """The last measurement; a new one where all steps were done before an interruption."""
        return SegmentationResult(
            folder=self.config.folder,
            segmenter=self.config.kind.value,
            model=self.saved.backbone,
            classes=self.train.classes,
            rows=self.history,
            scores=self.scores or self._measure(),
            skipped={"train": self.train.skipped, "val": self.val.skipped},
            unreadable=tuple(self.unreadable.values()),
        )

    def save(self, folder: Path, result: SegmentationResult) -> Mapping[str, object]:
        scores = result.scores
        data = f"{decoded(Path(self.config.data).name) or 'data'} val"
        measured = PixelMeasurement(
            data, scores.pictures, scores.miou, scores.accuracy, tuple(scores.per_class.values())
        )
        saved = replace(self.saved, measured=measured)
        save_pretrained(self.model, folder, saved, license=self.config.license)
        rows = result.rows
        curves = {"mIoU": [row.miou for row in rows], "pixel accuracy": [row.accuracy for row in rows]}
        plot_steps(folder / CURVES, self.losses, [row.step for row in rows], curves, self.recipe.rate_at)
        draw_maps(folder / PREDICTIONS, self.model, self.val)
        return {"scores": asdict(scores), "skipped": result.skipped, "unreadable": result.unreadable}

    def _mean_loss(self, step: int) -> float:
        return self.loss_sum / (step - (self.history[-1].step if self.history else 0))

    def _measure(self) -> PixelScores:
        from accelerate.utils import gather_object

        confusion, unreadable = confusion_of(self.model, self.val, self.share, workers=self.config.workers)
        return scores_of(self.accelerator.reduce(confusion).cpu(), self.val, gather_object(unreadable))


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
    check_machine(config)
    check_metrics()
    refuse_finished(config, SegmentationRow)
    refuse_foreign(config.folder)
    if config.license is not None:
        check_license(config.license)
    train, val = read_masks(config.data, ignored=config.ignore_index)
    with (
        launched(config) as accelerator,
        folder_lock(config.folder) if accelerator.is_main_process else nullcontext(),
    ):
        progress = progress or Progress(silent=not accelerator.is_main_process)
        try:
            for part, data in (("train", train), ("val", val)):
                for reason, number in data.skipped.items():
                    progress.say(f"{part}: {number} {reason}")
            return Run(config, Segmentation(config, train, val, accelerator, progress), accelerator, progress).fit()
        finally:
            progress.close()


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
        network = _backbone(config, earlier)
        model: Any = build(config.kind, network, len(classes), output_stride=recipe.output_stride, auxiliary=auxiliary)
    if model.weights is None:
        raise UsageError(f"a segmenter is saved by its backbone's name, and {config.model} has none")
    saved: SegmenterConfig = replace(model.weights, classes=classes, side=recipe.side)
    if earlier is not None:
        saved = replace(
            saved, mean=earlier.weights.mean, std=earlier.weights.std, provenance=earlier.weights.provenance
        )
        _take_over(model, earlier, classes)
    model.weights = saved
    return model, saved


def _backbone(config: SegmentationConfig, earlier: Any) -> ConvNet:
    if earlier is None:
        return create_model(config.model, pretrained=config.pretrained, weights=config.weights)
    known: SegmenterConfig = earlier.weights
    if config.pretrained:
        raise UsageError("weights come from one place, and two were named: use pretrained or weights, not both")
    if (known.kind, known.backbone) != (config.kind, config.model):
        raise UsageError(
            f"{config.weights} holds a {known.kind.value} on {known.backbone}, and a {config.kind.value} on "
            f"{config.model} goes on from one of its own kind"
        )
    return build_backbone(known.backbone, known.se, known.widths)


def _take_over(model: nn.Module, earlier: Any, classes: tuple[str, ...]) -> None:
    """Give a segmenter the tensors of an earlier one; a layer that tells other classes apart stays as it was drawn."""
    own, theirs = model.state_dict(), earlier.state_dict()
    other = {name for name, tensor in own.items() if name not in theirs or theirs[name].shape != tensor.shape}
    odd = sorted(name for name in other if not CLASS_LAYERS.search(name) and not name.startswith("aux_classifier"))
    if odd:
        raise UsageError(f"the weights hold a segmenter of another design, and {odd[0]} does not fit")
    if earlier.weights.classes != classes:
        other |= {name for name in own if CLASS_LAYERS.search(name)}
    model.load_state_dict({name: own[name] if name in other else theirs[name] for name in own})


def _scaled_recipe(config: SegmentationConfig, pictures: int, ranks: int, progress: Progress) -> SegmentationRecipe:
    """The recipe with the batch, the rate and the steps of this run."""
    recipe = config.own_recipe(pictures)
    batch = recipe.batch
    if batch % ranks:
        raise UsageError(f"a batch must be a multiple of the processes ({ranks}), got {batch}")
    if config.kind is Segmenter.DEEPLABV3 and batch < 2 * ranks:
        raise UsageError(
            "deeplabv3 measures one value a picture in a batch norm, so that each process must see at least 2 pictures "
            f"a step, got {batch} for {ranks}"
        )
    of = f", {batch // ranks} in each of {ranks} processes" if ranks > 1 else ""
    progress.say(f"{recipe.steps} steps of {batch} pictures{of}, learning rate {recipe.rate:.4g}")
    return recipe
