"""Where a run takes place: the device, the precision, and the processes that train one network together."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import torch

from senet_zoo.errors import TrainingError, UsageError
from senet_zoo.training.checkpoints import last_good
from senet_zoo.training.rendezvous import processes

if TYPE_CHECKING:
    from accelerate import Accelerator

Precision = Literal["fp32", "bf16", "fp16"]
PATIENCE = timedelta(minutes=10)  # of a process for one that neither answers nor ends


def check_place(device: str | None, precision: str, trackers: tuple[str, ...]) -> None:
    """Refuse what this machine or its environment cannot give, before anything is opened.

    Args:
        device: ``cpu``, ``cuda``, or None for whatever there is.
        precision: of the forward and backward pass.
        trackers: names that Accelerate knows, such as ``tensorboard``.

    Raises:
        UsageError: no such device or precision, a library is missing, or processes without a meeting place.
    """
    try:
        import accelerate  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError(f"training needs {error.name}: pip install 'senet-zoo[train]'") from error
    if device not in (None, "cpu", "cuda"):
        raise UsageError(f"a run's device must be cpu, cuda or None for whatever there is, got {device!r}")
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


@contextmanager
def launched(
    device: str | None, precision: Precision, trackers: tuple[str, ...], folder: Path
) -> Iterator["Accelerator"]:
    """Accelerate's view of this process among the others, for one run.

    Args:
        device: likewise.
        precision: likewise.
        trackers: likewise.
        folder: of the checkpoints, and of the trackers' files.

    Raises:
        TrainingError: the other processes cannot be reached, or one of them ended.
        UsageError: `accelerate launch` asks for an engine that shards the network.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState
    from accelerate.utils import DistributedType, GradientAccumulationPlugin, InitProcessGroupKwargs

    on_cpu = device == "cpu" or not torch.accelerator.is_available()
    accelerator = None
    try:
        accelerator = Accelerator(
            cpu=on_cpu,
            mixed_precision="no" if precision == "fp32" else precision,
            log_with=list(trackers) or None,
            project_dir=folder.parent,
            gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=1),  # whatever the launcher's word is
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
        if accelerator.distributed_type in (DistributedType.FSDP, DistributedType.DEEPSPEED):
            raise UsageError(
                f"every process holds the whole network here, and {accelerator.distributed_type} shards it; none of "
                "the zoo needs that: launch without it"
            )
        yield accelerator
    except RuntimeError as error:
        if isinstance(error, TrainingError) or not _of_processes(error):
            raise
        raise TrainingError(
            f"the processes of the run lost each other: one ended or cannot be reached "
            f"({str(error).splitlines()[0]}). {last_good(folder)} Run the same command again to go on from it"
        ) from error
    finally:
        if accelerator is not None:
            accelerator.end_training()
        # Accelerate keeps one state a process for good; the next run of this process may want another device.
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()


def _trackers() -> list[str]:
    from accelerate.tracking import get_available_trackers

    return sorted(map(str, get_available_trackers()))


def _of_processes(error: RuntimeError) -> bool:
    # Gloo raises plain RuntimeErrors that begin with its file's name.
    return isinstance(error, torch.distributed.DistError) or "gloo" in str(error).lower()
