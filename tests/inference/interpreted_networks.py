"""Whole networks with the inference kernels, on the CPU through Triton's interpreter: run with TRITON_INTERPRET=1."""

import sys

import torch
from inference.interpreter import multiply_bfloat16
from networks import randomise, scaled_difference, tiny

from senet_zoo import optimize
from senet_zoo.inference.passes import cuda, onednn
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS

CASES = (("se_resnet50", torch.float32), ("se_resnet20", torch.bfloat16))  # gates before their map, and behind it


def main() -> None:
    cuda.DEVICES, cuda.why_unsupported, onednn.available = ("cpu",), lambda *_: "", lambda *_: False
    multiply_bfloat16()
    for name, dtype in CASES:
        model = ConvNet(tiny(MODELS[name].spec()))
        randomise(model)
        fast = optimize(model, dtype=dtype, kernels=True, sizes=(8, 11), rounds=0)
        assert "by Triton" in fast.report.fused
        x = torch.randn(2, 3, 12, 9, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            found, exact = fast(x).double(), model.double()(x.double())
        assert torch.equal(found, fast(x).double())  # nothing of the first call is left behind
        assert scaled_difference(found, exact) < (5e-6 if dtype is torch.float32 else 5e-2), name
    sys.stdout.write("the networks stay the same function\n")


if __name__ == "__main__":
    main()
