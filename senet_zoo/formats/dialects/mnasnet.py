"""MnasNet-A1 as timm's ``semnasnet_100`` names its layers: ``blocks.1.0.conv_pw``."""

from senet_zoo.formats.dialects.dialect import Dialect, Rule, two_way


def _units(theirs: str, ours: str, layers: list[tuple[str, str, str]]) -> list[Rule]:
    """Rules of an inverted residual unit: its convolutions, the batch norm behind each, and our name for both."""
    return [
        rule
        for conv, norm, layer in layers
        for rule in (
            Rule(f"{theirs}.{conv}.weight", f"{ours}.{layer}.conv.weight"),
            Rule(f"{theirs}.{norm}.{{bn}}", f"{ours}.{layer}.bn.{{bn}}"),
        )
    ]


_EXPANDED = [("conv_pw", "bn1", "expand"), ("conv_dw", "bn2", "depthwise"), ("conv_pwl", "bn3", "project")]


def _stage(theirs: str, ours: str) -> list[Rule]:
    return [
        *_units(theirs, ours, _EXPANDED),
        Rule(f"{theirs}.se.conv_reduce.{{wb}}", f"{ours}.se.fc1.{{wb}}"),
        Rule(f"{theirs}.se.conv_expand.{{wb}}", f"{ours}.se.fc2.{{wb}}"),
    ]


_RULES = [
    Rule("conv_stem.weight", "stem.0.conv.weight"),
    Rule("bn1.{bn}", "stem.0.bn.{bn}"),
    *_units("blocks.0.0", "stages.0.0", [("conv_dw", "bn1", "depthwise"), ("conv_pw", "bn2", "project")]),
    *_stage("blocks.{s}.0", "stages.{s}.0"),  # no shortcut goes round the first unit of a stage
    *_stage("blocks.{s}.{b}", "stages.{s}.{b}.branch"),
    Rule("conv_head.weight", "head.conv1.conv.weight"),
    Rule("bn2.{bn}", "head.conv1.bn.{bn}"),
    Rule("classifier.{wb}", "classifier.{wb}"),
]

_names, _foreign = two_way(_RULES)

TIMM_MNASNET = Dialect("timm_mnasnet", "timm semnasnet_100", _names, _foreign)
