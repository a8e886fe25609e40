"""``optimize`` on networks of timm and torchvision: their gates are known by structure, and what stays is said."""

import subprocess
import sys

import pytest
import timm
import torch
import torchvision
from networks import randomise, scaled_difference
from timm.models.resnet import Bottleneck as TimmBottleneck
from timm.models.senet import SEResNetBottleneck, SEResNeXtBottleneck
from torch import nn

import senet_zoo

LEGACY = {"layers": (1, 2, 1, 1), "groups": 1, "reduction": 16, "num_classes": 10}


def legacy(block: type[nn.Module], groups: int) -> nn.Module:
    return timm.models.senet.SENet(block, **LEGACY | {"groups": groups})


FOREIGN = {
    "legacy_seresnet": (lambda: legacy(SEResNetBottleneck, 1), 5, 0),
    "legacy_seresnext": (lambda: legacy(SEResNeXtBottleneck, 32), 5, 0),
    "seresnet": (
        lambda: timm.models.resnet.ResNet(TimmBottleneck, (1, 1, 2, 1), 10, block_args={"attn_layer": "se"}),
        5,
        0,
    ),
    "mobilenet_v3_small": (lambda: torchvision.models.mobilenet_v3_small(num_classes=10), 0, 9),
    "efficientnet_b0": (lambda: torchvision.models.efficientnet_b0(num_classes=10), 0, 16),
    "timm_efficientnet_b0": (lambda: timm.create_model("efficientnet_b0", num_classes=10), 0, 16),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_network_stays_the_same_function(name: str) -> None:
    build, early, late = FOREIGN[name]
    torch.manual_seed(0)
    model = build()
    randomise(model)
    if early:
        for block in model.modules():  # as trained networks do, so that rounding is not amplified
            if hasattr(block, "bn3"):
                block.bn3.weight.data.mul_(0.25)
    fast = senet_zoo.optimize(model, sizes=(48, 65), rounds=0)
    assert (len(fast.report.early), len(fast.report.late)) == (early, late)
    assert fast.report.norms == 0
    assert all("activation stands between" in reason for reason in fast.report.late.values())
    x = torch.randn(3, 3, 55, 70, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        assert scaled_difference(fast(x), model(x)) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["legacy_seresnet50", "seresnet50"])
def test_the_whole_networks_have_all_their_gates_early(name: str) -> None:
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False)
    randomise(model)
    for block in model.modules():
        if hasattr(block, "bn3"):
            block.bn3.weight.data.mul_(0.25)
    report = senet_zoo.optimize(model, sizes=(96, 65), rounds=0).report
    assert (len(report.early), report.folded, report.norms) == (16, 53, 0)


def test_a_foreign_gate_with_a_maximum_is_not_taken_for_the_mean() -> None:
    gate = timm.layers.SEModule(16, rd_channels=4, add_maxpool=True)
    model = nn.Sequential(nn.Conv2d(3, 16, 1), gate).eval()
    fast = senet_zoo.optimize(model, sizes=(9, 8), rounds=0)
    assert fast.report.early == ()
    x = torch.randn(2, 3, 9, 8)
    with torch.no_grad():
        assert scaled_difference(fast(x), model(x)) < 1e-6


def test_the_libraries_are_not_imported() -> None:
    code = (
        "import sys, senet_zoo; model = senet_zoo.create_model('se_resnet20').eval();"
        "senet_zoo.optimize(model, sizes=(16, 11), rounds=0);"
        "print(*{'timm', 'torchvision', 'torch._dynamo', 'torch._inductor'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
