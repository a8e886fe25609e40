"""The last step of a detector's run: its files, made aside and moved into place when all of them are there."""

import csv
import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

from senet_zoo.detection.evaluation import Scores
from senet_zoo.detection.folders import DetectorConfig, save_pretrained
from senet_zoo.detection.job import Job, Row
from senet_zoo.errors import TrainingError, WeightsUnavailable
from senet_zoo.weights.config import TENSORS

METRICS, RUN = "metrics.csv", "run.json"


@dataclass(frozen=True)
class DetectionResult:
    """What came of a run.

    Args:
        folder: what `senet_zoo.detection.from_pretrained` reads.
        detector: its kind in words.
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
    rows: tuple[Row, ...]
    scores: Scores
    skipped: Mapping[str, Mapping[str, int]]
    unreadable: tuple[str, ...]


def finish(job: Job, detector: DetectorConfig, result: DetectionResult) -> None:
    """Write the folder aside, move it into place with the tensors last, and remove the checkpoints."""
    aside = job.folder / "finished"
    try:
        shutil.rmtree(aside, ignore_errors=True)
        save_pretrained(job.detector, aside, detector)
        (aside / METRICS).write_text(_as_csv(result.rows))
        run = {
            **job.identity,
            "scores": asdict(result.scores),
            "skipped": result.skipped,
            "unreadable": result.unreadable,
        }
        (aside / RUN).write_text(json.dumps(run, indent=2, ensure_ascii=False) + "\n")
        for path in sorted(aside.iterdir(), key=lambda path: path.name == TENSORS):
            path.replace(result.folder / path.name)
        shutil.rmtree(job.folder)
    except (OSError, WeightsUnavailable) as error:
        raise TrainingError(
            f"the finished detector could not be written to {result.folder}: {error}. Its checkpoints are still there: "
            "make room and run the same command again"
        ) from error


def _as_csv(rows: tuple[Row, ...]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Row))
    writer.writerows(map(astuple, rows))
    return text.getvalue()
