"""Which backend was fastest on this machine, kept in a file for each network, size, batch and dtype.

The file is a convenience: where it cannot be read or written, the backends are measured again.

``backend="auto"``: every backend measured in turns on this machine, and the fastest one remembered.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, fx

from senet_zoo.errors import OptimizationError
from senet_zoo.inference.report import Network, measure
from senet_zoo.support.files import atomic_file
from senet_zoo.support.machine import describe_machine
from senet_zoo.support.settings import zoo_cache


def place(network: fx.GraphModule, x: Tensor) -> Path:
    """Where the answer for this network, input and machine is kept."""
    shapes = [(name, tuple(tensor.shape)) for name, tensor in network.state_dict().items()]
    words = (
        sorted(describe_machine(x.device).items()),
        _runtimes(),
        network.code,
        shapes,
        tuple(x.shape),
        str(x.dtype),
    )
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


ROUNDS = 9


@dataclass(frozen=True)
class Choice:
    """The fastest backend.

    Args:
        name: of the backend.
        notes: how that is known, and which backends could not be measured.
    """

    name: str
    notes: tuple[str, ...]


def choose(network: fx.GraphModule, x: Tensor, backends: Mapping[str, Callable[[], Network]]) -> Choice:
    """The fastest of ``backends`` on ``x``, by what is remembered or else by a measurement.

    Args:
        network: the rewritten network.
        x: the input to be fast on.
        backends: what makes the network of each, by name.

    Raises:
        OptimizationError: none runs it.
    """
    path = place(network, x)
    known = recall(path)
    if known in backends:
        return Choice(str(known), (f"fastest as measured before: {path}",))
    networks, notes = {}, []
    for name, make in backends.items():
        try:
            networks[name] = make()
        except OptimizationError as error:
            notes.append(str(error).partition("\n")[0])
    if not networks:
        raise OptimizationError("no backend runs this network: " + "; ".join(notes))
    seconds = {name: median(values) for name, values in measure(networks, x, ROUNDS).seconds.items()}
    notes.append("measured " + ", ".join(f"{name} {1000 * value:.2f} ms" for name, value in seconds.items()))
    if not remember(path, seconds):
        notes.append(f"not remembered, for {path.parent} cannot be written")
    return Choice(min(seconds, key=seconds.__getitem__), tuple(notes))
