"""Networks of other libraries, each kind at its smallest depth: recognised, loaded with their logits, and written back.

Deeper ones have the same blocks; `tests/hub/test_dialects.py` compares names and shapes of all their tensors. Logits
are compared in float64, for a deep random network amplifies rounding.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import safetensors.torch
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision
from networks import covering, others_slow, randomise, scaled_difference, traits_of
from pytorchcv.model_provider import get_model
from torch import nn
from torchvision.transforms.v2.functional import normalize

from senet_zoo.analysis.listing import GOLDEN
from senet_zoo.errors import UsageError, WeightsMismatch
from senet_zoo.networks.network import unfilled
from senet_zoo.networks.registry import MODELS
from senet_zoo.weights.convert import convert, load_checkpoint
from senet_zoo.weights.libraries import TARGETS


@dataclass(frozen=True)
class Case:
    """A network of another library, and what it is here.

    Args:
        make: builds it.
        name: of the same function here.
        side: of the pictures that it is run on; what its pools allow.
        doubt: what the error says where its tensors do not tell; None where they do.
        to: the library for which it is written back.
        classes: of its classifier.
    """

    make: Callable[[], nn.Module]
    name: str
    side: int = 64
    doubt: str | None = None
    to: str | None = None
    classes: int = 3


def of_timm(theirs: str, name: str, side: int = 64, doubt: str | None = None, to: str | None = "timm") -> Case:
    return Case(lambda: timm.create_model(theirs, num_classes=3), name, side, doubt, to)


def of_torchvision(theirs: str, name: str, side: int = 64, doubt: str | None = None) -> Case:
    return Case(lambda: torchvision.models.get_model(theirs, num_classes=3), name, side, doubt, "torchvision")


def of_pytorchcv(theirs: str, name: str, side: int = 64, doubt: str | None = None) -> Case:
    classes = 10 if theirs.endswith("_cifar10") else 3

    def make() -> nn.Module:
        model = get_model(theirs, num_classes=classes)
        if hasattr(model.features, "final_pool"):  # of one size; it has no tensors
            model.features.final_pool = nn.AdaptiveAvgPool2d(1)
        elif theirs == "xception":
            model.features.final_block.pool = nn.AdaptiveAvgPool2d(1)
        return model

    return Case(make, name, side, doubt, classes=classes)


def inception_v3() -> nn.Module:
    return torchvision.models.inception_v3(num_classes=3, aux_logits=False, init_weights=False)


def authors_dpn68() -> nn.Module:
    return timm.create_model("dpn68", num_classes=3, fc_act_layer="relu")


AVERAGED = "by an average or a blur"
STRIDE = "one with its stride in the first 1x1"
CASES = {
    "timm legacy_seresnet18": of_timm("legacy_seresnet18", "se_resnet18"),
    "timm legacy_seresnet50": of_timm("legacy_seresnet50", "se_resnet50"),
    "timm legacy_seresnext26_32x4d": of_timm("legacy_seresnext26_32x4d", "se_resnext26_32x4d"),
    "timm resnet18": of_timm("resnet18", "resnet18b", doubt=AVERAGED),
    "timm resnet50d": of_timm("resnet50d", "resnet50d", doubt=AVERAGED),
    "timm seresnet50": of_timm("seresnet50", "se_resnet50b"),
    "timm seresnext50_32x4d": of_timm("seresnext50_32x4d", "se_resnext50b_32x4d"),
    "timm seresnext26d_32x4d": of_timm("seresnext26d_32x4d", "se_resnext26d_32x4d"),
    "timm densenet121": of_timm("densenet121", "densenet121"),
    "timm vgg11_bn": of_timm("vgg11_bn", "vgg11_bn", 224, to=None),
    "timm semnasnet_100": of_timm("semnasnet_100", "se_mnasnet"),
    "timm inception_v3": of_timm("inception_v3", "inception_v3", 107),
    "timm inception_v4": of_timm("inception_v4", "inception_v4", 107),
    "timm inception_resnet_v2": of_timm("inception_resnet_v2", "inception_resnet_v2", 107),
    "torchvision resnet18": of_torchvision("resnet18", "resnet18b", doubt=AVERAGED),
    "torchvision resnext50_32x4d": of_torchvision("resnext50_32x4d", "resnext50b_32x4d"),
    "torchvision vgg11_bn": of_torchvision("vgg11_bn", "vgg11_bn"),
    "torchvision alexnet": of_torchvision("alexnet", "alexnet"),
    "torchvision densenet121": of_torchvision("densenet121", "densenet121"),
    "torchvision inception_v3": Case(inception_v3, "inception_v3", 107, to="torchvision"),
    "pytorchcv resnet18": of_pytorchcv("resnet18", "resnet18b"),
    "pytorchcv seresnet18": of_pytorchcv("seresnet18", "se_resnet18b"),
    "pytorchcv seresnet50b": of_pytorchcv("seresnet50b", "se_resnet50b", doubt="share names and shapes"),
    "pytorchcv resneta50b": of_pytorchcv("resneta50b", "resnet50d", doubt=STRIDE),
    "pytorchcv seresnext50_32x4d": of_pytorchcv("seresnext50_32x4d", "se_resnext50b_32x4d"),
    "pytorchcv sepreresnet18": of_pytorchcv("sepreresnet18", "se_preresnet18"),
    "pytorchcv preresnet50": of_pytorchcv("preresnet50", "preresnet50", doubt="share names and shapes"),
    "pytorchcv mobilenet_w1": of_pytorchcv("mobilenet_w1", "mobilenet"),
    "pytorchcv shufflenet_g3_w1": of_pytorchcv("shufflenet_g3_w1", "shufflenet"),
    "pytorchcv mnasnet_a1": of_pytorchcv("mnasnet_a1", "se_mnasnet"),
    "pytorchcv densenet121": of_pytorchcv("densenet121", "densenet121"),
    "pytorchcv bn_vgg11b": of_pytorchcv("bn_vgg11b", "vgg11_bn", 224),
    "pytorchcv alexnetb": of_pytorchcv("alexnetb", "alexnet", 224),
    "pytorchcv inceptionv3": of_pytorchcv("inceptionv3", "inception_v3", 107),
    "pytorchcv inceptionv4": of_pytorchcv("inceptionv4", "inception_v4", 107),
    "pytorchcv inceptionresnetv2": of_pytorchcv("inceptionresnetv2", "inception_resnet_v2", 107),
    "pytorchcv resnet20_cifar10": of_pytorchcv("resnet20_cifar10", "resnet20", 32, "shakedropresnet20"),
    "pytorchcv seresnet20_cifar10": of_pytorchcv("seresnet20_cifar10", "se_resnet20", 32),
    "pytorchcv preresnet20_cifar10": of_pytorchcv("preresnet20_cifar10", "preresnet20", 32),
    "pytorchcv preresnet164bn_cifar10": of_pytorchcv("preresnet164bn_cifar10", "preresnet164", 32),
    "pytorchcv wrn28_10_cifar10": of_pytorchcv("wrn28_10_cifar10", "wrn28_10", 32),
    "pytorchcv nin_cifar10": of_pytorchcv("nin_cifar10", "nin", 32),
    "pytorchcv seresnet50": of_pytorchcv("seresnet50", "se_resnet50a", doubt="share names and shapes"),
    "pytorchcv seresnet10": of_pytorchcv("seresnet10", "se_resnet10b"),
    "pytorchcv seresnetbc26b": of_pytorchcv("seresnetbc26b", "se_resnetbc26b"),
    "pytorchcv senet16": of_pytorchcv("senet16", "senet16b"),
    "pytorchcv seresnet164bn_cifar10": of_pytorchcv("seresnet164bn_cifar10", "se_resnet164", 32),
    "pytorchcv sepreresnet20_cifar10": of_pytorchcv("sepreresnet20_cifar10", "se_preresnet20_cv", 32),
    "pytorchcv sepreresnet164bn_cifar10": of_pytorchcv("sepreresnet164bn_cifar10", "se_preresnet164_cv", 32),
    "timm seresnet18": of_timm("seresnet18", "se_resnet18b_round8"),
    "timm seresnext26ts": of_timm("seresnext26ts", "se_resnext26ts"),
    "timm seresnet33ts": of_timm("seresnet33ts", "se_resnet33ts"),
    "timm cs3sedarknet_x": of_timm("cs3sedarknet_x", "se_cs3darknet_x"),
    "timm cs3se_edgenet_x": of_timm("cs3se_edgenet_x", "se_cs3edgenet_x"),
    "timm cs3darknet_l": of_timm("cs3darknet_l", "cs3darknet_l"),
    "timm semnasnet_075": of_timm("semnasnet_075", "se_mnasnet_075"),
    "timm legacy_xception": of_timm("legacy_xception", "xception", 75),
    "timm dpn68 with a ReLU": Case(authors_dpn68, "dpn68", doubt="an ELU"),
    "pytorchcv xception": of_pytorchcv("xception", "xception", 75),
    "pytorchcv dpn68": of_pytorchcv("dpn68", "dpn68", 224),
    "pytorchcv resattnet56": of_pytorchcv("resattnet56", "attention56"),
    "pytorchcv pyramidnet101_a360": of_pytorchcv("pyramidnet101_a360", "pyramidnet101_a360"),
    "pytorchcv pyramidnet110_a48_cifar10": of_pytorchcv("pyramidnet110_a48_cifar10", "pyramidnet110_a48", 32),
}


PARAMETERS = {row["name"]: int(row["parameters"]) for row in csv.DictReader(GOLDEN.read_text().splitlines())}


def traits(label: str) -> set[tuple[object, ...]]:
    """The kinds of parts that a library names here, what its tensors do not tell, and what is written back."""
    case, (library, _) = CASES[label], label.split(maxsplit=1)
    kinds = {(library, trait[0]) for trait in traits_of(MODELS[case.name].spec())}
    return kinds | {(library, "doubt", case.doubt), (library, "to", case.to)}


def cost_of(label: str) -> float:
    """What a case costs, by the numbers that are drawn, written and read."""
    return 5e6 + PARAMETERS[CASES[label].name]


def picture(side: int) -> torch.Tensor:
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1)).double()


@pytest.mark.parametrize("label", others_slow(CASES, covering({label: traits(label) for label in CASES}, cost_of)))
@torch.no_grad()
def test_a_librarys_network_is_recognised_loaded_and_written_back(label: str, tmp_path: Path) -> None:
    case = CASES[label]
    with unfilled("cpu"):
        theirs, again = case.make(), case.make().eval()
    randomise(theirs)
    torch.save({"state_dict": theirs.state_dict(), "epoch": 90}, tmp_path / "a.pth")
    named = None
    if case.doubt is not None:
        with pytest.raises(UsageError, match=rf"fit (\w+, )*{case.name}\b.*{case.doubt}.*model={case.name!r}"):
            convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
        named = case.name
    done = convert(tmp_path / "a.pth", tmp_path / "a.safetensors", model=named, to=case.to)
    assert (done.model, done.num_classes, done.variant) == (case.name, case.classes, None)
    x = picture(case.side)
    expected = theirs.double()(x)
    ours = load_checkpoint(case.name, tmp_path / "a.pth").double()
    assert scaled_difference(ours(x), expected) <= 1e-5
    if case.to is not None:
        assert done.foreign_model == TARGETS[case.to][case.name]
        again.load_state_dict(safetensors.torch.load_file(tmp_path / "a.safetensors"), strict=True)
        assert scaled_difference(again.double()(x), expected) <= 1e-5


@torch.no_grad()
def test_an_auxiliary_classifier_is_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    theirs = randomise(torchvision.models.inception_v3(num_classes=3, init_weights=False))
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    with caplog.at_level("INFO", "senet_zoo"):
        assert convert(tmp_path / "a.pth", tmp_path / "a.safetensors").model == "inception_v3"
    assert "14 tensors beside the function are left out, such as AuxLogits.conv0.conv.weight" in caplog.text
    x = picture(107)
    expected = theirs.double()(x)
    for file in ("a.pth", "a.safetensors"):
        ours = load_checkpoint("inception_v3", tmp_path / file).double()
        assert scaled_difference(ours(x), expected) <= 1e-5


@torch.no_grad()
def test_torchvisions_own_normalisation_of_inception_is_that_of_a_half(tmp_path: Path) -> None:
    """``transform_input=True``, which its weights were trained with, turns ImageNet's mean and deviation into 0.5."""
    theirs = randomise(
        torchvision.models.inception_v3(num_classes=3, aux_logits=False, transform_input=True, init_weights=False)
    )
    torch.save(theirs.state_dict(), tmp_path / "a.pth")
    rgb = picture(107).sigmoid()
    expected = theirs.double()(normalize(rgb, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    ours = load_checkpoint("inception_v3", tmp_path / "a.pth").double()
    assert scaled_difference(ours(normalize(rgb, [0.5] * 3, [0.5] * 3)), expected) <= 1e-5


ENCODERS = {
    "se_resnet50": ("se_resnet50", False),
    "se_resnext50_32x4d": ("se_resnext50_32x4d", False),
    "resnet18": ("resnet18b", True),
    "densenet121": ("densenet121", False),
    "tu-seresnet50": ("se_resnet50b", False),
}


@pytest.mark.parametrize("encoder", others_slow(ENCODERS, ["se_resnet50", "resnet18", "tu-seresnet50"]))
@torch.no_grad()
def test_an_encoder_of_segmentation_models_gives_its_features(encoder: str, tmp_path: Path) -> None:
    name, doubtful = ENCODERS[encoder]
    theirs = randomise(smp.Unet(encoder, encoder_weights=None))
    torch.save(theirs.state_dict(), tmp_path / "whole.pth")
    torch.save(theirs.encoder.state_dict(), tmp_path / "encoder.pth")
    x = picture(64)
    expected = theirs.double().encoder(x)[-1].relu().mean((2, 3))
    for file in ("whole.pth", "encoder.pth"):
        net = load_checkpoint(name, tmp_path / file).double()
        assert net.num_classes == 0
        assert scaled_difference(net(x), expected) <= 1e-5
        if not doubtful:
            assert convert(tmp_path / file, tmp_path / "a.safetensors").model == name


def test_an_encoders_file_that_kept_its_head_has_logits(tmp_path: Path) -> None:
    encoder = smp.encoders.get_encoder("se_resnet50", weights=None)
    head = {"last_linear.weight": torch.zeros(7, 2048), "last_linear.bias": torch.arange(7.0)}
    torch.save(encoder.state_dict() | head, tmp_path / "a.pth")
    net = load_checkpoint("se_resnet50", tmp_path / "a.pth")
    assert torch.equal(net(torch.zeros(1, 3, 64, 64))[0], torch.arange(7.0))


@pytest.mark.parametrize("encoder", ["inceptionv4", "inceptionresnetv2"])
def test_an_encoder_that_pads_otherwise_is_doubted(
    encoder: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(smp.encoders.get_encoder(encoder, weights=None).state_dict(), tmp_path / "a.pth")
    with pytest.raises(UsageError, match=r"segmentation_models\.pytorch, which pads every 3x3"):
        convert(tmp_path / "a.pth", tmp_path / "a.safetensors")


OTHERS = {
    "torchvision googlenet": (
        lambda: torchvision.models.googlenet(init_weights=False),
        "of torchvision's googlenet: .*5x5",
    ),
    "pytorchcv inceptionresnetv1": (lambda: get_model("inceptionresnetv1"), "pytorchcv's inceptionresnetv1: .*faces"),
    "pytorchcv bninception": (lambda: get_model("bninception"), "pytorchcv's bninception: .*bias before each"),
}


@pytest.mark.parametrize("network", OTHERS)
def test_a_network_of_a_known_name_but_another_function_is_refused_by_name(network: str, tmp_path: Path) -> None:
    make, message = OTHERS[network]
    torch.save(make().state_dict(), tmp_path / "a.pth")
    for model in (None, "googlenet"):
        with pytest.raises(WeightsMismatch, match=message):
            convert(tmp_path / "a.pth", tmp_path / "a.safetensors", model=model)


LOOKALIKES = [
    lambda: timm.create_model("resnetaa50", num_classes=3),
    lambda: timm.create_model("resnetblur50", num_classes=3),
    lambda: timm.create_model("seresnetaa50d", num_classes=3),
    lambda: timm.create_model("mobilenetv1_100", num_classes=3),
    lambda: timm.create_model("mnasnet_100", num_classes=3),
    lambda: timm.create_model("resnet50c", num_classes=3),
    lambda: torchvision.models.mnasnet1_0(num_classes=3),
    lambda: torchvision.models.densenet161(num_classes=3),
    lambda: get_model("alexnet", num_classes=3),
    lambda: get_model("bn_vgg11", num_classes=3),
    lambda: get_model("ibn_densenet121", num_classes=3),
    lambda: get_model("shakedropresnet20_cifar10"),
]


@pytest.mark.parametrize("make", LOOKALIKES)
def test_no_network_that_only_looks_alike_is_taken_for_one_of_ours(make, tmp_path: Path) -> None:
    torch.save(make().state_dict(), tmp_path / "a.pth")
    with pytest.raises((UsageError, WeightsMismatch)):
        convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert not (tmp_path / "a.safetensors").exists()


def test_every_target_is_a_network_of_that_library_and_of_ours() -> None:
    known = {
        "timm": timm.list_models(),
        "torchvision": torchvision.models.list_models(),
        "monai": [
            "SENet154",
            *(f"SE{net}" for net in ("ResNet50", "ResNet101", "ResNet152", "ResNext50", "ResNext101")),
        ],
        "cadene": [name.replace("legacy_se", "se_") for name in timm.list_models("legacy_*")] + ["senet154"],
        "insightface": [f"{mode} {depth}" for mode in ("ir", "ir_se") for depth in (50, 100, 152)],  # of its Backbone
    }
    assert set(known) == set(TARGETS)
    for library, names in TARGETS.items():
        assert set(names) <= set(MODELS)
        assert set(names.values()) <= set(known[library])


def test_one_list_of_libraries_is_that_of_the_dialects_of_help_and_of_the_pages() -> None:
    from senet_zoo.cli import convert
    from senet_zoo.formats.dialects import DIALECTS
    from senet_zoo.formats.libraries import READ, WRITTEN
    from senet_zoo.weights.libraries import TARGETS

    assert {name for names in READ.values() for name in names} == DIALECTS.keys() - {"native"}
    assert set(WRITTEN) == set(TARGETS)
    page = " ".join((Path(__file__).parents[2] / "docs" / "weights.md").read_text().split())
    help_text = " ".join(convert.DESCRIPTION.split())
    assert all(library in page and library in help_text for library in READ)
