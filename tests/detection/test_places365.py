"""The paper's scene classifier: Places365 by name, its recipe, 365 logits."""

from pathlib import Path

import pytest
from PIL import Image
from torchvision.datasets import places365

from senet_zoo import from_pretrained
from senet_zoo.training import RECIPES, TrainConfig, classification, fit

CLASSES = [f"/{chr(97 + number * 26 // 365)}/scene_{number:03}" for number in range(365)]  # sorted, as the real ones


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The set as torchvision keeps it, with a picture or two of a few of its 365 classes."""
    monkeypatch.setattr(places365, "check_integrity", lambda *args, **words: True)
    root = tmp_path / "places"
    root.mkdir()
    (root / "categories_places365.txt").write_text("".join(f"{name} {i}\n" for i, name in enumerate(CLASSES)))
    train = [(f"{CLASSES[number]}/{i}.jpg", number) for number in (0, 7, 364) for i in range(2)]
    val = [("Places365_val_1.jpg", 7), ("Places365_val_2.jpg", 364)]
    (root / "places365_train_standard.txt").write_text("".join(f"{name} {label}\n" for name, label in train))
    (root / "places365_val.txt").write_text("".join(f"{name} {label}\n" for name, label in val))
    folders = (("data_large_standard", train), ("val_large", val))
    for folder, rows in folders:
        for name, label in rows:
            path = root / folder / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 36), (label % 256, 90, 60)).save(path)
    return root


def test_the_paper_s_recipe_trains_365_scenes(places: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classification, "plot_curves", lambda *_: None)
    monkeypatch.setattr(classification, "plot_confusion", lambda *_: None)
    result = fit(
        TrainConfig(
            "Places365",
            "se_resnet18",
            tmp_path / "run",
            recipe=RECIPES["paper"],
            epochs=1,
            batch=4,
            size=32,
            device="cpu",
            workers=0,
            root=places,
        )
    )
    assert (len(result.classes), result.val_pictures) == (365, 2)
    model = from_pretrained(result.folder)
    assert (model.num_classes, model.weights.categories[364]) == (365, CLASSES[364])
