"""The last steps of a run: its files, made aside and moved into the output folder when all of them are there."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from senet_zoo.errors import TrainingError, UsageError, WeightsUnavailable
from senet_zoo.evaluation.tables import plot_confusion
from senet_zoo.training.config import CHECKPOINTS, TrainConfig
from senet_zoo.training.engine import Engine
from senet_zoo.training.job import Job
from senet_zoo.training.measuring import Scores
from senet_zoo.training.plots import plot_curves
from senet_zoo.training.progress import History, as_csv, best
from senet_zoo.weights.catalogue import split_name
from senet_zoo.weights.config import TENSORS
from senet_zoo.weights.rows import Metric
from senet_zoo.weights.save import save_pretrained

METRICS, CURVES, CONFUSION, RUN = "metrics.csv", "curves.png", "confusion.png", "run.json"


@dataclass(frozen=True)
class TrainResult:
    """What came of a run.

    Args:
        folder: what `senet_zoo.from_pretrained` reads.
        model: name of the network.
        classes: in the order of the logits.
        history: every epoch.
        epoch: the one whose network was saved, counted from 1.
        val_top1: percentage of the validation pictures that the saved network gets right.
        val_loss: its mean cross-entropy on them.
        val_pictures: their number.
        confusion: validation pictures by true class (row) and first class (column).
        unreadable: names of the pictures that were skipped.
        predict: the command that classifies pictures with it.
    """

    folder: Path
    model: str
    classes: tuple[str, ...]
    history: History
    epoch: int
    val_top1: float
    val_loss: float
    val_pictures: int
    confusion: tuple[tuple[int, ...], ...]
    unreadable: tuple[str, ...]
    predict: str


def refuse_finished(output: Path) -> None:
    """Refuse a folder that holds a network, or is a file.

    Raises:
        UsageError: it does, or is.
    """
    if (output / TENSORS).exists():
        raise UsageError(f"{output} holds a finished run ({TENSORS}); choose another output folder, or remove it")
    if output.exists() and not output.is_dir():
        raise UsageError(f"a run's output is a folder, and {output} is a file; choose another")


def finish(config: TrainConfig, job: Job, engine: Engine, is_main: bool) -> TrainResult:
    """Measure the network once more, write its files, and remove the checkpoints.

    Args:
        config: what was asked for.
        job: what was trained.
        engine: after its run.
        is_main: whether this process writes.

    Raises:
        TrainingError: the disk did not take them; the checkpoints are still there.
    """
    scores, output = engine.measure(), Path(config.output).expanduser()
    result = _result(config, job, engine, scores)
    if not is_main:
        return result
    aside = output / CHECKPOINTS / "finished"
    try:
        shutil.rmtree(aside, ignore_errors=True)
        _write(aside, config, engine, result, scores)
        # The tensors last: without them the folder is no model.
        for path in sorted(aside.iterdir(), key=lambda path: path.name == TENSORS):
            path.replace(output / path.name)
        shutil.rmtree(output / CHECKPOINTS)
    except (OSError, WeightsUnavailable) as error:
        raise TrainingError(
            f"the finished network could not be written to {output}: {error}. Its checkpoints are still there: make "
            "room and run the same command again"
        ) from error
    return result


def _result(config: TrainConfig, job: Job, engine: Engine, scores: Scores) -> TrainResult:
    output = Path(config.output).expanduser()
    name = split_name(config.model)[0]
    names = [job.train.names[index] for index in sorted(engine.unreadable)]
    names += [job.val.names[index] for index in sorted(scores.unreadable)]
    return TrainResult(
        folder=output,
        model=name,
        classes=job.train.classes,
        history=engine.history,
        epoch=(best(engine.history) if job.patience is not None else engine.history[-1]).epoch,
        val_top1=scores.top1,
        val_loss=scores.loss,
        val_pictures=scores.count,
        confusion=tuple(map(tuple, scores.confusion.tolist())),
        unreadable=tuple(names),
        predict=f"senet-zoo predict --model {name} --weights {quote(str(output))} PICTURE",
    )


def _write(folder: Path, config: TrainConfig, engine: Engine, result: TrainResult, scores: Scores) -> None:
    job = engine.job
    metric = Metric(
        name="top1",
        value=round(result.val_top1, 2),
        dataset=f"{Path(config.data).name} val ({result.val_pictures} pictures)",
        size=job.preprocessing.size,
        who="senet-zoo train, after training" + (", which chose the epoch by it" if config.patience else ""),
        measured_by_us=True,
    )
    save_pretrained(
        job.network,
        folder,
        preprocessing=job.preprocessing,
        categories=job.train.classes,
        license=config.license,
        metrics=(metric,),
    )
    (folder / METRICS).write_text(as_csv(result.history))
    plot_curves(folder / CURVES, result.history, result.epoch)
    plot_confusion(folder / CONFUSION, scores.confusion, result.classes)
    run = {
        **job.identity,
        "units were fused": engine.fused,
        "saved epoch": result.epoch,
        "val top-1": result.val_top1,
        "unreadable": result.unreadable,
    }
    (folder / RUN).write_text(json.dumps(run, indent=2, ensure_ascii=False) + "\n")
