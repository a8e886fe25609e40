"""Devices of this machine by name, and its description beside figures that hold on no other."""

import platform
from collections.abc import Mapping
from pathlib import Path

import torch

from senet_zoo.errors import UsageError
from senet_zoo.version import __version__


def describe_machine(device: torch.device) -> dict[str, str | int]:
    """Processor, device, threads and versions."""
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


def format_machine(machine: Mapping[str, str | int]) -> str:
    """The description on one line."""
    return ", ".join(f"{name} {value}" for name, value in machine.items())


def find_device(name: str | torch.device | None) -> torch.device:
    """The device of that name; default: the first CUDA device, or the CPU if there is none.

    Raises:
        UsageError: no device has that name, or this machine lacks it.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"a device is named like cpu, cuda or cuda:1, got {name!r}") from error
    way_out = {"python": ': use device="cpu"', "command_line": ": use --device cpu"}
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"a CUDA device must exist, and {str(name)!r} does not ({torch.cuda.device_count()} seen)", **way_out
        )
    try:
        torch.empty(0, device=device)
    except Exception as error:  # each backend that is missing raises another one
        raise UsageError(f"a device must be there, and PyTorch has no {str(name)!r} here", **way_out) from error
    return device


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
