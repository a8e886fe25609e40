"""A whole evaluation equals a plain loop over the pictures, whatever is cut, batched or shared out."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from meeting import run_together
from PIL import Image
from torch import nn
from torch.nn import functional as F

import senet_zoo
from senet_zoo.data.datasets import open_data
from senet_zoo.data.labelled import Labelled, subset
from senet_zoo.data.labels import CIFAR10
from senet_zoo.data.pictures import read_picture
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import DataError, UsageError, WeightsError
from senet_zoo.evaluation import Evaluation, LogitNames, TenCrop, evaluate, logits_of, protocol, tables

SAMPLES = Path(__file__).parents[2] / "samples"
SMALL = Preprocessing(size=16, resize=18)


class Linear(nn.Module):
    """Some classes by the mean colour of the picture, right now and then."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc = nn.Linear(3, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(4 * x.mean((2, 3)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    chance = np.random.default_rng(0)
    for name in ("ant", "bee", "cow"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for i in range(7):
            pixels = np.full((20, 24, 3), chance.integers(0, 256, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{i}.png")
    return tmp_path / "data"


def sample_pictures() -> Labelled:
    return Labelled(CIFAR10, tuple(range(10)), CIFAR10, lambda i: read_picture(SAMPLES / f"{CIFAR10[i]}.png"))


def test_a_torchvision_network_scores_what_its_own_transforms_and_a_plain_loop_give(
    folder: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(num_classes=6).eval()
    ours = senet_zoo.create_model("resnet18b", num_classes=6).eval()
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    senet_zoo.load_checkpoint(ours, tmp_path / "theirs.pth")
    transforms = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.transforms()
    pictures = torchvision.datasets.ImageFolder(str(folder))
    with torch.inference_mode():
        logits = torch.cat([theirs(transforms(picture)[None]) for picture, _ in pictures])
    labels = torch.tensor(pictures.targets)

    weights = Preprocessing(size=128, resize=140)  # another size, so that it is the protocol that counts
    names = LogitNames(("ant", "bee", "cow", "dog", "eel", "fox"))
    found = evaluate(ours, open_data(str(folder)), weights, names, protocol=protocol("center224", weights), batch=8)
    assert found.count == 21
    assert found.top1 == 100 * (logits.argmax(1) == labels).sum().item() / 21
    assert found.top5 == 100 * (logits.topk(5).indices == labels[:, None]).any(1).sum().item() / 21
    assert found.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    by_hand = torch.zeros(3, 4, dtype=torch.long)
    for label, first in zip(pictures.targets, logits.argmax(1).clamp(max=3).tolist(), strict=True):
        by_hand[label, first] += 1
    assert torch.tensor(found.confusion).equal(by_hand)
    assert found.columns == ("ant", "bee", "cow", "(other)")


def test_the_embedded_checkpoint_on_the_samples() -> None:
    weights = senet_zoo.get_weights("se_resnet20.cifar10")
    model = senet_zoo.create_model(weights.name, pretrained=True)
    data = sample_pictures()
    with torch.inference_mode():
        logits = model(torch.stack([weights.transforms()(data.read(i)) for i in range(10)]))
    found = evaluate(model, data, weights.preprocessing, logits_of(weights.categories))
    assert found.top1 == 10 * (logits.argmax(1) == torch.arange(10)).sum().item()
    assert found.top1 >= 80
    assert found.top5 == 100.0
    assert found.loss == pytest.approx(F.cross_entropy(logits, torch.arange(10)).item(), rel=1e-5)
    assert [each.count for each in found.classes] == [1] * 10
    assert found.columns == CIFAR10


def assert_same(left: Evaluation, right: Evaluation) -> None:
    assert (left.count, left.top1, left.top5, left.confusion) == (right.count, right.top1, right.top5, right.confusion)
    assert left.loss == pytest.approx(right.loss, rel=1e-6)
    assert left.calibration_error == pytest.approx(right.calibration_error, rel=1e-4)


@pytest.mark.parametrize(("batch", "workers"), [(1, 0), (5, 0), (100, 0), (4, 1)])
def test_batches_and_workers_change_nothing(folder: Path, batch: int, workers: int) -> None:
    model, data, names = Linear(3).eval(), open_data(str(folder)), LogitNames(("ant", "bee", "cow"))
    whole = evaluate(model, data, SMALL, names, batch=21)
    assert whole.count == 21
    assert_same(evaluate(model, data, SMALL, names, batch=batch, workers=workers), whole)


def test_many_crops_of_a_plain_picture_are_one(folder: Path) -> None:
    model, data, names = Linear(3).eval(), open_data(str(folder)), LogitNames(("ant", "bee", "cow"))
    assert_same(
        evaluate(model, data, SMALL, names, protocol=TenCrop(16, 18), batch=7), evaluate(model, data, SMALL, names)
    )


def test_the_caller_s_network_stays_as_it_was_and_hears_progress(folder: Path) -> None:
    model, data = senet_zoo.create_model("resnet20", num_classes=3).eval(), open_data(str(folder))
    model.classifier.weight.requires_grad_(False)
    before = {name: (tensor.clone(), tensor.stride()) for name, tensor in model.state_dict().items()}
    heard: list[int] = []
    evaluate(model, data, SMALL, LogitNames(("ant", "bee", "cow")), batch=8, progress=heard.append)
    assert heard == [8, 8, 5]
    for name, tensor in model.state_dict().items():
        assert tensor.equal(before[name][0])
        assert tensor.stride() == before[name][1]


def test_five_classes_have_no_top5_and_classes_without_pictures_no_score(folder: Path) -> None:
    data = subset(open_data(str(folder)), range(14))
    found = evaluate(Linear(5).eval(), data, SMALL, LogitNames(("ant", "bee", "cow", "dog", "eel")))
    assert found.top5 is None
    assert (found.classes[2].count, found.classes[2].top1, found.classes[2].loss) == (0, None, None)
    assert found.classes[0].top5 is None
    per_class = [each.top1 for each in found.classes if each.top1 is not None]
    assert found.top1 == pytest.approx(sum(per_class) / 2)
    six = LogitNames(("ant", "bee", "cow", "dog", "eel", "fox"))
    assert evaluate(Linear(6).eval(), data, SMALL, six).top5 is not None


def test_unreadable_pictures_are_left_out_and_named(folder: Path) -> None:
    (folder / "bee" / "3.png").write_bytes(b"no picture")
    data, names = open_data(str(folder)), LogitNames(("ant", "bee", "cow"))
    found = evaluate(Linear(3).eval(), data, SMALL, names, batch=4)
    assert [each.name for each in found.unreadable] == [str(Path("bee", "3.png"))]
    assert "3.png" in found.unreadable[0].error
    assert (found.count, found.classes[1].count) == (20, 6)
    without = subset(data, [i for i in range(21) if data.names[i] != found.unreadable[0].name])
    assert_same(found, evaluate(Linear(3).eval(), without, SMALL, names))
    with pytest.raises(DataError, match=r"none of 1 is: .*3\.png"):
        evaluate(Linear(3).eval(), subset(data, [10]), SMALL, names)


def test_wrong_use_is_refused(folder: Path) -> None:
    data, names = open_data(str(folder)), LogitNames(("ant", "bee", "cow"))
    with pytest.raises(UsageError, match="in training mode"):
        evaluate(Linear(3).train(), data, SMALL, names)
    with pytest.raises(UsageError, match="4 logits, got 3 names"):
        evaluate(Linear(4).eval(), data, SMALL, names)
    with pytest.raises(UsageError, match="batch must be at least 1"):
        evaluate(Linear(3).eval(), data, SMALL, names, batch=0)
    with pytest.raises(DataError, match="1 of 3 are not: cow"):
        evaluate(Linear(2).eval(), data, SMALL, LogitNames(("ant", "bee")))
    broken = Linear(3).eval()
    broken.fc.bias.data[0] = float("nan")
    with pytest.raises(WeightsError, match="must be finite"):
        evaluate(broken, data, SMALL, names)


def test_tables_hold_the_figures(folder: Path, tmp_path: Path) -> None:
    found = evaluate(Linear(4).eval(), open_data(str(folder)), SMALL, LogitNames(("ant", "bee", "cow", "dog")))
    tables.write_per_class(tmp_path / "classes.csv", found)
    with (tmp_path / "classes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["ant", "bee", "cow"]
    assert [float(row["top1"]) for row in rows] == [each.top1 for each in found.classes]
    tables.write_confusion(tmp_path / "who.csv", found)
    with (tmp_path / "who.csv").open(newline="") as file:
        head, *lines = csv.reader(file)
    assert head == ["class", "ant", "bee", "cow", "(other)"]
    assert [tuple(map(int, line[1:])) for line in lines] == list(found.confusion)
    tables.write_confusion(tmp_path / "who.png", found)
    assert read_picture(tmp_path / "who.png").width > 100
    with pytest.raises(UsageError, match=r"\.csv or \.png, got .*who\.pdf"):
        tables.write_confusion(tmp_path / "who.pdf", found)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="must be a file that can be written"):
        tables.write_per_class(tmp_path / "file" / "classes.csv", found)


PROCESS = """
import json, sys, torch
from dataclasses import asdict
from senet_zoo import create_model
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.data import open_data
from senet_zoo.evaluation import LogitNames, evaluate
from senet_zoo.support.distributed import joined_ranks

torch.manual_seed(0)
model = create_model("se_resnet20", num_classes=3).eval()
with joined_ranks() as ranks:
    found = evaluate(
        model, open_data(sys.argv[1]), Preprocessing(size=16, resize=18), LogitNames(("ant", "bee", "cow")), batch=1
    )
assert ranks.world == 2
print(json.dumps(asdict(found)))
"""


def test_two_processes_count_every_picture_once(folder: Path) -> None:
    (folder / "cow" / "0.png").write_bytes(b"no picture")
    ended = run_together(PROCESS, str(folder))
    assert [each.status for each in ended] == [0, 0], ended
    first, second = (json.loads(each.said) for each in ended)
    assert first == second
    torch.manual_seed(0)
    model = senet_zoo.create_model("se_resnet20", num_classes=3).eval()
    alone = evaluate(model, open_data(str(folder)), SMALL, LogitNames(("ant", "bee", "cow")), batch=1)
    assert (first["count"], first["top1"], first["top5"]) == (20, alone.top1, alone.top5)
    assert tuple(map(tuple, first["confusion"])) == alone.confusion
    assert [each["name"] for each in first["unreadable"]] == [str(Path("cow", "0.png"))]
    assert first["loss"] == pytest.approx(alone.loss, rel=1e-6)
    assert first["calibration_error"] == pytest.approx(alone.calibration_error, rel=1e-4)


@pytest.mark.slow
def test_a_process_whose_other_half_ended_says_so(folder: Path) -> None:
    code = PROCESS.replace("    found =", "    if ranks.rank:\n        sys.exit(1)\n    found =")
    left, _ = run_together(code, str(folder))
    assert left.status == 1, left
    assert "TrainingError: the processes that share the work lost each other" in left.complaint


def test_several_processes_without_a_meeting_place_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from senet_zoo.support.distributed import joined_ranks

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(UsageError, match=r"WORLD_SIZE=2 says .*MASTER_ADDR.* must say where"), joined_ranks():
        pass
