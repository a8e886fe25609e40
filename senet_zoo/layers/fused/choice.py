"""Which form of the steps runs on a device, and why not a faster one."""

import logging
from functools import cache
from importlib.util import find_spec
from typing import NamedTuple

import torch

from senet_zoo.layers.fused.passes import PLAIN as PLAIN_PASSES
from senet_zoo.layers.fused.steps import Form

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
    from senet_zoo.layers.fused.compiled import compiled_form

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
    from senet_zoo.layers.fused.triton_passes import TRITON

    return Choice(Form.of(TRITON), "")
