"""pytorchcv's Inception v3, v4 and Inception-ResNet v2: ``branches.branch2.conv_list.conv1``."""

from senet_zoo.formats.dialects.dialect import Rule


def _layer(theirs: str, ours: str) -> Rule:
    return Rule(f"{theirs}.{{cn}}", f"{ours}.{{cn}}")


def _module(theirs: str, ours: str, singles: dict[int, str], forks: dict[int, str] | None = None) -> list[Rule]:
    """Rules of a module.

    Args:
        theirs: its name there.
        ours: its name here.
        singles: branches of one convolution, from 1, and the place of that here. Behind a pool, it is not the branch's
            own.
        forks: branches that end in 1x3 and 3x1 side by side, from 1, and the place of both here.
    """
    branch = f"{theirs}.branches.branch"
    rules = [
        _layer(f"{branch}{number}.{name}", f"{ours}.branches.{place}")
        for number, place in singles.items()
        for name in ("conv", "conv_list.conv1")
    ]
    for number, place in (forks or {}).items():
        rules.append(_layer(f"{branch}{number}.conv1x3", f"{ours}.branches.{place}.branches.0"))
        rules.append(_layer(f"{branch}{number}.conv3x1", f"{ours}.branches.{place}.branches.1"))
    return [*rules, _layer(f"{branch}{{k+1}}.conv_list.conv{{n+1}}", f"{ours}.branches.{{k}}.{{n}}")]


_INIT, _UNIT = "features.init_block", "features.stage{s}.unit"
_STEM = [_layer(f"{_INIT}.conv{n + 1}", f"stem.{n}") for n in range(3)]
_SECOND_STEM = [_layer(f"{_INIT}.conv4", "stages.0.0.1"), _layer(f"{_INIT}.conv5", "stages.0.0.2")]
_HEAD = [Rule("output.fc.{wb}", "classifier.{wb}")]
_POOLED = {1: "0", 4: "3.1"}

V3 = [
    *_STEM,
    *_SECOND_STEM,
    *_module("features.stage1.unit1", "stages.1.0.unit.1", _POOLED),
    *_module("features.stage2.unit1", "stages.2.0.unit", {1: "0"}),
    *_module("features.stage3.unit1", "stages.3.0.unit", {}),
    *_module("features.stage3.unit{u+1}", "stages.3.{u}.unit", _POOLED, {2: "1.1", 3: "2.2"}),
    *_module("features.stage{s}.unit{u+1}", "stages.{s}.{u}.unit", _POOLED),
    *_HEAD,
]

V4 = [
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


RESNET = [
    *_STEM,
    *_SECOND_STEM,
    *_module(f"{_INIT}.block", "stages.1.0.1", _POOLED),
    *_residual("features.stage1.unit{u}", "stages.1.{u}"),
    *_module("features.stage2.unit1", "stages.2.0", {1: "0"}),
    *_module("features.stage3.unit1", "stages.3.0", {}),
    *_residual("features.stage{s}.unit{u+1}", "stages.{s}.{u}"),
    _layer("features.final_conv", "stages.3.11"),
    *_HEAD,
]
