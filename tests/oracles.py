"""Networks put together from other libraries' parts, where those libraries do not name them."""

import copy
from functools import partial

import timm
import torch
from pytorchcv.model_provider import get_model
from pytorchcv.models.common.arch import Hourglass
from pytorchcv.models.pyramidnet import PyrUnit, get_pyramidnet
from pytorchcv.models.resnext import ResNeXtUnit
from pytorchcv.models.resnext_cifar import get_resnext_cifar
from pytorchcv.models.sepreresnet import SEPreResUnit, get_sepreresnet
from pytorchcv.models.seresnet import get_seresnet
from pytorchcv.models.shakeshakeresnet_cifar import ShakeShakeResUnit, get_shakeshakeresnet_cifar
from pytorchcv.models.wrn_cifar import get_wrn_cifar
from timm.models.byobnet import BottleneckBlock
from timm.models.senet import SEModule, SENet, SEResNetBottleneck, SEResNeXtBottleneck
from torch import nn
from torchvision.models import DenseNet, GoogLeNet, Inception3
from torchvision.models.densenet import _DenseLayer
from torchvision.models.googlenet import Inception


def legacy_seresnet200() -> nn.Module:
    return SENet(SEResNetBottleneck, (3, 24, 36, 3), groups=1, reduction=16)


def legacy_seresnext101_64x4d() -> nn.Module:
    return SENet(SEResNeXtBottleneck, (3, 4, 23, 3), groups=64, reduction=16)


def wrn16_8() -> nn.Module:
    return get_wrn_cifar(num_classes=10, blocks=16, width_factor=8)


def gateless(model: nn.Module) -> nn.Module:
    """timm's legacy network with its gates taken out."""
    for part in model.modules():
        if hasattr(part, "se_module"):
            part.se_module = nn.Identity()
    return model


def with_gates(model: nn.Module) -> nn.Module:
    """pytorchcv's plain pre-activation network for 32x32 pictures, with pytorchcv's gated units in its units' places.

    Its own ``sepreresnet*_cifar10`` differ from the plain networks by more than gates: in the stem and before the pool.
    """
    for stage in model.features:
        for name, unit in list(stage.named_children()) if isinstance(stage, nn.Sequential) else []:
            convs = [part for part in unit.body.modules() if isinstance(part, nn.Conv2d)]
            stride = max(conv.stride[0] for conv in convs)
            gated = SEPreResUnit(
                convs[0].in_channels, convs[-1].out_channels, stride, bottleneck=len(convs) == 3, conv1_stride=False
            )
            setattr(stage, name, gated)
    return model


def pooled_whole(name: str) -> nn.Module:
    """pytorchcv's network for pictures of any size; its own last pool takes 7x7 pixels."""
    unnamed = {"seresnetbc14b": get_seresnet, "sepreresnetbc14b": get_sepreresnet}  # built there, without a name
    model = unnamed[name](blocks=14, bottleneck=True, conv1_stride=False) if name in unnamed else get_model(name)
    model.features.final_pool = nn.AdaptiveAvgPool2d(1)
    return model


def shaken_resnet26_96d() -> nn.Module:
    """pytorchcv's Shake-Shake-ResNet, with ReLUs where the author's ``shakeshakeblock.lua`` has them.

    There a ReLU opens each branch and each shortcut that changes shape, and stands before the pool; none follows a sum.
    """
    model = get_shakeshakeresnet_cifar(num_classes=10, blocks=26, bottleneck=False, first_stage_channels=96)
    for unit in [part for part in model.modules() if isinstance(part, ShakeShakeResUnit)]:
        unit.activ = nn.Identity()
        for name in {"branch1", "branch2", "identity_branch"} & set(dict(unit.named_children())):
            setattr(unit, name, nn.Sequential(nn.ReLU(), getattr(unit, name)))
    model.features.init_block.activ = nn.Identity()
    model.features.final_pool = nn.Sequential(nn.ReLU(), model.features.final_pool)
    return model


def shaken_resnext29_4x64d() -> nn.Module:
    """pytorchcv's ResNeXt-29 4x64d with two bodies in each unit, mixed as in eval mode."""
    model = get_resnext_cifar(num_classes=100, blocks=29, cardinality=4, bottleneck_width=64)
    for unit in [part for part in model.modules() if isinstance(part, ResNeXtUnit)]:
        unit.body = Mean(unit.body, copy.deepcopy(unit.body))
    return model


class Mean(nn.Module):
    """The mean of two branches."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.first(x) + self.second(x)) / 2


def gate_after_each_relu(model: nn.Module) -> nn.Module:
    """torchvision's VGG or AlexNet with timm's gate behind every ReLU of its convolutions."""
    layers, width = [], 0
    for layer in model.features:
        width = layer.out_channels if isinstance(layer, nn.Conv2d) else width
        layers += [layer, SEModule(width, 16)] if isinstance(layer, nn.ReLU) else [layer]
    model.features = nn.Sequential(*layers)
    return model


def gate_in_each_dense_layer(model: nn.Module) -> nn.Module:
    """torchvision's DenseNet with timm's gate on the new maps of every dense layer."""
    for layer in [part for part in model.modules() if isinstance(part, _DenseLayer)]:
        layer.conv2 = nn.Sequential(layer.conv2, SEModule(layer.conv2.out_channels, 16))
    return model


def gate_at_each_end(model: nn.Module) -> nn.Module:
    """pytorchcv's Network in Network with timm's gate at the end of every stage."""
    for stage in model.features:
        stage.add_module("se", SEModule([part for part in stage if hasattr(part, "conv")][-1].conv.out_channels, 16))
    return model


def pyramidnet_200(alpha: int) -> nn.Module:
    model = get_pyramidnet(blocks=200, alpha=alpha)
    model.features.final_pool = nn.AdaptiveAvgPool2d(1)
    return model


def torch_preresnet200() -> nn.Module:
    """pytorchcv's pre-activation ResNet-200b without the first unit's norm and ReLU."""
    model = pooled_whole("preresnet200b")
    model.features.stage1.unit1.body.conv1.bn = nn.Identity()
    model.features.stage1.unit1.body.conv1.activ = nn.Identity()
    return model


def gate_behind_last_1x1(model: nn.Module) -> nn.Module:
    """pytorchcv's network of pre-activation bottlenecks with timm's gate on each branch's output."""
    for body in [part for part in model.modules() if hasattr(part, "conv3")]:
        body.conv3 = nn.Sequential(body.conv3, SEModule(body.conv3.conv.out_channels, 16))
    return model


def gate_behind_last_norm(model: nn.Module) -> nn.Module:
    """pytorchcv's PyramidNet with timm's gate behind the batch norm that ends each branch."""
    for unit in [part for part in model.modules() if isinstance(part, PyrUnit)]:
        unit.bn = nn.Sequential(unit.bn, SEModule(unit.bn.num_features, 16))
    return model


def dpn(name: str) -> nn.Module:
    """timm's Dual Path Network with its authors' ReLU before the mean."""
    return timm.create_model(name, fc_act_layer="relu")


def gate_on_both_paths(model: nn.Module) -> nn.Module:
    """timm's Dual Path Network with timm's gate on the output of each unit's last 1x1."""
    for unit in [part for part in model.modules() if hasattr(part, "c1x1_c")]:
        unit.c1x1_c = nn.Sequential(unit.c1x1_c, SEModule(unit.c1x1_c.conv.out_channels, 16))
    return model


def attention(name: str) -> nn.Module:
    """pytorchcv's Residual Attention Network, its trunk and inner shortcuts before the ways down and up."""
    model = pooled_whole(name)
    for hourglass in [part for part in model.modules() if isinstance(part, Hourglass)]:
        for way in ("down_seq", "up_seq"):
            _move_last(hourglass, way)
    return model


def xception() -> nn.Module:
    """timm's port of Xception, its shortcuts behind their branches."""
    model = timm.create_model("legacy_xception")
    for block in [part for part in model.modules() if getattr(part, "skip", None) is not None]:
        _move_last(block, "skip")
        _move_last(block, "skipbn")
    return model


def byobnet(name: str) -> nn.Module:
    """timm's ByobNet, its shortcuts behind their branches."""
    model = timm.create_model(name)
    for block in [part for part in model.modules() if isinstance(part, BottleneckBlock) and part.shortcut]:
        _move_last(block, "shortcut")
    return model


def gate_on_each_xception_branch(model: nn.Module) -> nn.Module:
    """timm's Xception with timm's gate behind each unit's branch."""
    for block in [part for part in model.modules() if hasattr(part, "rep")]:
        width = [part for part in block.rep if isinstance(part, nn.BatchNorm2d)][-1].num_features
        block.rep.append(SEModule(width, 16))
    return model


def _move_last(module: nn.Module, name: str) -> None:
    """Define a part last, so that the layers' order is ours."""
    part = getattr(module, name)
    delattr(module, name)
    module.add_module(name, part)


def airbench(widths: tuple[int, ...] = (64, 192, 192), *, gated: bool) -> nn.Module:
    """airbench94's layers in their order (KellerJordan/cifar10-airbench), with timm's gates behind the second norms."""
    layers, before = [nn.Conv2d(3, 24, 2), nn.GELU()], 24
    for width in widths:
        layers += [nn.Conv2d(before, width, 3, padding="same", bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(width)]
        layers += [nn.GELU(), nn.Conv2d(width, width, 3, padding="same", bias=False), nn.BatchNorm2d(width)]
        layers += [*([SEModule(width, 16)] if gated else []), nn.GELU()]
        before = width
    return nn.Sequential(*layers, nn.MaxPool2d(3), nn.Flatten(), nn.Linear(before, 10))


def densenet264() -> nn.Module:
    return DenseNet(32, (6, 12, 64, 48), 64)


class ConvReLU(nn.Sequential):
    """A convolution with a bias, and a ReLU."""

    def __init__(self, channels: int, width: int, kernel_size: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__(nn.Conv2d(channels, width, kernel_size, stride, padding), nn.ReLU())


def original_googlenet() -> nn.Module:
    """torchvision's GoogLeNet with the original's layers: no batch norm, 5x5, LRN, and 3x3 in every pool."""
    unit = partial(Inception, conv_block=ConvReLU)
    model = GoogLeNet(aux_logits=False, init_weights=False, blocks=[ConvReLU, unit, nn.Identity])
    for module in [part for part in model.modules() if isinstance(part, Inception)]:
        three = module.branch3[1][0]
        module.branch3[1] = ConvReLU(three.in_channels, three.out_channels, 5, padding=2)
    lrn = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)
    model.maxpool1, model.maxpool2 = nn.Sequential(model.maxpool1, lrn), nn.Sequential(lrn, model.maxpool2)
    model.maxpool4 = nn.MaxPool2d(3, 2, ceil_mode=True)
    return model


def unbiased_bn_inception() -> nn.Module:
    """pytorchcv's BN-Inception without the biases before its batch norms."""
    model = pooled_whole("bninception")
    for conv in [part for part in model.modules() if isinstance(part, nn.Conv2d)]:
        conv.bias = None
    return model


def inception_v3() -> nn.Module:
    return Inception3(aux_logits=False, init_weights=False)


def inception_resnet_v1() -> nn.Module:
    """pytorchcv's Inception-ResNet v1 without its layer of features for faces."""
    model = pooled_whole("inceptionresnetv1")
    model.output.fc1, model.output.bn, model.output.fc2 = nn.Identity(), nn.Identity(), nn.Linear(1792, 1000)
    return model


INCEPTION_UNITS = {
    *("Inception", "InceptionA", "InceptionB", "InceptionC", "InceptionD", "InceptionE", "InceptionBlock"),
    *("ReductionA", "ReductionB", "ReductionBlock"),
}


def gate_behind_each_inception(model: nn.Module) -> nn.Module:
    """Another library's Inception network with timm's gate on the output of every module."""
    places = [
        (parent, name, unit)
        for parent in model.modules()
        for name, unit in parent.named_children()
        if type(unit).__name__ in INCEPTION_UNITS
    ]
    widths: dict[nn.Module, int] = {}
    for _, _, unit in places:
        unit.register_forward_hook(lambda unit, _, y: widths.update({unit: y.shape[1]}))
    model.eval()(torch.zeros(1, 3, 96, 96))
    for parent, name, unit in places:
        setattr(parent, name, nn.Sequential(unit, SEModule(widths[unit], 16)))
    return model


def gate_on_each_widened_branch(model: nn.Module) -> nn.Module:
    """timm's or pytorchcv's Inception-ResNet with timm's gate behind the last 1x1 of every residual branch."""
    for block in [part for part in model.modules() if hasattr(part, "scale")]:
        name = "conv2d" if hasattr(block, "conv2d") else "conv"
        conv = getattr(block, name)
        setattr(block, name, nn.Sequential(conv, SEModule(conv.out_channels, 16)))
    return model


class CaffeHighway(nn.Module):
    """``CuDNNHighway`` of the authors' Caffe, with timm's gate behind its ReLU where there is one."""

    def __init__(self, width: int, gate: nn.Module) -> None:
        super().__init__()
        self.cell = nn.Conv2d(width, width, 3, padding=1)
        self.gate = gate
        self.transform_gate = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        cell, transform = self.gate(self.cell(x).clamp(min=0)), self.transform_gate(x).sigmoid()
        return cell * transform + x * (1 - transform)


def highway19(*, gated: bool) -> nn.Module:
    """The layers of the authors' ``cifar10_network.prototxt`` (flukeskywalker/highway-networks at 246c720)."""

    def gate(width: int) -> nn.Module:
        return SEModule(width, 16) if gated else nn.Identity()

    layers: list[nn.Module] = []
    channels = 3
    for number in range(1, 18):
        width = 32 if number <= 5 else 80 if number <= 11 else 128
        if number in (1, 6, 12):  # "Convolution" and "ReLU"; "CuDNNHighway" elsewhere
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(), gate(width)]
        else:
            layers.append(CaffeHighway(width, gate(width)))
        layers += [nn.MaxPool2d(2, 2)] if number in (5, 11) else []
        channels = width
    last = [nn.Conv2d(128, 100, 1), nn.ReLU(), nn.AvgPool2d(8, 8), nn.Flatten(), nn.Linear(100, 10)]
    return nn.Sequential(*layers, *last)
