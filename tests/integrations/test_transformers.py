"""transformers on folders of the zoo: networks that timm has, and networks that it has not."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from PIL import Image

import senet_zoo

transformers = pytest.importorskip("transformers", reason="the extra `clients` is not installed")

from senet_zoo.integrations import transformers as ours  # noqa: E402

SAMPLE = Path(__file__).parents[2] / "samples" / "automobile.png"
# Of transformers and its dependencies, none of ours.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    ours.register()
    ours.register()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    senet_zoo.save_pretrained(senet_zoo.create_model("se_resnet20", pretrained=True), tmp_path / "saved")
    return tmp_path / "saved"


def test_the_auto_classes_read_a_folder(folder: Path) -> None:
    model = transformers.AutoModelForImageClassification.from_pretrained(folder)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    picture = Image.open(SAMPLE)
    inputs = processor(picture, return_tensors="pt")
    network = senet_zoo.create_model("se_resnet20", pretrained=True)
    assert torch.equal(inputs["pixel_values"], network.weights.transforms()(picture)[None])
    torch.testing.assert_close(model(**inputs).logits, network(inputs["pixel_values"]))
    assert not model.training


def test_a_pipeline_answers_with_the_class_names(folder: Path) -> None:
    classify = transformers.pipeline("image-classification", str(folder))
    assert classify(Image.open(SAMPLE))[0]["label"] == "automobile"
    assert [answers[0]["label"] for answers in classify([str(SAMPLE)] * 2, batch_size=2)] == ["automobile"] * 2


def test_what_transformers_saves_is_a_folder_of_the_zoo(folder: Path, tmp_path: Path) -> None:
    classify = transformers.pipeline("image-classification", str(folder))
    classify.save_pretrained(tmp_path / "again")
    ours, theirs = senet_zoo.from_pretrained(folder), senet_zoo.from_pretrained(tmp_path / "again")
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), theirs.state_dict().values(), strict=True))
    assert theirs.weights.categories == ours.weights.categories
    assert theirs.weights.preprocessing == ours.weights.preprocessing
    assert transformers.pipeline("image-classification", str(tmp_path / "again"))(str(SAMPLE)) == classify(str(SAMPLE))


def test_a_folder_of_a_network_that_timm_has_stays_timms(tmp_path: Path) -> None:
    network = senet_zoo.create_model("se_resnet18", num_classes=3).eval()
    way = senet_zoo.Preprocessing(size=64, resize=64)
    senet_zoo.save_pretrained(network, tmp_path, categories=("a", "b", "c"), preprocessing=way)
    model = transformers.AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    x = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(model(x).logits, network(x))
    assert model.config.id2label[2] == "c"
    assert type(transformers.AutoImageProcessor.from_pretrained(tmp_path)).__name__ == "TimmWrapperImageProcessor"


@pytest.mark.parametrize("pretrained", [None, {"input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.5] * 3}])
def test_what_transformers_saves_of_timms_network_is_read_here(
    pretrained: dict[str, object] | None, tmp_path: Path
) -> None:
    extra = {} if pretrained is None else {"pretrained_cfg": pretrained}
    config = transformers.TimmWrapperConfig(architecture="legacy_seresnet18", num_labels=3, **extra)
    theirs = transformers.TimmWrapperForImageClassification(config).eval()
    theirs.save_pretrained(tmp_path)
    ours, x = senet_zoo.from_pretrained(tmp_path), torch.rand(1, 3, 64, 64)
    assert torch.equal(ours(x), theirs(x).logits)
    assert ours.spec.name == "se_resnet18"
    assert senet_zoo.verify(tmp_path).ok
    if pretrained is not None:
        assert ours.weights.preprocessing.mean == (0.5, 0.5, 0.5)
    (tmp_path / "config.json").write_text((tmp_path / "config.json").read_text().replace("legacy_seresnet18", "vit"))
    with pytest.raises(senet_zoo.SenetZooError):
        senet_zoo.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "labels", [{"num_labels": 3}, {"num_labels": 2}, {"id2label": {0: "x", 1: "y"}, "label2id": {"x": 0, "y": 1}}]
)
def test_another_number_of_labels_replaces_the_classifier(folder: Path, labels: dict[str, object]) -> None:
    auto = transformers.AutoModelForImageClassification
    model = auto.from_pretrained(folder, ignore_mismatched_sizes=True, **labels)
    count = labels.get("num_labels", 2)
    assert model(torch.zeros(1, 3, 32, 32)).logits.shape == (1, count)
    assert model.config.num_labels == count
    assert "id2label" not in labels or model.config.id2label == labels["id2label"]
    with pytest.raises(senet_zoo.UsageError, match="has 10 classes, got"):
        auto.from_pretrained(folder, ignore_mismatched_sizes=False, **labels)


def test_tensors_bear_the_zoos_names(folder: Path) -> None:
    model = transformers.AutoModelForImageClassification.from_pretrained(folder)
    tensors = model.state_dict()
    assert tensors.keys() == senet_zoo.create_model("se_resnet20").state_dict().keys()
    model.network.classifier.weight.data.zero_()
    model.load_state_dict(tensors)


def test_dtype_is_honoured(folder: Path) -> None:
    model = transformers.AutoModelForImageClassification.from_pretrained(folder, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_a_loss_is_given_where_labels_are() -> None:
    model = ours.image_classifier(senet_zoo.create_model("se_resnet20"))
    outputs = model(pixel_values=torch.rand(2, 3, 32, 32), labels=torch.tensor([1, 2]))
    outputs.loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert model(torch.rand(1, 3, 32, 32)).loss is None


def test_a_model_is_pickled() -> None:
    model = ours.image_classifier(senet_zoo.create_model("se_resnet20")).eval()
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(pickle.loads(pickle.dumps(model))(x).logits, model(x).logits)


def test_a_damaged_file_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["num_classes"] = 3
    config["categories"] = None
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(senet_zoo.SenetZooError):
        transformers.AutoModelForImageClassification.from_pretrained(folder)


def test_options_that_no_network_takes_are_refused(folder: Path) -> None:
    auto = transformers.AutoModelForImageClassification
    with pytest.raises(senet_zoo.UsageError, match="device_map"):
        auto.from_pretrained(folder, device_map={"": "cpu"})
    with pytest.raises(TypeError, match="atn_implementation"):
        auto.from_pretrained(folder, atn_implementation="eager")


def test_a_start_from_random_says_how() -> None:
    with pytest.raises(senet_zoo.UsageError, match="image_classifier"):
        transformers.AutoModelForImageClassification.from_config(ours.SenetZooConfig(num_classes=3))


def test_categories_name_each_logit() -> None:
    with pytest.raises(senet_zoo.UsageError, match="10 of them, got 1"):
        ours.image_classifier(senet_zoo.create_model("se_resnet20"), ("cat",))
