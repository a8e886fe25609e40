"""What users of timm type does what timm's own functions expect of it."""

from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest
import timm
import torch
from networks import distinct_tiny, others_slow, picked, randomise
from timm.data import create_transform, resolve_data_config
from timm.optim import create_optimizer_v2
from torch import nn

import senet_zoo
from senet_zoo import ConvNet, FeatureListNet
from senet_zoo.errors import SpecError, UsageError, WeightsNotFound
from senet_zoo.networks.dilation import dilate

TINY = distinct_tiny()
every_kind_of_block = pytest.mark.parametrize("name", others_slow(TINY, picked(TINY)))
X = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@every_kind_of_block
def test_feature_info_tells_the_maps_of_forward_intermediates(name: str) -> None:
    model = randomise(ConvNet(TINY[name]))
    x = torch.randn(1, 3, 139, 139)
    info = timm.models.FeatureInfo(model.feature_info, len(model.feature_info))
    assert dict(zip(info.reduction(), info.channels(), strict=True)) == model.feature_channels
    kept: dict[str, torch.Tensor] = {}
    for module in info.module_name():
        model.get_submodule(module).register_forward_hook(
            lambda *given, module=module: kept.update({module: given[-1]})
        )
    with torch.no_grad():
        last, maps = model.forward_intermediates(x)
    assert torch.equal(last, maps[-1])
    for module, channels, found in zip(info.module_name(), info.channels(), maps, strict=True):
        assert torch.equal(found, kept[module])
        assert found.shape[1] == channels


@every_kind_of_block
def test_layer_decay_finds_a_group_for_each_block(name: str) -> None:
    model = ConvNet(TINY[name])
    optimizer = create_optimizer_v2(model, opt="sgd", lr=0.1, weight_decay=1e-4, layer_decay=0.7)
    scale = {id(p): group["lr_scale"] for group in optimizer.param_groups for p in group["params"]}
    blocks = [block for stage in model.stages for block in stage if list(block.parameters())]
    parts = [model.stem, *blocks, nn.ModuleList([model.head, model.classifier])]
    rates = [{scale[id(p)] for p in part.parameters()} for part in parts]
    assert all(len(found) <= 1 for found in rates)
    rates = [found.pop() for found in rates if found]
    assert rates == sorted(set(rates))
    assert len(rates) >= len(blocks)


def test_coarse_groups_are_stages() -> None:
    model = ConvNet(TINY["se_resnet20"])
    groups = timm.models.group_parameters(model, model.group_matcher(coarse=True))
    assert len(groups) == 5


@pytest.mark.parametrize("loaded", [True, False])
def test_pictures_are_prepared_as_the_weights_were_made_for(loaded: bool) -> None:
    config = resolve_data_config({}, model=senet_zoo.create_model("se_resnet20", pretrained=loaded))
    assert config["input_size"] == (3, 32, 32)
    assert config["crop_pct"] == 1.0
    if loaded:
        preprocessing = senet_zoo.get_weights("se_resnet20").preprocessing
        assert (config["mean"], config["std"]) == (preprocessing.mean, preprocessing.std)
        assert config["interpolation"] == preprocessing.interpolation.value
        assert create_transform(**config)


@pytest.mark.parametrize(
    "name", ["se_resnet20", "se_resnet18", "se_alexnet", "se_nin", "se_inception_v3", "se_preresnet20"]
)
def test_pretrained_cfg_names_layers_that_are_there(name: str) -> None:
    model = randomise(ConvNet(TINY[name]))
    config, state = model.pretrained_cfg, model.state_dict()
    assert config == model.default_cfg
    assert f"{config['first_conv']}.weight" in state
    assert state[f"{config['classifier']}.weight"].shape[0] == config["num_classes"]
    with torch.no_grad():
        x = torch.zeros(1, *config["input_size"])
        assert model.forward_features(x).shape[2:] == config["pool_size"]
    model.default_cfg = {"input_size": (3, 8, 8)}
    assert resolve_data_config({}, model=model)["input_size"] == (3, 8, 8)


@every_kind_of_block
@torch.no_grad()
def test_the_head_in_parts(name: str) -> None:
    model, x = randomise(ConvNet(TINY[name])), torch.randn(1, 3, 139, 139)
    logits, last = model(x), model.forward_features(x)
    features = model.forward_head(last, pre_logits=True)
    assert features.shape == (1, model.head_hidden_size)
    assert last.shape[1] == model.num_features
    assert torch.equal(model.forward_head(last), logits)
    assert model.get_classifier() is model.classifier
    model.reset_classifier(0, "avg")
    assert torch.equal(model(x), features)
    model.reset_classifier(0, "")
    assert torch.equal(model(x), last)
    assert last.shape[1] == model.num_features


def test_a_head_that_is_taken_out_stays_out(tmp_path: object) -> None:
    model = senet_zoo.create_model("se_resnet20", num_classes=0, global_pool="")
    assert model.eval()(X).shape == (2, 64, 16, 16)
    for wrong in (lambda: model.reset_classifier(10), lambda: model.reset_classifier(0, "avg")):
        with pytest.raises(UsageError, match="Create the network anew"):
            wrong()
    with pytest.raises(UsageError, match="got 10 logits with global_pool=''"):
        senet_zoo.create_model("se_resnet20", global_pool="")
    with pytest.raises(UsageError, match="global_pool='catavgmax'"):
        senet_zoo.create_model("se_resnet20", global_pool="catavgmax")
    with pytest.raises((UsageError, SpecError)):  # no name of the zoo builds it
        senet_zoo.save_pretrained(model, tmp_path)


def test_the_pool_that_is_there_leaves_the_classifier() -> None:
    x = torch.rand(2, 3, 32, 32)
    model, same = (senet_zoo.create_model("se_resnet20", pretrained=True, global_pool=pool) for pool in ("avg", None))
    assert torch.equal(model(x), same(x))
    assert model.weights == same.weights


def test_maps_alone() -> None:
    torch.manual_seed(0)
    maps = senet_zoo.create_model("se_resnet18", features_only=True, out_indices=(1, 3)).eval()
    torch.manual_seed(0)
    whole = senet_zoo.create_model("se_resnet18").eval()
    info = maps.feature_info
    assert (info.channels(), info.reduction(), info.module_name()) == ([64, 256], [4, 16], ["stages.0", "stages.2"])
    assert [each["index"] for each in info.get_dicts()] == [1, 3]
    assert maps.default_cfg["input_size"] == (3, 224, 224)
    with torch.no_grad():
        for one, other in zip(maps(X), whole.features(X, (4, 16)), strict=True):
            assert torch.equal(one, other)
    maps.train()(X)[-1].sum().backward()
    assert all(p.grad is not None for p in maps.parameters())  # nothing is left behind the last map


@pytest.mark.parametrize(("indices", "strides"), [(None, [1, 2, 4]), (2, [2, 4]), ((0, -1), [1, 4]), ([1], [2])])
def test_maps_are_counted_from_either_end(indices: object, strides: list[int]) -> None:
    maps = senet_zoo.create_model("se_resnet20", pretrained=True, features_only=True, out_indices=indices)
    assert not maps.training
    assert maps.feature_info.reduction() == strides
    found = senet_zoo.create_model("se_resnet20").forward_intermediates(X, indices, intermediates_only=True)
    assert [m.shape[1] for m in found] == maps.feature_info.channels()


@pytest.mark.parametrize("indices", [(), (2, 1), (1, 1), (3,), (-4,), 0, 4])
def test_maps_that_are_not_there(indices: object) -> None:
    with pytest.raises(UsageError, match=r"3 maps, numbered from 0.*features\(x, strides"):
        senet_zoo.create_model("se_resnet20", features_only=True, out_indices=indices)


def test_stopping_early_and_other_formats() -> None:
    model = senet_zoo.create_model("se_resnet20").eval()
    last, (first,) = model.forward_intermediates(X, [0], stop_early=True)
    assert torch.equal(last, first)
    with pytest.raises(UsageError, match="NLC"):
        model.forward_intermediates(X, output_fmt="NLC")
    with pytest.raises(UsageError, match="features_only=True"):
        senet_zoo.create_model("se_resnet20", out_indices=(1,))


@pytest.mark.parametrize(("output_stride", "reductions"), [(32, [2, 4, 8, 16, 32]), (16, [2, 4, 8, 16, 16])])
def test_an_output_stride_leaves_the_number_of_maps(output_stride: int, reductions: list[int]) -> None:
    maps = senet_zoo.create_model("se_resnet18", features_only=True, output_stride=output_stride).eval()
    assert maps.feature_info.reduction() == reductions == [64 // each.shape[2] for each in maps(X)]
    assert maps.feature_info.channels() == [each.shape[1] for each in maps(X)]


def test_an_output_stride_is_dilate() -> None:
    torch.manual_seed(0)
    model = senet_zoo.create_model("se_resnet18", output_stride=8).eval()
    torch.manual_seed(0)
    other = dilate(senet_zoo.create_model("se_resnet18"), 8).eval()
    assert torch.equal(model(X), other(X))
    assert max(senet_zoo.create_model("se_resnet20", output_stride=32).feature_channels) == 4
    with pytest.raises(UsageError, match="got 12"):
        senet_zoo.create_model("se_resnet18", output_stride=12)


def test_maps_that_were_cut_short_are_dilated_again() -> None:
    network = senet_zoo.create_model("se_resnet18", features_only=True, out_indices=(2, 3)).network
    maps = FeatureListNet(network, (2, 3), output_stride=8).eval()
    assert [64 // each.shape[2] for each in maps(X)] == [8, 8]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"pretrained": "imagenet"}, UsageError, r"True or False, got 'imagenet'.*\(se_resnet20\.cifar10[,)]"),
        ({"weights": "se_resnet20.cifar10"}, WeightsNotFound, "pretrained=True and the network's name"),
        ({"weights": True}, UsageError, "got True; published weights"),
        ({"weights": Enum("Weights", "DEFAULT").DEFAULT}, UsageError, "hf://org/name@revision, got <Weights.DEFAULT"),
    ],
)
def test_how_others_choose_weights_is_answered(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        senet_zoo.create_model("se_resnet20", **options)


def test_a_dilated_network_has_maps_of_its_own() -> None:
    model = dilate(senet_zoo.create_model("se_resnet18"), 8).eval()
    assert [each["reduction"] for each in model.feature_info] == [*model.feature_channels] == [2, 4, 8]
    assert model.pretrained_cfg["pool_size"] == (28, 28)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"in_chans": 1}, {"in_channels": 1}),
        ({"drop_rate": 0.3}, {"dropout": 0.3}),
        ({"drop_path_rate": 0.2}, {"drop_path": 0.2}),
        ({"spatial_dims": 1}, {"dims": 1}),
        ({"dropout_prob": 0.3}, {"dropout": 0.3}),
        ({"classes": 4}, {"num_classes": 4}),
    ],
)
def test_two_words_for_one_argument(theirs: dict[str, object], ours: dict[str, object]) -> None:
    one, other = (senet_zoo.create_model("se_resnet20", **words) for words in (theirs, ours))
    assert str(one) == str(other)
    with pytest.raises(UsageError, match=rf"{next(iter(theirs))}=... is another word for {next(iter(ours))}"):
        senet_zoo.create_model("se_resnet20", **theirs, **ours)


def test_checkpoint_path_is_weights(tmp_path: object) -> None:
    model = senet_zoo.create_model("se_resnet20", num_classes=4)
    senet_zoo.save_pretrained(model, tmp_path)
    again = senet_zoo.create_model("se_resnet20", checkpoint_path=tmp_path)
    assert torch.equal(again(X), model.eval()(X))
    with pytest.raises(UsageError, match="pass one of them"):
        senet_zoo.create_model("se_resnet20", checkpoint_path=tmp_path, weights=tmp_path)


@pytest.mark.parametrize("prefix", ["hf-hub:", "hf_hub:"])
def test_addresses_of_the_hub_name_rows_of_the_manifest(prefix: str) -> None:
    assert senet_zoo.get_weights(f"{prefix}timm/seresnet50.a1_in1k").name == "se_resnet50b.a1_in1k"
    with pytest.raises(UsageError, match="add pretrained=True"):
        senet_zoo.create_model(f"{prefix}timm/seresnet50.a1_in1k")
    with pytest.raises(UsageError, match=r'from_pretrained\("hf://org/name"\)'):
        senet_zoo.create_model(f"{prefix}org/name", pretrained=True)


def test_lists_under_timms_names() -> None:
    assert senet_zoo.list_pretrained("se_resnet50*") == senet_zoo.list_weights("se_resnet50*")
    known: Callable[[str], bool] = senet_zoo.is_model
    assert all(map(known, ("se_resnet50", "seresnet50.a1_in1k", "hf-hub:timm/seresnet50.a1_in1k")))
    assert not any(map(known, ("vit_b_16", "hf-hub:org/name", "")))
