"""The authors' Caffe networks: the names of their layers, their input and the order of their classes.

Three things stand between the tensors of a .caffemodel and our networks: an input of BGR pixels from 0 to 255 minus a
mean (`take_rgb`), names (`CAFFE`), and classes in another order (`usual_label_order`). The filters over the input are a
tensor of another name once they take RGB, and `CAFFE` knows that name only: no file passes that was not turned.

The input becomes ours without an error at the borders. Caffe pads the first convolution with zeros after the mean was
taken away, and so do we. With another mean the difference is a constant, which the first batch norm could take up
inside the picture, but not where the window hangs over the edge. `PREPROCESSING` therefore has the authors' own mean,
(123, 117, 104) / 255, and ImageNet's standard deviation: their pixel is our value times 255 * std, a factor of each
channel that goes into the filters. ImageNet's usual mean, (0.485, 0.456, 0.406), is up to 0.72 grey levels away.

Source: the prototxt files of https://github.com/hujie-frank/SENet and issues 53 and 90 there.

Differs: SE-BN-Inception is not read, for the names of its layers are not established here.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from senet_zoo.errors import UsageError, WeightsMismatch
from senet_zoo.hub.dialects.dialect import Dialect, Rule, two_way
from senet_zoo.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(size=224, resize=256, mean=(123 / 255, 117 / 255, 104 / 255))
"""How a picture becomes the input of a network that `take_rgb` has turned."""

SYNSETS_SHA256 = "385e0240499426c022b773be1ae4da780f057b89c9694c7f47199f62746b6edd"
"""Of the ids of the 1000 synsets of ILSVRC, sorted, one a line."""

_FIRST = ("conv1/7x7_s2.weight", "conv1_1/3x3_s2.weight")
_RGB = "_rgb"


def _norm(theirs: str, ours: str) -> list[Rule]:
    """The batch norm behind a convolution, which is two layers in Caffe."""
    return [
        Rule(f"{theirs}/bn.running_mean", f"{ours}.bn.running_mean"),
        Rule(f"{theirs}/bn.running_var", f"{ours}.bn.running_var"),
        Rule(f"{theirs}/bn/scale.{{wb}}", f"{ours}.bn.{{wb}}"),
    ]


def _pair(theirs: str, ours: str) -> list[Rule]:
    return [Rule(f"{theirs}.weight", f"{ours}.conv.weight"), *_norm(theirs, ours)]


_UNIT, _OURS = "conv{s+2}_{b+1}", "stages.{s}.{b}"
_RULES = [
    Rule(f"conv1/7x7_s2.weight{_RGB}", "stem.0.conv.weight"),
    *_norm("conv1/7x7_s2", "stem.0"),
    Rule(f"conv1_1/3x3_s2.weight{_RGB}", "stem.0.conv.weight"),
    *_norm("conv1_1/3x3_s2", "stem.0"),
    *_pair("conv1_2/3x3", "stem.1"),
    *_pair("conv1_3/3x3", "stem.2"),
    *_pair(f"{_UNIT}_1x1_reduce", f"{_OURS}.branch.conv1"),
    *_pair(f"{_UNIT}_3x3", f"{_OURS}.branch.conv2"),
    *_pair(f"{_UNIT}_1x1_increase", f"{_OURS}.branch.conv3"),
    *_pair(f"{_UNIT}_1x1_proj", f"{_OURS}.shortcut"),
    *_pair(f"{_UNIT}_3x3_proj", f"{_OURS}.shortcut"),  # should SENet-154 name its 3x3 projections by their size
    Rule(f"{_UNIT}_1x1_down.{{wb}}", f"{_OURS}.se.fc1.{{wb}}"),
    Rule(f"{_UNIT}_1x1_up.{{wb}}", f"{_OURS}.se.fc2.{{wb}}"),
    Rule("classifier.{wb}", "classifier.{wb}"),
]

CAFFE = Dialect("caffe", "the authors' .caffemodel files, read by take_rgb", two_way(_RULES)[0])


def take_rgb(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same network for pictures that went through `PREPROCESSING`, RGB, instead of BGR pixels minus their mean.

    The filters over the pictures get another name, ``..._rgb``.

    Args:
        tensors: under the names of the .caffemodel.

    Raises:
        WeightsMismatch: there is no first convolution over three channels.
    """
    found = [name for name in _FIRST if name in tensors]
    if len(found) != 1 or tensors[found[0]].ndim != 4 or tensors[found[0]].shape[1] != 3:
        raise WeightsMismatch(
            f"a .caffemodel of the authors' SE-ResNet, SE-ResNeXt or SENet-154 has filters over three channels, named "
            f"{' or '.join(_FIRST)}; of these, the file has {len(found)}. Give one of those networks"
        )
    first = found[0]
    scale = 255 * torch.tensor(PREPROCESSING.std, dtype=torch.float64)
    weight = (tensors[first].flip(1).double() * scale[:, None, None]).float()
    return {
        name + _RGB if name == first else name: weight if name == first else value for name, value in tensors.items()
    }


def read_synsets(path: Path) -> tuple[str, ...]:
    """The order of a network's classes, from a file whose lines start with WordNet ids: ``n02119789 kit fox``.

    Raises:
        UsageError: the file cannot be read, or is no list of the 1000 synsets of ILSVRC.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise UsageError(f"the list of synsets must be a readable text file, but {path} is not: {e}") from e
    synsets = tuple(line.split()[0] for line in lines if line.strip())
    _check_synsets(synsets)
    return synsets


def usual_label_order(tensors: Mapping[str, Tensor], synsets: Sequence[str]) -> dict[str, Tensor]:
    """The same network with its classes in the usual order of ImageNet-1k, that of the sorted WordNet ids.

    The authors trained with the labels of ILSVRC-2017, whose order is another one. It stands in the development kit of
    that year (``map_clsloc.txt``), not here: nothing in this tree could prove it.

    Args:
        tensors: with a classifier, ``classifier.weight`` and ``classifier.bias``, under the names of the .caffemodel
            or the zoo's.
        synsets: WordNet id of each logit of the file, first to last; see `read_synsets`.

    Raises:
        UsageError: these are not the 1000 synsets of ILSVRC, each once.
        WeightsMismatch: the classifier does not have 1000 classes.
    """
    _check_synsets(synsets)
    rows = torch.tensor(sorted(range(len(synsets)), key=lambda index: synsets[index]))
    result = dict(tensors)
    for name in ("classifier.weight", "classifier.bias"):
        classes = len(tensors[name]) if name in tensors else 0
        if classes != len(rows):
            raise WeightsMismatch(
                f"a list of {len(rows)} synsets orders a classifier of as many classes, but {name} has {classes}; "
                f"convert without the list"
            )
        result[name] = tensors[name][rows]
    return result


def _check_synsets(synsets: Sequence[str]) -> None:
    actual = hashlib.sha256("\n".join(sorted(synsets)).encode()).hexdigest()
    if actual != SYNSETS_SHA256:
        raise UsageError(
            f"the list must name the 1000 synsets of ILSVRC, each once, as n02119789; got {len(synsets)} lines, "
            f"{len(set(synsets))} of them distinct, that start with {', '.join(map(repr, synsets[:2]))}"
        )
