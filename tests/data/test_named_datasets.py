"""Data sets that other libraries keep: torchvision's by name, and those of the Hugging Face hub."""

import inspect
import pickle
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets as theirs
from torchvision.datasets import cifar

from senet_zoo.cli import main
from senet_zoo.data.datasets import open_data
from senet_zoo.data.huggingface_datasets import labelled_dataset
from senet_zoo.data.torchvision_datasets import DATASETS
from senet_zoo.errors import DataError


def paint(path: Path, grey: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (grey, grey, grey)).save(path, "png")


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def food(root: Path) -> None:
    write(root / "food-101/meta/test.json", '{"soup": ["soup/1"], "bread": ["bread/1", "bread/2"]}')
    for grey, name in ((60, "soup/1"), (70, "bread/1"), (80, "bread/2")):
        paint(root / f"food-101/images/{name}.jpg", grey)


def pets(root: Path) -> None:
    write(root / "oxford-iiit-pet/annotations/test.txt", "Sphynx_9 2 1 1\nboxer_dog_1 1 2 1\n")
    for grey, name in ((60, "Sphynx_9"), (70, "boxer_dog_1")):
        paint(root / f"oxford-iiit-pet/images/{name}.jpg", grey)


def textures(root: Path) -> None:
    write(root / "dtd/dtd/labels/val1.txt", "dotted/x.jpg\nbanded/y.jpg\n")
    for grey, name in ((60, "dotted/x"), (70, "banded/y")):
        paint(root / f"dtd/dtd/images/{name}.jpg", grey)


def countries(root: Path) -> None:
    for grey, name in ((60, "AD/1"), (70, "ZW/1")):
        paint(root / f"country211/valid/{name}.jpg", grey)


def imagenet(root: Path) -> None:
    for grey, name in ((60, "n01440764/1"), (70, "n03888257/1")):
        paint(root / f"val/{name}.JPEG", grey)
    torch.save(({"n01440764": ("tench", "Tinca tinca"), "n03888257": ("parachute", "chute")}, []), root / "meta.bin")


def imagenette(root: Path) -> None:
    for grey, name in ((60, "n01440764/1"), (70, "n03888257/1")):
        paint(root / f"imagenette2/val/{name}.JPEG", grey)


SYNSETS = ("n01440764", "n03888257")


@pytest.mark.parametrize(
    ("name", "make", "classes", "shown"),
    [
        ("Food101", food, ("bread", "soup"), ["soup", "bread", "bread"]),
        ("OxfordIIITPet", pets, ("Boxer Dog", "Sphynx"), ["Sphynx", "Boxer Dog"]),
        ("DTD", textures, ("banded", "dotted"), ["dotted", "banded"]),
        ("Country211", countries, ("AD", "ZW"), ["AD", "ZW"]),
        ("ImageNet", imagenet, SYNSETS, list(SYNSETS)),
        ("Imagenette", imagenette, SYNSETS, list(SYNSETS)),
    ],
)
def test_a_set_of_files_is_opened_by_name(
    tmp_path: Path, name: str, make: Callable[[Path], None], classes: tuple[str, ...], shown: list[str]
) -> None:
    make(tmp_path)
    data = open_data(name, root=tmp_path)
    assert data.classes == classes
    assert [data.classes[label] for label in data.labels] == shown
    assert [int(np.asarray(data.read(i))[0, 0, 0]) for i in range(len(data))] == [60, 70, 80][: len(data)]
    assert all((tmp_path / file).is_file() for file in data.names)


@pytest.mark.parametrize(
    ("name", "folder", "file", "meta"),
    [
        ("CIFAR10", "cifar-10-batches-py", "labels", ("batches.meta", "label_names")),
        ("CIFAR100", "cifar-100-python", "fine_labels", ("meta", "fine_label_names")),
    ],
)
def test_cifar_is_opened_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, folder: str, file: str, meta: tuple[str, str]
) -> None:
    monkeypatch.setattr(cifar, "check_integrity", lambda *_: True)
    (tmp_path / folder).mkdir()
    images = np.arange(2 * 3072, dtype=np.uint64).astype(np.uint8).reshape(2, 3072)
    batch = tmp_path / folder / ("test_batch" if name == "CIFAR10" else "test")
    batch.write_bytes(pickle.dumps({"data": images, file: [1, 0]}))
    (tmp_path / folder / meta[0]).write_bytes(pickle.dumps({meta[1]: ["cat", "dog"]}))
    data = open_data(name, root=tmp_path)
    assert (data.classes, data.labels) == (("cat", "dog"), (1, 0))
    np.testing.assert_array_equal(np.asarray(data.read(1)), images[1].reshape(3, 32, 32).transpose(1, 2, 0))


@pytest.mark.parametrize("name", DATASETS)
def test_every_name_is_a_class_of_torchvision_that_takes_what_it_is_given(name: str) -> None:
    entry = DATASETS[name]
    words = set(inspect.signature(getattr(theirs, name)).parameters)
    assert entry.option in words
    assert not entry.downloads or "download" in words
    assert not entry.by_path or "loader" in words or name == "ImageNet"  # whose parent takes it


@pytest.mark.parametrize("name", ["CIFAR10", "Food101", "Places365"])
def test_nothing_is_downloaded_without_being_asked(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=rf"{name} must lie in .* download it \(--download"):
        open_data(name, root=tmp_path)


def test_imagenet_must_be_put_there_by_hand(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="put its archives there by hand"):
        open_data("ImageNet", root=tmp_path)


def test_without_its_library_the_hub_s_sets_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match=r"pip install 'senet-zoo\[datasets\]'"):
        open_data("hf:owner/name")


def test_columns_of_a_hub_s_set_are_found_by_type(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    paint(tmp_path / "x.png", 60)
    features = datasets.Features(
        {
            "img": datasets.Image(),
            "id": datasets.Value("string"),
            "fine": datasets.ClassLabel(names=["cat", "dog"]),
            "coarse": datasets.ClassLabel(names=["animal"]),
        }
    )
    rows = {
        "img": [str(tmp_path / "x.png"), Image.new("RGB", (4, 4), (70, 0, 0))],
        "id": ["1", "2"],
        "fine": [1, 0],
        "coarse": [0, 0],
    }
    table = datasets.Dataset.from_dict(rows, features=features)
    data = labelled_dataset(table, "hf:me/mine", "fine")
    assert (data.classes, data.labels) == (("cat", "dog"), (1, 0))
    assert [int(np.asarray(data.read(i))[0, 0, 0]) for i in range(2)] == [60, 70]
    with pytest.raises(DataError, match=r"of labels \['fine', 'coarse'\].*#column"):
        labelled_dataset(table, "hf:me/mine")


class Fetched:
    """A set like CIFAR-10 whose download takes no network."""

    def __init__(self, root: Path, train: bool, download: bool) -> None:
        if not download and not (root / "fetched").exists():
            raise RuntimeError("Dataset not found or corrupted.")
        root.mkdir(parents=True, exist_ok=True)
        (root / "fetched").touch()
        self.classes, self.targets = ["cat", "dog"], [0, 1] * 8
        self.data = np.random.default_rng(int(train)).integers(0, 256, (16, 32, 32, 3), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self.targets)


class FetchedSlowly(Fetched):
    """The same, which counts downloads and takes its time."""

    def __init__(self, root: Path, train: bool, download: bool) -> None:
        if download and not (root / "fetched").exists():
            with (root / "downloads").open("a") as log:
                log.write("1")
            time.sleep(0.2)
        super().__init__(root, train, download)


def test_processes_that_open_a_set_together_download_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theirs, "CIFAR10", FetchedSlowly)
    with ThreadPoolExecutor(4) as pool:  # the lock is of the file, whoever asks
        sets = list(pool.map(lambda _: open_data("CIFAR10", "test", root=tmp_path, download=True), range(4)))
    assert [len(each) for each in sets] == [16] * 4
    assert (tmp_path / "downloads").read_text() == "1"


def test_a_set_is_trained_and_measured_on_once_its_download_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(theirs, "CIFAR10", Fetched)
    root, output = tmp_path / "sets", tmp_path / "run"
    train = ["train", "CIFAR10", "--root", str(root), "--model", "se_resnet20", "-o", str(output), "--size", "16"]
    train += ["--epochs", "2", "--batch", "4", "--device", "cpu", "--workers", "0"]
    assert main(train) == 1
    assert "download it (--download" in capsys.readouterr().err
    assert not root.exists()
    assert not output.exists()
    assert main([*train, "--download"]) == 0
    evaluate = ["evaluate", "CIFAR10", "--root", str(root), "--model", "se_resnet20", "--weights", str(output)]
    assert main([*evaluate, "--workers", "1", "--json"]) == 0
    assert '"pictures": 16' in capsys.readouterr().out
