"""`fit_detector`: from a COCO folder to a saved detector."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from senet_zoo.detection.coco import CocoData, check_classes, in_words, read_coco
from senet_zoo.detection.config import DetectionConfig
from senet_zoo.detection.engine import Engine
from senet_zoo.detection.evaluation import check_metrics
from senet_zoo.detection.finishing import DetectionResult, finish
from senet_zoo.detection.folders import DetectorConfig
from senet_zoo.detection.job import Job
from senet_zoo.detection.models import build
from senet_zoo.detection.progress import Progress
from senet_zoo.detection.recipes import DetectionRecipe
from senet_zoo.errors import DataError, UsageError
from senet_zoo.training.config import CHECKPOINTS
from senet_zoo.training.finishing import refuse_finished
from senet_zoo.training.launch import check_place, launched
from senet_zoo.training.randomness import seeded
from senet_zoo.weights.create import create_model
from senet_zoo.weights.save import architecture_of


def fit_detector(config: DetectionConfig, progress: Progress | None = None) -> DetectionResult:
    """Train a detector and save it; under ``torchrun`` or ``accelerate launch``, in all processes together.

    The same command gives the same bits on the CPU, whether it was interrupted or not. Training shows the pictures
    that have a box; val is measured whole.

    Args:
        config: what to train.
        progress: told of every step; None to write to standard error.

    Raises:
        UsageError: values that contradict each other or the machine, a backbone without four stages, or a folder that
            another run fills.
        DataError: a folder that nothing can be learnt from or measured on.
        TrainingError: the run cannot go on; the last good checkpoint is named.
        WeightsError: the weights to start from could not be had.
    """
    check_place(config.device, config.precision, ())
    check_metrics()
    output = Path(config.output).expanduser()
    refuse_finished(output)
    train, val = read_coco(config.data, "train"), read_coco(config.data, "val")
    check_classes(val, train.classes)
    with launched(config.device, config.precision, (), output / CHECKPOINTS) as accelerator:
        progress = progress or Progress(silent=not accelerator.is_main_process)
        try:
            skipped = {"train": train.skipped, "val": val.skipped}
            for split, reasons in skipped.items():
                if reasons:
                    progress.say(f"{split}: {in_words(reasons)}")
            job, detector = _prepare(config, _with_boxes(train, progress), val, accelerator.num_processes, progress)
            try:
                job.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(
                    f"a run's output is a folder that can be written, and {job.folder} is not: {error}"
                ) from error
            engine = Engine(job, accelerator, progress)
            scores = engine.run()
            result = DetectionResult(
                folder=output,
                detector=config.kind.value,
                model=detector.backbone,
                classes=train.classes,
                rows=engine.rows,
                scores=scores,
                skipped=skipped,
                unreadable=tuple(engine.unreadable.values()),
            )
            if accelerator.is_main_process:
                finish(job, detector, result)
            return result
        finally:
            progress.close()


def _with_boxes(train: CocoData, progress: Progress) -> CocoData:
    """The pictures that have a box to learn; one that is only a crowd has none."""
    pictures = tuple(picture for picture in train.pictures if not all(picture.crowds))
    if not pictures:
        raise DataError("training needs boxes that are no crowds, and the pictures have none")
    if left := len(train.pictures) - len(pictures):
        progress.say(f"train: {left} pictures without boxes are not trained on")
    return replace(train, pictures=pictures)


def _prepare(
    config: DetectionConfig, train: CocoData, val: CocoData, ranks: int, progress: Progress
) -> tuple[Job, DetectorConfig]:
    recipe = _scaled(config, len(train.pictures), ranks, progress)
    if (recipe.frozen_norm or recipe.trainable_stages is not None) and not (config.pretrained or config.weights):
        raise UsageError(
            "this recipe freezes parts of the backbone, which must have been trained then: start from published "
            "weights (pretrained) or your own (weights), or choose the recipe small"
        )
    with seeded(config.seed, "start"):
        network = create_model(config.model, pretrained=config.pretrained, weights=config.weights)
        detector = build(
            config.kind,
            network,
            len(train.classes) + 1,
            design=recipe.design,
            trainable_stages=recipe.trainable_stages,
            frozen_norm=recipe.frozen_norm,
        )
    entry, widths = architecture_of(network.spec)
    saved = DetectorConfig(config.kind, entry.name, network.spec.se, train.classes, recipe.design, widths)
    job = Job(
        detector=detector,
        recipe=recipe,
        train=train,
        val=val,
        measure_steps=config.measure_steps,
        checkpoint_steps=config.checkpoint_steps,
        seed=config.seed,
        workers=config.workers,
        folder=Path(config.output).expanduser() / CHECKPOINTS,
        identity=json.loads(
            json.dumps(
                {
                    "task": "detection",
                    "detector": config.kind.value,
                    "model": config.model,
                    "pretrained": config.pretrained,
                    "weights": None if config.weights is None else str(config.weights),
                    "data": str(config.data),
                    "classes": train.classes,
                    "training pictures": len(train.pictures),
                    "validation pictures": len(val.pictures),
                    "measure steps": config.measure_steps,
                    "precision": config.precision,
                    "seed": config.seed,
                    **asdict(recipe),
                }
            )
        ),
    )
    return job, saved


def _scaled(config: DetectionConfig, pictures: int, ranks: int, progress: Progress) -> DetectionRecipe:
    """The recipe with the batch, the rate and the steps of this run."""
    recipe = config.recipe
    batch = recipe.batch if config.batch is None else config.batch
    if batch % ranks:
        raise UsageError(f"a batch must be a multiple of the processes ({ranks}), got {batch}")
    if config.size is not None:
        recipe = replace(recipe, design=recipe.design.at(config.size))
    if config.epochs is not None:
        recipe = recipe.lasting(max(1, config.epochs * pictures // batch))
    rate = recipe.rate * batch / recipe.batch if config.rate is None else config.rate
    progress.say(f"{recipe.steps} steps of {batch} pictures, learning rate {rate:.4g}")
    return replace(recipe, batch=batch, rate=rate)
