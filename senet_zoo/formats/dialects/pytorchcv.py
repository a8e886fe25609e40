"""pytorchcv: ``features.stage1.unit1``, the same for all of its networks of our functions.

Two functions share names and shapes where the stride stands in the first 1x1 or in the 3x3: the A form and the B form
here. Of those that are no networks of this zoo, `_ambiguity` says so.
"""

from collections.abc import Collection, Mapping

from senet_zoo.formats.dialects.dialect import Dialect, Names, Rule, Shape, conv_bn, forward

_UNIT, _OURS = "features.stage{s+1}.unit{u+1}", "stages.{s}.{u}"
_HEAD = [
    Rule("output.{wb}", "classifier.{wb}"),
    Rule("output.fc.{wb}", "classifier.{wb}"),
    Rule("output.final_conv.conv.{wb}", "classifier.{wb}"),
]
_STEM = [
    conv_bn("features.init_block.conv", "stem.0"),
    conv_bn("features.init_block.conv{n+1}", "stem.{n}"),
    conv_bn("features.init_block", "stem.0"),
]
_RESIDUAL = [
    *_STEM,
    conv_bn(f"{_UNIT}.body.conv{{n}}", f"{_OURS}.branch.conv{{n}}"),
    conv_bn(f"{_UNIT}.identity_conv", f"{_OURS}.shortcut"),
    conv_bn(f"{_UNIT}.identity_block.conv", f"{_OURS}.shortcut"),  # behind the D form's average pool
    Rule(f"{_UNIT}.se.conv{{n}}.{{wb}}", f"{_OURS}.se.fc{{n}}.{{wb}}"),
    *_HEAD,
]


def _preactivated(theirs: str, ours: str) -> list[Rule]:
    return [
        Rule(f"{theirs}.body.conv1.bn.{{bn}}", f"{ours}.norm.{{bn}}"),
        Rule(f"{theirs}.body.conv{{n}}.bn.{{bn}}", f"{ours}.unit.branch.norm{{n}}.{{bn}}"),
        Rule(f"{theirs}.body.conv{{n}}.conv.weight", f"{ours}.unit.branch.conv{{n}}.weight"),
        Rule(f"{theirs}.identity_conv.weight", f"{ours}.unit.shortcut.weight"),
        Rule(f"{theirs}.se.conv{{n}}.{{wb}}", f"{ours}.unit.se.fc{{n}}.{{wb}}"),
    ]


_PREACTIVATION = [
    Rule("features.init_block.weight", "stem.conv.weight"),
    *_STEM,
    *_preactivated(_UNIT, _OURS),
    Rule("features.post_activ.bn.{bn}", "head.bn.{bn}"),
    *_HEAD,
]
_ATTENTION = [
    *_preactivated(f"{_UNIT}.init_blocks.blocks.block1", f"{_OURS}.before"),
    *_preactivated(f"{_UNIT}.hg.skip_seq.skip1.blocks.block{{k+1}}", f"{_OURS}.trunk.{{k}}"),
    *_preactivated(f"{_UNIT}.hg.skip_seq.skip{{k+2}}.skip1", f"{_OURS}.mask.across.{{k}}"),
    *_preactivated(f"{_UNIT}.hg.down_seq.down{{k+1}}.res_blocks.blocks.block1", f"{_OURS}.mask.down.{{k}}"),
    *_preactivated(f"{_UNIT}.hg.up_seq.up{{k+1}}.res_blocks.blocks.block1", f"{_OURS}.mask.up.{{k}}"),
    conv_bn(f"{_UNIT}.middle_block.conv{{k+1}}", f"{_OURS}.soft.{{k}}"),
    *_preactivated(f"{_UNIT}.final_block", f"{_OURS}.after"),
    *_PREACTIVATION,
]


def _pyramidal(last: int) -> list[Rule]:
    """Rules of a PyramidNet whose branches have ``last`` convolutions; a norm behind one is the next one's there."""
    return [
        *_STEM,
        Rule(f"{_UNIT}.body.conv1.bn.{{bn}}", f"{_OURS}.branch.norm1.{{bn}}"),
        Rule(f"{_UNIT}.body.conv{{n+1}}.bn.{{bn}}", f"{_OURS}.branch.conv{{n}}.bn.{{bn}}"),
        Rule(f"{_UNIT}.body.conv{{n}}.conv.weight", f"{_OURS}.branch.conv{{n}}.conv.weight"),
        Rule(f"{_UNIT}.bn.{{bn}}", f"{_OURS}.branch.conv{last}.bn.{{bn}}"),
        Rule("features.post_activ.bn.{bn}", "head.bn.{bn}"),
        *_HEAD,
    ]


_DUAL_PATH = [
    conv_bn("features.init_block", "stem"),
    conv_bn(f"{_UNIT}.conv_proj", f"{_OURS}.projection"),
    conv_bn(f"{_UNIT}.conv{{n}}", f"{_OURS}.branch.conv{{n}}"),
    Rule("features.final_block.activ.bn.{bn}", "head.bn.{bn}"),
    Rule("output.classifier.{wb}", "classifier.{wb}"),
]


def _separable(theirs: str, ours: str) -> list[Rule]:
    return [
        Rule(f"{theirs}.conv.dw_conv.weight", f"{ours}.depthwise.weight"),
        Rule(f"{theirs}.conv.pw_conv.weight", f"{ours}.pointwise.weight"),
        Rule(f"{theirs}.bn.{{bn}}", f"{ours}.bn.{{bn}}"),
    ]


_XCEPTION = [
    conv_bn("features.init_block.conv{n+1}", "stem.{n}"),
    *_separable(f"{_UNIT}.body.block{{n}}", f"{_OURS}.branch.conv{{n}}"),
    conv_bn(f"{_UNIT}.identity_conv", f"{_OURS}.shortcut"),
    *_separable("features.final_block.conv{n+1}", "stages.3.1.{n}"),
    *_HEAD,
]
_MOBILE = [
    *_STEM,
    conv_bn(f"{_UNIT}.dw_conv", f"{_OURS}.depthwise"),
    conv_bn(f"{_UNIT}.pw_conv", f"{_OURS}.pointwise"),
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
    conv_bn("features.stage1.unit{u+1}.conv{n}", "stages.0.{u}.conv{n}"),
    *[conv_bn(f"features.stage{s}.trans{s}.conv", f"stages.{s - 1}.0.conv1") for s in (2, 3, 4)],
    conv_bn("features.stage{s+1}.unit{u}.conv{n}", "stages.{s}.{u}.conv{n}"),  # behind the transition
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
        conv_bn(f"{theirs}.exp_conv", f"{ours}.expand"),
        conv_bn(f"{theirs}.dw_conv", f"{ours}.depthwise"),
        Rule(f"{theirs}.se.conv{{n}}.{{wb}}", f"{ours}.se.fc{{n}}.{{wb}}"),
        conv_bn(f"{theirs}.pw_conv", f"{ours}.project"),
    ]


_MNASNET = [
    conv_bn("features.init_block.conv1", "stem.0"),
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
    conv_bn("features.final_block.conv2", "head.conv1"),
    *_HEAD,
]


def _module(theirs: str, ours: str, singles: dict[int, str], forks: dict[int, str] | None = None) -> list[Rule]:
    """Rules of a module.

    Args:
        theirs: its name there.
        ours: its name here.
        singles: branches of one convolution, from 1, and its position here, which a pool before it moves on.
        forks: branches that end in 1x3 and 3x1 side by side, from 1, and the position of both here.
    """
    branch = f"{theirs}.branches.branch"
    rules = [
        conv_bn(f"{branch}{number}.{name}", f"{ours}.branches.{position}")
        for number, position in singles.items()
        for name in ("conv", "conv_list.conv1")
    ]
    for number, position in (forks or {}).items():
        rules.append(conv_bn(f"{branch}{number}.conv1x3", f"{ours}.branches.{position}.branches.0"))
        rules.append(conv_bn(f"{branch}{number}.conv3x1", f"{ours}.branches.{position}.branches.1"))
    return [*rules, conv_bn(f"{branch}{{k+1}}.conv_list.conv{{n+1}}", f"{ours}.branches.{{k}}.{{n}}")]


_INIT = "features.init_block"
_INCEPTION_STEM = [conv_bn(f"{_INIT}.conv4", "stages.0.0.1"), conv_bn(f"{_INIT}.conv5", "stages.0.0.2"), *_STEM]
_POOLED = {1: "0", 4: "3.1"}

_INCEPTION_V3 = [
    *_INCEPTION_STEM,
    *_module("features.stage1.unit1", "stages.1.0.unit.1", _POOLED),
    *_module("features.stage2.unit1", "stages.2.0.unit", {1: "0"}),
    *_module("features.stage3.unit1", "stages.3.0.unit", {}),
    *_module("features.stage3.unit{u+1}", "stages.3.{u}.unit", _POOLED, {2: "1.1", 3: "2.2"}),
    *_module("features.stage{s}.unit{u+1}", "stages.{s}.{u}.unit", _POOLED),
    *_HEAD,
]

_INCEPTION_V4 = [
    *_STEM,
    *_module(f"{_INIT}.block1", "stages.0.0.0", {2: "1"}),
    *_module(f"{_INIT}.block2", "stages.0.0.1", {}),
    *_module(f"{_INIT}.block3", "stages.1.0", {1: "0"}),
    *_module("features.stage1.unit{u}", "stages.1.{u}.unit", _POOLED),
    *_module("features.stage2.unit1", "stages.2.0.unit", {1: "0"}),
    *_module("features.stage3.unit1", "stages.3.0.unit", {}),
    *_module("features.stage2.unit{u+1}", "stages.2.{u}.unit", _POOLED),
    *_module("features.stage3.unit{u+1}", "stages.3.{u}.unit", _POOLED, {2: "1.1", 3: "2.3"}),
    *_HEAD,
]


def _residual(theirs: str, ours: str) -> list[Rule]:
    return [
        *_module(theirs, f"{ours}.branch.unit", {1: "0"}),
        Rule(f"{theirs}.conv.{{wb}}", f"{ours}.branch.increase.{{wb}}"),
    ]


_INCEPTION_RESNET = [
    *_INCEPTION_STEM,
    *_module(f"{_INIT}.block", "stages.1.0.1", _POOLED),
    *_residual("features.stage1.unit{u}", "stages.1.{u}"),
    *_module("features.stage2.unit1", "stages.2.0", {1: "0"}),
    *_module("features.stage3.unit1", "stages.3.0", {}),
    *_residual("features.stage{s}.unit{u+1}", "stages.{s}.{u}"),
    conv_bn("features.final_conv", "stages.3.11"),
    *_HEAD,
]

# What tells the kinds of networks apart: the first tensor here that a file has.
_KINDS = {
    "features.stage2.trans2.conv.conv.weight": _DENSE,
    "features.stage1.unit2.middle_block.conv1.conv.weight": _ATTENTION,
    "features.final_block.activ.bn.weight": _DUAL_PATH,
    "features.final_block.conv1.conv.dw_conv.weight": _XCEPTION,
    "features.post_activ.bn.weight": _PREACTIVATION,
    "features.stage2.unit1.identity_conv.weight": _PREACTIVATION,  # without a last norm
    "features.stage4.unit1.conv.weight": _VGG,
    "output.fc3.weight": _ALEXNET,
    "features.final_block.conv2.conv.weight": _MNASNET,
    "features.final_conv.conv.weight": _INCEPTION_RESNET,
    "features.init_block.block1.branches.branch2.conv.conv.weight": _INCEPTION_V4,
    "features.stage1.unit1.branches.branch1.conv.conv.weight": _INCEPTION_V3,
    "features.stage1.unit1.body.conv1.conv.weight": _RESIDUAL,
    "features.stage1.unit1.conv.weight": _NETWORK_IN_NETWORK,
}


def _names(keys: Collection[str]) -> Names:
    if "features.stage1.unit1.bn.weight" in keys and "features.post_activ.bn.weight" in keys:
        return forward(_pyramidal(3 if "features.stage1.unit1.body.conv3.conv.weight" in keys else 2), keys)
    return forward(next((rules for name, rules in _KINDS.items() if name in keys), _MOBILE), keys)


_NOT_RESNET20 = {
    "features.stage3.unit4.body.conv2.conv.weight",
    "features.stage3.unit3.se.conv1.weight",
    "features.post_activ.bn.weight",
}


def _ambiguity(shapes: Mapping[str, Shape]) -> str | None:
    last = shapes.get("features.stage3.unit3.body.conv2.conv.weight")
    if last == (64, 64, 3, 3) and _NOT_RESNET20.isdisjoint(shapes):
        return "pytorchcv's shakedropresnet20 has the same names and shapes, and scales each branch"
    if "features.stage2.unit1.identity_block.conv.conv.weight" not in shapes:
        return None
    return (
        "pytorchcv has two networks of these names and shapes, one with its stride in the first 1x1 and one with it in "
        "the 3x3 (named ...b), and only the second is a network of this zoo: the other is another function"
    )


PYTORCHCV = Dialect("pytorchcv", "pytorchcv", _names, ambiguity=_ambiguity)
