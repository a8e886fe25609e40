"""torchvision's registry with the zoo's networks in it."""

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image
from torchvision.models import WeightsEnum, _api

import senet_zoo
from senet_zoo.integrations import torchvision as ours
from senet_zoo.integrations.torchvision import register

SAMPLE = Path(__file__).parents[2] / "samples" / "airplane.png"


@pytest.fixture(autouse=True)
def registered() -> Iterator[list[str]]:
    """The names; afterwards torchvision forgets them, because other tests count what it has."""
    before = dict(_api.BUILTIN_MODELS)
    yield register()
    for name in set(_api.BUILTIN_MODELS) - set(before):
        del _api.BUILTIN_MODELS[name]
        delattr(torchvision.models, ours.weights_enum(name).__name__)


def test_every_network_is_found_and_torchvisions_own_names_keep_their_meaning(registered: list[str]) -> None:
    listed = torchvision.models.list_models()
    assert set(senet_zoo.list_models()) <= set(listed)
    assert torchvision.models.list_models(module=senet_zoo.integrations) == sorted(registered)
    assert {"se_resnet50", "mobilenet", "senet154"} <= set(registered)
    assert torchvision.models.get_model_builder("resnet50") is torchvision.models.resnet50
    assert "resnet50" not in registered


def test_a_second_call_changes_nothing(registered: list[str]) -> None:
    before = dict(_api.BUILTIN_MODELS)
    assert register() == registered
    assert before == _api.BUILTIN_MODELS


@pytest.mark.parametrize("weights", ["DEFAULT", "CIFAR10", "SE_RESNET20_Weights.CIFAR10"])
def test_pretrained_networks_are_the_zoos(weights: str) -> None:
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    theirs = torchvision.models.get_model("se_resnet20", weights=weights)
    assert theirs.training, "as torchvision's own"
    assert torch.equal(theirs.eval()(x), senet_zoo.create_model("se_resnet20", pretrained=True)(x))


def test_random_networks_take_classes_and_channels() -> None:
    model = torchvision.models.get_model("se_resnet20", weights=None, num_classes=7, in_channels=1)
    assert model.eval()(torch.zeros(1, 1, 32, 32)).shape == (1, 7)
    assert model.weights is None


def test_a_head_of_another_size_is_replaced() -> None:
    enum = torchvision.models.get_model_weights("se_resnet20")
    model = torchvision.models.get_model("se_resnet20", weights=enum.CIFAR10, num_classes=7)
    assert model.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 7)


def test_weights_say_what_they_are() -> None:
    weights = torchvision.models.get_model_weights("se_resnet50").DEFAULT
    assert weights is torchvision.models.get_weight("SE_RESNET50_Weights.CAFFE_IN1K")
    assert isinstance(weights, WeightsEnum)
    assert weights.url.startswith("https://huggingface.co/smp-hub/se_resnet50.imagenet/resolve/e6b4bc2dc852")
    assert weights.meta["num_params"] == 28_088_024
    assert weights.meta["_metrics"] == {"ImageNet-1K": {"acc@1": 77.65, "acc@5": 93.732}}
    assert weights.meta["categories"] == list(senet_zoo.get_weights("se_resnet50").categories)


@pytest.mark.parametrize(
    ("name", "operations", "least", "megabytes"),
    [("se_resnet20", 0.041, 1, 0.549), ("se_resnet50", 3.86, 3, None)],
)
def test_the_fields_that_torchvisions_own_tests_read(
    name: str, operations: float, least: int, megabytes: float | None
) -> None:
    weights = torchvision.models.get_model_weights(name).DEFAULT
    required = {"_metrics", "min_size", "num_params", "recipe", "_docs", "_file_size", "_ops", "categories"}
    assert set(weights.meta) == required | {"license"} == set(weights.meta.keys())
    assert weights.meta["_ops"] == operations
    assert weights.meta["min_size"] == (least, least)
    assert weights.meta["_file_size"] == megabytes
    assert weights.meta.get("backend") is None
    with torch.no_grad():
        torchvision.models.get_model(name).eval()(torch.zeros(1, 3, least, least))


def test_every_model_has_an_enum_with_all_its_tags(registered: list[str]) -> None:
    for name in registered:
        tags = [weights.partition(".")[2].upper() for weights in senet_zoo.list_weights(name)]
        enum = torchvision.models.get_model_weights(name)
        assert [member.name for member in enum] == tags
        assert all(member.url and len(member.meta["categories"]) > 1 for member in enum)
        assert not tags or enum["DEFAULT"].name == tags[0]


@pytest.mark.parametrize("name", ["se_resnet20", "se_mobilenet", "se_resnet50b"])
def test_the_preset_prepares_a_picture_as_the_zoo_does(name: str) -> None:
    picture = Image.open(SAMPLE).convert("RGB").resize((300, 280))
    theirs = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    torch.testing.assert_close(theirs(picture), senet_zoo.get_weights(name).transforms()(picture))


def test_weights_are_copied_and_pickled() -> None:
    weights = torchvision.models.get_model_weights("se_resnet20").DEFAULT
    assert pickle.loads(pickle.dumps(weights)) is copy.deepcopy(weights) is weights


def test_tensors_come_through_the_zoos_loader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_api, "load_state_dict_from_url", None)
    tensors = torchvision.models.get_model_weights("se_resnet20").DEFAULT.get_state_dict(progress=True, check_hash=True)
    senet_zoo.create_model("se_resnet20").load_state_dict(tensors)


@pytest.mark.parametrize("weights", ["IMAGENET1K_V1", "cifar10", True, torchvision.models.ResNet18_Weights.DEFAULT])
def test_unknown_weights_are_refused_by_name(weights: object) -> None:
    with pytest.raises(senet_zoo.UnknownWeightsError, match=r"SE_RESNET20_Weights \(CIFAR10, .*DEFAULT\), got"):
        torchvision.models.get_model("se_resnet20", weights=weights)


def test_a_model_without_weights_says_so() -> None:
    assert list(torchvision.models.get_model_weights("resnet44")) == []
    with pytest.raises(senet_zoo.UnknownWeightsError, match="none are published"):
        torchvision.models.get_model("resnet44", weights="DEFAULT")


def test_a_misspelt_option_is_refused() -> None:
    with pytest.raises(TypeError, match="num_clases"):
        torchvision.models.get_model("se_resnet20", num_clases=7)


def test_no_other_name_is_an_enum() -> None:
    with pytest.raises(AttributeError, match="se_resnet20_Weights"):
        ours.se_resnet20_Weights  # noqa: B018
