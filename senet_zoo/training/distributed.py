"""The device, the precision and the processes of a run; fully sharded training, and tensors of it whole or in parts.

Where a run is sharded, every process keeps a part of each tensor, and has a block whole only while it runs.
`torch.distributed.fsdp.fully_shard` does it, on GPUs and on the CPU. Accelerate would only add its own names of
options, and shards no network on the CPU.
"""

import gc
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, get_args

import torch
from torch import Tensor, nn

from senet_zoo.errors import TrainingError, UsageError
from senet_zoo.networks.network import ConvNet
from senet_zoo.support.distributed import keep_default_group_free, new_rendezvous, processes, release_group
from senet_zoo.training.checkpoints import last_good
from senet_zoo.training.config import Precision, RunConfig, TrainConfig

if TYPE_CHECKING:
    from accelerate import Accelerator

_ASKED = "ACCELERATE_USE_FSDP"
_UNKNOWN = ("FSDP_OFFLOAD_PARAMS", "FSDP_ACTIVATION_CHECKPOINTING")  # of the launcher's options: those that change much
TIMEOUT = timedelta(minutes=10)  # until a process gives up another that neither answers nor ends


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
    """Shard a network, or a module that holds one, in place: each of its blocks, and what is left."""
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


def check_machine(config: RunConfig, trackers: tuple[str, ...] = ()) -> None:
    """Refuse what this machine or its environment cannot give, before anything is opened.

    Raises:
        UsageError: no such device or precision, a library is missing, or several processes that are not told where
            they meet.
    """
    device, precision = config.device, config.precision
    try:
        import accelerate  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError(f"training needs {error.name}: pip install 'senet-zoo[train]'") from error
    if device not in (None, "cpu", "cuda"):
        raise UsageError(
            f"a run's device must be cpu or cuda, got {device!r}",
            python="; None is whatever there is",
            command_line="; leave it out for whatever there is",
        )
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("device cuda was asked for, and torch sees no CUDA device: check the driver, or use cpu")
    if precision not in get_args(Precision):
        raise UsageError(f"precision must be one of {', '.join(get_args(Precision))}, got {precision!r}")
    if precision == "fp16" and (device == "cpu" or not torch.cuda.is_available()):
        raise UsageError("float16 trains on a CUDA device only, and this run has none: use bf16 or fp32")
    known = _trackers()
    for name in trackers:
        if name not in known:
            raise UsageError(
                f"a tracker must be known to Accelerate and installed, and {name!r} is not; here are: "
                f"{', '.join(known) or 'none'}"
            )
    processes()


def check_options(config: TrainConfig) -> None:
    """Refuse ways of training that this machine does not have.

    Raises:
        UsageError: batch norms synchronised on the CPU, or a network both compiled and sharded.
    """
    if config.sync_norm and (config.device == "cpu" or not torch.cuda.is_available()):
        raise UsageError(
            "batch norms are synchronised on CUDA devices only, because torch has no SyncBatchNorm on the CPU: train "
            "without sync_norm (--sync-norm), or freeze the norms"
        )
    if config.compile and sharding_asked():
        raise UsageError("a network is compiled or sharded, not both: leave compile (--compile) or --use_fsdp away")


@contextmanager
def launched(config: RunConfig, trackers: tuple[str, ...] = (), *, shards: bool = False) -> Iterator["Accelerator"]:
    """Accelerate's view of this process among the others, for one run.

    ``shards`` says that the caller can spread a network over the processes, where the launcher asks for it.

    Raises:
        TrainingError: the other processes cannot be reached, or one of them ended.
        UsageError: `accelerate launch` asks for DeepSpeed, or for shards where there can be none.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState
    from accelerate.utils import DistributedType, GradientAccumulationPlugin, InitProcessGroupKwargs

    if sharding_asked() and not shards:
        raise UsageError(
            "every process holds the whole network here, and the launcher asks to shard it; launch without"
        )
    keep_default_group_free()
    on_cpu = config.device == "cpu" or not torch.accelerator.is_available()
    accelerator = None
    try:
        with hidden_from_accelerate():
            accelerator = Accelerator(
                cpu=on_cpu,
                mixed_precision="no" if config.precision == "fp32" else config.precision,
                log_with=list(trackers) or None,
                project_dir=config.folder,
                gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),  # whatever the launcher says
                kwargs_handlers=[InitProcessGroupKwargs(init_method=new_rendezvous(), timeout=TIMEOUT)],
            )
        if accelerator.distributed_type == DistributedType.DEEPSPEED:
            raise UsageError("DeepSpeed trains no network of this zoo: launch without it, or with --use_fsdp")
        yield accelerator
    except BaseException as error:
        if accelerator is not None and accelerator.num_processes > 1:
            release_group(error)
        if isinstance(error, TrainingError) or not _of_processes(error):
            raise
        raise TrainingError(
            f"the processes of the run lost each other: one ended or cannot be reached ({str(error).splitlines()[0]}). "
            f"{last_good(config.checkpoints)} Run the same command again to go on from it"
        ) from error
    finally:
        if accelerator is not None:
            accelerator.free_memory()  # wrapped networks refer to the process group, and to themselves
            gc.collect()
            accelerator.end_training()
        # Accelerate keeps one state a process for good; the next run of this process may want another device.
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()


def _trackers() -> list[str]:
    from accelerate.tracking import get_available_trackers

    return sorted(map(str, get_available_trackers()))


def _of_processes(error: BaseException) -> bool:
    # Gloo raises plain RuntimeErrors that begin with its file's name.
    of_gloo = isinstance(error, RuntimeError) and "gloo" in str(error).lower()
    return of_gloo or isinstance(error, torch.distributed.DistError)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimizer, as ``number of the parameter.name``."""
    return {
        f"{number}.{key}": value
        for number, parameter in enumerate(_parameters(optimizer))
        for key, value in optimizer.state[parameter].items()
        if isinstance(value, Tensor)
    }


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Give a fresh optimizer the state of another one over the same parameters."""
    parameters = _parameters(optimizer)
    for name, value in tensors.items():
        number, _, key = name.partition(".")
        parameter = parameters[int(number)]
        # On the parameter's device and in its memory layout; a step counter stays where torch makes it, on the CPU.
        like = torch.empty_like(parameter) if value.shape == parameter.shape else torch.empty_like(value)
        optimizer.state[parameter][key] = fill(like, value)


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
