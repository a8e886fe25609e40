"""``backend="auto"``: every backend measured in turns on this machine, and the fastest one remembered."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

from torch import Tensor, fx

from senet_zoo.errors import OptimizationError
from senet_zoo.inference import remembered
from senet_zoo.inference.measuring import Network, measure

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
    path = remembered.place(network, x)
    known = remembered.recall(path)
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
    if not remembered.remember(path, seconds):
        notes.append(f"not remembered, for {path.parent} cannot be written")
    return Choice(min(seconds, key=seconds.__getitem__), tuple(notes))
