"""torchvision's networks of numbered layers, VGG and AlexNet, and DenseNet; timm's, which are the same layers.

timm's VGG has its two fully connected layers as convolutions; at 224 pixels, where those meet 7x7 pixels, it is the
same function.
"""

import re
from collections.abc import Collection
from functools import partial
from itertools import pairwise

from senet_zoo.formats.dialects.dialect import Dialect, Names, Rule, backward, forward

_ALEXNET = [
    *[
        Rule(f"features.{index}.{{wb}}", f"stages.{stage}.0.conv.{{wb}}")
        for stage, index in enumerate((0, 3, 6, 8, 10))
    ],
    Rule("classifier.1.{wb}", "head.layers.0.{wb}"),
    Rule("classifier.4.{wb}", "head.layers.3.{wb}"),
    Rule("classifier.6.{wb}", "classifier.{wb}"),
]
_VGG_HEAD = [
    Rule("classifier.0.{wb}", "head.layers.0.{wb}"),
    Rule("classifier.3.{wb}", "head.layers.3.{wb}"),
    Rule("classifier.6.{wb}", "classifier.{wb}"),
]
_TIMM_HEAD = [
    Rule("pre_logits.fc1.{wb}", "head.layers.0.{wb}"),
    Rule("pre_logits.fc2.{wb}", "head.layers.3.{wb}"),
    Rule("head.fc.{wb}", "classifier.{wb}"),
]


def _vgg(convolutions: list[tuple[int, int]], head: list[Rule]) -> list[Rule]:
    """Rules of a VGG with batch norm.

    Args:
        convolutions: stage and index in it, of each. Three layers stand for one, and a max pool ends a stage.
        head: rules of the fully connected layers.
    """
    rules, index = list(head), 0
    for number, (stage, block) in enumerate(convolutions):
        if number and convolutions[number - 1][0] != stage:
            index += 1
        rules.append(Rule(f"features.{index}.{{wb}}", f"stages.{stage}.{block}.conv.{{wb}}"))
        rules.append(Rule(f"features.{index + 1}.{{bn}}", f"stages.{stage}.{block}.bn.{{bn}}"))
        index += 3
    return rules


def _from_vgg(head: list[Rule], keys: Collection[str]) -> Names:
    norms = sorted(int(m[1]) for key in keys if (m := re.fullmatch(r"features\.(\d{1,3})\.running_mean", key)))
    convolutions, stage, block = [], 0, 0
    for before, index in pairwise([1, *norms]):
        if index - before > 3:
            stage, block = stage + 1, 0
        convolutions.append((stage, block))
        block += 1
    return forward(_vgg(convolutions, head), keys)


def _from_chain(keys: Collection[str]) -> Names:
    return forward(_ALEXNET, keys) if "classifier.1.weight" in keys else _from_vgg(_VGG_HEAD, keys)


def _to_chain(keys: Collection[str], pools: Collection[str]) -> Names:
    blocks = [re.fullmatch(r"stages\.(\d+)\.(\d+)\.bn\.running_mean", key) for key in keys]
    convolutions = sorted((int(m[1]), int(m[2])) for m in blocks if m)
    return backward(_vgg(convolutions, _VGG_HEAD) if convolutions else _ALEXNET, keys)


def _dense_block(number: int, first: int) -> list[Rule]:
    """Rules of a dense block, whose layer 1 is our block ``first``: before it stands the transition, if there is one.

    Files older than torchvision 0.3 put a point between ``norm`` and its number.
    """
    return [
        Rule(
            f"features.denseblock{number}.denselayer{{l+1}}.{layer}{point}{half}.{leaf}",
            f"stages.{number - 1}.{{l+{first}}}.conv{half}.{ours}.{leaf}",
        )
        for half in (1, 2)
        for layer, ours, leaf in (("norm", "bn", "{bn}"), ("conv", "conv", "weight"))
        for point in ("", ".")
    ]


_DENSENET = [
    Rule("features.conv0.weight", "stem.0.conv.weight"),
    Rule("features.norm0.{bn}", "stem.0.bn.{bn}"),
    Rule("features.transition{t}.norm.{bn}", "stages.{t}.0.conv1.bn.{bn}"),
    Rule("features.transition{t}.conv.weight", "stages.{t}.0.conv1.conv.weight"),
    *[rule for number in (1, 2, 3, 4) for rule in _dense_block(number, first=min(number - 1, 1))],
    Rule("features.norm5.{bn}", "head.bn.{bn}"),
    Rule("classifier.{wb}", "classifier.{wb}"),
]


def _to_densenet(keys: Collection[str], pools: Collection[str]) -> Names:
    # The first dense block has no transition before it.
    first = [key for key in keys if key.startswith("stages.0.")]
    rest = [key for key in keys if not key.startswith("stages.0.")]
    return {**backward(_dense_block(1, first=0), first), **backward(_DENSENET, rest)}


TORCHVISION_CHAIN = Dialect("torchvision_chain", "torchvision vgg*_bn, alexnet", _from_chain, _to_chain)
TIMM_VGG = Dialect("timm_vgg", "timm vgg*_bn", partial(_from_vgg, _TIMM_HEAD))
TORCHVISION_DENSENET = Dialect(
    "torchvision_densenet", "torchvision and timm densenet*", partial(forward, _DENSENET), _to_densenet
)
