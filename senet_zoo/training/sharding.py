"""Fully sharded training: every process keeps a part of each tensor, and has a block whole only while it runs.

`torch.distributed.fsdp.fully_shard` does it, on GPUs and on the CPU. Accelerate would only add its own
names of options, and shards no network on the CPU.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from senet_zoo.errors import UsageError
from senet_zoo.networks.network import ConvNet
from senet_zoo.support.distributed import processes

_ASKED = "ACCELERATE_USE_FSDP"
_UNKNOWN = ("FSDP_OFFLOAD_PARAMS", "FSDP_ACTIVATION_CHECKPOINTING")  # of the launcher's options: those that change much


def sharding_asked() -> bool:
    """Whether several processes were started with ``accelerate launch --use_fsdp``.

    Raises:
        UsageError: with options of it that are not known here.
    """
    if not _true(_ASKED) or processes() == 1:
        return False
    for name in _UNKNOWN:
        if _true(name):
            raise UsageError(f"a network is sharded block by block and stays on its device, and {name} asks for more")
    return True


@contextmanager
def hidden_from_accelerate() -> Iterator[None]:
    """Let Accelerate see several processes that keep the whole network: it must not shard the network itself."""
    value = os.environ.pop(_ASKED, None)
    try:
        yield
    finally:
        if value is not None:
            os.environ[_ASKED] = value


def shard(root: nn.Module, device: torch.device) -> None:
    """Shard a network, or a module that holds one, in place: each of its blocks, and what is left.

    Args:
        root: the network or what holds it.
        device: of its tensors, the same kind in every process.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (processes(),))
    network = next(module for module in root.modules() if isinstance(module, ConvNet))
    for stage in network.stages:
        for block in stage.children():
            if any(True for _ in block.parameters()):
                fully_shard(block, mesh=mesh)
    fully_shard(root, mesh=mesh)


def release(root: nn.Module) -> None:
    """End the use of a sharded module: torch's caches keep its mesh, which would keep the process group."""
    for parameter in root.parameters():
        getattr(getattr(parameter, "device_mesh", None), "_pg_registry", {}).clear()


def gathered(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whole, with the parts of every process; all processes call it together."""
    return {key: getattr(tensor, "full_tensor", lambda tensor=tensor: tensor)() for key, tensor in tensors.items()}


def local_part(tensor: Tensor) -> Tensor:
    """What this process keeps of a tensor: all of it where it is not sharded. It shares its memory."""
    local: Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return local


def fill(tensor: Tensor, value: Tensor) -> Tensor:
    """Copy a whole value, the same in every process, into a tensor that may be sharded; return the tensor."""
    if not hasattr(tensor, "to_local"):
        return tensor.copy_(value)
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(tensor, DTensor)
    local = tensor.to_local()
    value = value.to(local.device)
    local.copy_(distribute_tensor(value, tensor.device_mesh, tensor.placements, src_data_rank=None).to_local())
    return tensor


def _true(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true", "yes", "on")
