"""The Triton kernels: through Triton's interpreter everywhere, and on a GPU where there is one."""

import copy
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn

from senet_zoo.networks.fused.custom_op import fused_end
from senet_zoo.networks.fused.implementations import implementation_on
from senet_zoo.networks.squeeze_excite import SqueezeExcite

triton_is_there = pytest.mark.skipif(find_spec("triton") is None, reason="this build of PyTorch brings no Triton")


@triton_is_there
def test_the_interpreted_kernels_agree_with_float64() -> None:
    script = Path(__file__).with_name("interpreted.py")
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "the kernels agree with float64", done.stderr


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_gpu_gives_the_output_and_gradients_of_float64(dtype: torch.dtype, layout: torch.memory_format) -> None:
    assert implementation_on("cuda", dtype).implementation.name == "Triton"
    torch.manual_seed(0)
    norm, gate = nn.BatchNorm2d(70).cuda(), SqueezeExcite(70).cuda()
    y, shortcut, gradient = (
        torch.randn(4, 70, 28, 29, device="cuda").to(dtype, memory_format=layout) for _ in range(3)
    )
    results = []
    for precision in (dtype, torch.float64):
        single = precision is not torch.float64
        modules = [copy.deepcopy(module) if single else copy.deepcopy(module).double() for module in (norm, gate)]
        given = [x.to(precision).requires_grad_() for x in (y, shortcut)]
        out = fused_end(*given, *modules)
        parameters = [parameter for module in modules for parameter in module.parameters()]
        results.append([out, *torch.autograd.grad(out, [*given, *parameters], gradient.to(precision))])
    for one, truth in zip(*results, strict=True):
        rounding = max(2 * torch.finfo(dtype).eps, 2e-5)
        assert (one.double() - truth).abs().max() / truth.abs().max() < rounding
