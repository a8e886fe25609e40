"""Libraries that are not installed here, by the layer lists of their public code: MONAI and transformers."""

import re
from pathlib import Path

import pytest
import safetensors.torch
import torch
from networks import randomise

import senet_zoo
from senet_zoo.errors import WeightsMismatch
from senet_zoo.formats.dialects import DIALECTS, recognise
from senet_zoo.networks.network import on_meta
from senet_zoo.networks.registry import MODELS
from senet_zoo.weights.convert import convert, load_checkpoint

BN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def monai(depths: tuple[int, ...], deep: bool = False) -> list[str]:
    """SENet of MONAI in its order of definition."""
    norm = [f"adn.N.{leaf}" for leaf in BN]
    names = [
        name
        for n in range(1, 4 if deep else 2)
        for name in (f"layer0.conv{n}.weight", *(f"layer0.bn{n}.{leaf}" for leaf in BN))
    ]
    for stage, depth in enumerate(depths, 1):
        for index in range(depth):
            block = f"layer{stage}.{index}"
            for n in (1, 2, 3):
                names += [f"{block}.conv{n}.{leaf}" for leaf in ("conv.weight", *norm)]
            names += [f"{block}.se_layer.fc.{n}.{leaf}" for n in (0, 2) for leaf in ("weight", "bias")]
            if index == 0:
                names += [f"{block}.project.{leaf}" for leaf in ("conv.weight", *norm)]
    return [*names, "last_linear.weight", "last_linear.bias"]


def transformers(depths: tuple[int, ...], layers: int, head: bool = True) -> list[str]:
    """ResNetForImageClassification, or ResNetModel, of transformers."""
    leaves = ["convolution.weight", *(f"normalization.{leaf}" for leaf in BN)]
    names = [f"embedder.embedder.{leaf}" for leaf in leaves]
    for stage, depth in enumerate(depths):
        for index in range(depth):
            block = f"encoder.stages.{stage}.layers.{index}"
            names += [f"{block}.layer.{n}.{leaf}" for n in range(layers) for leaf in leaves]
            if index == 0 and (stage or layers == 3):
                names += [f"{block}.shortcut.{leaf}" for leaf in leaves]
    return [f"resnet.{name}" for name in names] + ["classifier.1.weight", "classifier.1.bias"] if head else names


LISTS = {
    "monai SEResNet50": ("se_resnet50", "monai", monai((3, 4, 6, 3))),
    "monai SENet154": ("senet154", "monai", monai((3, 8, 36, 3), deep=True)),
    "transformers resnet-18": ("resnet18b", "transformers", transformers((2, 2, 2, 2), 2)),
    "transformers resnet-50": ("resnet50b", "transformers", transformers((3, 4, 6, 3), 3)),
}


@pytest.mark.parametrize("label", LISTS)
def test_a_published_layer_list_is_the_networks(label: str) -> None:
    name, dialect, theirs = LISTS[label]
    assert recognise(theirs).name == dialect
    assert dialect in MODELS[name].published_as
    names = DIALECTS[dialect].names(theirs)
    assert names.keys() == set(theirs)
    assert sorted(names.values()) == sorted(on_meta(MODELS[name].spec()).state_dict())


def test_a_network_of_transformers_is_found_by_its_shapes(tmp_path: Path) -> None:
    state = senet_zoo.create_model("resnet18b", num_classes=3).state_dict()
    names = DIALECTS["transformers"].names(LISTS["transformers resnet-18"][2])
    torch.save({foreign: state[native] for foreign, native in names.items()}, tmp_path / "a.bin")
    done = convert(tmp_path / "a.bin", tmp_path / "a.safetensors")
    assert (done.model, done.read_as, done.num_classes) == ("resnet18b", "transformers", 3)


def test_a_layer_stands_where_its_name_says() -> None:
    names = DIALECTS
    assert names["monai"].names(monai((3, 4, 6, 3)))["layer3.5.conv2.adn.N.bias"] == "stages.2.5.branch.conv2.bn.bias"
    assert names["monai"].names(monai((3, 4, 6, 3)))["layer1.0.se_layer.fc.2.bias"] == "stages.0.0.se.fc2.bias"
    resnet = names["transformers"].names(transformers((3, 4, 6, 3), 3))
    assert (
        resnet["resnet.encoder.stages.3.layers.2.layer.0.convolution.weight"] == "stages.3.2.branch.conv1.conv.weight"
    )
    bare = names["transformers"].names(transformers((3, 4, 6, 3), 3, head=False))
    assert bare["encoder.stages.1.layers.0.shortcut.normalization.bias"] == "stages.1.0.shortcut.bn.bias"


@torch.no_grad()
def test_monais_names_are_written_with_matrices_for_gates(tmp_path: Path) -> None:
    net = randomise(senet_zoo.create_model("se_resnet50", num_classes=3))
    torch.save(net.state_dict(), tmp_path / "a.pth")
    done = convert(tmp_path / "a.pth", tmp_path / "m.safetensors", model="se_resnet50", to="monai")
    assert (done.written_as, done.foreign_model) == ("monai", "SEResNet50")
    written = safetensors.torch.load_file(tmp_path / "m.safetensors")
    assert set(written) == set(monai((3, 4, 6, 3)))
    assert written["layer1.0.se_layer.fc.0.weight"].shape == (16, 256)
    again = load_checkpoint("se_resnet50", tmp_path / "m.safetensors")
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(again(x), net(x))


def test_a_network_of_transformers_has_the_stride_of_the_b_form(tmp_path: Path) -> None:
    state = senet_zoo.create_model("resnet50b", num_classes=3).state_dict()
    ours = DIALECTS["transformers"].names(transformers((3, 4, 6, 3), 3))
    torch.save({foreign: state[native] for foreign, native in ours.items()}, tmp_path / "a.pth")
    with pytest.raises(WeightsMismatch, match=re.escape("Those are resnet50b.")):
        load_checkpoint("resnet50", tmp_path / "a.pth")


@torch.no_grad()
def test_torchvisions_names_of_a_cifar_network_are_read(tmp_path: Path) -> None:
    """As chenyaofo's pytorch-cifar-models has them."""
    net = randomise(senet_zoo.create_model("resnet20"))
    file = {}
    for native, value in net.state_dict().items():
        name = re.sub(r"^stages\.(\d)", lambda m: f"layer{int(m[1]) + 1}", native)
        name = re.sub(r"branch\.conv(\d)\.(conv|bn)", r"\2\1", name)
        name = name.replace("shortcut.conv", "downsample.0").replace("shortcut.bn", "downsample.1")
        file[name.replace("stem.0.conv", "conv1").replace("stem.0.bn", "bn1").replace("classifier", "fc")] = value
    torch.save(file, tmp_path / "cifar10_resnet20.pt")
    assert convert(tmp_path / "cifar10_resnet20.pt", tmp_path / "a.safetensors").model == "resnet20"
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(load_checkpoint("resnet20", tmp_path / "cifar10_resnet20.pt")(x), net(x))
