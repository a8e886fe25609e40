"""What a detector scores beside boxes: masks as COCO's own code measures them, and who is taken for whom."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import nn

from senet_zoo.detection import CocoData, evaluate_detector, read_coco
from senet_zoo.detection.evaluation import Detections, confusion_of, detect
from senet_zoo.detection.pictures import load
from senet_zoo.training.batches import Share


class MaskGuess(nn.Module):
    """A detector whose masks are the true ones, moved to the right by up to five pixels."""

    def __init__(self, data: CocoData) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.targets = iter([load(picture, 0, crowds=True).target for picture in data.pictures])
        self.chance = torch.Generator().manual_seed(0)

    def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        found = []
        for target in [next(self.targets) for _ in images]:
            count = len(target["labels"])
            shifts = torch.randint(0, 6, (count,), generator=self.chance).tolist()
            masks = [mask.roll(shift, 1) for mask, shift in zip(target["masks"], shifts, strict=True)]
            scores = torch.rand(count, generator=self.chance)
            shares = torch.stack(masks)[:, None].float() if masks else torch.zeros(0, 1, 64, 64)
            found.append({"boxes": target["boxes"], "labels": target["labels"], "scores": scores, "masks": shares})
        return found


@pytest.fixture
def outlined(shapes: Path, tmp_path: Path) -> Path:
    """The shapes with a rectangle for the mask of each."""
    folder = Path(shutil.copytree(shapes, tmp_path / "set"))
    for path in (folder / "annotations").glob("*.json"):
        data = json.loads(path.read_text())
        for each in data["annotations"]:
            x, y, w, h = each["bbox"]
            each["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        path.write_text(json.dumps(data))
    return folder


def test_masks_score_as_in_coco_s_own_code(outlined: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = read_coco(outlined, "train", masks=True)
    scores = evaluate_detector(MaskGuess(data), data, batch=3)
    truth = COCO(outlined / "annotations/instances_train.json")
    results = []
    for number, found in enumerate(MaskGuess(data)([None] * len(data.pictures)), 1):
        for mask, label, score in zip(found["masks"], found["labels"], found["scores"], strict=True):
            packed = coco_mask.encode(mask[0].byte().numpy().copy(order="F"))
            packed["counts"] = packed["counts"].decode()
            results.append(
                {"image_id": number, "category_id": int(label), "segmentation": packed, "score": float(score)}
            )
    judge = COCOeval(truth, truth.loadRes(results), "segm")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    capsys.readouterr()
    assert 5.0 < scores.mask_ap < 95.0 < scores.ap
    assert (scores.mask_ap, scores.mask_ap50) == pytest.approx([100.0 * value for value in judge.stats[:2]], abs=1e-3)
    boxes = read_coco(outlined, "train")
    without = evaluate_detector(MaskGuess(data), boxes, batch=3)
    assert (without.mask_ap, without.ap) == (None, scores.ap)


def found(boxes: list[list[float]], labels: list[int], scores: list[float]) -> dict[str, torch.Tensor]:
    return {
        "boxes": torch.tensor(boxes).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "scores": torch.tensor(scores),
    }


def test_who_is_taken_for_whom(shapes: Path) -> None:
    data = replace(read_coco(shapes, "val"), classes=("cat", "dog"))
    true = {
        "boxes": torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [0, 50, 60, 60]]),
        "labels": torch.tensor([1, 1, 2, 2]),
        "iscrowd": torch.tensor([0, 0, 0, 1]),
    }
    said = found(
        [
            [0, 0, 10, 9],  # the first cat, seen
            [20, 0, 30, 11],  # the second, taken for a dog
            [0, 0, 10, 10],  # the first cat once more, with a lower score: nothing
            [40, 0, 44, 10],  # too little of the dog
            [0, 50, 60, 60],  # over a crowd
            [80, 80, 90, 90],  # nothing is there, and it is uncertain
        ],
        [1, 2, 1, 2, 2, 1],
        [0.9, 0.8, 0.7, 0.9, 0.9, 0.4],
    )
    counts = confusion_of(data, [Detections(0, said, true), Detections(1, found([], [], []), {**true})])
    assert counts.tolist() == [[1, 1, 2], [0, 0, 2], [1, 1, 0]]


class Blind(nn.Module):
    """A detector that finds nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images: list[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        return [{**found([], [], []), "masks": torch.zeros(0, 1, *image.shape[1:])} for image in images]


@pytest.mark.parametrize("masks", [False, True])
def test_a_detector_that_finds_nothing_scores_nothing(masks: bool, outlined: Path) -> None:
    data = read_coco(outlined, "val", masks=masks)
    scores = evaluate_detector(Blind(), data)
    assert (scores.ap, scores.ap50, scores.mask_ap) == (0.0, 0.0, 0.0 if masks else None)
    things = sum(len(picture.boxes) for picture in data.pictures)
    counts = confusion_of(data, list(detect(Blind(), data, Share(0, 1), batch=2, workers=0)))
    assert counts[:, -1].sum() == counts.sum() == things
