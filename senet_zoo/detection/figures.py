"""The pictures beside a trained detector: its curves, and what it finds in some validation pictures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from senet_zoo.data.drawing import beside, draw_boxes
from senet_zoo.data.pictures import read_picture
from senet_zoo.detection.coco import CocoData
from senet_zoo.errors import PictureError
from senet_zoo.weights.foreign_files import MARK

if TYPE_CHECKING:
    from PIL.Image import Image

    from senet_zoo.detection.training import DetectionRow

DRAWN = 4  # pictures, true boxes above and found ones below
CELL = 360  # pixels of the longer side of each
CERTAIN = 0.5  # score of a box that is drawn


@dataclass(frozen=True)
class LossRow:
    """The mean loss of a stretch of a run, and the step at its end."""

    step: int
    loss: float


def plot_run(
    file: Path, losses: Sequence[LossRow], rows: "Sequence[DetectionRow]", rate: Callable[[int], float]
) -> None:
    """Loss, average precision and learning rate by step."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    loss, precision, speed = figure.subplots(1, 3)
    steps = [row.step for row in losses]
    loss.plot(steps, [row.loss for row in losses])
    measured = [row.step for row in rows]
    precision.plot(measured, [row.ap50 for row in rows], marker="o", label="AP@0.5")
    precision.plot(measured, [row.ap for row in rows], marker="o", label="AP")
    precision.set_ylim(0, 100)
    precision.legend()
    speed.plot(steps, [rate(step - 1) for step in steps])
    for axes, title in ((loss, "training loss"), (precision, "validation, %"), (speed, "learning rate")):
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.set_xlim(0, steps[-1] if steps else 1)
        axes.grid(alpha=0.3)
    figure.savefig(file, dpi=110, metadata={"Software": MARK})


@torch.inference_mode()
def draw_predictions(file: Path, detector: nn.Module, data: CocoData) -> None:
    """The first readable pictures with boxes: the true ones above, and below them what the detector finds."""
    from torchvision.transforms.v2 import functional as F

    detector.eval()
    device = next(detector.parameters()).device
    true: list[Image] = []
    found: list[Image] = []
    for each in data.pictures:
        if len(true) == DRAWN:
            break
        try:
            picture = read_picture(each.path) if each.boxes else None
        except PictureError:
            continue
        if picture is None:
            continue
        names = [data.classes[label - 1] for label in each.labels]
        true.append(_cell(draw_boxes(picture, each.boxes, names, each.labels)))
        (answer,) = detector([F.pil_to_tensor(picture).to(device).float() / 255.0])
        kept = (answer["scores"] >= CERTAIN).nonzero().flatten().flip(0).tolist()  # the best is drawn last
        labels = [int(answer["labels"][number]) for number in kept]
        names = [
            f"{data.classes[label - 1]} {float(answer['scores'][number]):.0%}"
            for number, label in zip(kept, labels, strict=True)
        ]
        boxes = [tuple(answer["boxes"][number].tolist()) for number in kept]
        masks = [answer["masks"][number, 0].cpu().numpy() > 0.5 for number in kept] if "masks" in answer else []
        found.append(_cell(draw_boxes(picture, boxes, names, labels, masks)))
    if true:
        from PIL.PngImagePlugin import PngInfo

        mark = PngInfo()
        mark.add_text("Software", MARK)
        beside([*true, *found], columns=len(true)).save(file, pnginfo=mark, optimize=True)


def _cell(picture: "Image") -> "Image":
    by = min(1.0, CELL / max(picture.size))
    return picture.resize((max(1, round(picture.width * by)), max(1, round(picture.height * by))))
