"""Which backend was fastest on this machine, kept in a file for each network, size, batch and dtype.

The file is a convenience: where it cannot be read or written, the backends are measured again.
"""

import hashlib
import json
from importlib.metadata import distributions
from pathlib import Path

import torch
from torch import Tensor, fx

from senet_zoo.hub.atomic import atomic_file
from senet_zoo.hub.settings import zoo_cache
from senet_zoo.inference.machine import describe


def place(network: fx.GraphModule, x: Tensor) -> Path:
    """Where the answer for this network, input and machine is kept."""
    shapes = [(name, tuple(tensor.shape)) for name, tensor in network.state_dict().items()]
    words = (sorted(describe(x.device).items()), _runtimes(), network.code, shapes, tuple(x.shape), str(x.dtype))
    return zoo_cache() / "backends" / f"{hashlib.sha256(repr(words).encode()).hexdigest()[:32]}.json"


def _runtimes() -> list[str]:
    """Versions of those that an extra may have installed since."""
    return [f"{each.name} {each.version}" for name in ("onnxruntime", "openvino") for each in distributions(name=name)]


def recall(path: Path) -> str | None:
    """The name of the fastest backend, if it is known."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return str(found["fastest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def remember(path: Path, seconds: dict[str, float]) -> bool:
    """Keep the answer; whether that was possible.

    Args:
        path: of `place`.
        seconds: of each backend.
    """
    answer = {"fastest": min(seconds, key=seconds.__getitem__), "seconds": seconds, "torch": torch.__version__}
    try:
        with atomic_file(path) as file:
            file.write(json.dumps(answer, indent=2).encode())
    except OSError:
        return False
    return True
