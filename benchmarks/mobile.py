"""A gate of MobileNet for one picture and for several: where it is applied, and what computes it; in turns.

    python benchmarks/mobile.py                        # float32 and bfloat16, one picture and eight, one thread
    python benchmarks/mobile.py --batch 1 --rounds 5

The unit is the gate's product, the depthwise convolution that reads it with bias and ReLU, and the 1x1 convolution with
ReLU behind it. ``before`` scales the map that the depthwise convolution reads; ``behind`` what it makes of it; the
reciprocal of the gate goes into its bias, or the gate into the weights of the 1x1 convolution. Times are processor time
over that of the same unit without a gate; the excitation's are over its form in `optimize`. Deviations are the largest
from ``before`` or from that form, as a share of the largest value.
"""

import argparse
from collections.abc import Callable

import torch
from bfloat16 import report
from torch import Tensor

from senet_zoo.inference.passes.gates import MeanGate
from senet_zoo.inference.passes.in_place import InPlaceGate, sums_of
from senet_zoo.inference.passes.onednn import LEAST_SCALE
from senet_zoo.support.machine import describe_machine, format_machine

UNITS = (
    (64, 112, 2, 128),
    (128, 56, 1, 128),
    (128, 56, 2, 256),
    (256, 28, 1, 256),
    (256, 28, 2, 512),
    (512, 14, 1, 512),
)
"""Channels, side, stride and channels out of MobileNet's units; those of 14 and 7 pixels are like the last."""
POINTWISE = ([0, 0], [1, 1], [1, 1], 1)
TWIN, BEFORE, NOW = "without a gate", "before", "as optimize computes it"
Form = Callable[[], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], metavar="N")
    parser.add_argument("--rounds", type=int, default=11, metavar="N")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(format_machine(describe_machine(torch.device("cpu"))))
    with torch.inference_mode():
        for dtype in (torch.float32, torch.bfloat16):
            for batch in args.batch:
                for channels, side, stride, out in UNITS:
                    print(f"\n{dtype}, {batch} x {channels} -> {out} channels, {side} x {side} pixels, stride {stride}")
                    forms, exact = units_of(batch, channels, side, stride, out, dtype)
                    report(forms, TWIN, args.rounds, exact)
                    excitations = excitations_of(batch, channels, side, dtype)
                    report(excitations, NOW, args.rounds, excitations[NOW]().double())


def units_of(
    batch: int, channels: int, side: int, stride: int, out: int, dtype: torch.dtype
) -> tuple[dict[str, Form], Tensor]:
    """Forms of the unit, and what ``before`` gives."""
    torch.manual_seed(0)
    pack, convolve = torch.ops.mkldnn._reorder_convolution_weight, torch.ops.mkldnn._convolution_pointwise.default
    y = torch.randn(batch, channels, side, side).relu().to(dtype).to(memory_format=torch.channels_last)
    scale = (0.1 + 0.8 * torch.rand(batch, channels, 1, 1)).to(dtype)
    shapes = ((channels, 1, 3, 3), (channels,), (out, channels, 1, 1), (out,))
    fans = (3.0, 1.0, channels**0.5, 1.0)
    weight, bias, wide, wide_bias = (
        (torch.randn(shape) / fan).to(dtype) for shape, fan in zip(shapes, fans, strict=True)
    )
    depthwise, small = ([1, 1], [stride, stride], [1, 1], channels), (side - 1) // stride + 1
    packed = pack(weight, *depthwise, list(y.shape))
    packed_wide = pack(wide, *POINTWISE, [batch, channels, small, small])
    own = y.clone()  # what is scaled in its memory, made anew for each form: its values decide nothing

    def pointwise(h: Tensor, weight: Tensor) -> Tensor:
        return convolve(h, weight, wide_bias, *POINTWISE, "relu", [], "")

    def twin() -> Tensor:
        return pointwise(convolve(own.copy_(y), packed, bias, *depthwise, "relu", [], ""), packed_wide)

    def before() -> Tensor:
        return pointwise(convolve(own.copy_(y).mul_(scale), packed, bias, *depthwise, "relu", [], ""), packed_wide)

    def behind() -> Tensor:
        h = convolve(own.copy_(y), packed, None, *depthwise, "none", [], "")
        return pointwise(torch.addcmul(bias[:, None, None], h, scale, out=h).relu_(), packed_wide)

    def divided() -> Tensor:
        reciprocal = bias / scale.clamp(min=LEAST_SCALE).flatten()
        return convolve(own.copy_(y), packed, reciprocal, *depthwise, "relu", [], "")

    def in_bias() -> Tensor:
        return pointwise(divided().mul_(scale), packed_wide)

    def in_weights() -> Tensor:
        return pointwise(divided(), wide * scale.view(1, -1, 1, 1))

    forms = {TWIN: twin, BEFORE: before, "behind": behind}
    if batch == 1:
        forms |= {"behind, reciprocal in the bias": in_bias, "behind, in the weights of the 1x1": in_weights}
    return forms, before().double()


def excitations_of(batch: int, channels: int, side: int, dtype: torch.dtype) -> dict[str, Form]:
    """Forms of the gate over a map."""
    torch.manual_seed(0)
    x = torch.randn(batch, channels, side, side).relu().to(dtype).to(memory_format=torch.channels_last)
    hidden, pixels = channels // 16, side * side
    shapes = ((hidden, channels), (hidden,), (channels, hidden), (channels,))
    w1, b1, w2, b2 = (torch.randn(shape) / shape[-1] ** 0.5 for shape in shapes)
    now = InPlaceGate(MeanGate(w1, b1, torch.relu, w2, b2, torch.sigmoid)).function()
    w1t, w2t = w1.t().contiguous(), w2.t().contiguous()
    half = [(w1t / pixels).to(dtype), b1.to(dtype), w2t.to(dtype), b2.to(dtype)]
    linear = torch.ops.mkldnn._linear_pointwise

    def sums() -> Tensor:
        return sums_of(x, torch.float32)

    def spread(s: Tensor) -> Tensor:
        return s.to(dtype)[:, :, None, None]

    def two_calls() -> Tensor:
        z = linear(sums().mul_(1 / pixels), w1, b1, "relu", [], "")
        return spread(linear(z, w2, b2, "sigmoid", [], ""))

    def vectors() -> Tensor:
        z = torch.addmv(b1, w1t.t(), sums()[0], alpha=1 / pixels).relu_()
        return spread(torch.addmv(b2, w2t.t(), z).sigmoid_()[None])

    def no_casts() -> Tensor:
        z = torch.addmm(half[1], x.sum((2, 3)), half[0]).relu_()
        return torch.addmm(half[3], z, half[2]).sigmoid_()[:, :, None, None]

    forms: dict[str, Form] = {NOW: lambda: now(x), "layers with their function in oneDNN": two_calls}
    if batch == 1:
        forms["vectors"] = vectors
    if dtype is torch.bfloat16:
        forms["all in bfloat16, no casts"] = no_casts
    return forms


if __name__ == "__main__":
    main()
