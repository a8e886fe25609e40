"""Detection as a task of a run, and `fit_detector`: from a COCO folder to a saved detector."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from senet_zoo.data.picture_paths import decoded
from senet_zoo.detection.coco import (
    CocoData,
    check_classes,
    describe_skipped,
    digest_of,
    read_coco,
)
from senet_zoo.detection.config import DETECTION, DetectionConfig, DetectionRecipe
from senet_zoo.detection.design import DetectorConfig, Kind, Measurement
from senet_zoo.detection.evaluation import Scores, check_metrics, detect, score
from senet_zoo.detection.figures import draw_predictions
from senet_zoo.detection.models import build
from senet_zoo.detection.pictures import CocoTrainingPictures, Sample
from senet_zoo.detection.saved_folder import from_pretrained, save_pretrained
from senet_zoo.errors import DataError, UsageError
from senet_zoo.networks.network import ConvNet
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
from senet_zoo.weights.save import architecture_of
from senet_zoo.weights.task_card import CURVES, PREDICTIONS
from senet_zoo.weights.task_folders import provenance_from, task_at

if TYPE_CHECKING:
    from accelerate import Accelerator


# Layers of torchvision's detectors whose outputs are counted by classes.
CLASS_LAYERS = re.compile(r"(box_predictor|mask_predictor\.mask_fcn_logits|classification_head\.cls_logits)\b")
ADDED = ("scales", "photometric", "cosine")  # to recipes later: checkpoints of earlier runs do not name them
LEARNT = ("boxes", "labels", "masks")  # what of a picture's target goes to a detector
STRETCHES = 100  # points of a loss curve


@dataclass(frozen=True)
class DetectionRow:
    """What was measured after some steps.

    Args:
        step: how many.
        rate: learning rate of the last one.
        loss: mean of the steps since the row before.
        ap: COCO's average precision in percent.
        ap50: that at an overlap of 0.5.
    """

    step: int
    rate: float
    loss: float
    ap: float
    ap50: float

    def __str__(self) -> str:
        return f"step {self.step}, loss {self.loss:.4f}, AP {self.ap:.1f}, AP@0.5 {self.ap50:.1f}, rate {self.rate:.3g}"


@dataclass(frozen=True)
class DetectionResult:
    """What came of a run.

    Args:
        folder: what `senet_zoo.detection.from_pretrained` reads.
        detector: its kind, such as ``faster_rcnn``.
        model: name of the backbone.
        classes: in the order of the labels from 1.
        rows: every measurement on val.
        scores: of the saved detector on val.
        skipped: what of the annotation files was left out or changed, by split and reason.
        unreadable: why each training picture was skipped that could not be read.
    """

    folder: Path
    detector: str
    model: str
    classes: tuple[str, ...]
    rows: tuple[DetectionRow, ...]
    scores: Scores
    skipped: Mapping[str, Mapping[str, int]]
    unreadable: tuple[str, ...]


def groups_of(detector: nn.Module, recipe: DetectionRecipe) -> list[Group]:
    """The parameters that learn: weights, norms and biases."""
    biases = {
        parameter
        for module in detector.modules()
        if not isinstance(module, nn.BatchNorm2d)
        for name, parameter in module.named_parameters(recurse=False)
        if name == "bias"
    }
    learn = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    weights = tuple(parameter for parameter in learn if parameter.ndim > 1)
    norms = tuple(parameter for parameter in learn if parameter.ndim <= 1 and parameter not in biases)
    groups = [
        Group(weights, 1.0, recipe.weight_decay),
        Group(norms, 1.0, 0.0),
        Group(tuple(parameter for parameter in learn if parameter in biases), recipe.bias_factor, 0.0),
    ]
    return [group for group in groups if group.parameters]


class Detection(Task[list[Sample], DetectionResult]):
    """A detector that learns boxes.

    Raises:
        UsageError: a batch that cannot be divided, frozen stages that nobody has trained, or a backbone without the
            strides that a pyramid needs.
        DataError: no picture with a box.
        WeightsError: the weights to start from could not be had.
    """

    def __init__(
        self,
        config: DetectionConfig,
        train: CocoData,
        val: CocoData,
        accelerator: "Accelerator",
        progress: Progress,
    ) -> None:
        self.config, self.train, self.val = config, _with_boxes(train, progress), val
        self.accelerator, self.progress = accelerator, progress
        share = Share(accelerator.process_index, accelerator.num_processes)
        self.recipe = _scaled_recipe(config, len(self.train.pictures), share.ranks, progress)
        self.detector, self.saved = _start(config, self.recipe, train.classes)
        super().__init__({"model": self.detector}, self._identity(), self.recipe.steps, share)
        self.history: tuple[DetectionRow, ...] = ()
        self.loss_sum = 0.0  # over the steps since the last row
        self.losses: tuple[LossRow, ...] = ()  # means of stretches of the run, for the curves
        self.stretch: list[float] = []  # losses of the steps since the last of them
        self.scores: Scores | None = None
        self.digest = digest_of(self.train, val)
        if config.data_digest not in (None, self.digest):
            progress.say(f"{config.data} holds other pictures than those that this configuration was made with")

    def _identity(self) -> Mapping[str, object]:
        config = self.config
        identity = {
            "task": "detection",
            "detector": config.kind.value,
            "model": config.model,
            "pretrained": config.pretrained,
            "weights": None if config.weights is None else str(config.weights),
            "data": str(config.data),
            "classes": self.train.classes,
            "training pictures": len(self.train.pictures),
            "validation pictures": len(self.val.pictures),
            "measure steps": config.measure_steps,
            "precision": config.precision,
            "seed": config.seed,
            **{name: value for name, value in asdict(self.recipe).items() if value or name not in ADDED},
        }
        values: dict[str, object] = json.loads(json.dumps(identity))  # as a checkpoint gives it back
        return values

    def config_values(self, *, finished: bool) -> dict[str, object]:
        chosen = replace(
            self.config, recipe=self.recipe, epochs=None, batch=None, rate=None, size=None, data_digest=self.digest
        )
        return values_of_config(chosen, DETECTION, self.config.recipe)

    def prepare(self, checkpoint: TrainingCheckpoint | None) -> None:
        if checkpoint is None:
            return
        state: dict[str, Any] = dict(checkpoint.state)
        self.history = tuple(DetectionRow(**row) for row in state["rows"])
        self.loss_sum, self.unreadable = state["loss"], dict(state["unreadable"])
        self.losses = tuple(LossRow(*row) for row in state.get("losses", ()))
        self.stretch = list(state.get("stretch", ()))
        self.progress.say(f"going on after step {checkpoint.step}")

    def state(self) -> dict[str, object]:
        return {
            "rows": [asdict(row) for row in self.history],
            "loss": self.loss_sum,
            "losses": [[row.step, row.loss] for row in self.losses],
            "stretch": self.stretch,
            "unreadable": [[index, reason] for index, reason in self.unreadable.items()],
        }

    def batches(self, start: int, *, pin: bool) -> Iterator[list[Sample]]:
        config, recipe, pictures = self.config, self.recipe, self.train.pictures
        keys = ContinuousSampler(len(pictures), recipe.batch, recipe.steps, config.seed, self.share, start)
        augmented = CocoTrainingPictures(pictures, recipe.flip, config.seed, recipe.photometric, recipe.design.longest)
        return resumable(batches_by_key(augmented, keys, list, config.workers))

    def optimizer(self, phase: str) -> torch.optim.Optimizer:
        return SGD(momentum=self.recipe.momentum).build(groups_of(self.detector, self.recipe))

    def rate(self, step: int) -> float:
        return self.recipe.rate_at(step)

    def begin(self, step: int) -> None:
        self.detector.train()
        # In training torchvision takes one of them at random; the last one is that of measuring.
        side, scales = self.recipe.design.side, self.recipe.scales
        transform: Any = self.detector.transform
        transform.min_size = (*(max(1, round(side * scale)) for scale in scales if scale != 1.0), side)
        self.progress.begin(self.config.kind.value, self.steps, step, unit="steps")

    def loss(self, model: nn.Module, batch: list[Sample], step: int, piece: int) -> tuple[Tensor, Tensor]:
        self.progress.skip(self.unreadable, dict(pair for sample in batch for pair in sample.unreadable))
        device = self.accelerator.device
        torch.manual_seed(seed_of(self.config.seed, "step", step, self.share.rank))
        images = [sample.image.to(device, non_blocking=True) for sample in batch]
        targets = [
            {name: value.to(device) for name, value in sample.target.items() if name in LEARNT} for sample in batch
        ]
        loss = torch.stack(list(model(images, targets).values())).sum()
        return loss, torch.stack([loss.detach(), torch.ones_like(loss)])

    def count(self, step: int, sums: list[float]) -> None:
        self.loss_sum += sums[0] / sums[1]
        self.stretch.append(sums[0] / sums[1])
        if len(self.stretch) == max(1, self.steps // STRETCHES) or step == self.steps:
            self.losses = (*self.losses, LossRow(step, sum(self.stretch) / len(self.stretch)))
            self.stretch = []
        self.progress.advance(1, self._mean_loss(step))

    def is_measured(self, step: int) -> bool:
        every = self.config.measure_steps
        return step == self.steps or bool(every and step % every == 0)

    def measure(self, step: int, rate: float) -> DetectionRow:
        self.scores = self._measure()
        row = DetectionRow(step, rate, self._mean_loss(step), self.scores.ap, self.scores.ap50)
        self.history, self.loss_sum = (*self.history, row), 0.0
        return row

    def is_done(self, step: int) -> bool:
        return step == self.steps

    def result(self) -> DetectionResult:
        """The last measurement; a new one where all steps were done before an interruption."""
        config = self.config
        return DetectionResult(
            folder=config.folder,
            detector=config.kind.value,
            model=self.saved.backbone,
            classes=self.train.classes,
            rows=self.history,
            scores=self.scores or self._measure(),
            skipped={"train": self.train.skipped, "val": self.val.skipped},
            unreadable=tuple(self.unreadable.values()),
        )

    def save(self, folder: Path, result: DetectionResult) -> Mapping[str, object]:
        saved = replace(self.saved, measured=_measurement(self.config, result.scores))
        save_pretrained(self.detector, folder, saved, license=self.config.license)
        curves = {"AP@0.5": [row.ap50 for row in result.rows], "AP": [row.ap for row in result.rows]}
        plot_steps(folder / CURVES, self.losses, [row.step for row in result.rows], curves, self.recipe.rate_at)
        draw_predictions(folder / PREDICTIONS, self.detector, self.val)
        return {"scores": asdict(result.scores), "skipped": result.skipped, "unreadable": result.unreadable}

    def _mean_loss(self, step: int) -> float:
        return self.loss_sum / (step - (self.history[-1].step if self.history else 0))

    def _measure(self) -> Scores:
        from accelerate.utils import gather_object

        size = max(1, self.recipe.batch // self.share.ranks)
        found = list(resumable(detect(self.detector, self.val, self.share, batch=size, workers=self.config.workers)))
        return score(self.val, gather_object(found))


def fit_detector(config: DetectionConfig, progress: Progress | None = None) -> DetectionResult:
    """Train a detector and save it; under ``torchrun`` or ``accelerate launch``, in all processes together.

    The same command gives the same bits on the CPU, whether it was interrupted or not. Training shows the pictures
    that have a box; val is measured whole.

    Raises:
        UsageError: values that contradict each other or the machine, a backbone without four stages, or a folder that
            another run fills.
        DataError: a folder that nothing can be learnt from or measured on.
        TrainingError: the run cannot go on; the last good checkpoint is named.
        WeightsError: the weights to start from could not be had.
    """
    check_machine(config)
    check_metrics()
    refuse_finished(config, DetectionRow)
    refuse_foreign(config.folder)
    if config.license is not None:
        check_license(config.license)
    train = read_coco(config.data, "train", masks=config.kind is Kind.MASK_RCNN)
    val = read_coco(config.data, "val")
    check_classes(val, train.classes)
    with (
        launched(config) as accelerator,
        folder_lock(config.folder) if accelerator.is_main_process else nullcontext(),
    ):
        progress = progress or Progress(silent=not accelerator.is_main_process)
        try:
            for split, data in (("train", train), ("val", val)):
                if data.skipped:
                    progress.say(f"{split}: {describe_skipped(data.skipped)}")
            return Run(config, Detection(config, train, val, accelerator, progress), accelerator, progress).fit()
        finally:
            progress.close()


def _with_boxes(train: CocoData, progress: Progress) -> CocoData:
    """The pictures that have a box to learn; one that is only a crowd has none."""
    pictures = tuple(picture for picture in train.pictures if not all(picture.crowds))
    if not pictures:
        raise DataError("training needs boxes that are no crowds, and the pictures have none")
    learnt = {
        label for picture in pictures for label, crowd in zip(picture.labels, picture.crowds, strict=True) if not crowd
    }
    missing = [name for number, name in enumerate(train.classes, 1) if number not in learnt]
    if missing:
        progress.say(f"train: no box to learn of {', '.join(missing[:10])}{' and others' if missing[10:] else ''}")
    if left := len(train.pictures) - len(pictures):
        progress.say(f"train: {left} pictures without boxes are not trained on")
    return replace(train, pictures=pictures)


def _start(
    config: DetectionConfig, recipe: DetectionRecipe, classes: tuple[str, ...]
) -> tuple[nn.Module, DetectorConfig]:
    """The detector before its first step, and what rebuilds it."""
    if (recipe.frozen_norm or recipe.trainable_stages is not None) and not (config.pretrained or config.weights):
        raise UsageError(
            "this recipe freezes parts of the backbone, which must have been trained then: start from published "
            "weights (pretrained) or your own (weights), or choose the recipe small"
        )
    earlier = None
    if config.weights is not None and task_at(config.weights) is SavedTask.DETECTION:
        earlier = from_pretrained(config.weights)
    with seeded(config.seed, "start"):
        network = _backbone(config, earlier)
        detector = build(
            config.kind,
            network,
            len(classes) + 1,
            design=recipe.design,
            trainable_stages=recipe.trainable_stages,
            frozen_norm=recipe.frozen_norm,
        )
    earlier_config: DetectorConfig | None = None
    if earlier is not None:
        earlier_config = cast("Any", earlier).weights
        _take_over(detector, earlier, classes)
    entry, widths = architecture_of(network.spec)
    provenance = earlier_config.provenance if earlier_config else provenance_from(network)
    saved = DetectorConfig(
        config.kind, entry.name, network.spec.se, classes, recipe.design, widths, provenance=provenance
    )
    return detector, saved


def _backbone(config: DetectionConfig, earlier: Any) -> ConvNet:
    """The network that the detector stands on."""
    if earlier is None:
        return create_model(config.model, pretrained=config.pretrained, weights=config.weights)
    known: DetectorConfig = earlier.weights
    if config.pretrained:
        raise UsageError("weights come from one place, and two were named: use pretrained or weights, not both")
    if (known.kind, known.backbone) != (config.kind, config.model):
        raise UsageError(
            f"{config.weights} holds a {known.kind.value} on {known.backbone}, and a {config.kind.value} on "
            f"{config.model} goes on from one of its own kind"
        )
    network: ConvNet = earlier.backbone.body
    return network


def _take_over(detector: nn.Module, earlier: nn.Module, classes: tuple[str, ...]) -> None:
    """Give a detector the tensors of an earlier one; a layer that tells other classes apart stays as it was drawn."""
    known: object = earlier.weights
    assert isinstance(known, DetectorConfig)
    own, theirs = detector.state_dict(), earlier.state_dict()
    same = known.classes == classes
    other = {name for name, tensor in own.items() if name not in theirs or theirs[name].shape != tensor.shape} | (
        set() if same else {name for name in own if CLASS_LAYERS.search(name)}
    )
    odd = sorted(name for name in other if not CLASS_LAYERS.search(name))
    if odd:
        raise UsageError(
            f"the weights hold a detector of another design, and {odd[0]} does not fit: choose the recipe that it "
            "was trained with"
        )
    detector.load_state_dict({name: own[name] if name in other else theirs[name] for name in own})


def _measurement(config: DetectionConfig, scores: Scores) -> Measurement:
    def known(value: float | None) -> float | None:
        return None if value is None or value < 0.0 else value

    name = decoded(Path(config.data).name) or "data"
    return Measurement(
        f"{name} val",
        scores.pictures,
        known(scores.ap),
        known(scores.ap50),
        known(scores.ap75),
        scores.small,
        scores.medium,
        scores.large,
        tuple(scores.per_class.values()),
    )


def _scaled_recipe(config: DetectionConfig, pictures: int, ranks: int, progress: Progress) -> DetectionRecipe:
    """The recipe with the batch, the rate and the steps of this run."""
    recipe = config.own_recipe(pictures)
    batch = recipe.batch
    if batch % ranks:
        raise UsageError(f"a batch must be a multiple of the processes ({ranks}), got {batch}")
    of = f", {batch // ranks} in each of {ranks} processes" if ranks > 1 else ""
    progress.say(f"{recipe.steps} steps of {batch} pictures{of}, learning rate {recipe.rate:.4g}")
    return recipe
