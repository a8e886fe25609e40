"""PaddleClas: the names of its residual networks, older (``bb_0_0.conv0._conv``) and newer (``blocks.0.conv0.conv``).

===============================================  =====================================================================
its network                                      here
===============================================  =====================================================================
SE_ResNeXt50_32x4d, SE_ResNeXt101_32x4d          se_resnext50b_32x4d, se_resnext101b_32x4d
SE_ResNet50_vd                                   se_resnet50d
SE_ResNet18_vd, 34_vd; without SE                se_resnet18_vd, se_resnet34_vd; resnet18_vd, resnet34_vd
SE_ResNeXt50_vd_32x4d, SENet154_vd               se_resnext50_vd_32x4d, senet154_vd
ResNet50, 101, 152; with _vd                     resnet50b, 101b, 152b; resnet50d, 101d, 152d
ResNeXt50_32x4d, ResNeXt101_32x4d, _64x4d        resnext50b_32x4d, resnext101b_32x4d, resnext101b_64x4d
ResNeXt50_vd_32x4d                               resnext50d_32x4d
===============================================  =====================================================================

Differs: the zoo has no function for its other networks, and their shapes show it. ResNet18 and ResNet34 project the
shortcut of their first unit, and ResNet200_vd has other depths. Its SE_ResNeXt152_64x4d does not run: its first unit
reads 64 channels of a stem that makes 128.

Source: https://github.com/PaddlePaddle/PaddleClas, ppcls/arch/backbone: model_zoo/se_resnext.py, se_resnext_vd.py,
se_resnet_vd.py, resnext.py, resnext_vd.py and legendary_models/resnet.py.
"""

import re
from bisect import bisect
from collections.abc import Collection, Mapping

from senet_zoo.formats.dialects.dialect import Dialect, Names, Rule, Shape, forward


def _pair(theirs: str, ours: str) -> list[Rule]:
    """A convolution and its batch norm, older and newer."""
    return [
        rule
        for conv, norm in (("_conv", "_batch_norm"), ("conv", "bn"))
        for rule in (
            Rule(f"{theirs}.{conv}.weight", f"{ours}.conv.weight"),
            Rule(f"{theirs}.{norm}.{{wb}}", f"{ours}.bn.{{wb}}"),
            Rule(f"{theirs}.{norm}._mean", f"{ours}.bn.running_mean"),
            Rule(f"{theirs}.{norm}._variance", f"{ours}.bn.running_var"),
        )
    ]


_UNIT, _OURS = "bb_{s}_{b}", "stages.{s}.{b}"
_RULES = [
    *_pair("conv", "stem.0"),
    *_pair("conv1_{n+1}", "stem.{n}"),
    *_pair("stem.{n}", "stem.{n}"),
    *_pair(f"{_UNIT}.conv{{n}}", f"{_OURS}.branch.conv{{n+1}}"),
    *_pair(f"{_UNIT}.short", f"{_OURS}.shortcut"),
    Rule(f"{_UNIT}.scale.squeeze.{{wb}}", f"{_OURS}.se.fc1.{{wb}}"),
    Rule(f"{_UNIT}.scale.excitation.{{wb}}", f"{_OURS}.se.fc2.{{wb}}"),
    Rule("out.{wb}", "classifier.{wb}"),
    Rule("fc.{wb}", "classifier.{wb}"),
]


def _names(keys: Collection[str]) -> Names:
    # Every stage starts with the only one of its units that projects the shortcut.
    starts = sorted(int(m[1]) for key in keys if (m := re.fullmatch(r"blocks\.(\d{1,3})\.short\.conv\.weight", key)))
    by_stage = {_by_stage(key, starts): key for key in keys}
    return {by_stage[name]: native for name, native in forward(_RULES, by_stage).items()}


def _by_stage(key: str, starts: list[int]) -> str:
    """``blocks.7.`` as ``bb_2_0.``, where the third stage starts with the eighth unit."""
    block = re.match(r"blocks\.(0|[1-9]\d{0,2})\.", key)
    stage = bisect(starts, int(block[1])) - 1 if block else -1
    return f"bb_{stage}_{int(block[1]) - starts[stage]}.{key[block.end() :]}" if block and stage >= 0 else key


def _ambiguity(shapes: Mapping[str, Shape]) -> str | None:
    for stem, unit, conv in (("conv1_1", "bb_0_0", "_conv"), ("stem.1", "blocks.0", "conv")):
        basic = f"{unit}.conv1.{conv}.weight" in shapes and f"{unit}.conv2.{conv}.weight" not in shapes
        if basic and f"{stem}.{conv}.weight" not in shapes:
            return "ResNet18 and ResNet34 project the shortcut of their first unit, which none does here behind a 7x7"
    return None


PADDLE = Dialect("paddle", "PaddleClas resnet, resnext, se_resnet, se_resnext", _names, ambiguity=_ambiguity)
