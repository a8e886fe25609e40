"""Inception v3, v4 and Inception-ResNet v2 as torchvision, timm and Cadene name their layers."""

from collections.abc import Mapping
from functools import partial

from senet_zoo.formats.dialects.dialect import Dialect, Rule, Shape, conv_bn, two_way


def _fork(theirs: str, ours: str) -> list[Rule]:
    """1x3 and 3x1 side by side."""
    return [conv_bn(f"{theirs}a", f"{ours}.branches.0"), conv_bn(f"{theirs}b", f"{ours}.branches.1")]


def _v3_module(theirs: str, ours: str, layers: list[tuple[str, str]]) -> list[Rule]:
    return [conv_bn(f"{theirs}.branch{name}", f"{ours}.branches.{position}") for name, position in layers]


_V3_A = [("1x1", "0"), ("5x5_{n+1}", "1.{n}"), ("3x3dbl_{n+1}", "2.{n}"), ("_pool", "3.1")]
_V3_B = [("1x1", "0"), ("7x7_{n+1}", "1.{n}"), ("7x7dbl_{n+1}", "2.{n}"), ("_pool", "3.1")]
_V3_C = [("1x1", "0"), ("3x3_1", "1.0"), ("3x3dbl_{n+1}", "2.{n}"), ("_pool", "3.1")]
_V3 = [
    conv_bn("Conv2d_1a_3x3", "stem.0"),
    conv_bn("Conv2d_2a_3x3", "stem.1"),
    conv_bn("Conv2d_2b_3x3", "stem.2"),
    conv_bn("Conv2d_3b_1x1", "stages.0.0.1"),
    conv_bn("Conv2d_4a_3x3", "stages.0.0.2"),
    *_v3_module("Mixed_5b", "stages.1.0.unit.1", _V3_A),
    *_v3_module("Mixed_5c", "stages.1.1.unit", _V3_A),
    *_v3_module("Mixed_5d", "stages.1.2.unit", _V3_A),
    *_v3_module("Mixed_6a", "stages.2.0.unit", [("3x3", "0"), ("3x3dbl_{n+1}", "1.{n}")]),
    *[
        rule
        for b, letter in enumerate("bcde", 1)
        for rule in _v3_module(f"Mixed_6{letter}", f"stages.2.{b}.unit", _V3_B)
    ],
    *_v3_module("Mixed_7a", "stages.3.0.unit", [("3x3_{n+1}", "0.{n}"), ("7x7x3_{n+1}", "1.{n}")]),
    *[
        rule
        for b, letter in enumerate("bc", 1)
        for rule in (
            *_v3_module(f"Mixed_7{letter}", f"stages.3.{b}.unit", _V3_C),
            *_fork(f"Mixed_7{letter}.branch3x3_2", f"stages.3.{b}.unit.branches.1.1"),
            *_fork(f"Mixed_7{letter}.branch3x3dbl_3", f"stages.3.{b}.unit.branches.2.2"),
        )
    ],
    Rule("fc.{wb}", "classifier.{wb}"),
    Rule("last_linear.{wb}", "classifier.{wb}"),  # Cadene's name
]


def _module(theirs: str, ours: str) -> list[Rule]:
    """A module of v4 or Inception-ResNet: branches of one layer, or of several by number."""
    return [
        conv_bn(f"{theirs}.branch{{k}}", f"{ours}.branches.{{k}}"),
        conv_bn(f"{theirs}.branch{{k}}.{{n}}", f"{ours}.branches.{{k}}.{{n}}"),
    ]


def _v4_c(theirs: str, ours: str) -> list[Rule]:
    """A module of 8x8, two of whose branches fork."""
    return [
        conv_bn(f"{theirs}.branch1_0", f"{ours}.branches.1.0"),
        *_fork(f"{theirs}.branch1_1", f"{ours}.branches.1.1"),
        conv_bn(f"{theirs}.branch2_{{n}}", f"{ours}.branches.2.{{n}}"),
        *_fork(f"{theirs}.branch2_3", f"{ours}.branches.2.3"),
        *_module(theirs, ours),
    ]


_V4 = [
    conv_bn("features.{n}", "stem.{n}"),
    conv_bn("features.3.conv", "stages.0.0.0.branches.1"),
    *_module("features.4", "stages.0.0.1"),
    conv_bn("features.5.conv", "stages.1.0.branches.0"),
    *[rule for b in range(1, 5) for rule in _module(f"features.{b + 5}", f"stages.1.{b}.unit")],
    *[rule for b in range(8) for rule in _module(f"features.{b + 10}", f"stages.2.{b}.unit")],
    *_module("features.18", "stages.3.0.unit"),
    *[rule for b in range(1, 4) for rule in _v4_c(f"features.{b + 18}", f"stages.3.{b}.unit")],
    Rule("last_linear.{wb}", "classifier.{wb}"),
]


def _residual(theirs: str, ours: str) -> list[Rule]:
    return [
        *_module(theirs, f"{ours}.branch.unit"),
        Rule(f"{theirs}.conv2d.{{wb}}", f"{ours}.branch.increase.{{wb}}"),
    ]


_RESNET = [
    conv_bn("conv2d_1a", "stem.0"),
    conv_bn("conv2d_2a", "stem.1"),
    conv_bn("conv2d_2b", "stem.2"),
    conv_bn("conv2d_3b", "stages.0.0.1"),
    conv_bn("conv2d_4a", "stages.0.0.2"),
    *_module("mixed_5b", "stages.1.0.1"),
    *_residual("repeat.{b}", "stages.1.{b+1}"),
    *_module("mixed_6a", "stages.2.0"),
    *_residual("repeat_1.{b}", "stages.2.{b+1}"),
    *_module("mixed_7a", "stages.3.0"),
    *_residual("block8", "stages.3.10"),
    *_residual("repeat_2.{b}", "stages.3.{b+1}"),
    conv_bn("conv2d_7b", "stages.3.11"),
    Rule("classif.{wb}", "classifier.{wb}"),
    Rule("last_linear.{wb}", "classifier.{wb}"),  # Cadene's name
]


def _ambiguity(classifiers: tuple[str, ...], shapes: Mapping[str, Shape]) -> str | None:
    if any(name in shapes for name in classifiers):
        return None
    return "without a classifier they may be an encoder's of segmentation_models.pytorch, which pads every 3x3"


TORCHVISION_INCEPTION = Dialect(
    "torchvision_inception",
    "torchvision and timm inception_v3",
    *two_way(_V3),
    auxiliary=lambda key: key.startswith("AuxLogits."),
)
TIMM_INCEPTION_V4 = Dialect(
    "timm_inception_v4",
    "timm inception_v4, Cadene's inceptionv4",
    *two_way(_V4),
    ambiguity=partial(_ambiguity, ("last_linear.weight",)),
)
TIMM_INCEPTION_RESNET = Dialect(
    "timm_inception_resnet",
    "timm inception_resnet_v2, Cadene's inceptionresnetv2",
    *two_way(_RESNET),
    ambiguity=partial(_ambiguity, ("classif.weight", "last_linear.weight")),
)
