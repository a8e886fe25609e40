"""A gated bottleneck's end and its squeeze in bfloat16, in several forms, beside the plain twin's; in turns.

    python benchmarks/bfloat16.py                      # one picture and sixteen, one thread
    python benchmarks/bfloat16.py --batch 4 --rounds 5

The end is the last 1x1 convolution, the gate, the sum with the shortcut and ReLU; `optimize` computes "now". Times
are processor time over that of the plain twin, whose sum and ReLU oneDNN computes with the convolution; the squeeze's
are over "now". Deviations are the largest from float32, as a share of the largest value.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from senet_zoo.support.machine import describe_machine, format_machine
from senet_zoo.support.timing import interleaved, timed

MAPS = ((64, 256, 56), (128, 512, 28), (256, 1024, 14), (512, 2048, 7))
"""Channels in, channels out and side of the four stages of SE-ResNet-50."""
ONE = ([0, 0], [1, 1], [1, 1], 1)
"""Padding, stride, dilation and groups of a 1x1 convolution."""
NOW, TWIN = "now", "plain twin"
Form = Callable[[], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 16], metavar="N")
    parser.add_argument("--rounds", type=int, default=11, metavar="N")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(format_machine(describe_machine(torch.device("cpu"))))
    with torch.inference_mode():
        for batch in args.batch:
            for channels, out, side in MAPS:
                ends, exact = ends_of(batch, channels, out, side)
                print(f"\n{batch} x {channels} -> {out} channels, {side} x {side} pixels: end of the unit")
                report(ends, TWIN, args.rounds, exact)
                squeezes, exact = squeezes_of(batch, channels, side)
                print("squeeze")
                report(squeezes, NOW, args.rounds, exact)


def bfloat16(*shape: int) -> Tensor:
    x = torch.randn(*shape).bfloat16()
    return x.to(memory_format=torch.channels_last) if len(shape) == 4 else x


def ends_of(batch: int, channels: int, out: int, side: int) -> tuple[dict[str, Form], Tensor]:
    """Forms of ``relu(gate * (weight h + bias) + shortcut)``, and its value in float32."""
    torch.manual_seed(0)
    h, shortcut = bfloat16(batch, channels, side, side), bfloat16(batch, out, side, side)
    gate, bias = torch.rand(batch, out, 1, 1).bfloat16(), bfloat16(out)
    weight = (torch.randn(out, channels, 1, 1) / channels**0.5).bfloat16()
    packed = torch.ops.mkldnn._reorder_convolution_weight(weight, *ONE[:3], 1, [batch, channels, side, side])
    total = shortcut.clone()  # what is added up, made anew for each form outside of its time: values do not matter

    def convolved() -> Tensor:
        return torch.ops.mkldnn._convolution_pointwise.default(h, packed, bias, *ONE, "none", [], "")

    def summed(total: Tensor, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.ops.mkldnn._convolution_pointwise_.binary(total, h, weight, bias, *ONE, "add", 1.0, "relu", [], "")

    def now() -> Tensor:
        y = convolved()
        return torch.addcmul(shortcut, y, gate, out=y).relu_()

    def in_weights() -> Tensor:
        total.copy_(shortcut)
        for n in range(batch):
            summed(total[n : n + 1], h[n : n + 1], weight * gate[n, :, None], bias * gate[n].flatten())
        return total

    def twin() -> Tensor:
        return summed(total.copy_(shortcut), h, packed, bias)

    y = torch.nn.functional.conv2d(h.float(), weight.float(), bias.float())
    exact = (y * gate.float() + shortcut.float()).relu()
    return {TWIN: twin, NOW: now, "gate in the weights, picture by picture": in_weights}, exact


def squeezes_of(batch: int, channels: int, side: int) -> tuple[dict[str, Form], Tensor]:
    """Forms of the mean over pixels, (N, C), and its value in float64."""
    torch.manual_seed(0)
    h = bfloat16(batch, channels, side, side).relu()
    rows, ones = h.permute(0, 2, 3, 1).flatten(1, 2), torch.ones(batch, 1, side * side).bfloat16()
    forms: dict[str, Form] = {
        NOW: lambda: h.sum((2, 3)).float() / side**2,
        "summed in float32": lambda: h.sum((2, 3), dtype=torch.float32) / side**2,
        "mean in bfloat16": lambda: h.mean((2, 3)),
        "product with a row of ones": lambda: torch.bmm(ones, rows)[:, 0].float() / side**2,
    }
    return forms, h.double().mean((2, 3))


def report(forms: Mapping[str, Form], base: str, rounds: int, exact: Tensor) -> None:
    repeats = max(1, round(0.01 / max(timed(forms[base], torch.device("cpu"), 2, time.process_time) / 2, 1e-5)))
    work = {name: partial(timed, form, torch.device("cpu"), repeats, time.process_time) for name, form in forms.items()}
    found = interleaved(work, rounds, disturbed=float("inf"))
    for name, form in forms.items():
        deviation = ((form().double() - exact).abs().max() / exact.abs().max()).item()
        shown = "" if name == TWIN else f", deviation {deviation:.1e}"
        print(f"  {name:40} {found.ratio(name, base):.2f} of {base}{shown}")


if __name__ == "__main__":
    main()
