"""Functions that make a layer, as values of a spec: printed by their names, and pickled by reference."""

from collections.abc import Callable
from functools import update_wrapper

from torch import nn


class LayerFunction:
    """A function at a module's top level that makes a layer, such as `senet_zoo.networks.layers.relu`.

    A plain function is printed with its address in memory, which differs from run to run.

    Args:
        make: the function; it takes numbers or nothing.
    """

    def __init__(self, make: Callable[..., nn.Module]) -> None:
        self._make = make
        self._name = make.__name__
        update_wrapper(self, make)

    def __call__(self, *numbers: float) -> nn.Module:
        return self._make(*numbers)

    def __repr__(self) -> str:
        return self._name

    def __reduce__(self) -> str:
        return self._name
