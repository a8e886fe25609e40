"""``backend="auto"``: the fastest backend on this machine, measured once and kept in a file.

There is a file for each network, size, batch and dtype. If it cannot be read or written, the backends are measured
again.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import distributions
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, fx

from senet_zoo.errors import OptimizationError
from senet_zoo.inference.backends import Network
from senet_zoo.support.files import atomic_file
from senet_zoo.support.machine import describe_machine
from senet_zoo.support.settings import zoo_cache
from senet_zoo.support.timing import Rounds, interleaved, timed

ROUNDS = 9
SECONDS = 4.0
"""What `measure` may take, though it never runs fewer than three rounds."""


@torch.no_grad()
def measure(networks: Mapping[str, Network], x: Tensor, rounds: int) -> Rounds:
    """Time networks on ``x`` in turns, for a few seconds at most."""
    candidates = {name: partial(timed, partial(network, x), x.device) for name, network in networks.items()}
    return interleaved(candidates, rounds, limit=SECONDS)


def result_file(network: fx.GraphModule, x: Tensor) -> Path:
    """Where the result for this network, input and machine is kept."""
    runtimes = [
        f"{each.name} {each.version}" for name in ("onnxruntime", "openvino") for each in distributions(name=name)
    ]
    shapes = [(name, tuple(tensor.shape)) for name, tensor in network.state_dict().items()]
    key = (sorted(describe_machine(x.device).items()), runtimes, network.code, shapes, tuple(x.shape), str(x.dtype))
    return zoo_cache() / "backends" / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}.json"


def load_result(path: Path) -> str | None:
    """The name of the fastest backend, if it is known."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["fastest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def save_result(path: Path, seconds: Mapping[str, float]) -> bool:
    """Keep the seconds of each backend; returns whether the file could be written."""
    result = {"fastest": min(seconds, key=seconds.__getitem__), "seconds": seconds, "torch": torch.__version__}
    try:
        with atomic_file(path) as file:
            file.write(json.dumps(result, indent=2).encode())
    except OSError:
        return False
    return True


def fastest_backend(
    network: fx.GraphModule, x: Tensor, backends: Mapping[str, Callable[[], Network]]
) -> tuple[str, list[str]]:
    """The fastest backend on ``x``, from the file or else by a measurement.

    Args:
        network: the rewritten network.
        x: the input to be fast on.
        backends: what builds the network of each backend, by name.

    Returns:
        Its name; notes on how it is known, and on backends that do not run the network.

    Raises:
        OptimizationError: no backend runs it.
    """
    path = result_file(network, x)
    known = load_result(path)
    if known in backends:
        return str(known), [f"fastest as measured before: {path}"]
    networks, notes = {}, []
    for name, build in backends.items():
        try:
            networks[name] = build()
        except OptimizationError as error:
            notes.append(str(error).partition("\n")[0])
    if not networks:
        raise OptimizationError("no backend runs this network: " + "; ".join(notes))
    seconds = {name: median(values) for name, values in measure(networks, x, ROUNDS).seconds.items()}
    notes.append("measured " + ", ".join(f"{name} {1000 * value:.2f} ms" for name, value in seconds.items()))
    if not save_result(path, seconds):
        notes.append(f"not remembered, because {path.parent} cannot be written")
    return min(seconds, key=seconds.__getitem__), notes
