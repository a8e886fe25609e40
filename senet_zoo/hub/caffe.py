"""The authors' Caffe networks, turned into what PyTorch expects: RGB pictures, and classes in the usual order.

Two things stand between a .caffemodel and our networks besides the names of its layers
(`senet_zoo.hub.dialects.caffe`).

Its input is BGR pixels from 0 to 255 minus a mean. It becomes ours without an error at the borders: Caffe pads the
first convolution with zeros after the mean was taken away, and so do we. With another mean the difference is a
constant, which the first batch norm could take up inside the picture, but not where the window hangs over the edge.
`PREPROCESSING` therefore has the authors' own mean, (123, 117, 104) / 255, and ImageNet's standard deviation: their
pixel is our value times 255 * std, a factor of each channel that goes into the filters. ImageNet's usual mean,
(0.485, 0.456, 0.406), is up to 0.72 grey levels away.

Its classes stand in the order of ILSVRC-2017's development kit, counted from 0: ``ilsvrc2017_synsets.txt`` has their
WordNet ids, one a line.

Source: the prototxt files of https://github.com/hujie-frank/SENet (mean), its README (crop and resize), and issues 53,
63 and 90 there. The order is what ``ILSVRC2017_val.txt`` there says of each of the 50,000 pictures whose WordNet ids
are known, and that of the kit's ``map_clsloc.txt``. https://github.com/albanie/mcnSENets took the same order from that
file and measured the authors' accuracy with it: 22.30 % top-1 error of SE-ResNet-50, where they say 22.37 %, and
24.16 % of SE-BN-Inception, where they say 23.62 %.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from senet_zoo.errors import WeightsMismatch
from senet_zoo.hub.caffemodel import read_caffemodel
from senet_zoo.hub.dialects.caffe import FIRST, RGB
from senet_zoo.hub.remarks import Remarks
from senet_zoo.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(size=224, resize=256, mean=(123 / 255, 117 / 255, 104 / 255))
"""How a picture becomes the input of the authors' networks once `take_rgb` has turned them."""

_log = logging.getLogger("senet_zoo")


def read_caffe(path: Path) -> tuple[dict[str, Tensor], Remarks]:
    """The tensors of a .caffemodel for RGB pictures and with classes in the usual order, and what is known of them.

    A classifier of 1000 classes is the authors'. Of any other nothing says what its classes are, or which mean its
    pictures had taken away: they stay in their order, and the mean is for the user to give.

    Raises:
        WeightsMismatch: it holds another network.
        WeightsError: as of `read_caffemodel`.
    """
    tensors = take_rgb(read_caffemodel(path))
    classes = tensors["classifier.weight"].shape[:1] if "classifier.weight" in tensors else None
    if classes == (len(synsets()),):
        return usual_label_order(tensors), Remarks(PREPROCESSING, labels="imagenet-1k")
    _log.warning(
        "%s has not the authors' %d classes: they stay in their order, and pictures go in as RGB from 0 to 1 minus the "
        "mean of their training / 255, divided by %s",
        path,
        len(synsets()),
        PREPROCESSING.std,
    )
    return tensors, Remarks()


def take_rgb(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same network for RGB pictures that went through `PREPROCESSING`, not BGR pixels minus their mean.

    The filters over the pictures get another name, ``..._rgb``, which is the only one that `CAFFE` knows: none passes
    that was not turned.

    Args:
        tensors: under the names of the .caffemodel.

    Raises:
        WeightsMismatch: there is no first convolution over three channels.
    """
    found = [name for name in FIRST if name in tensors]
    if len(found) != 1 or tensors[found[0]].ndim != 4 or tensors[found[0]].shape[1] != 3:
        raise WeightsMismatch(
            f"a .caffemodel of the authors' networks has filters over three channels, named {' or '.join(FIRST)}; of "
            f"these, the file has {len(found)}. Give SE-ResNet, SE-ResNeXt, SENet-154 or SE-BN-Inception"
        )
    first = found[0]
    scale = 255 * torch.tensor(PREPROCESSING.std, dtype=torch.float64)
    weight = (tensors[first].flip(1).double() * scale[:, None, None]).float()
    return {
        name + RGB if name == first else name: weight if name == first else value for name, value in tensors.items()
    }


def usual_label_order(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same network with the authors' classes in the usual order of ImageNet-1k, that of sorted WordNet ids.

    Args:
        tensors: with a classifier of 1000 classes, ``classifier.weight`` and ``classifier.bias``.
    """
    order = synsets()
    rows = torch.tensor(sorted(range(len(order)), key=lambda index: order[index]))
    return {
        name: value[rows] if name.startswith("classifier.") and value.shape[:1] == rows.shape else value
        for name, value in tensors.items()
    }


def synsets() -> tuple[str, ...]:
    """WordNet id of each of the authors' logits, first to last."""
    return tuple(Path(__file__).with_name("ilsvrc2017_synsets.txt").read_text(encoding="ascii").split())
