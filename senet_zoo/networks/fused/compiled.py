"""Which form of the steps runs on a device, and why not a faster one.

The steps as PyTorch's compiler writes them for a CPU: one loop a pass, and one call a step.

The compiler keeps what it made of a function with the function's code, eight times at most, and runs what comes after
that uncompiled. Steps over maps of another kind are another program; so every kind has code of its own, and networks of
many kinds live in one process.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from types import FunctionType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from senet_zoo.networks.fused import steps
from senet_zoo.networks.fused.passes import PLAIN as PLAIN_PASSES
from senet_zoo.networks.fused.steps import Form, Layers, Tensors

_log = logging.getLogger(__name__)
PLAIN = Form.of(PLAIN_PASSES)


class Choice(NamedTuple):
    """A form of the steps, and what forbade a faster one, empty where nothing did."""

    form: Form
    because: str


def form_on(device_type: str, dtype: torch.dtype = torch.float32) -> Choice:
    """What runs the steps over maps of a type of device and a precision.

    The compiler on a CPU and Triton on CUDA, each where it is there; plain PyTorch elsewhere, and on CUDA in float64.
    The first question costs a CPU some seconds of compilation.
    """
    match device_type:
        case "cpu":
            return _on_cpu()
        case "cuda" if dtype is not torch.float64:
            return _on_cuda()
        case "cuda":
            return Choice(PLAIN, "the Triton kernels compute in float32")
    return Choice(PLAIN, f"there are no kernels for {device_type}")


@cache
def _on_cpu() -> Choice:

    try:
        return Choice(compiled_form(), "")
    except Exception as error:  # of whatever kind: the compiler has dozens, and a C++ compiler's absence is one
        because = f"torch.compile does not work here: {str(error).strip().splitlines()[0]}"
        _log.warning("fused units run in plain PyTorch, which is slower than their layers: %s", because)
        return Choice(PLAIN, because)


@cache
def _on_cuda() -> Choice:
    if find_spec("triton") is None:
        return Choice(PLAIN, "Triton is not installed")
    from senet_zoo.networks.fused.triton_passes import TRITON

    return Choice(Form.of(TRITON), "")


Step = Callable[..., Tensors]


class Kind(NamedTuple):
    """What makes steps another program; all sizes are free."""

    dtype: torch.dtype
    other: torch.dtype
    """Of the shortcut, or of the output in the backward step."""
    dim: int
    with_gate: bool
    with_bias: bool
    of_batch: bool


def compiled_form() -> Form:
    """Both steps, compiled for maps in float32; without a C++ compiler, this raises what PyTorch's compiler raises."""
    kind = Kind(torch.float32, torch.float32, 1, with_gate=True, with_bias=True, of_batch=True)
    _forward_of(kind)
    _backward_of(kind)
    return Form("torch.compile", forward, backward)


def forward(y: Tensor, shortcut: Tensor, *rest: Any) -> Tensors:
    """As `senet_zoo.networks.fused.steps.forward`."""
    return _run(_forward_of(_kind(y, shortcut, rest)), steps.forward, y, shortcut, *rest)


def backward(gradient: Tensor, y: Tensor, out: Tensor, *rest: Any) -> Tensors:
    """As `senet_zoo.networks.fused.steps.backward`."""
    return _run(_backward_of(_kind(y, out, rest)), steps.backward, gradient, y, out, *rest)


def _kind(y: Tensor, other: Tensor, rest: tuple[Any, ...]) -> Kind:
    *_, (w1, b1, _, _), _, of_batch, dim = rest
    return Kind(y.dtype, other.dtype, dim, w1 is not None, b1 is not None, of_batch)


def _run(compiled: Step, plain: Step, *arguments: object) -> Tensors:
    from torch._dynamo.exc import FailOnRecompileLimitHit

    try:
        return compiled(*arguments)
    except FailOnRecompileLimitHit:  # sizes of 1 and numbers of threads make further programs of one kind
        _say_once()
        return plain(PLAIN_PASSES, *arguments)


@cache
def _say_once() -> None:
    _log.warning(
        "a fused unit runs in plain PyTorch, which is slower than its layers: torch.compile made as many programs of "
        "its steps as torch._dynamo.config.recompile_limit allows; raise that limit"
    )


@cache
def _forward_of(kind: Kind) -> Step:
    step = _compiled(lambda *arguments: steps.forward(PLAIN_PASSES, *arguments))
    with _as_an_operator():
        step(*_example(kind))
    return step


@cache
def _backward_of(kind: Kind) -> Step:
    step = _compiled(lambda *arguments: steps.backward(PLAIN_PASSES, *arguments))
    y, shortcut, weight, bias, mean, var, *rest = _example(kind)
    with _as_an_operator():
        out, *kept = steps.forward(PLAIN_PASSES, y, shortcut, weight, bias, mean, var, *rest)
        gradient, out = out.to(kind.other, copy=True), out.to(kind.other)  # two tensors that are one stay one, too
        step(gradient, y, out, *kept, weight, bias, *rest)
    return step


def _compiled(step: Step) -> Step:
    """The step compiled as code of its own; as one graph, for else the compiler's limit would be passed in silence."""
    assert isinstance(step, FunctionType)
    own = FunctionType(step.__code__.replace(), step.__globals__, step.__name__)
    compiled: Step = torch.compile(own, dynamic=True, fullgraph=True)
    return compiled


@contextmanager
def _as_an_operator() -> Iterator[None]:
    """The state in which PyTorch calls an operator's code; a program that was made in another is not used there."""
    with torch.no_grad(), torch._C._AutoDispatchBelowAutograd():
        yield


def _example(kind: Kind) -> tuple[Any, ...]:
    """Maps of unlike sizes: the compiler takes sizes that are equal once to be equal always."""
    samples, pixels, channels, hidden = 5, 782, 260, 19
    shape = (samples, pixels, channels) if kind.dim == 1 else (samples, channels, pixels)
    y, shortcut = torch.zeros(shape, dtype=kind.dtype), torch.zeros(shape, dtype=kind.other)
    layers: Layers = (None,) * 4
    if kind.with_gate:
        b1, b2 = (torch.zeros(hidden), torch.zeros(channels)) if kind.with_bias else (None, None)
        layers = (torch.zeros(hidden, channels), b1, torch.zeros(channels, hidden), b2)
    parameters = (torch.zeros(channels) for _ in range(4))
    return (y, shortcut, *parameters, layers, 1e-5, kind.of_batch, kind.dim)
