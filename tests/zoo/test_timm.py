"""Where timm has the same function, it loads our folders and we load its own, with all that belongs to them."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import timm
import torch
from networks import randomise
from timm.models import save_for_hf
from torch import nn

import senet_zoo
from senet_zoo.errors import ManifestError, UnknownModelError, WeightsMismatch
from senet_zoo.formats import safetensors
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS
from senet_zoo.weights.config import parse_config, read_config
from senet_zoo.weights.libraries import TARGETS, target_of
from senet_zoo.weights.timm_config import crop_pct

WAY = senet_zoo.Preprocessing(size=64, resize=72, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
TEN = tuple(f"class {index}" for index in range(10))


def saved(folder: Path, name: str, num_classes: int = 10, in_channels: int = 3) -> ConvNet:
    model = randomise(senet_zoo.create_model(name, num_classes=num_classes, in_channels=in_channels))
    senet_zoo.save_pretrained(model, folder, preprocessing=WAY, categories=TEN if num_classes == 10 else None)
    return model


@dataclass(frozen=True)
class Folder:
    """A saved network, and where."""

    model: nn.Module
    path: Path


@pytest.fixture(scope="module")
def legacy(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    path = tmp_path_factory.mktemp("legacy")
    return Folder(saved(path, "se_resnet18"), path)


def pictures(channels: int = 3) -> torch.Tensor:
    return torch.randn(2, channels, 64, 64, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def same(one: nn.Module, other: nn.Module, channels: int = 3) -> bool:
    expected = one(pictures(channels))
    return bool((other(pictures(channels)) - expected).abs().max() <= 1e-5 * expected.abs().max())


@pytest.mark.parametrize(
    ("name", "num_classes", "in_channels"),
    [("se_resnet50b", 10, 3), ("se_resnext26d_32x4d", 10, 1), ("resnet18b", 0, 4)],
)
def test_timm_loads_a_saved_folder_as_the_same_function(
    name: str, num_classes: int, in_channels: int, tmp_path: Path
) -> None:
    model = saved(tmp_path, name, num_classes, in_channels)
    theirs = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    assert (theirs.num_classes, theirs.pretrained_cfg["architecture"]) == (num_classes, TARGETS["timm"][name])
    assert same(model, theirs, in_channels)
    again = senet_zoo.from_pretrained(tmp_path)
    assert torch.equal(again(pictures(in_channels)), model(pictures(in_channels)))
    assert (again.weights.preprocessing, again.weights.timm) == (WAY, TARGETS["timm"][name])


def test_timm_knows_function_pictures_and_classes_of_the_authors_form(legacy: Folder) -> None:
    theirs = timm.create_model(f"local-dir:{legacy.path}", pretrained=True).eval()
    assert same(legacy.model, theirs)
    way = timm.data.resolve_model_data_config(theirs)
    assert (way["input_size"], way["mean"], way["std"]) == ([3, 64, 64], list(WAY.mean), list(WAY.std))
    assert (way["interpolation"], way["crop_mode"], math.floor(64 / way["crop_pct"])) == ("bilinear", "center", 72)
    assert theirs.pretrained_cfg["label_names"] == list(TEN)


@pytest.mark.parametrize("size", [8, 97, 224, 331, 1024])
def test_timm_finds_every_size_to_resize_to(size: int) -> None:
    for resize in range(size, 2049):
        way = senet_zoo.Preprocessing(size=size, resize=resize)
        assert math.floor(size / json.loads(json.dumps(crop_pct(way)))) == resize


def test_a_head_of_other_size_is_fresh_in_timm_and_here(legacy: Folder, tmp_path: Path) -> None:
    theirs = timm.create_model(f"local-dir:{legacy.path}", pretrained=True, num_classes=4)
    ours = senet_zoo.create_model("se_resnet18", weights=legacy.path, num_classes=4)
    assert torch.equal(theirs.layer4[1].conv2.weight, ours.stages[3][1].branch.conv2.conv.weight)
    senet_zoo.save_pretrained(ours, tmp_path / "tuned")
    assert same(ours, senet_zoo.from_pretrained(tmp_path / "tuned"))


@pytest.mark.parametrize(
    "name",
    ["senet154", "se_resnext101_32x4d", "se_resnet152d", "se_resnextaa101d_32x8d", "resnext101b_64x4d", "densenet201"],
)
def test_what_is_written_for_timm_has_timms_names_and_shapes(name: str) -> None:
    entry = MODELS[name]
    with torch.device("meta"):
        net = ConvNet(entry.spec(), num_classes=7)
        theirs = timm.create_model(TARGETS["timm"][name], num_classes=7)
    written = target_of("timm", entry, entry.se).tensors(net, net.state_dict())
    assert {key: value.shape for key, value in written.items()} == {
        key: value.shape for key, value in theirs.state_dict().items()
    }


def test_no_two_functions_have_one_name_in_timm() -> None:
    assert len(set(TARGETS["timm"].values())) == len(TARGETS["timm"])


def test_a_gate_that_timm_lacks_keeps_the_zoos_own_names(tmp_path: Path) -> None:
    model = senet_zoo.create_model("se_resnet18", se=senet_zoo.SE(reduction=8), num_classes=2).eval()
    senet_zoo.save_pretrained(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["architecture"], config["se"]["reduction"]) == ("se_resnet18", 8)
    assert "pretrained_cfg" not in config
    assert "timm" not in (tmp_path / "README.md").read_text()
    assert "stem.0.conv.weight" in safetensors.check(tmp_path / "model.safetensors").tensors


def test_a_folder_of_an_earlier_save_with_our_names_loads(legacy: Folder, tmp_path: Path) -> None:
    model = legacy.model
    config = {"architecture": "se_resnet18", "se": {"reduction": 16}, "num_classes": 10, "in_channels": 3}
    (tmp_path / "config.json").write_text(json.dumps({**config, "preprocessing": None, "categories": None}))
    safetensors.write(tmp_path / "model.safetensors", model.state_dict(), {"format": "pt", "model": "se_resnet18"})
    again = senet_zoo.from_pretrained(tmp_path)
    assert same(model, again)
    assert (again.weights.timm, again.weights.fingerprint) == (None, None)


@pytest.fixture(scope="module")
def timms(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """What timm saves of a fine-tuned network."""
    model, path = randomise(timm.create_model("legacy_seresnet18", num_classes=3)).eval(), tmp_path_factory.mktemp("t")
    names = {"label_names": ["n01", "n02", "n03"], "label_descriptions": {"n01": "ant", "n02": "bee", "n03": "wasp"}}
    save_for_hf(model, path, model_config=names, safe_serialization=True)
    return Folder(model, path)


def test_a_folder_that_timm_saved_loads_with_preprocessing_and_class_names(timms: Folder) -> None:
    theirs = timms.model
    model = senet_zoo.from_pretrained(timms.path)
    assert same(theirs, model)
    assert model.weights.architecture == "se_resnet18"
    assert model.weights.categories == ("ant", "bee", "wasp")
    way = timm.data.resolve_model_data_config(theirs)
    seen = model.weights.preprocessing
    assert (seen.size, seen.resize) == (way["input_size"][-1], math.floor(way["input_size"][-1] / way["crop_pct"]))
    assert (seen.mean, seen.std, seen.interpolation.value) == (way["mean"], way["std"], way["interpolation"])
    with pytest.raises(WeightsMismatch, match="says se_resnet18, not se_resnet34"):
        senet_zoo.create_model("se_resnet34", weights=timms.path)


def test_a_grey_network_of_timms_and_its_plain_resnet_are_the_right_functions_here(tmp_path: Path) -> None:
    grey = randomise(timm.create_model("resnet18", num_classes=0, in_chans=1)).eval()
    save_for_hf(grey, tmp_path, safe_serialization=True)
    model = senet_zoo.from_pretrained(tmp_path)
    assert (model.weights.architecture, model.in_channels, model.num_classes) == ("resnet18b", 1, 0)
    assert same(grey, model, 1)
    assert model.weights.preprocessing.mean == 3 * (pytest.approx(sum((0.485, 0.456, 0.406)) / 3),)


def edited(folder: Path, target: Path, **change: object) -> Path:
    """The same folder with another config."""
    config = json.loads((folder / "config.json").read_text())
    config["pretrained_cfg"] |= change.pop("pretrained_cfg", {})
    (target / "config.json").write_text(json.dumps({**config, **change}))
    (target / "model.safetensors").hardlink_to(folder / "model.safetensors")
    return target


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("seresnet50.ra2_in1k", "se_resnet50b.ra2_in1k"),
        ("legacy_seresnet18.in1k", "se_resnet18.timm_in1k"),
        ("seresnextaa101d_32x8d.sw_in12k", "se_resnextaa101d_32x8d.sw_in12k"),
    ],
)
def test_a_config_that_timm_publishes_says_what_the_manifest_says(name: str, ours: str) -> None:
    theirs = timm.models.get_pretrained_cfg(name).to_dict(remove_source=True)
    published = {"architecture": name.partition(".")[0], "num_classes": theirs["num_classes"], "num_features": 2048}
    config = parse_config(json.loads(json.dumps({**published, "pretrained_cfg": theirs})), f"hf://timm/{name}")
    row = senet_zoo.get_weights(ours).row
    assert (config.architecture, config.preprocessing) == (row.model, row.preprocessing)
    assert config.categories == senet_zoo.get_weights(ours).categories


@pytest.mark.parametrize("way", [{"crop_mode": "border"}, {"interpolation": "lanczos"}, {"input_size": [3, 64, 96]}])
def test_a_way_of_resizing_that_has_no_words_here_is_said_to_be_unknown(
    way: dict[str, object], timms: Folder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert read_config(edited(timms.path, tmp_path, pretrained_cfg=way)).preprocessing is None
    assert "has no words for" in caplog.text


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"architecture": "vit_tiny_patch16_224"}, UnknownModelError, "function of timm's 'vit_tiny_patch16_224'"),
        ({"model_args": {"global_pool": "max"}}, ManifestError, "global_pool must be 'avg', with which legacy_seresn"),
        ({"model_args": {"output_stride": 8}}, ManifestError, "model_args has unknown fields: 'output_stride'"),
        ({"model_args": {"in_chans": 1}}, WeightsMismatch, "in_channels is 1 there and 3 in the file"),
        ({"model_args": [1]}, ManifestError, "model_args must be an object"),
        ({"pretrained_cfg": {"input_size": [3, 224]}}, ManifestError, "input_size must be three whole numbers"),
        ({"pretrained_cfg": {"mean": [2, 0, 0]}}, ManifestError, "mean.R must be a number from 0 to 1"),
        ({"label_names": ["a"]}, ManifestError, "one text for each of the 3 classes"),
        ({"num_classes": 4}, ManifestError, "one text for each of the 4"),
    ],
    ids=str,
)
def test_a_config_of_timms_that_makes_another_function_is_refused(
    change: dict[str, object], error: type[Exception], message: str, timms: Folder, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        senet_zoo.from_pretrained(edited(timms.path, tmp_path, **change))


@pytest.mark.parametrize(
    "change", [{"code": "import os"}, {"pretrained_cfg": {"crop": 1}}, {"senet_zoo": {"fingerprnt": None}}], ids=str
)
def test_a_misspelt_field_of_our_own_folder_is_refused(
    change: dict[str, object], legacy: Folder, tmp_path: Path
) -> None:
    with pytest.raises(ManifestError, match="unknown fields"):
        senet_zoo.from_pretrained(edited(legacy.path, tmp_path, **change))
