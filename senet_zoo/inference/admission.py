"""Which networks `senet_zoo.optimize` takes; every other is refused before anything is done."""

import torch
from torch import nn

from senet_zoo.errors import OptimizationError
from senet_zoo.inference.optimized import OptimizedModel

FLOATS = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def admit(model: nn.Module) -> None:
    """Let the network pass, or say why not.

    Raises:
        OptimizationError: it trains, is optimised, compiled, scripted, wrapped or quantised already, carries hooks, is
            spread over devices, or has weights that are not finite.
    """
    _refuse_other_forms(model)
    for name, part in model.named_modules():
        where = f"{name or 'the network'} ({type(part).__name__})"
        if part.training:
            raise OptimizationError(f"only networks in eval mode are rewritten, and {where} trains: call model.eval()")
        if part._forward_hooks or part._forward_pre_hooks:
            raise OptimizationError(f"a rewritten network runs no hooks, and {where} has one: remove it first")
        if "quantized" in type(part).__module__ or "torchao" in type(part).__module__:
            raise OptimizationError(f"{where} is quantised: optimise the float network it came from")
    _check_tensors(model)


def _refuse_other_forms(model: nn.Module) -> None:
    if isinstance(model, OptimizedModel):
        raise OptimizationError("this network is optimised already: give the one that it was made from")
    if isinstance(model, torch.jit.ScriptModule):
        raise OptimizationError("a scripted network cannot be rewritten: give the nn.Module that it was made from")
    if hasattr(model, "_orig_mod"):
        raise OptimizationError(
            "a compiled network cannot be rewritten: give model._orig_mod, and compile=True to have the result compiled"
        )
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        raise OptimizationError("a wrapper for several devices cannot be rewritten: give model.module")


def _check_tensors(model: nn.Module) -> None:
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    places = {tensor.device for tensor in tensors.values()}
    if not tensors or len(places) > 1 or next(iter(places)).type == "meta":
        found = ", ".join(sorted(map(str, places))) or "no tensor at all"
        raise OptimizationError(f"a network must lie on one device, and this one has {found}")
    for name, tensor in tensors.items():
        if tensor.dtype not in FLOATS and (tensor.is_floating_point() or tensor.is_quantized):
            raise OptimizationError(f"{name} is {tensor.dtype}, a quantised form: optimise the float network")
        if type(tensor) not in (torch.Tensor, nn.Parameter):
            kind = type(tensor).__name__
            raise OptimizationError(f"{name} is a {kind}, whose arithmetic cannot be rewritten; give plain tensors")
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise OptimizationError(f"weights must be finite, and {name} is not: check where they come from")
