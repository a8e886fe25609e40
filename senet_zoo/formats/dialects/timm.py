"""timm's dual path networks, ``features.conv2_1``, its Xception, ``block1.rep.0``, its ByobNets and CspNets."""

from collections.abc import Mapping
from functools import partial

from senet_zoo.formats.dialects.dialect import Dialect, Rule, Shape, conv_bn, forward, two_way

_UNIT, _OURS = "features.conv{s+2}_{u+1}", "stages.{s}.{u}"
_DPN = [
    conv_bn("features.conv1_1", "stem"),
    conv_bn("features.conv2_1.c1x1_w_s1", "stages.0.0.projection"),
    conv_bn("features.conv{s+2}_1.c1x1_w_s2", "stages.{s}.0.projection"),
    conv_bn(f"{_UNIT}.c1x1_a", f"{_OURS}.branch.conv1"),
    conv_bn(f"{_UNIT}.c3x3_b", f"{_OURS}.branch.conv2"),
    conv_bn(f"{_UNIT}.c1x1_c", f"{_OURS}.branch.conv3"),
    Rule("features.conv5_bn_ac.bn.{bn}", "head.bn.{bn}"),
    Rule("classifier.{wb}", "classifier.{wb}"),
]


def _separable(convolution: str, norm: str, ours: str) -> list[Rule]:
    return [
        Rule(f"{convolution}.conv1.weight", f"{ours}.depthwise.weight"),
        Rule(f"{convolution}.pointwise.weight", f"{ours}.pointwise.weight"),
        Rule(f"{norm}.{{bn}}", f"{ours}.bn.{{bn}}"),
    ]


def _xception_unit(number: int, ours: str, count: int) -> list[Rule]:
    """Rules of a block: a ReLU, a convolution and a norm for each of ``count``; the first block begins without ReLU."""
    rep, first = f"block{number}.rep", 0 if number == 1 else 1
    convolutions = [first + 3 * index for index in range(count)]
    return [
        *[
            rule
            for index, at in enumerate(convolutions, start=1)
            for rule in _separable(f"{rep}.{at}", f"{rep}.{at + 1}", f"{ours}.branch.conv{index}")
        ],
        Rule(f"block{number}.skip.weight", f"{ours}.shortcut.conv.weight"),
        Rule(f"block{number}.skipbn.{{bn}}", f"{ours}.shortcut.bn.{{bn}}"),
    ]


_XCEPTION = [
    Rule("conv1.weight", "stem.0.conv.weight"),
    Rule("bn1.{bn}", "stem.0.bn.{bn}"),
    Rule("conv2.weight", "stem.1.conv.weight"),
    Rule("bn2.{bn}", "stem.1.bn.{bn}"),
    *_xception_unit(1, "stages.0.0", 2),
    *_xception_unit(2, "stages.1.0", 2),
    *_xception_unit(3, "stages.2.0", 2),
    *[rule for number in range(4, 12) for rule in _xception_unit(number, f"stages.2.{number - 3}", 3)],
    *_xception_unit(12, "stages.3.0", 2),
    *_separable("conv3", "bn3", "stages.3.1.0"),
    *_separable("conv4", "bn4", "stages.3.1.1"),
    Rule("fc.{wb}", "classifier.{wb}"),
]


_BYOBNET = [
    conv_bn("stem.conv{n+1}", "stem.{n}"),
    conv_bn("stages.{s}.{b}.conv1_1x1", "stages.{s}.{b}.branch.conv1"),
    conv_bn("stages.{s}.{b}.conv2_kxk", "stages.{s}.{b}.branch.conv2"),
    conv_bn("stages.{s}.{b}.conv3_1x1", "stages.{s}.{b}.branch.conv3"),
    Rule("stages.{s}.{b}.attn.fc{n}.{wb}", "stages.{s}.{b}.branch.se.fc{n}.{wb}"),
    conv_bn("stages.{s}.{b}.shortcut", "stages.{s}.{b}.shortcut"),
    conv_bn("final_conv", "head.conv1"),
    Rule("head.fc.{wb}", "classifier.{wb}"),
]


_CSPNET = [
    conv_bn("stem.conv{n+1}", "stem.{n}"),
    conv_bn("stages.{s}.conv_down", "stages.{s}.0.down"),
    conv_bn("stages.{s}.conv_exp", "stages.{s}.0.expand"),
    conv_bn("stages.{s}.blocks.{b}.conv{n}", "stages.{s}.0.units.{b}.branch.conv{n}"),
    Rule("stages.{s}.blocks.{b}.attn.fc{n}.{wb}", "stages.{s}.0.units.{b}.branch.se.fc{n}.{wb}"),
    conv_bn("stages.{s}.conv_transition", "stages.{s}.0.transition"),
    Rule("head.fc.{wb}", "classifier.{wb}"),
]


def _dpn_ambiguity(shapes: Mapping[str, Shape]) -> str | None:
    return (
        "timm's dpn* end in an ELU, and their authors' and this zoo's in a ReLU; timm's mx_in1k files are the authors' "
        "weights, and what was trained in timm is another function"
    )


TIMM_DPN = Dialect("timm_dpn", "timm dpn*", partial(forward, _DPN), ambiguity=_dpn_ambiguity)
TIMM_XCEPTION = Dialect("timm_xception", "timm legacy_xception", *two_way(_XCEPTION))
TIMM_BYOBNET = Dialect("timm_byobnet", "timm's resnet33ts, resnext26ts and their SE forms", *two_way(_BYOBNET))
TIMM_CSPNET = Dialect("timm_cspnet", "timm's cs3darknet*, cs3edgenet* and their SE forms", *two_way(_CSPNET))
