"""Detection as a task of a run, and `fit_detector`: from a COCO folder to a saved detector."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

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
from senet_zoo.training.batches import resumable
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
from senet_zoo.weights.save import architecture_of
from senet_zoo.weights.task_card import PREDICTIONS
from senet_zoo.weights.task_folders import provenance_from, task_at

if TYPE_CHECKING:
    from accelerate import Accelerator


# Layers of torchvision's detectors whose outputs are counted by classes.
CLASS_LAYERS = re.compile(r"(box_predictor|mask_predictor\.mask_fcn_logits|classification_head\.cls_logits)\b")
ADDED = ("scales", "photometric", "cosine")  # to recipes later: checkpoints of earlier runs do not name them
LEARNT = ("boxes", "labels", "masks")  # what of a picture's target goes to a detector


@dataclass(frozen=True)
class DetectionRow(StepRow):
    """What was measured after some steps; all that `StepRow` takes, and what belongs to detection.

    Args:
        ap: COCO's average precision in percent.
        ap50: that at an overlap of 0.5.
    """

    ap: float
    ap50: float

    def __str__(self) -> str:
        return f"step {self.step}, loss {self.loss:.4f}, AP {self.ap:.1f}, AP@0.5 {self.ap50:.1f}, rate {self.rate:.3g}"


@dataclass(frozen=True)
class DetectionResult(StepResult[DetectionRow, Scores]):
    """What came of a run; all that `StepResult` takes, and what belongs to detection.

    Args:
        detector: its kind, such as ``faster_rcnn``.
    """

    detector: str


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


class Detection(StepTask[Sample, DetectionResult]):
    """A detector that learns boxes.

    Raises:
        UsageError: a batch that cannot be divided, or a backbone without the strides that a pyramid needs.
        DataError: no picture with a box.
        WeightsError: the weights to start from could not be had.
    """

    FORM: ClassVar[Form[Any]] = DETECTION
    ROW: ClassVar[type[StepRow]] = DetectionRow
    config: DetectionConfig
    recipe: DetectionRecipe
    saved: DetectorConfig
    train: CocoData
    val: CocoData
    scores: Scores | None

    def __init__(
        self,
        config: DetectionConfig,
        train: CocoData,
        val: CocoData,
        accelerator: "Accelerator",
        progress: Progress,
    ) -> None:
        train = _with_boxes(train, progress)
        recipe = scaled_recipe(config, len(train.pictures), accelerator.num_processes, progress)
        detector, saved = _start(config, recipe, train.classes)
        values = {name: value for name, value in asdict(recipe).items() if value or name not in ADDED}
        own = {"detector": config.kind.value, **values}
        digest = digest_of(train, val)
        super().__init__(config, recipe, detector, saved, train, val, digest, own, accelerator, progress)

    def training_pictures(self) -> CocoTrainingPictures:
        recipe = self.recipe
        return CocoTrainingPictures(
            self.train.pictures, recipe.flip, self.config.seed, recipe.photometric, recipe.design.longest
        )

    def choose_largest(self) -> int:
        design, pictures = self.recipe.design, self.train.pictures
        transform: Any = self.model.transform
        transform.min_size = (round(design.side * max((1.0, *self.recipe.scales))),)

        def pixels(index: int) -> float:
            shorter, longer = sorted((pictures[index].width, pictures[index].height))
            by = min(design.side / shorter, design.longest / longer)
            return by * by * shorter * longer

        return max(range(len(pictures)), key=pixels)

    def groups(self) -> list[Group]:
        return groups_of(self.model, self.recipe)

    def begin(self, step: int) -> None:
        super().begin(step)
        # In training torchvision takes one of them at random; the last one is that of measuring.
        side, scales = self.recipe.design.side, self.recipe.scales
        transform: Any = self.model.transform
        transform.min_size = (*(max(1, round(side * scale)) for scale in scales if scale != 1.0), side)

    def batch_loss(self, model: nn.Module, batch: list[Sample]) -> Tensor:
        device = self.accelerator.device
        images = [sample.image.to(device, non_blocking=True) for sample in batch]
        targets = [
            {name: value.to(device) for name, value in sample.target.items() if name in LEARNT} for sample in batch
        ]
        return torch.stack(list(model(images, targets).values())).sum()

    def measure_scores(self) -> Scores:
        from accelerate.utils import gather_object

        size = max(1, self.recipe.batch // self.share.ranks)
        found = list(resumable(detect(self.model, self.val, self.share, batch=size, workers=self.config.workers)))
        return score(self.val, gather_object(found))

    def row(self, step: int, rate: float, loss: float) -> DetectionRow:
        assert self.scores is not None
        return DetectionRow(step, rate, loss, self.scores.ap, self.scores.ap50)

    def result(self) -> DetectionResult:
        """The last measurement; a new one where all steps were done before an interruption."""
        return DetectionResult(
            folder=self.config.folder,
            model=self.saved.backbone,
            classes=self.train.classes,
            rows=self.history,
            scores=self.scores or self.measure_scores(),
            skipped=self.skipped(),
            unreadable=tuple(self.unreadable.values()),
            detector=self.config.kind.value,
        )

    def write(self, folder: Path, result: DetectionResult) -> Mapping[str, Sequence[float]]:
        saved = replace(self.saved, measured=_measurement(self.config, result.scores))
        save_pretrained(self.model, folder, saved, license=self.config.license)
        draw_predictions(folder / PREDICTIONS, self.model, self.val)
        return {"AP@0.5": [row.ap50 for row in result.rows], "AP": [row.ap for row in result.rows]}


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
    check_metrics()
    check_start(config, DetectionRow)
    _require_trained(config)
    data = _read(config)
    with opened_run(config, progress) as (accelerator, told):
        return Run(config, _task(config, data, accelerator, told), accelerator, told).fit()


def plan_detector(config: DetectionConfig, progress: Progress | None = None) -> DryRun:
    """What `fit_detector` would do and need in memory; nothing is trained, fetched or written.

    Raises:
        UsageError, DataError, WeightsError: as `fit_detector`, except for what lies in the output folder.
    """
    check_machine(config)
    check_metrics()
    _require_trained(config)
    config = without_published(config)
    data = _read(config)
    with launched(config) as accelerator:
        told = progress or Progress(silent=not accelerator.is_main_process)
        return dry_run(_task(config, data, accelerator, told))


def _require_trained(config: DetectionConfig) -> None:
    recipe = config.recipe
    if (recipe.frozen_norm or recipe.trainable_stages is not None) and not (config.pretrained or config.weights):
        raise UsageError(
            "this recipe freezes parts of the backbone, which must have been trained then: start from published "
            "weights (pretrained) or your own (weights), or choose the recipe small"
        )


def _read(config: DetectionConfig) -> tuple[CocoData, CocoData]:
    """The pictures to learn from and those to measure on."""
    train = read_coco(config.data, "train", masks=config.kind is Kind.MASK_RCNN)
    val = read_coco(config.data, "val", masks=config.kind is Kind.MASK_RCNN)
    check_classes(val, train.classes)
    return train, val


def _task(
    config: DetectionConfig, data: tuple[CocoData, CocoData], accelerator: "Accelerator", progress: Progress
) -> Detection:
    """The task; what of the data is left out is told before."""
    for split, part in zip(("train", "val"), data, strict=True):
        if part.skipped:
            progress.say(f"{split}: {describe_skipped(part.skipped)}")
    return Detection(config, *data, accelerator, progress)


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
    earlier: Any = None
    if config.weights is not None and task_at(config.weights) is SavedTask.DETECTION:
        earlier = from_pretrained(config.weights)
    with seeded(config.seed, "start"):
        network = starting_backbone(config, earlier, _network_of)
        detector = build(
            config.kind,
            network,
            len(classes) + 1,
            design=recipe.design,
            trainable_stages=recipe.trainable_stages,
            frozen_norm=recipe.frozen_norm,
        )
    if earlier is not None:
        take_over(detector, earlier, classes, CLASS_LAYERS)
    entry, widths = architecture_of(network.spec)
    provenance = provenance_from(network) if earlier is None else earlier.weights.provenance
    saved = DetectorConfig(
        config.kind, entry.name, network.spec.se, classes, recipe.design, widths=widths, provenance=provenance
    )
    return detector, saved


def _network_of(detector: Any) -> ConvNet:
    network: ConvNet = detector.backbone.body
    return network


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
        scores.mask_ap,
    )
