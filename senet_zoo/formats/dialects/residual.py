"""Residual networks, ``layer1.0.conv1``, and where each library has the gate; timm's MnasNet, ``blocks.1.0``."""

import re
from collections.abc import Collection, Mapping
from functools import partial

from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.formats.dialects.dialect import Dialect, Names, Rule, Shape, backward, forward, two_way

_PLAIN_STEM = [Rule("conv1.weight", "stem.0.conv.weight"), Rule("bn1.{bn}", "stem.0.bn.{bn}")]
_DEEP_STEM = [
    Rule("conv1.0.weight", "stem.0.conv.weight"),
    Rule("conv1.1.{bn}", "stem.0.bn.{bn}"),
    Rule("conv1.3.weight", "stem.1.conv.weight"),
    Rule("conv1.4.{bn}", "stem.1.bn.{bn}"),
    Rule("conv1.6.weight", "stem.2.conv.weight"),
    Rule("bn1.{bn}", "stem.2.bn.{bn}"),
]
_CLASSIFIER = [Rule("fc.{wb}", "classifier.{wb}")]
_TWO_CONVS = [("fc1", "fc1"), ("fc2", "fc2")]


def _blocks(gate: str, squeezes: list[tuple[str, str]], shortcut: int = 0, layer: str = "layer{l+1}") -> list[Rule]:
    """Rules of all blocks.

    Args:
        gate: name of the gate in a block.
        squeezes: names of its two layers, theirs and ours.
        shortcut: index of the convolution in ``downsample``; one up where an average pool stands before it.
        layer: name of a stage.
    """
    block, unit = f"{layer}.{{b}}", "stages.{l}.{b}"
    return [
        Rule(f"{block}.conv{{n}}.weight", f"{unit}.branch.conv{{n}}.conv.weight"),
        Rule(f"{block}.bn{{n}}.{{bn}}", f"{unit}.branch.conv{{n}}.bn.{{bn}}"),
        *[Rule(f"{block}.{gate}.{theirs}.{{wb}}", f"{unit}.se.{ours}.{{wb}}") for theirs, ours in squeezes],
        Rule(f"{block}.downsample.{shortcut}.weight", f"{unit}.shortcut.conv.weight"),
        Rule(f"{block}.downsample.{shortcut + 1}.{{bn}}", f"{unit}.shortcut.bn.{{bn}}"),
    ]


_CADENE_RULES = [
    Rule("layer0.conv{n+1}.weight", "stem.{n}.conv.weight"),
    Rule("layer0.bn{n+1}.{bn}", "stem.{n}.bn.{bn}"),
    *_blocks("se_module", _TWO_CONVS),
    Rule("last_linear.{wb}", "classifier.{wb}"),
]


def _timm_rules(deep: bool, averaged: bool) -> list[Rule]:
    return [*(_DEEP_STEM if deep else _PLAIN_STEM), *_blocks("se", _TWO_CONVS, int(averaged)), *_CLASSIFIER]


def _from_timm(keys: Collection[str]) -> Names:
    averaged = any(key.startswith("layer") and key.endswith(".downsample.2.weight") for key in keys)
    deep = "conv1.0.weight" in keys
    if deep and not averaged and not any(".se." in key for key in keys):
        return forward([*_DEEP_STEM, *_CLASSIFIER], keys)  # the C form, which the zoo lacks; SENet-154 has gates
    return forward(_timm_rules(deep, averaged), keys)


def _to_timm(keys: Collection[str], pools: Collection[str]) -> Names:
    averaged = any(".shortcut." in pool for pool in pools)
    return backward(_timm_rules("stem.2.conv.weight" in keys, averaged), keys)


# By units, whether they are bottlenecks, whether the stem is deep, and whether there are gates.
_LOOKALIKES = {
    (8, False, False, False): "resnetblur18 shrinks",
    (16, True, False, False): "resnetaa50 and resnetblur50 shrink",
    (16, True, True, False): "resnetaa50d and resnetblur50d shrink",
    (16, True, True, True): "seresnetaa50d shrinks",
    (33, True, True, False): "resnetaa101d and resnetblur101d shrink",
}


def _ambiguity(shapes: Mapping[str, Shape]) -> str | None:
    middle = shapes.get("layer1.0.conv2.weight", ())
    if len(middle) != 4 or middle[0] != middle[1]:
        return None  # of those, none is in groups
    units = sum(re.fullmatch(r"layer\d\.\d+\.conv1\.weight", name) is not None for name in shapes)
    gated = any(".se." in name for name in shapes)
    theirs = _LOOKALIKES.get((units, "layer1.0.conv3.weight" in shapes, "conv1.0.weight" in shapes, gated))
    return theirs and f"under the same names and shapes, timm's {theirs} maps by an average or a blur"


# With the classifier, or the backbone alone, as in mmdetection and mmsegmentation.
_MMPRETRAIN_RULES = [
    *[
        Rule(f"{before}{rule.foreign}", rule.native)
        for before in ("backbone.", "")
        for rule in (*_PLAIN_STEM, *_blocks("se_layer", [("conv1.conv", "fc1"), ("conv2.conv", "fc2")]))
    ],
    Rule("head.fc.{wb}", "classifier.{wb}"),
]


def _adn(theirs: str, ours: str) -> list[Rule]:
    """MONAI's convolution and the batch norm behind it."""
    return [Rule(f"{theirs}.conv.weight", f"{ours}.conv.weight"), Rule(f"{theirs}.adn.N.{{bn}}", f"{ours}.bn.{{bn}}")]


_MONAI_RULES = [
    Rule("layer0.conv{n+1}.weight", "stem.{n}.conv.weight"),
    Rule("layer0.bn{n+1}.{bn}", "stem.{n}.bn.{bn}"),
    *_adn("layer{l+1}.{b}.conv{n}", "stages.{l}.{b}.branch.conv{n}"),
    *_adn("layer{l+1}.{b}.project", "stages.{l}.{b}.shortcut"),
    Rule("layer{l+1}.{b}.se_layer.fc.0.{wb}", "stages.{l}.{b}.se.fc1.{wb}"),
    Rule("layer{l+1}.{b}.se_layer.fc.2.{wb}", "stages.{l}.{b}.se.fc2.{wb}"),
    Rule("last_linear.{wb}", "classifier.{wb}"),
]


def _layer(theirs: str, ours: str) -> list[Rule]:
    """A convolution of transformers and the batch norm behind it."""
    return [
        Rule(f"{theirs}.convolution.weight", f"{ours}.conv.weight"),
        Rule(f"{theirs}.normalization.{{bn}}", f"{ours}.bn.{{bn}}"),
    ]


# With the classifier, or without, where nothing stands before the names.
_TRANSFORMERS_RULES = [
    *[
        rule
        for before in ("resnet.", "")
        for rule in (
            *_layer(f"{before}embedder.embedder", "stem.0"),
            *_layer(f"{before}encoder.stages.{{l}}.layers.{{b}}.layer.{{n}}", "stages.{l}.{b}.branch.conv{n+1}"),
            *_layer(f"{before}encoder.stages.{{l}}.layers.{{b}}.shortcut", "stages.{l}.{b}.shortcut"),
        )
    ],
    Rule("classifier.1.{wb}", "classifier.{wb}"),
]


def _from_nvidia(keys: Collection[str]) -> Names:
    squeezes = [("squeeze", "fc1"), ("expand", "fc2")]
    # Releases up to 20.06 count the stages from 1, later ones from 0.
    layer = "layer{l+1}" if any(key.startswith("layer1.") for key in keys) else "layers.{l}"
    return forward([*_PLAIN_STEM, *_blocks("squeeze", squeezes, layer=layer), *_CLASSIFIER], keys)


CADENE = Dialect(
    "cadene", "Cadene's pretrainedmodels, timm legacy_*, segmentation_models.pytorch", *two_way(_CADENE_RULES)
)
TIMM_RESNET = Dialect(
    "timm_resnet", "timm resnet*, seresnet*, senet154; torchvision resnet*", _from_timm, _to_timm, _ambiguity
)
MONAI = Dialect("monai", "MONAI SENet154, SEResNet*, SEResNext*", *two_way(_MONAI_RULES), linear_gates=True)
"""Source: https://github.com/Project-MONAI/MONAI, monai/networks/nets/senet.py and blocks/squeeze_and_excitation.py."""
KERAS_RESNET, KERAS_RESNEXT = (
    Dialect(
        f"keras_{kind}",
        f"qubvel's classification_models in Keras, {kind}*",
        partial(forward, [Rule(f"{kind}.{rule.foreign}", rule.native) for rule in _CADENE_RULES]),
        preprocessing=lambda shapes: Preprocessing(size=224, resize=256),
    )
    for kind in ("seresnet", "seresnext")
)
"""Named by `senet_zoo.formats.keras`. Its pools are padded, so that these are the A form and the B form."""
TRANSFORMERS = Dialect("transformers", "transformers ResNet", partial(forward, _TRANSFORMERS_RULES))
"""Source: https://github.com/huggingface/transformers, src/transformers/models/resnet/modeling_resnet.py."""
MMPRETRAIN = Dialect("mmpretrain", "mmpretrain resnet, se-resnet", partial(forward, _MMPRETRAIN_RULES))
MOSKOMULE = Dialect(
    "moskomule",
    "moskomule's senet.pytorch",
    partial(forward, [*_PLAIN_STEM, *_blocks("se", [("fc.0", "fc1"), ("fc.2", "fc2")]), *_CLASSIFIER]),
)
NVIDIA = Dialect("nvidia", "NVIDIA DeepLearningExamples", _from_nvidia)


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


_INVERTED = [("conv_pw", "bn1", "expand"), ("conv_dw", "bn2", "depthwise"), ("conv_pwl", "bn3", "project")]


def _inverted(theirs: str, ours: str) -> list[Rule]:
    return [
        *_units(theirs, ours, _INVERTED),
        Rule(f"{theirs}.se.conv_reduce.{{wb}}", f"{ours}.se.fc1.{{wb}}"),
        Rule(f"{theirs}.se.conv_expand.{{wb}}", f"{ours}.se.fc2.{{wb}}"),
    ]


_MNASNET_RULES = [
    Rule("conv_stem.weight", "stem.0.conv.weight"),
    Rule("bn1.{bn}", "stem.0.bn.{bn}"),
    *_units("blocks.0.0", "stages.0.0", [("conv_dw", "bn1", "depthwise"), ("conv_pw", "bn2", "project")]),
    *_inverted("blocks.{s}.0", "stages.{s}.0"),  # no shortcut goes round the first unit of a stage
    *_inverted("blocks.{s}.{b}", "stages.{s}.{b}.branch"),
    Rule("conv_head.weight", "head.conv1.conv.weight"),
    Rule("bn2.{bn}", "head.conv1.bn.{bn}"),
    Rule("classifier.{wb}", "classifier.{wb}"),
]

TIMM_MNASNET = Dialect(
    "timm_mnasnet", "timm's mobile networks, of which semnasnet_100 and 075 are here", *two_way(_MNASNET_RULES)
)
