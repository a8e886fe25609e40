"""What this machine's cores can do at best in float32, and how far a network is from it.

    python benchmarks/roofline.py [--model se_resnet50] [--batch 1] [--rounds 15] [--threads N]

Arithmetic: the fastest of several matrix products and convolutions that are known to suit the libraries. Memory: a copy
of a map that no cache holds, read and written. The least time of a network is the sum over its layers of what takes
longer, their arithmetic or their traffic: weights and the map that a layer needs are read once, its own map is written
once, and all that is done element by element is part of the convolution before. Ideal gates have their products and
nothing else; what a residual sum reads again is left out. So the least time is a bound, and no promise.

Network, peer and machine take turns; shares and ratios are of one round, medians with quartiles. The bound is of direct
convolution in float32: Winograd's has fewer multiply-adds and bfloat16 cheaper ones, they are other arithmetic.
"""

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import timm
import torch
from torch import nn
from torch.nn import functional as F

import senet_zoo
from senet_zoo.analysis import cost
from senet_zoo.errors import SenetZooError
from senet_zoo.inference import keep_freed_memory
from senet_zoo.networks.registry import ALIASES
from senet_zoo.support.machine import describe_machine, format_machine
from senet_zoo.support.timing import DISTURBED, Spread, interleaved, timed

FLOAT32 = 4  # bytes
PRODUCTS = ((1024, 1024, 1024), (2048, 1024, 2048), (3136, 576, 256))  # rows, depth, columns
CONVOLUTIONS = ((64, 56, 3), (256, 28, 3), (512, 28, 1))  # channels, side, kernel
COPY = 1 << 26  # elements: a quarter of a GiB


@dataclass(frozen=True)
class Layer:
    """What a layer needs at least.

    Args:
        operations: multiplications and additions for one picture.
        weights: bytes, for all pictures.
        maps: bytes read and written, for one picture.
    """

    operations: int
    weights: int
    maps: int

    def seconds(self, batch: int, peak: float, bandwidth: float) -> float:
        """Of the slower of the two: operations at ``peak`` a second, bytes at ``bandwidth`` a second."""
        return max(batch * self.operations / peak, (self.weights + batch * self.maps) / bandwidth)


def layers_of(model: nn.Module, size: int) -> list[Layer]:
    """The layers with arithmetic, by the zoo's own counts."""
    found = []
    for row in cost.by_module(model, size):
        layer, elements = model.get_submodule(row.name), 0
        if isinstance(layer, nn.Conv2d):  # a stride beyond the kernel passes over pixels
            sides = [
                side * min(k, s) for side, k, s in zip(row.shape[2:], layer.kernel_size, layer.stride, strict=True)
            ]
            elements = layer.in_channels * prod(sides) + prod(row.shape)
        elif isinstance(layer, nn.Linear):
            elements = layer.in_features + prod(row.shape)
        if row.multiply_adds:
            found.append(Layer(2 * row.multiply_adds, FLOAT32 * row.parameters, FLOAT32 * elements))
    return found


def arithmetic() -> dict[str, tuple[int, Callable[[], object]]]:
    """By name: operations of some work, and the work."""
    found: dict[str, tuple[int, Callable[[], object]]] = {}
    for rows, depth, columns in PRODUCTS:
        a, b, out = torch.randn(rows, depth), torch.randn(depth, columns), torch.empty(rows, columns)
        found[f"product {rows} x {depth} x {columns}"] = (2 * out.numel() * depth, partial(torch.mm, a, b, out=out))
    for channels, side, kernel in CONVOLUTIONS:
        x = torch.randn(1, channels, side, side).to(memory_format=torch.channels_last)
        conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2).to(memory_format=torch.channels_last)
        operations = 2 * x.numel() * conv.weight[0].numel()
        name = f"convolution {kernel} x {kernel}, {channels} channels, {side} x {side}"
        found[name] = (operations, partial(F.conv2d, x, conv.weight, None, 1, conv.padding))
    return found


@torch.no_grad()
def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="se_resnet50")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--size", type=int, help="default: what the network was made for")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--disturbed", type=float, default=DISTURBED, help="processors that others may use in a round")
    args = parser.parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    keep_freed_memory()
    try:
        model = senet_zoo.create_model(args.model).eval()
        size = args.size or model.spec.input_size
        sizes = (size, size * 3 // 4 | 1)
        fast = senet_zoo.optimize(model, sizes=sizes, batch=args.batch, rounds=0)
        layers = layers_of(model, size)
    except SenetZooError as error:
        print(error, file=sys.stderr)
        return 2
    name = senet_zoo.model_info(args.model).name
    peers = [theirs for theirs, ours in ALIASES.items() if ours == name and timm.is_model(theirs)]
    peer = timm.create_model(peers[0]).eval() if peers else model
    eager = "timm eager" if peers else "zoo eager"
    x = torch.randn(args.batch, 3, size, size)
    source, target = torch.ones(COPY), torch.empty(COPY)
    machine = arithmetic()
    networks = {"optimize": partial(fast, x), eager: partial(peer, x)}
    work = {key: do for key, (_, do) in machine.items()} | {"copy": partial(target.copy_, source)} | networks
    timers = {key: partial(timed, do, x.device) for key, do in work.items()}
    rounds = interleaved(timers, args.rounds, disturbed=args.disturbed)

    each = range(len(rounds))
    peaks = [max(count / rounds.seconds[key][i] for key, (count, _) in machine.items()) for i in each]
    bandwidths = [2 * FLOAT32 * COPY / seconds for seconds in rounds.seconds["copy"]]
    least = [
        sum(layer.seconds(args.batch, peak, bandwidth) for layer in layers)
        for peak, bandwidth in zip(peaks, bandwidths, strict=True)
    ]
    best = max(machine, key=lambda key: machine[key][0] / statistics.median(rounds.seconds[key]))
    operations = args.batch * sum(layer.operations for layer in layers)
    waiting = Spread.of([1 - operations / peak / seconds for peak, seconds in zip(peaks, least, strict=True)])
    print(format_machine(describe_machine(x.device) | {"timm": timm.__version__}))
    print(f"{name}, batch {args.batch}, {size} px, float32, {rounds}\n")
    print(f"arithmetic  {Spread.of([peak / 1e9 for peak in peaks]):.1f} GFLOP/s, best: {best}")
    print(f"memory      {Spread.of([bandwidth / 1e9 for bandwidth in bandwidths]):.1f} GB/s, read and written")
    print(f"traffic     {waiting:.0%} of the least time, beyond the arithmetic\n")
    print(f"{'':12}{'ms':28}{'pictures a second':28}share of the roofline")
    for key, seconds in {"roofline": least, **{key: rounds.seconds[key] for key in networks}}.items():
        ms, rate = Spread.of([1000 * s for s in seconds]), Spread.of([args.batch / s for s in seconds])
        share = Spread.of([a / b for a, b in zip(least, seconds, strict=True)])
        print(f"{key:12}{f'{ms:.1f}':28}{f'{rate:.1f}':28}{share:.2f}")
    highest = Spread.of([a / b for a, b in zip(rounds.seconds[eager], least, strict=True)])
    print(f"\nNo arithmetic of direct convolution in float32 can be above {highest:.2f} times {eager} here.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
