"""The networks of the lecture notes, row by row: their table of ResNets and their ResNet-34 written with Keras.

``create_model("resnet34", num_classes=10)`` is the notes' ResNet-34 but for three things, each shown below:

- Where a stride of 2 meets an even size, Keras' "same" pads the far edge more (a 7x7 by 2 and 3, a 3x3 by 0 and 1), so
  the windows of the four strided convolutions that are padded begin one pixel later than ours. The max pool is equal:
  Caffe's unpadded window over the far edge is Keras' "same" at even sizes, and so ``resnet34``, not ``resnet34b``, is
  the nearer one.
- Keras' batch norm adds 1e-3 to the variance, ours 1e-5.
- The notes end in a softmax, ours in its logits.
"""

import pytest
import torch
from networks import randomise
from torch import nn
from torch.nn import functional as F

from senet_zoo.analysis import cost
from senet_zoo.networks.blocks.pools import MaxPool
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS

Rows = list[tuple[int, int]]


def basic(filters: int) -> Rows:
    return [(3, filters), (3, filters)]


def bottleneck(filters: int) -> Rows:
    return [(1, filters), (3, filters), (1, 4 * filters)]


# layer name, output size, then kernels and filters of a unit, and how often it stands, in 18, 34, 50 and 101 layers
TABLE = [
    ("conv2_x", 56, (basic(64), 2), (basic(64), 3), (bottleneck(64), 3), (bottleneck(64), 3)),
    ("conv3_x", 28, (basic(128), 2), (basic(128), 4), (bottleneck(128), 4), (bottleneck(128), 4)),
    ("conv4_x", 14, (basic(256), 2), (basic(256), 6), (bottleneck(256), 6), (bottleneck(256), 23)),
    ("conv5_x", 7, (basic(512), 2), (basic(512), 3), (bottleneck(512), 3), (bottleneck(512), 3)),
]
FLOPS = {18: 1.8e9, 34: 3.6e9, 50: 3.8e9, 101: 7.6e9}
LAYERS = {depth: [(name, size, *row[i]) for name, size, *row in TABLE] for i, depth in enumerate(FLOPS)}
every_depth = pytest.mark.parametrize("depth", FLOPS)


def totals(depth: int, num_classes: int = 1000) -> tuple[int, int]:
    """Parameters and multiply-adds by the table alone."""
    parameters, multiply_adds, channels = 0, 0, 3

    def convolution(kernel: int, into: int, out: int, size: int) -> None:
        nonlocal parameters, multiply_adds
        parameters += kernel**2 * into * out + 2 * out  # and the batch norm
        multiply_adds += kernel**2 * into * out * size**2

    convolution(7, channels, 64, 112)
    channels = 64
    for _, size, unit, count in LAYERS[depth]:
        for index in range(count):
            into = channels
            for kernel, filters in unit:
                convolution(kernel, channels, filters, size)
                channels = filters
            if index == 0 and (into != channels or size < 56):
                convolution(1, into, channels, size)
    return parameters + (channels + 1) * num_classes, multiply_adds + channels * num_classes


@every_depth
def test_layers_are_those_of_the_table(depth: int) -> None:
    model = cost.on_meta(MODELS[f"resnet{depth}"].spec())
    maps = model.features(torch.empty(1, 3, 224, 224, device="meta"), (2, 4, 8, 16, 32))
    assert maps[0].shape == (1, 64, 112, 112)
    assert (model.stem[0].conv.kernel_size, model.stem[0].conv.stride) == ((7, 7), (2, 2))
    assert (model.pool.kernel_size, model.pool.stride) == (3, 2)
    for (_, size, unit, count), stage, found in zip(LAYERS[depth], model.stages, maps[1:], strict=True):
        assert found.shape == (1, unit[-1][1], size, size)
        assert len(stage) == count
        for block in stage:
            convs = [part for part in block.branch.modules() if isinstance(part, nn.Conv2d)]
            assert [(conv.kernel_size[0], conv.out_channels) for conv in convs] == unit
    assert model.classifier.out_features == 1000


@every_depth
def test_a_depth_counts_the_layers_with_weights(depth: int) -> None:
    assert depth == 1 + sum(len(unit) * count for _, _, unit, count in LAYERS[depth]) + 1


@every_depth
def test_costs_are_those_of_the_table(depth: int) -> None:
    """The printed FLOPs are within 2 %: they are rounded, and do not count the projections of 18 and 34 layers."""
    spec = MODELS[f"resnet{depth}"].spec()
    parameters, multiply_adds = totals(depth)
    assert cost.parameters(cost.on_meta(spec)) == parameters
    assert cost.multiply_adds(spec) == multiply_adds
    assert multiply_adds == pytest.approx(FLOPS[depth], rel=0.02)
    assert cost.parameters(cost.on_meta(MODELS[f"resnet{depth}b"].spec())) == parameters


class Same(nn.Module):
    """Keras' "same": as much padding as gives ceil(size / stride) pixels, the odd one at the far edge."""

    def __init__(self, layer: nn.Conv2d | nn.MaxPool2d, fill: float) -> None:
        super().__init__()
        self.layer, self.fill = layer, fill
        self.kernel, self.stride = (n if isinstance(n, int) else n[0] for n in (layer.kernel_size, layer.stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = (
            max((-(-side // self.stride) - 1) * self.stride + self.kernel - side, 0) for side in x.shape[2:]
        )
        sides = (width // 2, width - width // 2, height // 2, height - height // 2)
        return self.layer(F.pad(x, sides, value=self.fill))


def convolution(into: int, filters: int, kernel: int, strides: int, keras: bool) -> nn.Module:
    if keras:
        return Same(nn.Conv2d(into, filters, kernel, strides, bias=False), fill=0.0)
    return nn.Conv2d(into, filters, kernel, strides, padding=kernel // 2, bias=False)


class ResidualUnit(nn.Module):
    """The notes' unit, with their names."""

    def __init__(self, into: int, filters: int, strides: int, keras: bool, eps: float) -> None:
        super().__init__()
        self.main_layers = nn.Sequential(
            convolution(into, filters, 3, strides, keras),
            nn.BatchNorm2d(filters, eps=eps),
            nn.ReLU(),
            convolution(filters, filters, 3, 1, keras),
            nn.BatchNorm2d(filters, eps=eps),
        )
        self.skip_layers = nn.Sequential()
        if strides > 1:
            self.skip_layers.append(convolution(into, filters, 1, strides, keras))
            self.skip_layers.append(nn.BatchNorm2d(filters, eps=eps))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return F.relu(self.main_layers(inputs) + self.skip_layers(inputs))


def notes_resnet34(keras: bool, eps: float) -> nn.Module:
    """The notes' network up to its softmax; ``keras`` chooses its padding of convolutions, or ours."""
    model = nn.Sequential(
        convolution(3, 64, 7, 2, keras),
        nn.BatchNorm2d(64, eps=eps),
        nn.ReLU(),
        Same(nn.MaxPool2d(3, 2), fill=-torch.inf),
    )
    prev_filters = 64
    for filters in [64] * 3 + [128] * 4 + [256] * 6 + [512] * 3:
        strides = 1 if filters == prev_filters else 2
        model.append(ResidualUnit(prev_filters, filters, strides, keras, eps))
        prev_filters = filters
    return model.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)])


def test_the_notes_network_has_our_shapes() -> None:
    with torch.device("meta"):
        ours, notes = ConvNet(MODELS["resnet34"].spec(), num_classes=10), notes_resnet34(keras=True, eps=1e-3)
    assert cost.parameters(ours) == cost.parameters(notes) == totals(34, num_classes=10)[0]
    maps = ours.features(torch.empty(1, 3, 224, 224, device="meta"), (2, 4, 8, 16, 32))
    x, shapes = torch.empty(1, 3, 224, 224, device="meta"), []
    for layer in notes[:-3]:
        x = layer(x)
        shapes.append(tuple(x.shape))
    # after conv1, and after the last unit of each row
    assert [tuple(found.shape) for found in maps] == [shapes[i] for i in (2, 6, 10, 16, 19)]


@torch.no_grad()
def test_the_notes_network_is_ours_but_for_padding_and_epsilon() -> None:
    ours = randomise(ConvNet(MODELS["resnet34"].spec(), num_classes=10))
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))

    def difference(keras: bool, eps: float) -> float:
        notes = notes_resnet34(keras, eps).eval()
        kinds = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)
        pairs = ([part for part in model.modules() if isinstance(part, kinds)] for model in (notes, ours))
        for theirs, mine in zip(*pairs, strict=True):
            theirs.load_state_dict(mine.state_dict())
        return ((notes(x) - ours(x)).abs().max() / ours(x).abs().max()).item()

    assert difference(keras=False, eps=1e-5) <= 1e-5
    assert difference(keras=True, eps=1e-5) > 1e-2
    assert difference(keras=False, eps=1e-3) > 1e-4


def test_the_notes_pool_is_caffes_at_even_sizes() -> None:
    even, odd = torch.randn(1, 2, 112, 112), torch.randn(1, 2, 113, 113)
    notes, caffe, padded = Same(nn.MaxPool2d(3, 2), fill=-torch.inf), MaxPool(padding=0).build(), MaxPool().build()
    assert torch.equal(notes(even), caffe(even))
    assert not torch.equal(notes(even), padded(even))
    assert torch.equal(notes(odd), padded(odd))
