"""The compiled steps: as many kinds of networks in one process as there are, and no silence where the compiler stops.

The compiler's first half, which counts programs, is real; its second half is replaced by one that runs what it is
given, which takes no seconds.
"""

import itertools
import logging
from collections.abc import Callable, Iterator
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from senet_zoo.networks.fused import implementations
from senet_zoo.networks.fused.custom_op import fused_end
from senet_zoo.networks.fused.implementations import implementation_on
from senet_zoo.networks.squeeze_excite import SqueezeExcite

RUNS: list[str] = []
CACHES = (implementations._on_cpu, implementations._forward_of, implementations._backward_of, implementations._say_once)


def counting(graph: torch.fx.GraphModule, _: object) -> Callable[..., object]:
    def run(*arguments: object) -> object:
        RUNS.append("compiled")
        return graph(*arguments)

    return run


@pytest.fixture(autouse=True)
def _half_a_compiler(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counting))
    for each in CACHES:
        each.cache_clear()
    assert implementation_on("cpu").implementation.name == "torch.compile"
    yield
    for each in CACHES:
        each.cache_clear()
    torch._dynamo.reset()


def steps(y: Tensor, norm: nn.BatchNorm2d, gate: SqueezeExcite | None) -> tuple[int, float]:
    """Compiled steps of a forward and backward pass, and the largest difference from the layers."""
    shortcut, results = torch.randn_like(y), []
    RUNS.clear()
    for fused in (True, False):
        given = y.detach().requires_grad_()
        if fused:
            out = fused_end(given, shortcut, norm, gate)
        else:
            out = torch.relu(shortcut + (norm(given) if gate is None else gate(norm(given))))
        (slope,) = torch.autograd.grad(out.square().sum(), given)
        results.append((out.detach(), slope))
    return len(RUNS), max((one - other).abs().max().item() for one, other in zip(*results, strict=True))


KINDS = list(itertools.product(("none", "biases", "no biases"), (True, False), (False, True)))[3:]
FIRST = ("biases", True, True)  # which `implementation_on` has compiled


@torch._dynamo.config.patch(recompile_limit=8)  # PyTorch's own; importing timm's optimizers raises it
def test_more_kinds_of_networks_than_the_compilers_limit_run_compiled(caplog: pytest.LogCaptureFixture) -> None:
    assert len(KINDS) > torch._dynamo.config.recompile_limit
    torch.manual_seed(0)
    for expected in (4, 2):  # each step runs once more when it is compiled
        for (gate, training, last), (channels, side) in zip(KINDS, itertools.cycle([(8, 5), (12, 7)]), strict=False):
            norm = nn.BatchNorm2d(channels).train(training)
            excite = None if gate == "none" else SqueezeExcite(channels, 4, bias=gate == "biases")
            y = torch.randn(3, channels, side, side + 1)
            runs, difference = steps(y.to(memory_format=torch.channels_last) if last else y, norm, excite)
            assert runs == (2 if (gate, training, last) == FIRST else expected), (gate, training, last)
            assert difference < 1e-4
    assert "plain PyTorch" not in caplog.text


def test_where_the_compiler_stops_it_is_said_once_and_the_answer_is_right(caplog: pytest.LogCaptureFixture) -> None:
    norm, gate = nn.BatchNorm2d(8), SqueezeExcite(8, 4)
    with torch._dynamo.config.patch(recompile_limit=1), caplog.at_level(logging.WARNING):
        assert steps(torch.randn(3, 8, 4, 5), norm, gate)[0] == 4  # compiled, and run
        for _ in range(2):  # single samples would be another program of it
            runs, difference = steps(torch.randn(1, 8, 4, 5), norm, gate)
            assert runs == 0
            assert difference < 1e-4
        assert steps(torch.randn(2, 8, 6, 5), norm, gate)[0] == 2
    assert caplog.text.count("raise that limit") == 1
