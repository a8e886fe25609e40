"""pytorchcv: ``features.stage1.unit1``, the same for all of its networks of our functions.

Its networks that are other functions share these names: SE-ResNet-50 with its stride in the first 1x1 and a padded
pool is neither the authors' nor the B form. Where shapes cannot tell, `_doubt` says so.
"""

from collections.abc import Collection, Mapping

from senet_zoo.formats.dialects import pytorchcv_inception
from senet_zoo.formats.dialects.dialect import Dialect, Names, Rule, Shape, forward

_UNIT, _OURS = "features.stage{s+1}.unit{u+1}", "stages.{s}.{u}"
_HEAD = [
    Rule("output.{wb}", "classifier.{wb}"),
    Rule("output.fc.{wb}", "classifier.{wb}"),
    Rule("output.final_conv.conv.{wb}", "classifier.{wb}"),
]
_STEM = [
    Rule("features.init_block.conv.conv.weight", "stem.0.conv.weight"),
    Rule("features.init_block.conv.bn.{bn}", "stem.0.bn.{bn}"),
    Rule("features.init_block.conv{n+1}.conv.weight", "stem.{n}.conv.weight"),
    Rule("features.init_block.conv{n+1}.bn.{bn}", "stem.{n}.bn.{bn}"),
    Rule("features.init_block.conv.weight", "stem.0.conv.weight"),
    Rule("features.init_block.bn.{bn}", "stem.0.bn.{bn}"),
]
_RESIDUAL = [
    *_STEM,
    Rule(f"{_UNIT}.body.conv{{n}}.conv.weight", f"{_OURS}.branch.conv{{n}}.conv.weight"),
    Rule(f"{_UNIT}.body.conv{{n}}.bn.{{bn}}", f"{_OURS}.branch.conv{{n}}.bn.{{bn}}"),
    Rule(f"{_UNIT}.identity_conv.conv.weight", f"{_OURS}.shortcut.conv.weight"),
    Rule(f"{_UNIT}.identity_conv.bn.{{bn}}", f"{_OURS}.shortcut.bn.{{bn}}"),
    Rule(f"{_UNIT}.se.conv{{n}}.{{wb}}", f"{_OURS}.se.fc{{n}}.{{wb}}"),
    *_HEAD,
]
_PREACTIVATION = [
    Rule("features.init_block.weight", "stem.conv.weight"),
    *_STEM,
    Rule(f"{_UNIT}.body.conv1.bn.{{bn}}", f"{_OURS}.norm.{{bn}}"),
    Rule(f"{_UNIT}.body.conv{{n}}.bn.{{bn}}", f"{_OURS}.unit.branch.norm{{n}}.{{bn}}"),
    Rule(f"{_UNIT}.body.conv{{n}}.conv.weight", f"{_OURS}.unit.branch.conv{{n}}.weight"),
    Rule(f"{_UNIT}.identity_conv.weight", f"{_OURS}.unit.shortcut.weight"),
    Rule(f"{_UNIT}.se.conv{{n}}.{{wb}}", f"{_OURS}.unit.se.fc{{n}}.{{wb}}"),
    Rule("features.post_activ.bn.{bn}", "head.bn.{bn}"),
    *_HEAD,
]
_MOBILE = [
    *_STEM,
    Rule(f"{_UNIT}.dw_conv.conv.weight", f"{_OURS}.depthwise.conv.weight"),
    Rule(f"{_UNIT}.dw_conv.bn.{{bn}}", f"{_OURS}.depthwise.bn.{{bn}}"),
    Rule(f"{_UNIT}.pw_conv.conv.weight", f"{_OURS}.pointwise.conv.weight"),
    Rule(f"{_UNIT}.pw_conv.bn.{{bn}}", f"{_OURS}.pointwise.bn.{{bn}}"),
    *[
        rule
        for number, (theirs, ours) in enumerate(
            (("compress", "reduce"), ("dw", "depthwise"), ("expand", "increase")), 1
        )
        for rule in (
            Rule(f"{_UNIT}.{theirs}_conv{number}.weight", f"{_OURS}.branch.{ours}.conv.weight"),
            Rule(f"{_UNIT}.{theirs}_bn{number}.{{bn}}", f"{_OURS}.branch.{ours}.bn.{{bn}}"),
        )
    ],
    *_HEAD,
]
_NETWORK_IN_NETWORK = [
    *[
        Rule(f"features.stage{{s+1}}.unit{unit}.conv.{{wb}}", f"stages.{{s}}.0.layers.{2 * unit - 2}.{{wb}}")
        for unit in (1, 2, 3)
    ],
    *_HEAD,
]
_DENSE = [
    *_STEM,
    Rule("features.stage1.unit{u+1}.conv{n}.{cn}", "stages.0.{u}.conv{n}.{cn}"),
    *[Rule(f"features.stage{s}.trans{s}.conv.{{cn}}", f"stages.{s - 1}.0.conv1.{{cn}}") for s in (2, 3, 4)],
    Rule("features.stage{s+1}.unit{u}.conv{n}.{cn}", "stages.{s}.{u}.conv{n}.{cn}"),  # behind the transition
    Rule("features.post_activ.bn.{bn}", "head.bn.{bn}"),
    *_HEAD,
]
_CHAIN_HEAD = [
    Rule("output.fc1.fc.{wb}", "head.layers.0.{wb}"),
    Rule("output.fc2.fc.{wb}", "head.layers.3.{wb}"),
    Rule("output.fc3.{wb}", "classifier.{wb}"),
]
_VGG = [
    Rule(f"{_UNIT}.conv.{{wb}}", f"{_OURS}.conv.{{wb}}"),
    Rule(f"{_UNIT}.bn.{{bn}}", f"{_OURS}.bn.{{bn}}"),
    *_CHAIN_HEAD,
]
_ALEXNET = [
    Rule("features.stage1.unit1.conv.{wb}", "stages.0.0.conv.{wb}"),
    Rule("features.stage2.unit1.conv.{wb}", "stages.1.0.conv.{wb}"),
    Rule("features.stage3.unit{u+1}.conv.{wb}", "stages.{u+2}.0.conv.{wb}"),
    *_CHAIN_HEAD,
]


def _inverted(theirs: str, ours: str) -> list[Rule]:
    return [
        Rule(f"{theirs}.exp_conv.{{cn}}", f"{ours}.expand.{{cn}}"),
        Rule(f"{theirs}.dw_conv.{{cn}}", f"{ours}.depthwise.{{cn}}"),
        Rule(f"{theirs}.se.conv{{n}}.{{wb}}", f"{ours}.se.fc{{n}}.{{wb}}"),
        Rule(f"{theirs}.pw_conv.{{cn}}", f"{ours}.project.{{cn}}"),
    ]


_MNASNET = [
    Rule("features.init_block.conv1.{cn}", "stem.0.{cn}"),
    *_inverted("features.init_block.conv2", "stages.0.0"),
    *_inverted("features.stage1.unit1", "stages.1.0"),
    *_inverted("features.stage2.unit1", "stages.2.0"),
    *_inverted("features.stage3.unit1", "stages.3.0"),
    *_inverted("features.stage3.unit5", "stages.4.0"),  # its third stage is two rows of the table
    *_inverted("features.stage3.unit6", "stages.4.1.branch"),
    *_inverted("features.stage4.unit1", "stages.5.0"),
    *_inverted("features.stage4.unit{u+1}", "stages.5.{u}.branch"),
    *_inverted("features.stage{s}.unit{u+1}", "stages.{s}.{u}.branch"),
    *_inverted("features.final_block.conv1", "stages.6.0"),
    Rule("features.final_block.conv2.{cn}", "head.conv1.{cn}"),
    *_HEAD,
]

# What tells the kinds of networks apart: the first tensor here that a file has.
_KINDS = {
    "features.stage2.trans2.conv.conv.weight": _DENSE,
    "features.post_activ.bn.weight": _PREACTIVATION,
    "features.stage4.unit1.conv.weight": _VGG,
    "output.fc3.weight": _ALEXNET,
    "features.final_block.conv2.conv.weight": _MNASNET,
    "features.final_conv.conv.weight": pytorchcv_inception.RESNET,
    "features.init_block.block1.branches.branch2.conv.conv.weight": pytorchcv_inception.V4,
    "features.stage1.unit1.branches.branch1.conv.conv.weight": pytorchcv_inception.V3,
    "features.stage1.unit1.body.conv1.conv.weight": _RESIDUAL,
    "features.stage1.unit1.conv.weight": _NETWORK_IN_NETWORK,
}


def _names(keys: Collection[str]) -> Names:
    return forward(next((rules for name, rules in _KINDS.items() if name in keys), _MOBILE), keys)


_NOT_RESNET20 = {
    "features.stage3.unit4.body.conv2.conv.weight",
    "features.stage3.unit3.se.conv1.weight",
    "features.post_activ.bn.weight",
}


def _doubt(shapes: Mapping[str, Shape]) -> str | None:
    last = shapes.get("features.stage3.unit3.body.conv2.conv.weight")
    if last == (64, 64, 3, 3) and _NOT_RESNET20.isdisjoint(shapes):
        return "pytorchcv's shakedropresnet20 has the same names and shapes, and scales each branch"
    # Without groups: its ResNeXt and SENet-154 have their stride in the 3x3 alone.
    middle = shapes.get("features.stage2.unit1.body.conv2.conv.weight", ())
    large = shapes.get("features.stage4.unit1.body.conv3.conv.weight")
    if large is None or len(middle) != 4 or middle[0] != middle[1]:
        return None
    return (
        "pytorchcv has two networks of these names and shapes, one with its stride in the first 1x1 and one with it in "
        "the 3x3 (named ...b)"
    )


PYTORCHCV = Dialect("pytorchcv", "pytorchcv", _names, doubt=_doubt)
