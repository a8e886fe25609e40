"""A training step with the ends of residual units as one operation, beside the same network layer by layer, and timm's.

    python benchmarks/fused.py [--model se_resnet50] [--peer legacy_seresnet50] [--precision fp32 bf16] [--batch 16]
                               [--size 224] [--rounds 5] [--threads 2] [--device cpu]

Forward, backward and a step of SGD with momentum, dropout off, channels_last. All candidates live in one process and
take their steps in an order that turns from round to round. Times are of the process on a CPU's one thread, which
neighbours disturb less, and of the clock elsewhere. The table gives medians and, in brackets, the quartiles; ratios are
of pairs taken in the same round: how many times faster than timm, and than the plain twin treated alike. Saved is what
autograd keeps between forward and backward, parameters left out, each memory counted once.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

import senet_zoo
from senet_zoo.blocks.fusion import set_fused
from senet_zoo.layers.fused import form_on
from senet_zoo.registry import MODELS


@dataclass(frozen=True)
class Candidate:
    """A network by its name in a library, and whether its units are fused."""

    library: str
    name: str
    fused: bool = False

    def __str__(self) -> str:
        return f"{self.library} {self.name}{', fused' if self.fused else ''}"

    def build(self) -> nn.Module:
        if self.library == "timm":
            import timm

            return timm.create_model(self.name, drop_rate=0.0)
        model = senet_zoo.create_model(self.name, dropout=0.0)
        if self.fused:
            set_fused(model, True)
        return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="se_resnet50")
    parser.add_argument("--peer", default="legacy_seresnet50", help="timm's name of it")
    parser.add_argument("--precision", nargs="+", default=["fp32"], choices=("fp32", "bf16"))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    twin = MODELS[args.model].twin
    candidates = [
        Candidate("timm", args.peer),
        Candidate("senet_zoo", args.model),
        Candidate("senet_zoo", args.model, fused=True),
        Candidate("senet_zoo", twin),
        Candidate("senet_zoo", twin, fused=True),
    ]
    choice = form_on(args.device)
    print(
        f"PyTorch {torch.__version__}, {args.device}, {args.threads} threads, batch {args.batch}, {args.size} px, ",
        end="",
    )
    print(f"{args.rounds} rounds; steps by {choice.form.name} {choice.because}\n")
    print(f"{'':4}  {'':32}  {'seconds a step':>22}  {'to timm':>18}  {'to its twin':>18}  {'saved MiB':>9}")
    for precision in args.precision:
        steps = [Step(candidate, precision, args) for candidate in candidates]
        seconds = measure(steps, args.rounds)
        for place, (candidate, step) in enumerate(zip(candidates, steps, strict=True)):
            to_timm = [a / b for a, b in zip(seconds[0], seconds[place], strict=True)]
            its_twin = seconds[4 if candidate.fused else 3]
            to_twin = [a / b for a, b in zip(its_twin, seconds[place], strict=True)]
            print(
                f"{precision:4}  {candidate!s:32}  {spread(seconds[place]):>22}  {spread(to_timm):>18}  "
                f"{spread(to_twin):>18}  {step.saved() / 2**20:9.1f}",
                flush=True,
            )


class Step:
    """A candidate's training step."""

    def __init__(self, candidate: Candidate, precision: str, args: argparse.Namespace) -> None:
        self.device, self.half = torch.device(args.device), precision == "bf16"
        self.model = candidate.build().train().to(self.device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=1e-4, momentum=0.9)
        images = torch.randn(args.batch, 3, args.size, args.size, device=self.device)
        self.images = images.to(memory_format=torch.channels_last)
        self.labels = torch.arange(args.batch, device=self.device)
        self.clock: Callable[[], float] = time.perf_counter
        if self.device.type == "cpu" and args.threads == 1:
            self.clock = time.process_time

    def __call__(self) -> float:
        start = self.clock()
        self._loss().backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return self.clock() - start

    def _loss(self) -> torch.Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            return nn.functional.cross_entropy(self.model(self.images), self.labels)

    def saved(self) -> int:
        """Bytes that autograd keeps for the backward pass."""
        return saved_bytes(self._loss, set(self.model.parameters()))


def saved_bytes(forward: Callable[[], torch.Tensor], without: set[torch.Tensor]) -> int:
    own, sizes = {parameter.untyped_storage().data_ptr() for parameter in without}, {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = forward()  # held, so that no address is used twice
    del loss
    return sum(sizes.values())


def measure(steps: list[Step], rounds: int) -> list[list[float]]:
    """Seconds of each step in each round, after one round that is not counted."""
    seconds: list[list[float]] = [[] for _ in steps]
    for number in range(-1, rounds):
        for turn in range(len(steps)):
            place = (number + turn) % len(steps)
            taken = steps[place]()
            if number >= 0:
                seconds[place].append(taken)
    return seconds


def spread(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.3f}"
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3f} [{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
