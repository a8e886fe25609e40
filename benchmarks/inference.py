"""A network's inference beside timm's, in turns on this machine: as it is, optimised, and its plain twin.

    python benchmarks/inference.py [--model se_resnet50] [--batch 1] [--rounds 15] [--candidates ...] [--output FILE]

Every round runs each candidate once, the first of them changing; ratios are those of one round, to timm's network as it
comes (eager, NCHW, float32), and the table has their medians and quartiles. Rounds in which other processes used more
than ``--disturbed`` processors are dropped where enough others remain; with ``--clock cpu`` and one thread, times are
those of this process alone. The gate's cost is the network's time over its plain twin's, both treated alike.
"""

import argparse
import math
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import timm
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

import senet_zoo
from senet_zoo.inference.machine import describe
from senet_zoo.inference.sheet import Sheet, row_of, save
from senet_zoo.registry import MODELS
from senet_zoo.turns import DISTURBED, in_turns, timed

PEERS = {
    "se_resnet50": "legacy_seresnet50",
    "se_resnet101": "legacy_seresnet101",
    "se_resnext50_32x4d": "legacy_seresnext50_32x4d",
    "senet154": "legacy_senet154",
    "se_resnet50b": "seresnet50",
}
BF16 = torch.bfloat16
BASE = "timm"


def candidates(name: str, size: int, batch: int) -> dict[str, Callable[[], nn.Module]]:
    """What can run, by name; ``X, plain`` is the twin without gates, treated like X."""

    def ours(model: str, dtype: torch.dtype | None = None, compile: bool = False) -> nn.Module:  # noqa: A002
        network = settled(senet_zoo.create_model(model))
        sizes = (size, size * 3 // 4 | 1)
        return senet_zoo.optimize(network, dtype=dtype, compile=compile, sizes=sizes, batch=batch, rounds=0)

    def last(model: nn.Module) -> nn.Module:
        return model.to(memory_format=torch.channels_last)

    twin = MODELS[name].twin
    found: dict[str, Callable[[], nn.Module]] = {}
    for word, model in (("", name), (", plain", twin)):
        found |= {
            f"zoo{word}": lambda model=model: settled(senet_zoo.create_model(model)),
            f"zoo channels_last{word}": lambda model=model: last(settled(senet_zoo.create_model(model))),
            f"optimize{word}": lambda model=model: ours(model),
            f"optimize bf16{word}": lambda model=model: ours(model, BF16),
            f"optimize compiled{word}": lambda model=model: ours(model, compile=True),
            f"optimize compiled bf16{word}": lambda model=model: ours(model, BF16, compile=True),
        }
    if name in PEERS:
        found |= {
            BASE: lambda: peer(name),
            "timm channels_last": lambda: last(peer(name)),
            "timm folded channels_last": lambda: last(folded(peer(name))),
            "timm folded channels_last, plain": lambda: last(folded(gateless(peer(name)))),
        }
    return found


def peer(name: str) -> nn.Module:
    return settled(timm.create_model(PEERS[name], pretrained=False))


def gateless(model: nn.Module) -> nn.Module:
    for part in model.modules():
        for attribute in ("se_module", "se"):
            if hasattr(part, attribute):
                setattr(part, attribute, nn.Identity())
    return model


def settled(model: nn.Module) -> nn.Module:
    """Batch norms with statistics that matter."""
    generator = torch.Generator().manual_seed(0)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_(0.0, 0.1, generator=generator)
            part.running_var.uniform_(0.8, 1.5, generator=generator)
    return model.eval()


def folded(model: nn.Module) -> nn.Module:
    """Batch norms folded by PyTorch's own tool wherever they are registered behind their convolution."""
    for part in list(model.modules()):
        named = list(part.named_children())
        for (conv_name, conv), (norm_name, norm) in pairwise(named):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(part, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(part, norm_name, nn.Identity())
        for first, second in (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3")):
            conv, norm = getattr(part, first, None), getattr(part, second, None)
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(part, first, fuse_conv_bn_eval(conv, norm))
                setattr(part, second, nn.Identity())
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="se_resnet50")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: time of this process alone")
    parser.add_argument("--disturbed", type=float, default=DISTURBED, help="processors that others may use in a round")
    parser.add_argument("--candidates", nargs="+", help="default: those in float32 without a compiler")
    parser.add_argument("--list", action="store_true", help="print the candidates' names")
    parser.add_argument("--output", type=Path, metavar="FILE", help="such as benchmarks/results/NAME.json")
    args = parser.parse_args()

    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    torch.set_grad_enabled(False)
    known = candidates(args.model, args.size, args.batch)
    if args.list:
        print(*known, sep="\n")
        return
    chosen = args.candidates or [name for name in known if "bf16" not in name and "compiled" not in name]
    if unknown := [name for name in chosen if name not in known]:
        parser.error(f"no candidate is named {unknown[0]!r}; --list names them")
    if BASE in known and BASE not in chosen:
        chosen.insert(0, BASE)
    networks = {name: known[name]() for name in chosen}
    x = torch.randn(args.batch, 3, args.size, args.size)
    clock = time.perf_counter if args.clock == "wall" else time.process_time
    turns = {name: partial(timed, partial(network, x), x.device, 1, clock) for name, network in networks.items()}
    rounds = in_turns(turns, args.rounds, disturbed=args.disturbed if args.clock == "wall" else math.inf)
    base = BASE if BASE in chosen else chosen[0]
    rows = [
        row_of(
            rounds,
            name,
            names=(args.model, name),
            base=base,
            plain=f"{name}, plain",
            pictures=args.batch,
            figures={"ms": 1000 * statistics.median(rounds.seconds[name])},
        )
        for name in chosen
    ]
    title = f"inference, batch {args.batch}, {args.size} px, clock: {args.clock}"
    sheet = Sheet(title, describe(x.device) | {"timm": timm.__version__}, base, str(rounds), tuple(rows))
    print(sheet)
    if args.output:
        save(args.output, shlex.join(["python", "benchmarks/inference.py", *sys.argv[1:]]), [sheet])


if __name__ == "__main__":
    main()
