"""How long it takes to build every model of the registry on the meta device and to count its costs.

    python benchmarks/counting.py [--model se_resnet50] [--slowest 5]

One process, one pass, nothing kept between models. Torch's own flop counter on the whole network is timed beside for
one model, warm, since it would take minutes for all.
"""

import argparse
import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from senet_zoo.analysis import cost
from senet_zoo.networks import registry
from senet_zoo.networks.network import ConvNet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="se_resnet50", help="the one that torch's counter is timed on")
    parser.add_argument("--slowest", type=int, default=5, help="how many to name")
    args = parser.parse_args()

    wall, cpu = time.perf_counter(), time.process_time()
    seconds = {}
    for name, model in registry.MODELS.items():
        start = time.perf_counter()
        cost.count(model.spec())
        seconds[name] = time.perf_counter() - start
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{len(seconds)} models built on the meta device and counted in {wall:.1f} s, {cpu:.1f} s of the processor")
    for name in sorted(seconds, key=seconds.__getitem__, reverse=True)[: args.slowest]:
        print(f"  {name:24} {seconds[name]:.2f} s")

    spec = registry.find(args.model).spec()
    torchs(spec)  # warm: the first call imports a symbolic algebra
    start = time.perf_counter()
    theirs = torchs(spec)
    middle = time.perf_counter()
    same = cost.multiply_adds(spec) == theirs
    print(f"{args.model}: ours {time.perf_counter() - middle:.2f} s, torch's {middle - start:.2f} s, same: {same}")


def torchs(spec) -> int:
    with torch.device("meta"):
        model = ConvNet(spec).eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        model(torch.empty(1, 3, spec.input_size, spec.input_size, device="meta"))
    return counter.get_total_flops() // 2


if __name__ == "__main__":
    main()
