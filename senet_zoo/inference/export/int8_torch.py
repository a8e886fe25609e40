"""int8 by TorchAO for ``.pt2``: convolutions in eight bits, calibrated; gates and classifier stay as they are."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from senet_zoo.errors import UsageError


def need_torchao() -> None:
    """Let pass where TorchAO is there.

    Raises:
        UsageError: it is not.
    """
    try:
        with _quiet():
            import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401
    except ImportError as error:
        raise UsageError(f"torchao is not installed ({error}): pip install 'senet-zoo[torchao]'") from error


@torch.no_grad()
def quantise_program(program: ExportedProgram, inputs: Sequence[Tensor]) -> fx.GraphModule:
    """A network with its convolutions in eight bits, by the rules for x86 processors.

    Args:
        program: the network in float32.
        inputs: that the ranges of the maps are found on.
    """
    with _quiet():
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

        quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
        # All fully connected layers are gates' or the classifier.
        quantizer.set_function_type_qconfig(torch.nn.functional.linear, None)
        prepared: Any = prepare_pt2e(program.module(), quantizer)
        for x in inputs:
            prepared(x)
        network = cast("fx.GraphModule", convert_pt2e(prepared))
    _forget_unread(network)
    return network


def _forget_unread(network: fx.GraphModule) -> None:
    """Remove the tensors that no operation reads: the weights in float32 are still there."""
    network.graph.eliminate_dead_code()
    read = {str(node.target) for node in network.graph.nodes if node.op == "get_attr"}
    for name in {**dict(network.named_parameters()), **dict(network.named_buffers())}.keys() - read:
        owner, _, attribute = name.rpartition(".")
        delattr(network.get_submodule(owner), attribute)
    network.recompile()


@contextmanager
def _quiet() -> Iterator[None]:
    """TorchAO warns of what it calls of PyTorch itself."""
    logger = logging.getLogger("torch.utils._pytree")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
