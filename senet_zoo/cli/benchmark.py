"""``senet-zoo benchmark``: how fast models run on this machine, and what their gates cost."""

import argparse
import shlex
from typing import TYPE_CHECKING

from senet_zoo.cli.output import print_folded, print_json, print_problem
from senet_zoo.cli.parser import positive

if TYPE_CHECKING:
    from senet_zoo.inference.benchmark import BenchmarkReport

SUMMARY = "measure how fast models run here, and what their gates cost"
DESCRIPTION = """\
Measure models on this machine, all in one run and in turns: as they come
(eager), optimised, and what their gates cost. In training, --train, a model is
measured layer by layer and with the ends of its units fused.

Ratios are of the same round: medians, and the quartiles in brackets. A gate's
cost is the time beside the plain twin, treated alike: 1.05 is 5 % more. Rounds
in which other processes worked are dropped where enough others remain. Weights
and pictures are random, because they do not change the speed; a saved folder's
network is measured at the size that it was trained for. `senet-zoo list` then
shows the speeds of single pictures."""
EXAMPLE = """\
senet-zoo benchmark se_resnet50 --batch 16 --threads 2
  senet-zoo benchmark 'se_resnet?0' --train --dtype bf16"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="MODEL", help="names, shell wildcards in quotes, or saved folders")
    parser.add_argument("--batch", type=positive, default=1, metavar="N", help="pictures at once; default: 1")
    parser.add_argument("--size", type=positive, metavar="PIXELS", help="side of the pictures; default: each one's own")
    parser.add_argument("--threads", type=positive, metavar="N", help="of the processor; default: PyTorch's own number")
    parser.add_argument("--rounds", type=positive, default=15, metavar="N", help="turns of each; default: 15")
    parser.add_argument("--device", metavar="NAME", help="such as cpu or cuda:1; default: a GPU if there is one")
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32", help="default: fp32")
    parser.add_argument("--train", action="store_true", help="a training step in place of inference")
    parser.add_argument("--compile", action="store_true", help="torch.compile as well: a minute or more a model")


def run(arguments: argparse.Namespace) -> int:
    import torch
    from tqdm import tqdm

    from senet_zoo.inference.benchmark import Workload, benchmark, to_document

    dtype = torch.bfloat16 if arguments.dtype == "bf16" else torch.float32
    load = Workload(arguments.batch, arguments.size, dtype, arguments.train, arguments.compile)
    with tqdm(disable=None, leave=False) as bar:  # None shows the bar on a terminal only

        def progress(doing: str, done: int, total: int) -> None:
            bar.set_description(doing, refresh=False)
            bar.total = total
            bar.update(done - bar.n)

        report = benchmark(
            arguments.names,
            load,
            rounds=arguments.rounds,
            threads=arguments.threads,
            device=arguments.device,
            progress=progress,
        )
    if str(load) == str(Workload()):
        _keep(report)
    if arguments.json:
        print_json(to_document(_command(arguments), [report]))
    else:
        for line in str(report).splitlines():
            print_folded(line)
    return 0


def _keep(report: "BenchmarkReport") -> None:
    """Keep the speeds for `senet-zoo list`: the fastest way of each model; not being able to is no failure."""
    from senet_zoo.networks import registry
    from senet_zoo.support.speeds import keep_speeds

    fastest: dict[str, float] = {}
    for row in report.rows:
        if row.model in registry.MODELS:
            fastest[row.model] = max(fastest.get(row.model, 0.0), row.rate.median)
    try:
        keep_speeds(report.machine, fastest)
    except OSError as error:
        print_problem("benchmark", f"the speeds are not kept for list: {error}")


def _command(arguments: argparse.Namespace) -> str:
    """The command line that measures the same again."""
    words = ["senet-zoo", "benchmark", *arguments.names]
    for name in ("batch", "size", "threads", "rounds", "device", "dtype"):
        value = getattr(arguments, name)
        words += [] if value is None else [f"--{name}", str(value)]
    return shlex.join([*words, *(f"--{name}" for name in ("train", "compile") if getattr(arguments, name))])
