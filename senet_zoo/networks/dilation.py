"""`dilate`: finer last maps for segmentation, with the same weights; strides become dilations.

Where a layer no longer skips every second pixel, the layers behind it look at every second pixel instead (the à trous
algorithm). The new map, read at every second pixel, is the old one, and the pixels between are new. Gates average over
all pixels, so that the map of a gated network is only nearly the old one.

Source: Chen et al., DeepLab, arXiv:1606.00915, section 3.1; Yu and Koltun, arXiv:1511.07122.
"""

from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from senet_zoo.errors import SpecError, UsageError
from senet_zoo.networks.blocks.cross_stage import CrossStageBlock
from senet_zoo.networks.blocks.dual_path import DualPathBlock
from senet_zoo.networks.blocks.mobile import (
    DepthwiseSeparableBlock,
    InvertedBranch,
    LinearSum,
    ShuffleConcat,
    ShuffleSum,
)
from senet_zoo.networks.blocks.preactivation import Preactivated
from senet_zoo.networks.blocks.residual import ResidualBlock
from senet_zoo.networks.dimensions import require_pictures
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.specs import SE, BlockSpec, StageSpec

OUTPUT_STRIDES = (8, 16)


@dataclass(frozen=True)
class Dilated:
    """A block without stride, over maps that are finer than it was made for.

    Args:
        block: the block as it was; weights of its module fit this one's.
        before: how many times finer its input is than ``block`` expects: the input's dilation.
    """

    block: BlockSpec
    before: int
    stride: int = 1

    def out_channels(self, in_channels: int) -> int:
        """The output channels of the block."""
        return self.block.out_channels(in_channels)

    def build(self, in_channels: int, se: SE | None, drop_path: float) -> nn.Module:
        """The module of the block without its strides.

        Raises:
            SpecError: the block needs its stride.
        """
        module = self.block.build(in_channels, se, drop_path)
        _take_out_strides(module, self.before)
        return module


def dilate(model: ConvNet, output_stride: int) -> ConvNet:
    """A copy of a network whose last map is finer: 1 / 8 or 1 / 16 of the picture's side, with the same weights.

    `senet_zoo.ConvNet.feature_channels` of the copy shows the new stride. The copy is no network that a name of the zoo
    builds, so that it cannot be saved by name: save the network before.

    Args:
        model: a network whose last map has a stride of 32, of a residual family, MobileNet, MnasNet or ShuffleNet.
        output_stride: 8 or 16.

    Raises:
        UsageError: another stride, or a network whose last map is fine enough already.
        SpecError: the blocks of this family need their stride.

    Source: Chen et al., arXiv:1606.00915. The same function as torchvision's ``replace_stride_with_dilation`` and
    timm's ``output_stride`` where these know the form.

    Differs: the average pools of timm's D form are not dilated, and count zeros outside the map.

    Example:
        >>> import senet_zoo
        >>> model = dilate(senet_zoo.create_model("se_resnet18"), output_stride=8)
        >>> model.forward_features(torch.zeros(1, 3, 64, 64)).shape
        torch.Size([1, 512, 8, 8])
    """
    require_pictures(model.spec.dimensions, "dilating")
    if output_stride not in OUTPUT_STRIDES:
        raise UsageError(f"an output stride must be 8 or 16, got {output_stride}")
    strides = tuple(model.feature_channels)
    if output_stride not in strides or strides[-1] <= output_stride:
        raise UsageError(
            f"a network whose last map is coarser than 1 / {output_stride} can be dilated to it, and this one's maps "
            f"are of stride {', '.join(map(str, strides))}; choose one such as se_resnet50"
        )
    copy, stages = deepcopy(model), []
    stride, dilation = model.spec.stem.stride * model.spec.pool.stride, 1
    for modules, stage in zip(copy.stages, model.spec.stages, strict=True):
        blocks: list[BlockSpec] = []
        for number, block in enumerate(stage.blocks):
            if stride < output_stride:
                stride *= block.stride
                blocks.append(block)
            else:
                for module in [*modules.children()][
                    number : number + 1
                ]:  # none in a stage that `FeatureListNet` left out
                    _take_out_strides(module, dilation)
                blocks.append(Dilated(block, dilation))
                dilation *= block.stride
        stages.append(StageSpec(tuple(blocks)))
    copy.spec = replace(model.spec, stages=tuple(stages), name=None)
    return copy


class DilatedMean(nn.Module):
    """Mean over a square of pixels that lie ``dilation`` apart, at every pixel: a mean pool without its stride.

    Args:
        side: pixels along a side of the square.
        dilation: distance between two of these pixels.
        before: rows and columns of the square before the output's pixel; the others lie behind it.
        counts_padding: whether pixels outside the map count as zeros.
    """

    def __init__(self, side: int, dilation: int, before: int, counts_padding: bool) -> None:
        super().__init__()
        self.side, self.dilation, self.counts_padding = side, dilation, counts_padding
        self.padding = (before * dilation, (side - 1 - before) * dilation) * 2

    def forward(self, x: Tensor) -> Tensor:
        """Shape: (N, C, H, W) -> (N, C, H, W)."""
        total = self._sum(x)
        return total / (self.side**2 if self.counts_padding else self._sum(torch.ones_like(x[:1, :1])))

    def _sum(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        padded, steps = F.pad(x, self.padding), range(0, self.side * self.dilation, self.dilation)
        return torch.stack([padded[:, :, i : i + height, j : j + width] for i in steps for j in steps]).sum(0)


def _take_out_strides(block: nn.Module, before: int) -> None:
    """Dilate the layers of a block whose input is ``before`` times finer than it expects, and let none of them skip."""
    names = {module: name for name, module in block.named_modules()}
    for path in _paths(block):
        dilation = before
        for layer in [layer for part in path for layer in part.modules()]:
            if isinstance(layer, nn.Conv2d):
                stride, layer.stride = layer.stride[0], (1, 1)
                layer.padding = tuple(dilation * int(padding) for padding in layer.padding)
                layer.dilation = (dilation, dilation)
                dilation *= stride
            elif isinstance(layer, nn.AvgPool2d):
                side, padding = int(layer.kernel_size), int(layer.padding)  # type: ignore[arg-type]  # squares
                counts = padding > 0 and layer.count_include_pad
                block.set_submodule(names[layer], DilatedMean(side, dilation, padding, counts))
                dilation *= int(layer.stride)  # type: ignore[arg-type]


def _paths(block: nn.Module) -> list[list[nn.Module]]:
    """The ways from a block's input to its sum or its end, each as modules in the order in which they run."""
    match block:
        case Preactivated():
            return _paths(block.unit)
        case ResidualBlock():
            return [list(block.branch), [block.shortcut]]
        case DualPathBlock():
            return [[block.branch], [block.projection]]
        case CrossStageBlock():
            return [[block.down, block.units]]  # its other layers are 1x1
        case DepthwiseSeparableBlock():
            return [[block.depthwise, block.pointwise]]
        case LinearSum():
            return _paths(block.branch)
        case InvertedBranch():
            return [[block.expand, block.depthwise, block.project]]
        case ShuffleSum():
            return [[block.branch.reduce, block.branch.depthwise, block.branch.increase]]
        case ShuffleConcat():
            return [[block.branch.reduce, block.branch.depthwise, block.branch.increase], [block.pool]]
        case _:
            raise SpecError(
                f"strides become dilations in residual units, MobileNet's, MnasNet's and ShuffleNet's, not in a "
                f"{type(block).__name__}; choose a network of such a family, such as se_resnet50"
            )
