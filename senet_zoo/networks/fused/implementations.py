"""Which implementation of the forward and backward step runs on a device, and the one that PyTorch's compiler writes.

The compiler keeps what it made of a function with the function's code, eight times at most, and runs what comes after
that uncompiled. Steps over maps of another dtype or layout are another program, so each has code of its own, and
networks of many kinds live in one process.
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

from senet_zoo.networks.fused import reference
from senet_zoo.networks.fused.reference import PLAIN_KERNELS, Implementation, Layers, Tensors

_log = logging.getLogger(__name__)
PLAIN = Implementation.of(PLAIN_KERNELS)


class Chosen(NamedTuple):
    """An implementation, and what forbade a faster one, empty where nothing did."""

    implementation: Implementation
    because: str


def implementation_on(device_type: str, dtype: torch.dtype = torch.float32) -> Chosen:
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
            return Chosen(PLAIN, "the Triton kernels compute in float32")
    return Chosen(PLAIN, f"there are no kernels for {device_type}")


@cache
def _on_cpu() -> Chosen:
    try:
        return Chosen(compiled_implementation(), "")
    except Exception as error:  # of whatever kind: the compiler has dozens, and a C++ compiler's absence is one
        because = f"torch.compile does not work here: {str(error).strip().splitlines()[0]}"
        _log.warning("fused units run in plain PyTorch, which is slower than their layers: %s", because)
        return Chosen(PLAIN, because)


@cache
def _on_cuda() -> Chosen:
    if find_spec("triton") is None:
        return Chosen(PLAIN, "Triton is not installed")
    from senet_zoo.networks.fused.triton_kernels import TRITON

    return Chosen(Implementation.of(TRITON), "")


StepFunction = Callable[..., Tensors]


class ProgramKey(NamedTuple):
    """What makes a step another program; all sizes are free."""

    dtype: torch.dtype
    other: torch.dtype
    """dtype of the shortcut, or of the output in the backward step."""
    dim: int
    with_gate: bool
    with_bias: bool
    of_batch: bool


def compiled_implementation() -> Implementation:
    """Both steps, compiled for maps in float32; without a C++ compiler, this raises what PyTorch's compiler raises."""
    key = ProgramKey(torch.float32, torch.float32, 1, with_gate=True, with_bias=True, of_batch=True)
    _forward_of(key)
    _backward_of(key)
    return Implementation("torch.compile", forward, backward)


def forward(y: Tensor, shortcut: Tensor, *rest: Any) -> Tensors:
    """`senet_zoo.networks.fused.reference.forward`, compiled."""
    return _run(_forward_of(_key(y, shortcut, rest)), reference.forward, y, shortcut, *rest)


def backward(gradient: Tensor, y: Tensor, out: Tensor, *rest: Any) -> Tensors:
    """`senet_zoo.networks.fused.reference.backward`, compiled."""
    return _run(_backward_of(_key(y, out, rest)), reference.backward, gradient, y, out, *rest)


def _key(y: Tensor, other: Tensor, rest: tuple[Any, ...]) -> ProgramKey:
    *_, (w1, b1, _, _), _, of_batch, dim = rest
    return ProgramKey(y.dtype, other.dtype, dim, w1 is not None, b1 is not None, of_batch)


def _run(compiled: StepFunction, plain: StepFunction, *arguments: object) -> Tensors:
    from torch._dynamo.exc import FailOnRecompileLimitHit

    try:
        return compiled(*arguments)
    except FailOnRecompileLimitHit:  # sizes of 1 and numbers of threads make further programs of one key
        _say_once()
        return plain(PLAIN_KERNELS, *arguments)


@cache
def _say_once() -> None:
    _log.warning(
        "a fused unit runs in plain PyTorch, which is slower than its layers: torch.compile made as many programs of "
        "its steps as torch._dynamo.config.recompile_limit allows; raise that limit"
    )


@cache
def _forward_of(key: ProgramKey) -> StepFunction:
    step = _compiled(lambda *arguments: reference.forward(PLAIN_KERNELS, *arguments))
    with _as_an_operator():
        step(*_example(key))
    return step


@cache
def _backward_of(key: ProgramKey) -> StepFunction:
    step = _compiled(lambda *arguments: reference.backward(PLAIN_KERNELS, *arguments))
    y, shortcut, weight, bias, mean, var, *rest = _example(key)
    with _as_an_operator():
        out, *kept = reference.forward(PLAIN_KERNELS, y, shortcut, weight, bias, mean, var, *rest)
        gradient, out = out.to(key.other, copy=True), out.to(key.other)  # two tensors that are one stay one, too
        step(gradient, y, out, *kept, weight, bias, *rest)
    return step


def _compiled(step: StepFunction) -> StepFunction:
    """The step compiled as code of its own; as one graph, so that the compiler's limit is not passed in silence."""
    assert isinstance(step, FunctionType)
    own = FunctionType(step.__code__.replace(), step.__globals__, step.__name__)
    compiled: StepFunction = torch.compile(own, dynamic=True, fullgraph=True)
    return compiled


@contextmanager
def _as_an_operator() -> Iterator[None]:
    """The state in which PyTorch calls an operator's code; a program that was made in another is not used there."""
    with torch.no_grad(), torch._C._AutoDispatchBelowAutograd():
        yield


def _example(key: ProgramKey) -> tuple[Any, ...]:
    """Maps of unlike sizes: the compiler takes sizes that are equal once to be equal always."""
    samples, pixels, channels, hidden = 5, 782, 260, 19
    shape = (samples, pixels, channels) if key.dim == 1 else (samples, channels, pixels)
    y, shortcut = torch.zeros(shape, dtype=key.dtype), torch.zeros(shape, dtype=key.other)
    layers: Layers = (None,) * 4
    if key.with_gate:
        b1, b2 = (torch.zeros(hidden), torch.zeros(channels)) if key.with_bias else (None, None)
        layers = (torch.zeros(hidden, channels), b1, torch.zeros(channels, hidden), b2)
    parameters = (torch.zeros(channels) for _ in range(4))
    return (y, shortcut, *parameters, layers, 1e-5, key.of_batch, key.dim)
