"""The machine in a few words, for answers and figures that hold on no other; and its devices by name."""

import platform
from pathlib import Path

import torch

from senet_zoo.errors import UsageError
from senet_zoo.version import __version__


def describe_machine(device: torch.device) -> dict[str, str | int]:
    """Processor or GPU, threads and versions."""
    return {
        "processor": _processor(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "senet_zoo": __version__,
    }


def find_device(name: str | None) -> torch.device:
    """The device of that name; by default the first CUDA device, or the CPU where there is none.

    Raises:
        UsageError: it is no name of a device, or this machine lacks it.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"a device is named like cpu, cuda or cuda:1, got {name!r}") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"a CUDA device must exist, and {name!r} does not ({torch.cuda.device_count()} seen): use --device cpu"
        )
    return device


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
