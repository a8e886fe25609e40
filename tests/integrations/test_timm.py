"""timm's registry with the zoo's networks in it."""

import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import timm
import torch
from timm.loss import SoftTargetCrossEntropy
from timm.models import _registry
from timm.optim import create_optimizer_v2

import senet_zoo
from senet_zoo.formats import safetensors
from senet_zoo.integrations import timm as ours
from senet_zoo.integrations.timm import register

TABLES = [value for name, value in vars(_registry).items() if name.startswith("_m") and isinstance(value, dict | set)]


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[list[str]]:
    """The names; afterwards timm forgets them, because other tests count what it has."""
    before = [deepcopy(table) for table in TABLES]
    yield register()
    for table, content in zip(TABLES, before, strict=True):
        table.clear()
        table.update(content)
    del sys.modules[ours._MODULE]


def test_every_network_is_found(registered: list[str]) -> None:
    assert registered == [f"senet_zoo_{name}" for name in senet_zoo.list_models()]
    assert sorted(timm.list_models(module="senet_zoo")) == sorted(registered)
    assert set(registered) <= set(timm.list_models())
    assert timm.is_model("senet_zoo_se_resnet50.caffe_in1k")
    assert set(timm.list_pretrained("senet_zoo_se_resnet20")) == {
        f"senet_zoo_{name}" for name in senet_zoo.list_weights("se_resnet20")
    }
    assert sorted(timm.list_pretrained("senet_zoo_*")) == sorted(
        f"senet_zoo_{name}" for name in senet_zoo.list_weights()
    )


def test_the_default_weights_are_the_zoos(registered: list[str]) -> None:
    for name in senet_zoo.list_models(pretrained=True):
        config = timm.get_pretrained_cfg(f"senet_zoo_{name}")
        assert f"{name}.{config.tag}" == senet_zoo.get_weights(name).name


def test_a_second_call_changes_nothing(registered: list[str]) -> None:
    before = dict(_registry._model_entrypoints)
    assert register() == registered
    assert before == _registry._model_entrypoints


@pytest.mark.parametrize("name", ["senet_zoo_se_resnet20", "senet_zoo_se_resnet20.cifar10"])
def test_pretrained_networks_are_the_zoos(name: str) -> None:
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    model = timm.create_model(name, pretrained=True)
    assert model.training, "as timm's own"
    assert torch.equal(model.eval()(x), senet_zoo.create_model("se_resnet20", pretrained=True)(x))


def test_classes_channels_and_rates_are_taken() -> None:
    model = timm.create_model(
        "senet_zoo_se_resnet20", pretrained=True, num_classes=7, in_chans=1, drop_rate=0.5, drop_path_rate=0.1
    )
    assert model.eval()(torch.zeros(1, 1, 32, 32)).shape == (1, 7)
    assert [part.p for part in model.modules() if isinstance(part, torch.nn.Dropout)] == [0.5]


@pytest.mark.parametrize("name", ["se_resnet20", "se_resnet50.caffe_in1k", "se_resnet50b", "se_mobilenet"])
def test_pictures_are_prepared_as_the_weights_ask(name: str) -> None:
    model = timm.create_model(f"senet_zoo_{name}")
    config = timm.data.resolve_model_data_config(model)
    expected = senet_zoo.get_weights(name).preprocessing
    assert config["input_size"] == (3, expected.size, expected.size)
    assert (config["mean"], config["std"]) == (expected.mean, expected.std)
    assert config["interpolation"] == expected.interpolation.value
    assert timm.data.create_transform(**config).transforms[0].size == expected.resize


def test_a_network_without_weights_takes_pictures_of_its_own_size() -> None:
    model = timm.create_model("senet_zoo_resnet56")
    assert timm.data.resolve_model_data_config(model)["input_size"] == (3, 32, 32)
    assert model.num_classes == model.pretrained_cfg["num_classes"]


@pytest.mark.parametrize(("output_stride", "reductions"), [(32, [2, 4, 8, 16, 32]), (8, [2, 4, 8, 8, 8])])
def test_features_only_gives_maps_and_says_what_they_are(output_stride: int, reductions: list[int]) -> None:
    model = timm.create_model("senet_zoo_se_resnet18", features_only=True, output_stride=output_stride)
    maps = model.eval()(torch.rand(1, 3, 64, 64))
    assert model.feature_info.reduction() == reductions == [64 // each.shape[2] for each in maps]
    assert model.feature_info.channels() == [each.shape[1] for each in maps]


@pytest.mark.parametrize("name", ["se_mobilenet", "se_resnet20"])
def test_the_config_tells_the_last_map_and_the_first_layer(name: str) -> None:
    model = timm.create_model(f"senet_zoo_{name}", num_classes=0, global_pool="").eval()
    config = model.pretrained_cfg
    assert model(torch.zeros(1, *config["input_size"])).shape[2:] == config["pool_size"]
    assert model.get_submodule(config["first_conv"]).in_channels == 3
    assert timm.create_model(f"senet_zoo_{name}", features_only=True, feature_cls="getter").default_cfg == config


def test_some_features_are_chosen() -> None:
    model = timm.create_model("senet_zoo_se_resnet18", features_only=True, out_indices=(1, -1), in_chans=4)
    maps = model.eval()(torch.rand(1, 4, 64, 64))
    assert [each.shape[1:] for each in maps] == [(64, 16, 16), (512, 2, 2)]
    assert model.feature_info.module_name() == ["stages.0", "stages.3"]


def test_features_train_without_idle_parameters() -> None:
    model = timm.create_model("senet_zoo_se_resnet18", features_only=True)
    sum(each.mean() for each in model(torch.rand(2, 3, 64, 64))).backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_an_optimizer_decays_the_rate_from_layer_to_layer() -> None:
    model = timm.create_model("senet_zoo_se_resnet20")
    groups = create_optimizer_v2(model, "adamw", lr=0.1, layer_decay=0.7).param_groups
    assert len({group["lr_scale"] for group in groups}) > 5
    scales = {id(parameter): group["lr_scale"] for group in groups for parameter in group["params"]}
    assert scales[id(next(model.stem.parameters()))] < scales[id(model.classifier.weight)] == 1


def test_a_step_of_timms_training(tmp_path: Path) -> None:
    model = timm.create_model("senet_zoo_se_resnet20", num_classes=3)
    model.set_grad_checkpointing()
    averaged = timm.utils.ModelEmaV3(model)
    optimizer = create_optimizer_v2(model, "sgd", lr=0.1)
    mixup = timm.data.Mixup(mixup_alpha=0.2, num_classes=3)
    x, y = mixup(torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 2, 0]))
    SoftTargetCrossEntropy()(model(x), y).backward()
    optimizer.step()
    averaged.update(model)
    saver = timm.utils.CheckpointSaver(model, optimizer, checkpoint_dir=str(tmp_path), recovery_dir=str(tmp_path))
    saver.save_checkpoint(0, metric=1.0)
    again = timm.create_model("senet_zoo_se_resnet20", num_classes=3, checkpoint_path=tmp_path / "last.pth.tar")
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), model.parameters(), strict=True))


def test_weights_of_ones_own_are_given_as_timm_gives_them(tmp_path: Path) -> None:
    trained = senet_zoo.create_model("se_resnet20")
    file = tmp_path / "model.safetensors"
    safetensors.write(file, trained.state_dict(), {"model": "se_resnet20"})
    overlay = {"file": str(file)}
    model = timm.create_model("senet_zoo_se_resnet20", pretrained=True, pretrained_cfg_overlay=overlay)
    assert torch.equal(model.classifier.weight, trained.classifier.weight)


def test_a_whole_config_names_the_weights_too() -> None:
    arguments = timm.models.get_pretrained_cfg("senet_zoo_se_resnet20.cifar10").to_dict()
    model = timm.create_model("senet_zoo_se_resnet20", pretrained=True, pretrained_cfg=arguments)
    assert model.weights == senet_zoo.get_weights("se_resnet20.cifar10")


def test_no_weights_is_no_random_start() -> None:
    name = next(name for name in senet_zoo.list_models() if not senet_zoo.list_weights(name))
    with pytest.raises(senet_zoo.UnknownWeightsError, match=name):
        timm.create_model(f"senet_zoo_{name}", pretrained=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"global_pool": "max"}, "global_pool='max'. Create the network anew"),
        ({"feature_cls": "getter"}, "belong to features_only=True"),
        ({"features_only": True, "feature_cls": "dict"}, "feature_cls='dict' asks for another form"),
        ({"cache_dir": "here"}, "SENET_ZOO_CACHE"),
        ({"out_indices": (1,)}, "features_only=True"),
        ({"pretrained": True, "pretrained_cfg_overlay": {"url": "https://example.com/a.pth"}}, "got url; convert"),
    ],
)
def test_what_the_zoo_cannot_do_is_said(options: dict[str, object], message: str) -> None:
    with pytest.raises(senet_zoo.UsageError, match=message):
        timm.create_model("senet_zoo_se_resnet20", **options)


def test_a_misspelt_option_is_refused() -> None:
    with pytest.raises(TypeError, match="num_clases"):
        timm.create_model("senet_zoo_se_resnet20", num_clases=7)
