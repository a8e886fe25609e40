"""pytorchcv: ``features.stage1.unit1``, the same for all of its networks of our functions.

Its networks that are other functions share these names: SE-ResNet-50 with its stride in the first 1x1 and a padded
pool is neither the authors' nor the B form. Where shapes cannot tell, `_doubt` says so.
"""

from collections.abc import Collection, Mapping

from senet_zoo.hub.dialects.dialect import Dialect, Names, Rule, Shape, forward

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


def _names(keys: Collection[str]) -> Names:
    if "features.post_activ.bn.weight" in keys:
        return forward(_PREACTIVATION, keys)
    if "features.stage1.unit1.conv.weight" in keys:
        return forward(_NETWORK_IN_NETWORK, keys)
    if any(".body." in key for key in keys):
        return forward(_RESIDUAL, keys)
    return forward(_MOBILE, keys)


def _doubt(shapes: Mapping[str, Shape]) -> str | None:
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
