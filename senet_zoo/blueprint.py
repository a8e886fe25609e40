"""Networks made without drawing what will be replaced; on the meta device, without memory for it."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from senet_zoo.memory import uncollected
from senet_zoo.network import ConvNet
from senet_zoo.specs import NetworkSpec


def on_meta(
    spec: NetworkSpec,
    *,
    num_classes: int | None = None,
    in_channels: int = 3,
    dropout: float | None = None,
    drop_path: float = 0.0,
) -> ConvNet:
    """The network on the meta device, in eval mode; arguments and errors are those of `ConvNet`."""
    with unfilled("meta"):
        net = ConvNet(spec, num_classes=num_classes, in_channels=in_channels, dropout=dropout, drop_path=drop_path)
    return net.eval()


@contextmanager
def unfilled(device: str | torch.device) -> Iterator[None]:
    """Layers made in the block lie on that device, and their parameters and statistics hold anything."""
    with torch.device(device), _Unfilled(), uncollected():
        yield


class _Unfilled(TorchFunctionMode):
    """No function fills a tensor, which would cost time on the meta device as well."""

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FILLS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


_FILLS = frozenset(
    {
        nn.init.kaiming_uniform_,
        nn.init.uniform_,
        Tensor.uniform_,
        Tensor.normal_,
        Tensor.fill_,
        Tensor.zero_,
    }
)
