"""The names of layers in the authors' Caffe networks, as their prototxt files give them.

A file is read by `senet_zoo.formats.caffe`, which turns its filters over BGR pixels into filters over RGB under another
name. Only that name is known here, so that no file passes whose filters take BGR.

Source: https://github.com/hujie-frank/SENet, models/.
"""

from senet_zoo.formats.dialects.dialect import Dialect, Rule, two_way

FIRST = ("conv1/7x7_s2.weight", "conv1_1/3x3_s2.weight")
"""Filters over the pictures: of SENet-154 the second, of all others the first."""

RGB = "_rgb"
"""What their names end in once they take RGB."""


def _norm(theirs: str, ours: str) -> list[Rule]:
    """The batch norm behind a convolution, which is two layers in Caffe."""
    return [
        Rule(f"{theirs}/bn.running_mean", f"{ours}.bn.running_mean"),
        Rule(f"{theirs}/bn.running_var", f"{ours}.bn.running_var"),
        Rule(f"{theirs}/bn/scale.{{wb}}", f"{ours}.bn.{{wb}}"),
    ]


def _pair(theirs: str, ours: str) -> list[Rule]:
    return [Rule(f"{theirs}.weight", f"{ours}.conv.weight"), *_norm(theirs, ours)]


def _gate(theirs: str, ours: str) -> list[Rule]:
    return [
        Rule(f"{theirs}_1x1_down.{{wb}}", f"{ours}.se.fc1.{{wb}}"),
        Rule(f"{theirs}_1x1_up.{{wb}}", f"{ours}.se.fc2.{{wb}}"),
    ]


_STEM = [
    *[Rule(f"{name}{RGB}", "stem.0.conv.weight") for name in FIRST],
    *_norm("conv1/7x7_s2", "stem.0"),
    *_norm("conv1_1/3x3_s2", "stem.0"),
    *_pair("conv1_2/3x3", "stem.1"),
    *_pair("conv1_3/3x3", "stem.2"),
]
_UNIT, _OURS = "conv{s+2}_{b+1}", "stages.{s}.{b}"
_RESIDUAL = [
    *_pair(f"{_UNIT}_1x1_reduce", f"{_OURS}.branch.conv1"),
    *_pair(f"{_UNIT}_3x3", f"{_OURS}.branch.conv2"),
    *_pair(f"{_UNIT}_1x1_increase", f"{_OURS}.branch.conv3"),
    *_pair(f"{_UNIT}_1x1_proj", f"{_OURS}.shortcut"),
    *_gate(_UNIT, _OURS),
]
_BRANCHES = (
    ("1x1",),
    ("3x3_reduce", "3x3"),
    ("double3x3_reduce", "double3x3a", "double3x3b"),
    ("pool", "pool_proj"),
)


def _inception(module: str, ours: str, unit: str = "unit", halves: bool = False) -> list[Rule]:
    """A module, such as 3a.

    Args:
        module: its number and letter.
        ours: name of our block.
        unit: name of the concatenation in it.
        halves: whether it has stride 2, and so neither a 1x1 nor a convolution behind its pool.
    """
    theirs, rules = f"inception_{module}", _gate(f"inception_{module}", ours)
    for branch, layers in enumerate(_BRANCHES[1:3] if halves else _BRANCHES):
        for index, layer in enumerate(layers):
            if layer != "pool":
                inner = f".{index}" if len(layers) > 1 else ""
                rules += _pair(f"{theirs}/{layer}", f"{ours}.{unit}.branches.{branch}{inner}")
    return rules


_INCEPTION = [
    *_pair("conv2/3x3_reduce", "stages.0.0.0"),
    *_pair("conv2/3x3", "stages.0.0.1"),
    *_inception("3a", "stages.1.0", unit="unit.1"),  # behind a pool
    *_inception("3b", "stages.1.1"),
    *_inception("3c", "stages.2.0", halves=True),
    *[rule for index, letter in enumerate("abcd", 1) for rule in _inception(f"4{letter}", f"stages.2.{index}")],
    *_inception("4e", "stages.3.0", halves=True),
    *_inception("5a", "stages.3.1"),
    *_inception("5b", "stages.3.2"),
]
_RULES = [*_STEM, *_RESIDUAL, *_INCEPTION, Rule("classifier.{wb}", "classifier.{wb}")]

CAFFE = Dialect("caffe", "the authors' .caffemodel files", two_way(_RULES)[0])
