"""Predictions: in order, the same in any batch, and not stopped by a bad file."""

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

import senet_zoo
from senet_zoo.data.preprocessing import Interpolation, Preprocessing
from senet_zoo.errors import PictureError, UsageError, WeightsError
from senet_zoo.prediction.pipeline import Failure, Prediction
from senet_zoo.prediction.predictor import EMBEDDED, PHOTOGRAPHS, Predictor, classify

PREPROCESSING = Preprocessing(8, 8, Interpolation.BILINEAR, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
CATEGORIES = ("red", "green", "blue")


class Reddest(nn.Module):
    """Logits are the mean of each channel: a red picture is 'red'."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.batches: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.batches.append(len(x))
        return x.mean((2, 3)) * self.scale


@pytest.fixture
def model() -> Reddest:
    return Reddest().eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(11):
        Image.new("RGB", (10 + i, 9), ("red", "lime", "blue")[i % 3]).save(tmp_path / f"{i}.png")
    return tmp_path


def test_each_picture_gets_its_classes_in_order(model: Reddest, folder: Path) -> None:
    results = list(classify(model, [folder], PREPROCESSING, CATEGORIES))
    assert [Path(result.path).name for result in results] == [f"{i}.png" for i in range(11)]
    for i, result in enumerate(results):
        assert isinstance(result, Prediction)
        labels, probabilities = zip(*result.classes, strict=True)
        assert labels[0] == CATEGORIES[i % 3]
        assert sorted(probabilities, reverse=True) == list(probabilities)
        assert sum(probabilities) == pytest.approx(1)


@pytest.mark.parametrize("batch", [1, 4, 11, 100])
def test_batches_change_no_result(model: Reddest, folder: Path, batch: int) -> None:
    one = list(classify(model, [folder], PREPROCESSING, CATEGORIES, batch=1, workers=1))
    model.batches.clear()
    assert list(classify(model, [folder], PREPROCESSING, CATEGORIES, batch=batch)) == one
    assert sum(model.batches) == 11
    assert max(model.batches) == min(batch, 11)


@pytest.mark.parametrize("top", [1, 2, 3, 1000])
def test_top_is_at_most_the_number_of_classes(model: Reddest, folder: Path, top: int) -> None:
    result = next(classify(model, [folder], PREPROCESSING, CATEGORIES, top=top))
    assert isinstance(result, Prediction)
    assert len(result.classes) == min(top, 3)


def test_a_bad_file_is_named_and_the_others_go_on(model: Reddest, folder: Path) -> None:
    (folder / "3.png").write_bytes(b"no picture")
    sources = [folder / "nowhere.png", folder, folder / "0.png"]
    results = list(classify(model, sources, PREPROCESSING, CATEGORIES, batch=4))
    failed = [result for result in results if isinstance(result, Failure)]
    assert [Path(failure.path).name for failure in failed] == ["nowhere.png", "3.png"]
    assert all(Path(failure.path).name in str(failure.error) for failure in failed)
    assert [Path(result.path).stem for result in results] == ["nowhere", *map(str, range(11)), "0"]


def test_sources_are_read_as_needed(model: Reddest, folder: Path) -> None:
    asked = 0

    def forever() -> Iterator[Path]:
        nonlocal asked
        while True:
            asked += 1
            yield folder / "0.png"

    results = classify(model, forever(), PREPROCESSING, CATEGORIES, batch=2)
    for _ in range(20):
        next(results)
    assert asked <= 20 + 3 * 2
    results.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("senet_zoo-decode")]


def test_the_network_runs_in_its_own_dtype(folder: Path) -> None:
    model = Reddest().eval().to(torch.bfloat16)
    result = next(classify(model, [folder / "1.png"], PREPROCESSING, CATEGORIES))
    assert isinstance(result, Prediction)
    assert result.classes[0][0] == "green"


@pytest.mark.parametrize("word", ["top", "batch", "workers"])
def test_a_number_below_one_is_refused(model: Reddest, folder: Path, word: str) -> None:
    with pytest.raises(UsageError, match=f"{word} must be at least 1, got 0"):
        classify(model, [folder], PREPROCESSING, CATEGORIES, **{word: 0})


def test_a_model_in_training_mode_is_refused(model: Reddest, folder: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.eval\(\)"):
        classify(model.train(), [folder], PREPROCESSING, CATEGORIES)


def test_labels_must_fit_the_logits(model: Reddest, folder: Path) -> None:
    with pytest.raises(UsageError, match="3 logits, got 2 labels"):
        list(classify(model, [folder], PREPROCESSING, CATEGORIES[:2]))


def test_scores_that_are_not_finite_are_an_error(model: Reddest, folder: Path) -> None:
    nn.init.constant_(model.scale, torch.nan)
    with pytest.raises(WeightsError, match="must be finite"):
        list(classify(model, [folder], PREPROCESSING, CATEGORIES))


@pytest.mark.parametrize("classes", [10, 7])
def test_a_file_that_names_no_classes_gets_numbers_and_never_another_set_s_names(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, classes: int
) -> None:
    file = tmp_path / "svhn.safetensors"
    save_file(senet_zoo.create_model("se_resnet20", num_classes=classes).state_dict(), file)
    with caplog.at_level(logging.WARNING):
        predictor = Predictor("se_resnet20", weights=str(file))
    assert predictor.categories == tuple(f"class {number}" for number in range(classes))
    assert predictor.preprocessing.size == 32
    (line,) = [record.getMessage() for record in caplog.records]
    assert "does not say how pictures are prepared or what its classes are called" in line


def test_a_folder_that_says_all_of_itself_is_believed_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = senet_zoo.create_model("se_resnet20", num_classes=2)
    senet_zoo.save_pretrained(model, tmp_path, categories=("cat", "dog"), preprocessing=Preprocessing(32, 40))
    predictor = Predictor("se_resnet20", weights=str(tmp_path))
    assert (predictor.categories, predictor.preprocessing.resize) == (("cat", "dog"), 40)
    assert not caplog.records


def test_one_path_is_one_source(model: Reddest, folder: Path) -> None:
    one = next(path for path in sorted(folder.iterdir()) if path.suffix == ".png")
    for source in (one, str(one)):
        (result,) = classify(model, source, PREPROCESSING, CATEGORIES)
        assert result.path == str(one)
    with pytest.raises(UsageError, match=r"a picture is a path, .*got int"):
        list(classify(model, [5], PREPROCESSING, CATEGORIES))  # type: ignore[list-item]


@pytest.mark.parametrize("odd", ["n" * 5000, "a\0b.png", "thin.png", "pipe.png"])
def test_one_odd_source_does_not_end_the_run(model: Reddest, tmp_path: Path, odd: str) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "good.png")
    Image.new("1", (300_000, 1)).save(tmp_path / "thin.png")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")
    sources = [f"{tmp_path}/{odd}", tmp_path / "good.png"]
    failure, answer = classify(model, sources, Preprocessing(256, 256), CATEGORIES, batch=1)
    assert isinstance(failure, Failure)
    assert odd[:20].replace("\0", "\\x00") in str(failure.error)
    assert isinstance(answer, Prediction)


def test_one_call_takes_every_kind_of_picture(folder: Path) -> None:
    picture = Image.open(folder / "1.png")
    pixels = numpy.asarray(picture)
    tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    kinds = [folder / "1.png", str(folder / "1.png"), picture, pixels, tensor]
    results = senet_zoo.predict(kinds, device="cpu", top=2)
    for result in results:
        assert [label for label, _ in result.classes] == [label for label, _ in results[0].classes]
        assert result.probability == pytest.approx(results[0].probability, abs=1e-5)
    assert [result.path for result in results[2:]] == ["picture 1", "picture 2", "picture 3"]
    for kind in kinds:
        (alone,) = senet_zoo.predict(kind, device="cpu", top=2)
        assert alone.label == results[0].label
    assert len(senet_zoo.predict(numpy.stack([pixels, pixels]), device="cpu")) == 2
    assert len(senet_zoo.predict(torch.stack([tensor, tensor]), device="cpu")) == 2
    assert len(senet_zoo.predict(folder, device="cpu")) == 11


def test_a_result_says_what_it_is() -> None:
    (result,) = senet_zoo.predict(Image.new("RGB", (640, 480)), device="cpu", top=2)
    assert (result.label, result.probability) == result.top[0]
    assert result.network == PHOTOGRAPHS
    assert str(result).startswith(f"picture 1: {result.label} ")
    assert str(result).endswith(f"({PHOTOGRAPHS})")
    (small,) = senet_zoo.predict(Image.new("RGB", (32, 32)), device="cpu")
    assert small.network == EMBEDDED


def test_a_predictor_is_a_name_a_folder_or_a_network(tmp_path: Path) -> None:
    network = senet_zoo.create_model("se_resnet20", pretrained=True)
    senet_zoo.save_pretrained(network, tmp_path / "run1")
    picture = Image.new("RGB", (32, 32), "red")
    answers = [
        Predictor(model, device=None if model is network else "cpu").predict(picture)
        for model in ("se_resnet20", str(tmp_path / "run1"), network)
    ]
    assert [answer[0].label for answer in answers] == [answers[0][0].label] * 3
    assert "10 classes, pictures of 32 pixels" in repr(Predictor(network))


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ([], "at least one picture, got none"),
        (5, "a picture is a path.*got int"),
        ([None], "got NoneType"),
        (numpy.zeros((4, 4, 3)), r"got an array \(4, 4, 3\) of float64: values from 0 to 255"),
        (numpy.zeros((4, 4, 7), numpy.uint8), r"got an array \(4, 4, 7\)"),
        (torch.zeros(3, 4, 4), r"got a tensor \(3, 4, 4\) of torch.float32"),
        (numpy.zeros((0, 4, 3), numpy.uint8), "got an array"),
    ],
)
def test_what_is_no_picture_is_refused(pictures: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        senet_zoo.predict(pictures, device="cpu")  # type: ignore[arg-type]


def test_the_file_in_a_saved_folder_is_that_folder(tmp_path: Path) -> None:
    gate = senet_zoo.SE(placement=senet_zoo.Placement.PRE)
    network = senet_zoo.create_model("se_resnet20", num_classes=2, se=gate)
    senet_zoo.save_pretrained(network, tmp_path, categories=("a", "b"), preprocessing=Preprocessing(32, 32))
    predictor = Predictor(str(tmp_path / "model.safetensors"), device="cpu")
    assert predictor.model.spec == network.spec
    assert predictor.categories == ("a", "b")


def test_an_empty_path_is_no_folder() -> None:
    with pytest.raises(PictureError, match="must not be empty"):
        senet_zoo.predict("", device="cpu")


def test_a_picture_that_cannot_be_read_is_an_error(folder: Path) -> None:
    (folder / "3.png").write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"3\.png"):
        senet_zoo.predict(folder, device="cpu")
