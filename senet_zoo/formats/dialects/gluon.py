"""GluonCV's ResNeXts, SE-ResNeXts, SENets and ResNets of version 1b to 1e, by the names of ``save_parameters``.

=============================================  ==================================================================
its network                                    here
=============================================  ==================================================================
se_resnext50_32x4d, se_resnext101_32x4d, 64x4d  se_resnext50b_32x4d, se_resnext101b_32x4d, se_resnext101b_64x4d
resnext50_32x4d, resnext101_32x4d, 64x4d        resnext50b_32x4d, resnext101b_32x4d, resnext101b_64x4d
senet_154                                       senet154, because its pool has no padding
resnet18_v1b to resnet152_v1b                   resnet18b to resnet152b
resnet50_v1d, resnet101_v1d, resnet152_v1d      resnet50d, resnet101d, resnet152d
=============================================  ==================================================================

Differs: its other networks are other functions. ``se_resnet50_v1`` has biases before its batch norms, version 1c has
the C form, version 1e a wider stem.

Source: https://github.com/dmlc/gluon-cv, gluoncv/model_zoo: resnext.py, senet.py and resnetv1b.py.
"""

import re
from collections.abc import Collection
from functools import partial

from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.formats.dialects.dialect import Dialect, Names, Rule, forward

_STAGE = re.compile(r"features\.(\d{1,2})\.(\d{1,2}\.)(body|se|downsample)\.")
_UNIT, _OURS = "stage{s}.{b}", "stages.{s}.{b}"


def _pair(theirs: str, conv: str, norm: str, ours: str) -> list[Rule]:
    return [
        Rule(f"{theirs}{conv}.weight", f"{ours}.conv.weight"),
        Rule(f"{theirs}{norm}.gamma", f"{ours}.bn.weight"),
        Rule(f"{theirs}{norm}.beta", f"{ours}.bn.bias"),
        Rule(f"{theirs}{norm}.running_mean", f"{ours}.bn.running_mean"),
        Rule(f"{theirs}{norm}.running_var", f"{ours}.bn.running_var"),
    ]


_UNITS = [
    *_pair(f"{_UNIT}.body.", "0", "1", f"{_OURS}.branch.conv1"),
    *_pair(f"{_UNIT}.body.", "3", "4", f"{_OURS}.branch.conv2"),
    *_pair(f"{_UNIT}.body.", "6", "7", f"{_OURS}.branch.conv3"),
    *_pair(f"{_UNIT}.downsample.", "0", "1", f"{_OURS}.shortcut"),
    Rule(f"{_UNIT}.se.0.{{wb}}", f"{_OURS}.se.fc1.{{wb}}"),
    Rule(f"{_UNIT}.se.2.{{wb}}", f"{_OURS}.se.fc2.{{wb}}"),
    Rule("output.{wb}", "classifier.{wb}"),
]
_NUMBERED = [
    *_pair("features.", "0", "1", "stem.0"),
    *_pair("features.", "3", "4", "stem.1"),
    *_pair("features.", "6", "7", "stem.2"),
    *_UNITS,
]


def _named(deep: bool, averaged: bool) -> list[Rule]:
    """Rules of the ResNets, which name their layers."""
    stem = [*_pair("conv1.", "0", "1", "stem.0"), *_pair("conv1.", "3", "4", "stem.1")]
    stem += _pair("", "conv1.6", "bn1", "stem.2")
    unit, shift = "layer{s+1}.{b}.", int(averaged)
    return [
        *(stem if deep else _pair("", "conv1", "bn1", "stem.0")),
        *[rule for n in (1, 2, 3) for rule in _pair(unit, f"conv{n}", f"bn{n}", f"{_OURS}.branch.conv{n}")],
        *_pair(unit, f"downsample.{shift}", f"downsample.{shift + 1}", f"{_OURS}.shortcut"),
        Rule("fc.{wb}", "classifier.{wb}"),
    ]


def _numbered(keys: Collection[str], first: int) -> Names:
    """The stages come behind the stem and its pool; ``first`` is the number of the first."""
    if f"features.{first}.0.body.0.weight" not in keys:
        return {}
    staged = {_STAGE.sub(lambda m: f"stage{int(m[1]) - first}.{m[2]}{m[3]}.", key): key for key in keys}
    return {staged[name]: native for name, native in forward(_NUMBERED, staged).items()}


def _names(keys: Collection[str]) -> Names:
    if "features.0.weight" in keys:
        return _numbered(keys, 4)
    deep, averaged = "conv1.0.weight" in keys, "layer2.0.downsample.2.gamma" in keys
    return forward(_named(deep, averaged) if averaged or not deep else [], keys)  # not the C form


GLUON, GLUON_SENET = (
    Dialect(name, networks, names, preprocessing=lambda shapes: Preprocessing(size=224, resize=256))
    for name, networks, names in (
        ("gluon", "GluonCV se_resnext*, resnext*, resnet*_v1b, resnet*_v1d", _names),
        ("gluon_senet", "GluonCV senet_154", partial(_numbered, first=10)),
    )
)
"""Its ResNeXts pad the pool of the stem, and are the B form; its SENet-154 does not, and is the released one."""
