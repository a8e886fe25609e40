"""Logits equal other libraries' with the same weights: 1e-5 of the logits' scale, in float32.

Weights are copied layer by layer in order of definition, so no map of names stands between the two networks.
"""

from collections.abc import Callable

import oracles
import pytest
import timm
import torch
import torchvision
from counterparts import (
    LEGACY_WITHOUT_GATES,
    PYRAMIDAL_CIFAR,
    PYTORCHCV,
    PYTORCHCV_CIFAR_DEPTHS,
    PYTORCHCV_DEPTHS,
    PYTORCHCV_PREACTIVATION,
    TIMM,
    TORCHVISION,
)
from networks import open_relus, others_slow, randomise, scaled_difference, settle, shallowest_of_each_kind
from pytorchcv.model_provider import get_model
from torch import nn

from senet_zoo.networks.blocks.heads import ClassMapClassifier
from senet_zoo.networks.network import ConvNet, unfilled
from senet_zoo.networks.registry import ALIASES, MODELS


def without_gates(name: str) -> nn.Module:
    """timm's network with its gates taken out: of a legacy one, the authors' plain network."""
    model = timm.create_model(name)
    for part in model.modules():
        for gate in ("se_module", "se"):
            if hasattr(part, gate):
                setattr(part, gate, nn.Identity())
    return model


def with_caffe_pool(model: nn.Module) -> nn.Module:
    """torchvision's basic-block network with the authors' max pool."""
    model.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True)
    return model


TIERED = {"se_resnext26ts": "seresnext26ts", "se_resnet33ts": "seresnet33ts", "resnext26ts": "resnext26ts",
          "resnet33ts": "resnet33ts"}  # fmt: skip
PYTORCHCV_PARTS = {
    "se_preresnet20": lambda: oracles.with_gates(get_model("preresnet20_cifar10")),
    "se_preresnet56": lambda: oracles.with_gates(get_model("preresnet56_cifar10")),
    "se_preresnet110": lambda: oracles.with_gates(get_model("preresnet110_cifar10")),
    "se_preresnet164": lambda: oracles.with_gates(get_model("preresnet164bn_cifar10")),
    "wrn16_8": oracles.wrn16_8,
    "se_wrn16_8": lambda: oracles.with_gates(oracles.wrn16_8()),
    "se_wrn28_10": lambda: oracles.with_gates(get_model("wrn28_10_cifar10")),
    "se_nin": lambda: oracles.gate_at_each_end(get_model("nin_cifar10")),
    "shakeshake26_2x96d": oracles.shaken_resnet26_96d,
    "shakeshake29_2x4x64d": oracles.shaken_resnext29_4x64d,
}
CHAINS = {
    "se_vgg11": "vgg11_bn",
    "se_vgg13": "vgg13_bn",
    "se_vgg16": "vgg16_bn",
    "se_vgg19": "vgg19_bn",
    "se_alexnet": "alexnet",
}
DENSE = {f"se_densenet{depth}": f"densenet{depth}" for depth in (121, 169, 201, 264)}
INCEPTION = {
    "googlenet": oracles.original_googlenet,
    "bn_inception": oracles.unbiased_bn_inception,
    "inception_v3": oracles.inception_v3,
    "inception_v4": lambda: timm.create_model(TIMM["inception_v4"]),
}
INCEPTION_RESNET = {
    "inception_resnet_v1": oracles.inception_resnet_v1,
    "inception_resnet_v2": lambda: timm.create_model(TIMM["inception_resnet_v2"]),
}
PYRAMIDAL = {
    "pyramidnet101_a360": lambda: oracles.pooled_whole("pyramidnet101_a360"),
    "pyramidnet200_a300": lambda: oracles.pyramidnet_200(300),
    "pyramidnet200_a450": lambda: oracles.pyramidnet_200(450),
}
DUAL_PATH = ("dpn68", "dpn92", "dpn98", "dpn107", "dpn131")
ATTENTION = {"attention56": "resattnet56", "attention92": "resattnet92"}
ORACLES: dict[str, Callable[[], nn.Module]] = {
    **{ours: lambda name=name: timm.create_model(name) for ours, name in TIMM.items()},
    **{ours: lambda name=name: without_gates(name) for ours, name in LEGACY_WITHOUT_GATES.items()},
    **{ours: lambda name=name: getattr(torchvision.models, name)() for ours, name in TORCHVISION.items()},
    **{ours: lambda name=name: get_model(name) for ours, name in PYTORCHCV.items()},
    **{ours: lambda name=name: oracles.pooled_whole(name) for ours, name in PYTORCHCV_PREACTIVATION.items()},
    **{ours: lambda name=name: oracles.pooled_whole(name) for ours, name in PYTORCHCV_DEPTHS.items()},
    **{ours: lambda name=name: get_model(name) for ours, name in PYTORCHCV_CIFAR_DEPTHS.items()},
    **PYTORCHCV_PARTS,
    "se_resnet200": oracles.legacy_seresnet200,
    "resnet200": lambda: oracles.gateless(oracles.legacy_seresnet200()),
    "se_resnext101_64x4d": oracles.legacy_seresnext101_64x4d,
    "resnext101_64x4d": lambda: oracles.gateless(oracles.legacy_seresnext101_64x4d()),
    "resnet18": lambda: with_caffe_pool(torchvision.models.resnet18()),
    "resnet34": lambda: with_caffe_pool(torchvision.models.resnet34()),
    **{ours: lambda name=name: oracles.gate_after_each_relu(ORACLES[name]()) for ours, name in CHAINS.items()},
    **{ours: lambda name=name: oracles.gate_in_each_dense_layer(ORACLES[name]()) for ours, name in DENSE.items()},
    "densenet264": oracles.densenet264,
    "cifarnet": lambda: oracles.airbench(gated=False),
    "se_cifarnet": lambda: oracles.airbench(gated=True),
    **INCEPTION,
    **{f"se_{name}": lambda make=make: oracles.gate_behind_each_inception(make()) for name, make in INCEPTION.items()},
    **INCEPTION_RESNET,
    **{
        f"se_{name}": lambda make=make: oracles.gate_on_each_widened_branch(make())
        for name, make in INCEPTION_RESNET.items()
    },
    "mnasnet": lambda: without_gates("semnasnet_100"),
    **{f"mnasnet_{width}": lambda width=width: without_gates(f"semnasnet_{width}") for width in ("050", "075", "140")},
    "resnet269d": lambda: without_gates("seresnet269d"),
    "resnext26t_32x4d": lambda: without_gates("seresnext26t_32x4d"),
    **{ours: lambda name=name: oracles.byobnet(name) for ours, name in TIERED.items()},
    "preresnet200_torch": oracles.torch_preresnet200,
    "se_preresnet200_torch": lambda: oracles.gate_behind_last_1x1(oracles.torch_preresnet200()),
    **PYRAMIDAL,
    **{ours: lambda name=name: get_model(name) for ours, name in PYRAMIDAL_CIFAR.items()},
    **{
        f"se_{name}": lambda name=name: oracles.gate_behind_last_norm(ORACLES[name]())
        for name in (*PYRAMIDAL, *PYRAMIDAL_CIFAR)
    },
    **{name: lambda name=name: oracles.dpn(name) for name in DUAL_PATH},
    **{f"se_{name}": lambda name=name: oracles.gate_on_both_paths(oracles.dpn(name)) for name in DUAL_PATH},
    **{ours: lambda name=name: oracles.attention(name) for ours, name in ATTENTION.items()},
    **{
        f"se_{ours}": lambda name=name: oracles.gate_behind_last_1x1(oracles.attention(name))
        for ours, name in ATTENTION.items()
    },
    "xception": oracles.xception,
    "se_xception": lambda: oracles.gate_on_each_xception_branch(oracles.xception()),
    "highway19": lambda: oracles.highway19(gated=False),
    "se_highway19": lambda: oracles.highway19(gated=True),
}


KINDS = shallowest_of_each_kind(ORACLES)


def transplant(source: nn.Module, target: nn.Module) -> None:
    """Copy every layer in order of definition; a fully connected layer may stand for a 1x1 convolution."""
    for a, b in zip(layers(source), layers(target), strict=True):
        assert list(a) == list(b)
        for key in a:
            assert a[key].numel() == b[key].numel()
            b[key].copy_(a[key].view(b[key].shape))


def layers(model: nn.Module) -> list[dict[str, torch.Tensor]]:
    kinds = (nn.Conv2d, nn.Linear, nn.BatchNorm2d, ClassMapClassifier)
    return [dict(part.state_dict()) for part in model.modules() if isinstance(part, kinds)]


# pytorchcv's last pool fixes the size of its pictures. timm's aa form fails on odd sizes (its branch rounds down, its
# shortcut up), and so do pytorchcv's BN-Inception and attention modules; ours rounds both up. Inception networks of 299
# need 75 pixels.
# A gated network with an oracle stands for its plain twin, too: test_contract opens the gates of each kind of block.
@pytest.mark.parametrize(
    "name", others_slow(ORACLES, [n for n in KINDS if MODELS[n].se is not None or MODELS[n].twin not in KINDS])
)
@torch.no_grad()
def test_logits_equal_the_oracle(name: str) -> None:
    with unfilled("cpu"):  # tensors are drawn once, below, and copied
        model, oracle = ConvNet(MODELS[name].spec()).eval(), ORACLES[name]().eval()
    generator = torch.Generator().manual_seed(2)
    if name in PYTORCHCV | PYTORCHCV_PARTS or model.spec.input_size == 32:
        sides = [model.spec.input_size]
    elif model.spec.input_size == 299:
        sides = [107, 139]
    else:
        sides = [64, 96 if any(word in name for word in ("aa", "bn_inception", "attention")) else 75]
    randomise(model)
    if name.removeprefix("se_") in INCEPTION:
        open_relus(model)
    settle(model, torch.randn(4, 3, sides[0], sides[0], generator=generator))
    transplant(model, oracle)
    for side in sides:
        x = torch.randn(2, 3, side, side, generator=generator)
        assert scaled_difference(model(x), oracle(x)) <= 1e-5


@pytest.mark.parametrize(
    ("right", "wrong", "trap"),
    [
        ("se_resnet50", "se_resnet50b", "stride position and pool"),
        ("se_resnext50_32x4d", "se_resnext50b_32x4d", "Caffe's pool"),
        ("senet154", "senet154b", "Caffe's pool"),
        ("se_resnet18", "se_resnet18b", "the ReLU before the gate, and the pool"),
        ("se_resnext101d_32x8d", "se_resnextaa101d_32x8d", "averaging"),
    ],
)
@torch.no_grad()
def test_a_trap_would_be_noticed(right: str, wrong: str, trap: str) -> None:
    """Two functions share keys and shapes; the comparison above must tell them apart."""
    with unfilled("cpu"):
        oracle, model = ORACLES[right]().eval(), ConvNet(MODELS[wrong].spec())
    generator = torch.Generator().manual_seed(2)
    settle(randomise(model), torch.randn(2, 3, 64, 64, generator=generator))
    transplant(model, oracle)
    x = torch.randn(1, 3, 64, 64, generator=generator)
    assert scaled_difference(model(x), oracle(x)) > 1e-2, trap


@torch.no_grad()
def test_the_legacy_relu_alone_would_be_noticed() -> None:
    right, wrong = ConvNet(MODELS["se_resnet18"].spec()), ConvNet(MODELS["se_resnet18"].spec())
    randomise(right)
    wrong.load_state_dict(right.state_dict())
    for block in [part for part in wrong.modules() if hasattr(part, "branch")]:
        block.branch.conv2.act = nn.Identity()
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert scaled_difference(wrong.eval()(x), right(x)) > 1e-2


@pytest.mark.parametrize("alias", ALIASES)
def test_aliases_name_the_oracle_of_their_function(alias: str) -> None:
    assert TIMM[ALIASES[alias]] == alias


def test_models_without_an_oracle_are_known() -> None:
    """Every other model is checked against one of these through its twin, or shares all its parts with them."""
    gateless = {name for name in MODELS if name not in ORACLES}
    assert gateless == {
        "se_resnet18b", "se_resnet34b", "se_resnet50d", "se_resnet101d", "se_resnext50d_32x4d",
        "se_mobilenet", "se_shufflenet", "se_resnet32", "se_resnet44", "resnet32", "resnet44",
        "net154b", "resnext101b_32x4d", "resnext26d_32x4d", "resnext101d_32x8d",
        "resnextaa101d_32x8d", "resnextaa201d_32x8d",
        "se_shakeshake26_2x96d", "se_shakeshake29_2x4x64d", "net16b", "net28b",
        *(f"preresnet{depth}_cv" for depth in (20, 56, 110, 164, 272, 542)),
        *(f"ir{gated}{depth}" for gated in ("_se", "") for depth in (50, 100, 152)),  # tests/hub/test_face_networks.py
        "se_resnet18_vd", "resnet18_vd", "se_resnet34_vd", "resnet34_vd",  # tests/hub/test_paddle_networks.py
        "se_resnext50_vd_32x4d", "resnext50_vd_32x4d", "senet154_vd", "net154_vd",
    }  # fmt: skip
