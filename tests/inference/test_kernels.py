"""The inference kernels: through Triton's interpreter everywhere, and on a GPU where there is one."""

import dataclasses
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from networks import tiny
from torch.fx.passes.shape_prop import ShapeProp

import senet_zoo
from senet_zoo import SE, Activation
from senet_zoo.inference.lowering import channels_last, lower
from senet_zoo.inference.passes import cuda, onednn
from senet_zoo.inference.passes.cuda import Kernels, use_kernels
from senet_zoo.inference.passes.in_place import InPlaceGate
from senet_zoo.inference.rewriting import rewrite
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.mark.skipif(find_spec("triton") is None, reason="this build of PyTorch brings no Triton")
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("interpreted.py", "the kernels agree with float64"),
        ("interpreted_networks.py", "the networks stay the same function"),
    ],
)
def test_interpreted_kernels_agree_with_float64(script: str, words: str) -> None:
    paths = os.pathsep.join(map(str, (HERE.parent, HERE.parents[1])))
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, HERE / script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == words, done.stderr


SILU = SE(reduction=8, activation=Activation.SILU)


@pytest.mark.parametrize(
    ("name", "se", "expected"),  # ends, excitations, squeezes; and what stays with PyTorch
    [
        ("se_resnet50", SE(), Kernels(ends=8, excitations=8, squeezes=8)),
        ("se_resnext50_32x4d", SE(), Kernels(ends=8, excitations=8, squeezes=8)),
        ("resnet50", None, Kernels(ends=8)),
        ("se_mobilenet", SE(), Kernels(excitations=9, squeezes=9)),
        ("se_resnet20", SE(), Kernels(6, 6, plain={"no 1x1 convolution makes the map that is gated": 6})),
        ("se_resnet50", SILU, Kernels(ends=8, plain={"gates with another activation than ReLU": 8})),
    ],
)
def test_what_kernels_run_and_what_they_leave_is_counted(name: str, se: SE | None, expected: Kernels) -> None:
    spec = tiny(MODELS[name].spec())
    network = rewrite(ConvNet(dataclasses.replace(spec, se=se) if se == SILU else spec).eval()).network
    channels_last(network)
    ShapeProp(network).propagate(torch.zeros(1, 3, 32, 32))
    assert use_kernels(network, torch.float32) == expected
    network.graph.lint()


@pytest.mark.parametrize("name", ["se_resnet50", "se_mobilenet", "resnet50"])
@pytest.mark.parametrize("asked", [False, True])
def test_a_gpu_runs_pytorchs_own_operations_unless_kernels_are_asked_for(
    name: str, asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "DEVICES", ("cpu",))  # what a GPU's network is made of, without one
    monkeypatch.setattr(cuda, "why_unsupported", lambda *_: "")
    monkeypatch.setattr(onednn, "available", lambda *_: False)
    lowering = lower(
        rewrite(ConvNet(tiny(MODELS[name].spec())).eval()).network, torch.zeros(1, 3, 32, 32), kernels=asked
    )
    assert any(type(part).__module__ == cuda.__name__ for part in lowering.network.modules()) == asked
    assert (lowering.kernels is not None) == asked
    if not asked:
        leaves = [part for part in lowering.network.modules() if not [*part.children()]]
        assert {type(part).__module__.partition(".")[0] for part in leaves if type(part) is not InPlaceGate} == {
            "torch"
        }
        assert not any("triton" in str(node.target) for node in lowering.network.graph.nodes)


CLAIM = re.compile(r"(?i)\b(cuda|gpu|triton|[ah]\d00|rtx)\b[^.|]*?\b\d+(\.\d+)?( ?x\b| times| %| ms\b)")


def test_no_page_claims_a_speed_on_a_gpu() -> None:
    pages = [path for folder in ("docs", ".") for path in (ROOT / folder).glob("*.md") if path.name != "CHANGELOG.md"]
    assert len(pages) > 20
    assert CLAIM.search("On an H200 it is 1.3 times as fast")
    claims = {path.name: found[0] for path in pages if (found := CLAIM.search(path.read_text(encoding="utf-8")))}
    assert claims == {}
    speed = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8")
    assert "have never been timed on a GPU" in " ".join(speed.split())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["se_resnet50", "se_resnext50_32x4d", "resnet50", "se_resnet18"])
def test_a_gpu_gives_the_logits_of_float64(name: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn.conv, "fp32_precision", "ieee")
    model = senet_zoo.create_model(name, device="cuda").eval()
    assert "by Triton" not in senet_zoo.optimize(model, dtype=dtype, sizes=(64, 49), rounds=0).report.fused
    fast = senet_zoo.optimize(model, dtype=dtype, kernels=True, sizes=(64, 49), rounds=0)
    assert "by Triton" in fast.report.fused
    exact = model.double()
    with torch.no_grad():
        for shape in ((1, 3, 64, 64), (5, 3, 70, 50), (64, 3, 96, 96)):
            x = torch.randn(shape, device="cuda")
            expected = exact(x.double())
            assert (fast(x) - expected).abs().max() <= fast.report.bound * expected.abs().max()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_in_float64_pytorch_runs_it_and_the_report_says_why() -> None:
    model = senet_zoo.create_model("se_resnet20", device="cuda").eval().double()
    fast = senet_zoo.optimize(model, kernels=True, rounds=0)
    assert "the kernels do not compute in float64" in fast.report.fused
