"""A network's inference in every form that this machine can run, in turns, ours and its peers': gated and plain.

    python benchmarks/inference.py [--model se_resnet50] [--batch 1] [--rounds 15] [--with compiled bf16] ...
    python benchmarks/inference.py --model se_mobilenet --candidates 'optimize*' 'zoo*'

``optimize ...`` is our rewritten network in PyTorch, compiled, in ONNX Runtime, in OpenVINO. The peer is the network as
its library gives it, timm's where timm has it and ours untouched elsewhere: as it is, channels_last, folded (by
PyTorch's own tool), and that, not rewritten, under the very same tools. ``X, plain`` is the twin without gates, treated
like X; torchvision's stands beside them where its network is that twin. All have the same random tensors, and a
candidate whose logits are not the peer's (a twin's: those of its library's twin) ends the run.

Every round runs each candidate once, the first of them changing; ratios are those of one round, to the peer as it comes
(eager, NCHW, float32), and the table has their medians and quartiles. Rounds in which other processes used more
than ``--disturbed`` processors are dropped where enough others remain; with ``--clock cpu`` and one thread, times are
those of this process alone. The gate's cost is the network's time over its plain twin's, both treated alike.
"""

import argparse
import copy
import math
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, fx, nn
from torch.fx.experimental.optimization import fuse

import senet_zoo
from senet_zoo.errors import SenetZooError, UsageError
from senet_zoo.inference import keep_freed_memory
from senet_zoo.inference.backends import BACKENDS, COMPILED, ONNX_RUNTIME, OPENVINO, TORCH, Network
from senet_zoo.inference.benchmark import BenchmarkReport, BenchmarkRow, save
from senet_zoo.inference.lowering import channels_last
from senet_zoo.inference.optimized_model import OptimizedModel
from senet_zoo.inference.passes.graph import trace
from senet_zoo.inference.rewriting import rewrite
from senet_zoo.networks.registry import ALIASES, MODELS
from senet_zoo.support.machine import describe_machine
from senet_zoo.support.timing import DISTURBED, interleaved, timed

PEERS = {ours: theirs for theirs, ours in ALIASES.items() if timm.is_model(theirs)}
TORCHVISION = {"se_resnet50b": "resnet50", "se_resnet101b": "resnet101", "se_resnext50b_32x4d": "resnext50_32x4d"}
PLAIN = ", plain"
PACKAGES = {"ONNX Runtime": ("onnx", "onnxscript", "onnxruntime"), "OpenVINO": ("onnx", "onnxscript", "openvino")}
BOUNDS = {torch.float32: 1e-4, torch.bfloat16: 0.1}  # of the largest logit: another function differs by about 1
LEAST_SECONDS = 0.2  # of a candidate in a round, after a first run: threads of the one before still spin for a while
Tool = Callable[[nn.Module, Tensor], Network]
"""From a network, which it leaves as it is, and an example in the dtype of the arithmetic, to what runs it."""


def candidates(name: str) -> dict[str, tuple[str, Tool]]:
    """By name: whose network, and the tool that runs it."""
    found: dict[str, tuple[str, Tool]] = {}
    peer = base(name)
    for word in ("", PLAIN):
        libraries = dict.fromkeys(["zoo", peer, *(["torchvision"] if word and name in TORCHVISION else [])])
        for library in libraries:
            tools = AS_IT_IS | TOOLS if library == peer else AS_IT_IS
            found |= {f"{library} {tool}".strip() + word: (library + word, make) for tool, make in tools.items()}
        found |= {f"optimize {tool}".strip() + word: (f"zoo{word}", make) for tool, make in OURS.items()}
    return found


def base(name: str) -> str:
    """The candidate that ratios are to: the peer's network as it comes."""
    return "timm" if name in PEERS else "zoo"


def networks(name: str) -> dict[str, nn.Module]:
    """The network as each library gives it, and without gates; the same tensors in all."""
    if name in PEERS:
        theirs = settled(timm.create_model(PEERS[name], pretrained=False))
        with tempfile.TemporaryDirectory() as folder:
            save_file(theirs.state_dict(), Path(folder) / "timm.safetensors")
            ours = senet_zoo.load_checkpoint(name, Path(folder) / "timm.safetensors")
        found = {"timm": theirs, f"timm{PLAIN}": gateless(copy.deepcopy(theirs))}
    else:
        ours, found = settled(senet_zoo.create_model(name)), {}
    twin = senet_zoo.create_model(MODELS[name].twin).eval()
    twin.load_state_dict({key: value for key, value in ours.state_dict().items() if key in twin.state_dict()})
    found |= {"zoo": ours, f"zoo{PLAIN}": twin}
    if name in TORCHVISION:
        plain = torchvision.models.get_model(TORCHVISION[name], weights=None).eval()
        plain.load_state_dict(found[f"timm{PLAIN}"].state_dict())
        found[f"torchvision{PLAIN}"] = plain
    return found


def settled(model: nn.Module) -> nn.Module:
    """Norms that do something: scales, shifts and statistics as a trained network might have."""
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.weight.uniform_(0.8, 1.5)
            part.bias.normal_(0.0, 0.1)
            part.running_mean.normal_(0.0, 0.1)
            part.running_var.uniform_(0.8, 1.5)
    return model.eval()


def gateless(model: nn.Module) -> nn.Module:
    for part in model.modules():
        for attribute in ("se_module", "se"):
            if hasattr(part, attribute):
                setattr(part, attribute, nn.Identity())
    return model


def folded(network: nn.Module, dtype: torch.dtype) -> fx.GraphModule:
    """Batch norms folded by PyTorch's own tool, and nothing else done; the graph is found as for `optimize`."""
    graph, _ = trace(copy.deepcopy(network))
    return fuse(graph, inplace=True, no_trace=True).eval().to(dtype)


def untouched(backend: str) -> Tool:
    if backend == COMPILED:  # as its users call the compiler: ours is given the lowered network
        return compiled
    return lambda network, x: BACKENDS[backend](folded(network, x.dtype), x).run


def compiled(network: nn.Module, x: Tensor) -> Network:
    graph = folded(network, x.dtype)
    channels_last(graph)
    return torch.compile(graph, dynamic=False, options={"freezing": True})


def optimised(backend: str) -> Tool:
    def make(network: nn.Module, x: Tensor) -> Network:
        if backend in (TORCH, COMPILED):
            sizes = (x.shape[-1], x.shape[-1] * 3 // 4 | 1)
            return senet_zoo.optimize(
                network, dtype=x.dtype, compile=backend == COMPILED, sizes=sizes, batch=len(x), rounds=0
            )
        run = BACKENDS[backend](rewrite(network).network, x).run  # which only backend="auto" would choose
        return OptimizedModel(run, x.device, x.dtype, x.shape[1])

    return make


def eager(network: nn.Module, x: Tensor) -> Network:
    return folded(network, x.dtype).to(memory_format=torch.channels_last)


BACKENDS_BY_TOOL = {
    "compiled": COMPILED,
    "compiled bf16": COMPILED,
    "ONNX Runtime": ONNX_RUNTIME,
    "OpenVINO": OPENVINO,
    "OpenVINO bf16": OPENVINO,
}
AS_IT_IS: Mapping[str, Tool] = {
    "": lambda network, _: network,
    "channels_last": lambda network, _: copy.deepcopy(network).to(memory_format=torch.channels_last),
}
TOOLS: Mapping[str, Tool] = {
    "folded channels_last": eager,
    "folded channels_last bf16": eager,
    **{tool: untouched(backend) for tool, backend in BACKENDS_BY_TOOL.items()},
}
OURS: Mapping[str, Tool] = {
    "": optimised(TORCH),
    "bf16": optimised(TORCH),
    **{tool: optimised(backend) for tool, backend in BACKENDS_BY_TOOL.items()},
}


def choose(known: Sequence[str], patterns: Sequence[str] | None, besides: Sequence[str]) -> list[str]:
    """The candidates that match; without patterns, those whose packages are there, in float32 without a compiler.

    Raises:
        UsageError: a pattern matches none.
    """
    if patterns:
        if lost := [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in known)]:
            raise UsageError(f"no candidate is named {lost[0]!r}; --list names them")
        return [name for name in known if any(fnmatchcase(name, pattern) for pattern in patterns)]
    absent = [tool for tool, packages in PACKAGES.items() if not all(map(find_spec, packages))]
    left_out = [*({"compiled", "bf16"} - set(besides)), *absent]
    return [name for name in known if not any(word in name for word in left_out)]


def build(known: Mapping[str, tuple[str, Tool]], chosen: Sequence[str], name: str, x: Tensor) -> dict[str, Network]:
    """What runs each candidate: pictures in float32 in, logits in float32 out, and the same ones.

    Raises:
        SenetZooError: a package is missing, or a candidate computes another function.
    """

    def run(network: Network, dtype: torch.dtype, pictures: Tensor) -> Tensor:
        return network(pictures.to(dtype)).float()

    sources, built = networks(name), dict[str, Network]()
    for candidate in chosen:
        source, make = known[candidate]
        dtype = torch.bfloat16 if "bf16" in candidate else torch.float32
        built[candidate] = partial(run, make(sources[source], x.to(dtype)), dtype)
        # timm's small networks have a ReLU before the gate, which stays where the gate is taken out
        like = source if source.endswith(PLAIN) else base(name)
        wanted = sources[like](x)
        share = float((built[candidate](x) - wanted).abs().max() / wanted.abs().max())
        if not share <= BOUNDS[dtype]:
            raise SenetZooError(
                f"candidates must compute one function: {candidate!r} is off by {share:.1e} of the largest logit of "
                f"{like}, at most {BOUNDS[dtype]:.0e} is allowed; leave it out with --candidates"
            )
    return built


@torch.no_grad()
def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="se_resnet50")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--size", type=int, help="default: what the network was made for")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="cpu: time of this process alone")
    parser.add_argument("--disturbed", type=float, default=DISTURBED, help="processors that others may use in a round")
    parser.add_argument(
        "--candidates", nargs="+", metavar="PATTERN", help="default: all that is installed, float32, no compiler"
    )
    parser.add_argument("--with", nargs="+", default=[], choices=("compiled", "bf16"), dest="besides", help="these too")
    parser.add_argument("--list", action="store_true", help="print the candidates' names")
    parser.add_argument("--output", type=Path, metavar="FILE", help="such as benchmarks/results/NAME.json")
    args = parser.parse_args(arguments)
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    keep_freed_memory()
    try:
        model = MODELS[senet_zoo.model_info(args.model).name]
        if not model.se:
            raise UsageError(f"{model.name} has no gates: name its gated form, which is measured beside {model.name}")
        known = candidates(model.name)
        if args.list:
            print(*known, sep="\n")
            return 0
        chosen = list(dict.fromkeys([base(model.name), *choose(list(known), args.candidates, args.besides)]))
        size = args.size or model.spec().input_size
        x = torch.randn(args.batch, 3, size, size)
        built = build(known, chosen, model.name, x)
    except SenetZooError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    clock = time.perf_counter if args.clock == "wall" else time.process_time

    def seconds(network: Network) -> float:
        work = partial(network, x)
        first = timed(work, x.device, 1, clock)
        repeats = math.ceil(LEAST_SECONDS / first)
        return first if repeats == 1 else timed(work, x.device, repeats, clock) / repeats

    timers = {name: partial(seconds, network) for name, network in built.items()}
    rounds = interleaved(timers, args.rounds, disturbed=args.disturbed if args.clock == "wall" else math.inf)
    rows = [
        BenchmarkRow.of(
            rounds,
            name,
            names=(model.name, name),
            base=base(model.name),
            plain=f"{name}{PLAIN}",
            pictures=args.batch,
            figures={"ms": 1000 * statistics.median(rounds.seconds[name])},
        )
        for name in chosen
    ]
    libraries = ["timm", *(packages[-1] for tool, packages in PACKAGES.items() if any(tool in name for name in chosen))]
    title = f"inference, batch {args.batch}, {size} px, clock: {args.clock}"
    machine = describe_machine(x.device) | {library: version(library) for library in libraries}
    report = BenchmarkReport(title, machine, base(model.name), str(rounds), tuple(rows))
    print(report)
    if args.output:
        save(args.output, shlex.join(["python", "benchmarks/inference.py", *(arguments or sys.argv[1:])]), [report])
    return 0


if __name__ == "__main__":
    sys.exit(main())
