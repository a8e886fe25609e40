"""A saved folder rebuilds the network exactly: variant, classes, channels, preprocessing and all."""

import copy
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from networks import randomise

import senet_zoo
from senet_zoo import SE, Activation, FolderConfig, GateFunction, Placement, Preprocessing, Squeeze, Start
from senet_zoo.errors import ManifestError, SpecError, UnknownModelError, UsageError, WeightsMismatch, WeightsNotFound
from senet_zoo.networks.network import ConvNet
from senet_zoo.weights.card import model_card
from senet_zoo.weights.config import Provenance
from senet_zoo.weights.rows import Metric

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

VARIANTS = {
    "standard": SE(),
    "every choice": SE(
        8, False, Placement.INNER, Squeeze.BOTH, Activation.GELU, GateFunction.HARD_SIGMOID, Start.IDENTITY, (2, 4)
    ),
    "no squeeze": SE(reduction=4, squeeze=Squeeze.NONE, placement=Placement.POST),
}


def pictures(model: ConvNet) -> torch.Tensor:
    return torch.randn(2, model.in_channels, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_is_rebuilt_exactly(variant: str, tmp_path: Path) -> None:
    model = senet_zoo.create_model("se_resnet20", se=VARIANTS[variant], num_classes=3, in_channels=2).eval()
    randomise(model)
    way = Preprocessing(size=32, resize=40, mean=(0.1, 0.2, 0.3))
    senet_zoo.save_pretrained(model, tmp_path / "run", preprocessing=way, categories=("ant", "bee", "wasp"))
    for again in (
        senet_zoo.from_pretrained(tmp_path / "run"),
        senet_zoo.create_model("se_resnet20", weights=tmp_path / "run"),
    ):
        assert again.spec == model.spec
        assert torch.equal(again(pictures(model)), model(pictures(model)))
        assert again.weights.preprocessing == way
        assert again.weights.categories == ("ant", "bee", "wasp")


def test_a_plain_twin_and_the_pretrained_record_survive(tmp_path: Path) -> None:
    model = senet_zoo.create_model("resnet20", pretrained=True)
    senet_zoo.save_pretrained(model, tmp_path)
    again = senet_zoo.from_pretrained(tmp_path)
    assert torch.equal(again(pictures(model)), model(pictures(model)))
    weights = senet_zoo.get_weights("resnet20")
    assert (again.weights.preprocessing, again.weights.categories) == (weights.preprocessing, weights.categories)


def test_saving_twice_gives_the_same_bytes_and_leaves_nothing_else(tmp_path: Path) -> None:
    model = senet_zoo.create_model("se_resnet20").eval()
    senet_zoo.save_pretrained(model, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    senet_zoo.save_pretrained(senet_zoo.from_pretrained(tmp_path), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert set(before) == {"README.md", "config.json", "model.safetensors"}


def test_another_head_drops_the_names_that_no_longer_fit(tmp_path: Path) -> None:
    model = senet_zoo.create_model("se_resnet20", pretrained=True, num_classes=4)
    senet_zoo.save_pretrained(model, tmp_path)
    assert senet_zoo.from_pretrained(tmp_path).weights.categories is None
    with pytest.raises(UsageError, match="name each logit: 4 of them, got 2"):
        senet_zoo.save_pretrained(model, tmp_path, categories=("one", "two"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    senet_zoo.save_pretrained(senet_zoo.create_model("se_resnet20", se=SE(reduction=4)), tmp_path)
    return tmp_path


def test_another_name_or_gate_than_the_folders_is_refused(folder: Path) -> None:
    with pytest.raises(WeightsMismatch, match=r"says se_resnet20, not se_resnet32.*create_model\('se_resnet20'"):
        senet_zoo.create_model("se_resnet32", weights=folder)
    with pytest.raises(UsageError, match=r"says SE\(reduction=4.*not SE\(reduction=8.*drop se="):
        senet_zoo.create_model("se_resnet20", weights=folder, se=SE(reduction=8))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"architecture": "se_resnet21"}, UnknownModelError, "did you mean .*se_resnet20"),
        ({"architecture": "../x"}, UnknownModelError, "no model is named '../x'"),
        ({"se": None}, ManifestError, "se must be an object, for se_resnet20"),
        ({"se": 3}, ManifestError, "se must be an object, or null"),
        ({"se": {"reduction": 4, "bais": True}}, ManifestError, r"config\.json\.se: .*'bais'"),
        ({"num_classes": -1}, ManifestError, "num_classes must be a whole number from 0"),
        ({"in_channels": 0}, ManifestError, "in_channels must be a whole number from 1"),
        ({"categories": ["a"]}, ManifestError, r"as many names as num_classes \(10\)"),
        ({"categories": "abc"}, ManifestError, "categories must be a list of texts"),
        ({"preprocessing": {"size": 32}}, ManifestError, "preprocessing lacks the field 'resize'"),
        ({"code": "import os"}, ManifestError, "unknown fields: 'code'"),
    ],
    ids=str,
)
def test_a_config_that_breaks_a_rule_is_refused(
    folder: Path, change: dict[str, object], error: type[Exception], message: str
) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(error, match=message):
        senet_zoo.from_pretrained(folder)


def test_a_folder_without_config_asks_for_the_name(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(WeightsNotFound, match=r"there is no .*config\.json; without it, name the model"):
        senet_zoo.from_pretrained(folder)
    model = senet_zoo.create_model("se_resnet20", weights=folder, se=SE(reduction=4))
    assert model.weights is None


def test_a_network_of_no_name_is_not_saved(tmp_path: Path) -> None:
    from networks import tiny

    from senet_zoo.networks.registry import MODELS

    with pytest.raises(UsageError, match="no model of the zoo has this architecture"):
        senet_zoo.save_pretrained(ConvNet(tiny(MODELS["se_resnet50"].spec())), tmp_path)
    assert not list(tmp_path.iterdir())


def test_stages_that_the_network_lacks_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["se"]["stages"] = [7]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(SpecError, match="has stages 2 to 4"):
        senet_zoo.from_pretrained(folder)


def card(folder: Path) -> "ModelCardData":
    from huggingface_hub import ModelCard

    return ModelCard((folder / "README.md").read_text(), ignore_metadata_errors=False).data


def test_the_card_of_published_weights_repeats_their_figures_and_who_measured_them(tmp_path: Path) -> None:
    senet_zoo.save_pretrained(senet_zoo.create_model("se_resnet20", pretrained=True), tmp_path)
    row = senet_zoo.get_weights("se_resnet20").row
    data, text = card(tmp_path), (tmp_path / "README.md").read_text()
    assert (data.license, data.library_name, data.pipeline_tag) == ("apache-2.0", "senet_zoo", "image-classification")
    assert data.datasets == ["uoft-cs/cifar10"]
    (result,) = data.eval_results
    assert (result.metric_name, result.metric_value) == ("top1", row.metrics[0].value)
    assert f"| top1 | {row.metrics[0].value:g} % | cifar10 test | 32 | {row.metrics[0].who} |" in text
    assert hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest() in text
    assert f"{row.parameters:,}" in text
    assert "arXiv:1709.01507" in text


def test_a_changed_tensor_loses_the_figures_but_not_the_licence(tmp_path: Path) -> None:
    model = senet_zoo.create_model("se_resnet20", pretrained=True)
    model.classifier.bias.data[3] += 1
    senet_zoo.save_pretrained(model, tmp_path / "tuned")
    again = senet_zoo.from_pretrained(tmp_path / "tuned")
    senet_zoo.save_pretrained(again, tmp_path / "again")
    for folder in (tmp_path / "tuned", tmp_path / "again"):
        assert card(folder).eval_results is None
        assert card(folder).license == "apache-2.0"
        assert "trained on from: `se_resnet20.cifar10`" in (folder / "README.md").read_text()


@pytest.mark.parametrize(
    ("dtype", "kept"), [(torch.float32, True), (torch.float64, True), (torch.bfloat16, False), (torch.float16, False)]
)
def test_figures_are_kept_where_no_published_value_was_rounded(tmp_path: Path, dtype: torch.dtype, kept: bool) -> None:
    """The published file holds matrices in float16 and vectors in float32."""
    senet_zoo.save_pretrained(senet_zoo.create_model("se_shufflenet", pretrained=True, dtype=dtype), tmp_path)
    assert (card(tmp_path).eval_results is not None) == kept


def test_own_figures_belong_to_the_tensors_they_were_measured_with(tmp_path: Path) -> None:
    model = senet_zoo.create_model("se_resnet20", num_classes=3).eval()
    figure = Metric("top1", 71.5, 'wasps & "bees" | <b>', 32, "notebook 7\n| me", True)
    senet_zoo.save_pretrained(model, tmp_path / "run", license="mit", metrics=(figure,))
    again = senet_zoo.from_pretrained(tmp_path / "run")
    senet_zoo.save_pretrained(again, tmp_path / "copy")
    assert (tmp_path / "copy" / "README.md").read_bytes() == (tmp_path / "run" / "README.md").read_bytes()
    assert card(tmp_path / "copy").eval_results[0].dataset_name == figure.dataset
    assert "<b>" not in (tmp_path / "copy" / "README.md").read_text().split("---")[2]
    again.classifier.bias.data += 1
    senet_zoo.save_pretrained(again, tmp_path / "tuned")
    assert card(tmp_path / "tuned").eval_results is None


def test_the_card_names_the_hubs_repository_that_weights_come_from(tmp_path: Path) -> None:
    config = FolderConfig(
        "se_resnet50", SE(), 1000, 3, provenance=Provenance("0" * 64, "se_resnet50.caffe_in1k", "mit")
    )
    (tmp_path / "README.md").write_text(model_card(config, parameters=1))
    assert card(tmp_path).base_model == ["smp-hub/se_resnet50.imagenet"]
    assert "hujie-frank" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("name", ["Apache 2.0", "", "mit\nx: y", "MIT"])
def test_a_licence_is_an_spdx_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="SPDX name in lower case, such as apache"):
        senet_zoo.save_pretrained(senet_zoo.create_model("se_resnet20"), tmp_path, license=name)
    assert not list(tmp_path.iterdir())


def test_a_folder_of_an_earlier_save_without_provenance_loads(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["provenance"]
    (folder / "config.json").write_text(json.dumps(config))
    assert senet_zoo.from_pretrained(folder).weights.provenance is None


def test_another_librarys_config_says_nothing_about_the_network(folder: Path) -> None:
    (folder / "config.json").write_text('{"architecture": "seresnet50", "num_features": 2048}')
    assert senet_zoo.create_model("se_resnet20", weights=folder, se=SE(reduction=4)).weights is None


def test_tensors_that_the_config_was_not_written_for_are_named(folder: Path, tmp_path: Path) -> None:
    senet_zoo.save_pretrained(senet_zoo.create_model("se_resnet20"), tmp_path / "other")
    assert senet_zoo.verify(tmp_path / "other").ok
    (folder / "model.safetensors").write_bytes((tmp_path / "other" / "model.safetensors").read_bytes())
    (check,) = senet_zoo.verify(folder).checks
    assert (check.name, check.ok) == ("file", False)
    assert "as its config.json says" in check.found


@pytest.mark.parametrize("classes", [10, 5])
def test_a_fresh_head_has_no_names_in_memory_in_a_folder_or_on_a_card(tmp_path: Path, classes: int) -> None:
    for start in (True, False):
        model = senet_zoo.create_model("se_resnet20", pretrained=True)
        assert model.weights is not None
        assert model.weights.categories
        if not start:
            senet_zoo.save_pretrained(model, tmp_path / "known")
            model = senet_zoo.from_pretrained(tmp_path / "known")
        model.reset_classifier(classes)
        assert model.weights is not None
        assert not model.weights.categories
        assert model.weights.transforms()(torch.zeros(3, 40, 50, dtype=torch.uint8)).shape == (3, 32, 32)
        senet_zoo.save_pretrained(model, tmp_path / "fresh")
        assert json.loads((tmp_path / "fresh/config.json").read_text())["categories"] is None
        assert "airplane" not in (tmp_path / "fresh/README.md").read_text()
    assert senet_zoo.get_weights("se_resnet20").categories[0] == "airplane"


@pytest.mark.parametrize("head", ["linear", "sequence"])
def test_a_classifier_of_one_s_own_has_no_names_whatever_its_number(tmp_path: Path, head: str) -> None:
    model = senet_zoo.create_model("se_resnet20", pretrained=True)
    own = torch.nn.Linear(64, 10)
    model.classifier = own if head == "linear" else torch.nn.Sequential(torch.nn.Dropout(), own)
    assert not model.weights.categories
    assert model.weights.transforms()(torch.zeros(3, 40, 50, dtype=torch.uint8)).shape == (3, 32, 32)
    model.classifier = own
    senet_zoo.save_pretrained(model, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["categories"] is None
    assert "airplane" not in (tmp_path / "README.md").read_text()
    senet_zoo.save_pretrained(model, tmp_path, categories=list("abcdefghij"))
    assert senet_zoo.from_pretrained(tmp_path).weights.categories == tuple("abcdefghij")


def test_a_classifier_that_is_wrapped_or_copied_keeps_its_names() -> None:
    """As adapters wrap it, and put it back."""
    model = senet_zoo.create_model("se_resnet20", pretrained=True)
    names, own = model.weights.categories, model.classifier
    model.classifier = torch.nn.Sequential(own, torch.nn.Identity())
    model.classifier = own
    assert copy.deepcopy(model).to(torch.float64).weights.categories == names


def test_another_number_of_classes_has_no_names(tmp_path: Path) -> None:
    model = senet_zoo.create_model("se_resnet20", pretrained=True, num_classes=5)
    assert model.weights is not None
    assert not model.weights.categories
    model = senet_zoo.create_model("se_resnet20", pretrained=True, num_classes=10)
    assert model.weights is not None
    assert model.weights.categories


def test_a_count_of_numpy_s_and_an_index_of_torchvision_s_are_saved(tmp_path: Path) -> None:
    model = senet_zoo.create_model("se_resnet20", num_classes=np.array([0, 2, 1]).max() + 1, in_channels=np.int64(1))
    assert (type(model.num_classes), type(model.in_channels)) == (int, int)
    senet_zoo.save_pretrained(model, tmp_path, categories={"cat": 1, "ant": 0, "bee": 2})
    again = senet_zoo.from_pretrained(tmp_path)
    assert again.weights is not None
    assert again.weights.categories == ("ant", "cat", "bee")


@pytest.mark.parametrize(
    ("names", "rule"),
    [
        ({"cat": 1, "dog": 2}, "its index from 0 to 1"),
        ({"cat": 0, "dog": 0}, "its index from 0 to 1"),
        ((1, 2), "must be class names"),
        ("ab", "must be class names"),
        (("cat",), "must name each logit: 2 of them, got 1"),
    ],
)
def test_names_that_do_not_fit_leave_an_earlier_save_alone(tmp_path: Path, names: Any, rule: str) -> None:
    model = senet_zoo.create_model("se_resnet20", num_classes=2)
    senet_zoo.save_pretrained(model, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UsageError, match=rule):
        senet_zoo.save_pretrained(senet_zoo.create_model("se_resnet20", num_classes=2), tmp_path, categories=names)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("count", [5.0, "5", None])
def test_a_count_that_is_not_whole_is_refused(count: Any) -> None:
    model = senet_zoo.create_model("se_resnet20")
    with pytest.raises(UsageError, match="num_classes must be a whole number, got"):
        model.reset_classifier(count)


def test_a_folder_says_to_transformers_what_it_is(tmp_path):
    senet_zoo.save_pretrained(senet_zoo.create_model("se_resnet20", pretrained=True), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config.pop("model_type") == "senet_zoo"
    processor = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert processor == {"image_processor_type": "SenetZooImageProcessor", "preprocessing": config["preprocessing"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert senet_zoo.from_pretrained(tmp_path).weights.architecture == "se_resnet20", "as folders of 0.1.0 are"


@pytest.mark.parametrize("name", ["se_resnet18", "se_resnet20"])
def test_no_preprocessing_of_an_earlier_save_stays_behind(tmp_path, name):
    senet_zoo.save_pretrained(senet_zoo.create_model("se_resnet20", pretrained=True), tmp_path)
    senet_zoo.save_pretrained(senet_zoo.create_model(name, num_classes=3), tmp_path)
    assert not (tmp_path / "preprocessor_config.json").exists()
