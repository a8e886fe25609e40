"""The authors' SE-BN-Inception in Caffe: its layers by name, and their arithmetic, by its prototxt."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from hub.caffe_nets import Blobs, Shapes, classify, conv_shapes, convolve, gate, gate_shapes, random_blobs
from torch import Tensor

# Module: 1x1; 3x3_reduce, 3x3; double3x3_reduce, double3x3a and b; pool_proj. Those of stride 2 have no first and last.
MODULES = {
    "3a": (64, 64, 64, 64, 96, 32),
    "3b": (64, 64, 96, 64, 96, 64),
    "3c": (0, 128, 160, 64, 96, 0),
    "4a": (224, 64, 96, 96, 128, 128),
    "4b": (192, 96, 128, 96, 128, 128),
    "4c": (160, 128, 160, 128, 160, 128),
    "4d": (96, 128, 192, 160, 192, 128),
    "4e": (0, 128, 192, 192, 256, 0),
    "5a": (352, 192, 320, 160, 224, 128),
    "5b": (352, 192, 320, 192, 224, 128),
}


@dataclass(frozen=True)
class CaffeInception:
    """The one network of this table."""

    classes: int = 1000

    def shapes(self) -> Shapes:
        layers = conv_shapes("conv1/7x7_s2", 64, 3, 7, 7)
        layers |= conv_shapes("conv2/3x3_reduce", 64, 64, 1, 1) | conv_shapes("conv2/3x3", 192, 64, 3, 3)
        channels = 192
        for module, (one, three_reduce, three, double_reduce, double, proj) in MODULES.items():
            name = f"inception_{module}"
            layers |= conv_shapes(f"{name}/1x1", one, channels, 1, 1) if one else {}
            layers |= conv_shapes(f"{name}/3x3_reduce", three_reduce, channels, 1, 1)
            layers |= conv_shapes(f"{name}/3x3", three, three_reduce, 3, 3)
            layers |= conv_shapes(f"{name}/double3x3_reduce", double_reduce, channels, 1, 1)
            layers |= conv_shapes(f"{name}/double3x3a", double, double_reduce, 3, 3)
            layers |= conv_shapes(f"{name}/double3x3b", double, double, 3, 3)
            layers |= conv_shapes(f"{name}/pool_proj", proj, channels, 1, 1) if proj else {}
            channels = one + three + double + (proj or channels)
            layers |= gate_shapes(name, channels)
        layers["classifier"] = "InnerProduct", [(self.classes, channels), (self.classes,)]
        return layers

    def random(self, seed: int = 0) -> Blobs:
        return random_blobs(self.shapes(), seed)

    def forward(self, layers: Blobs, pixels: Tensor) -> Tensor:
        """What Caffe computes. Shape: BGR pixels (N, 3, H, W) minus their mean -> (N, classes)."""

        def conv(name: str, x: Tensor, stride: int = 1) -> Tensor:
            return convolve(layers, name, x, stride).relu()

        x = F.max_pool2d(conv("conv1/7x7_s2", pixels, 2), 3, 2, ceil_mode=True)
        x = conv("conv2/3x3", conv("conv2/3x3_reduce", x))
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        for module, (one, *_) in MODULES.items():
            name, stride = f"inception_{module}", 1 if one else 2
            three = conv(f"{name}/3x3", conv(f"{name}/3x3_reduce", x), stride)
            double = conv(f"{name}/double3x3a", conv(f"{name}/double3x3_reduce", x))
            double = conv(f"{name}/double3x3b", double, stride)
            if stride == 2:
                parts = [three, double, F.max_pool2d(x, 3, 2, ceil_mode=True)]
            else:
                pooled = F.max_pool2d(x, 3, 1, 1) if module == "5b" else F.avg_pool2d(x, 3, 1, 1)
                parts = [conv(f"{name}/1x1", x), three, double, conv(f"{name}/pool_proj", pooled)]
            x = gate(layers, name, torch.cat(parts, 1))
        return classify(layers, x)
