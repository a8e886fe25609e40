"""Entry points of torch.hub: every public model of senet_zoo under its own name.

torch.hub.load("org/senet_zoo", "se_resnet50", pretrained=True, trust_repo=True)
torch.hub.load(".", "se_resnet20", source="local", pretrained=True)
"""

from collections.abc import Callable as _Callable

import torch as _torch

import senet_zoo as _zoo
from senet_zoo.networks.registry import MODELS as _MODELS

dependencies = ["torch", "torchvision", "huggingface_hub", "safetensors"]


def _entry(name: str) -> _Callable[..., _zoo.ConvNet]:
    def load(
        pretrained: bool = False,
        tag: str | None = None,
        num_classes: int | None = None,
        in_channels: int | None = None,
        dropout: float | None = None,
        drop_path: float = 0.0,
        device: str | _torch.device = "cpu",
        dtype: _torch.dtype = _torch.float32,
    ) -> _zoo.ConvNet:
        return _zoo.create_model(
            f"{name}.{tag}" if tag else name,
            pretrained=pretrained,
            num_classes=num_classes,
            in_channels=in_channels,
            dropout=dropout,
            drop_path=drop_path,
            device=device,
            dtype=dtype,
        )

    load.__name__ = load.__qualname__ = name
    load.__doc__ = f"""{_MODELS[name].doc}

    In eval mode with weights, in training mode without. Arguments are those of senet_zoo.create_model:

    Args:
        pretrained: load published weights, every tensor of them, or raise.
        tag: which weights; the default ones where none is given.
        num_classes: logits; another number than the weights' own gives a fresh classifier, 0 none.
        in_channels: channels of the pictures; the stem is adapted to another number than the weights' own.
        dropout: rate before the classifier in training.
        drop_path: stochastic depth, the rate of the last block.
        device: where the parameters live.
        dtype: of the parameters.

    Example:
        model = torch.hub.load("org/senet_zoo", "{name}", trust_repo=True)
    """
    return load


for _name in _MODELS:
    globals()[_name] = _entry(_name)
del _name
