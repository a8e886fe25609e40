"""Names of the same tensors in other libraries, as named maps to the zoo's own: one file a family of libraries.

A map is a function of all names in a file, because some names mean different things in different networks: ``bn1`` is
the first batch norm of a plain stem and the last of a deep one.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from math import prod
from types import MappingProxyType
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from senet_zoo.errors import UsageError, WeightsMismatch
from senet_zoo.formats.dialects.caffe import CAFFE
from senet_zoo.formats.dialects.dialect import Dialect, Names, Shape
from senet_zoo.formats.dialects.face import INSIGHTFACE, VGGFACE2
from senet_zoo.formats.dialects.gluon import GLUON, GLUON_SENET
from senet_zoo.formats.dialects.inception import TIMM_INCEPTION_RESNET, TIMM_INCEPTION_V4, TORCHVISION_INCEPTION
from senet_zoo.formats.dialects.paddle import PADDLE
from senet_zoo.formats.dialects.pytorchcv import PYTORCHCV
from senet_zoo.formats.dialects.residual import (
    CADENE,
    KERAS_RESNET,
    KERAS_RESNEXT,
    MMPRETRAIN,
    MONAI,
    MOSKOMULE,
    NVIDIA,
    TIMM_MNASNET,
    TIMM_RESNET,
    TRANSFORMERS,
)
from senet_zoo.formats.dialects.timm import TIMM_BYOBNET, TIMM_CSPNET, TIMM_DPN, TIMM_XCEPTION
from senet_zoo.formats.dialects.torchvision import TIMM_VGG, TORCHVISION_CHAIN, TORCHVISION_DENSENET

__all__ = [
    "CADENE",
    "DIALECTS",
    "INSIGHTFACE",
    "MONAI",
    "NATIVE",
    "TIMM_RESNET",
    "Dialect",
    "Names",
    "Shape",
    "match",
    "recognise",
    "translate",
    "translate_back",
]

_V = TypeVar("_V", Tensor, Shape)

_GATE = re.compile(r"\.se\.fc[12]\.weight")
_MATRIX = re.compile(rf"{_GATE.pattern}|^classifier\.weight|^head\.layers\.\d+\.weight")


# Words of our modules have no underscore, and heads have no layer called fc, unlike those of timm's ByobNet.
_NATIVE = re.compile(
    r"(?:classifier|(?:stem|head(?!\.fc\.)|stages\.\d+\.\d+)(?:\.[a-z]+\d*|\.\d+)+)"
    r"\.(?:weight|bias|running_mean|running_var|num_batches_tracked)"
)


def _native(keys: Collection[str]) -> Names:
    return {key: key for key in keys if _NATIVE.fullmatch(key)}


NATIVE = Dialect("native", "senet_zoo", _native)

DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        dialect.name: dialect
        for dialect in (
            NATIVE,
            CADENE,
            TIMM_RESNET,
            PYTORCHCV,
            MMPRETRAIN,
            MOSKOMULE,
            NVIDIA,
            MONAI,
            TRANSFORMERS,
            TORCHVISION_CHAIN,
            TORCHVISION_DENSENET,
            TORCHVISION_INCEPTION,
            TIMM_INCEPTION_V4,
            TIMM_INCEPTION_RESNET,
            TIMM_MNASNET,
            TIMM_VGG,
            TIMM_DPN,
            TIMM_XCEPTION,
            TIMM_BYOBNET,
            GLUON,
            GLUON_SENET,
            KERAS_RESNET,
            KERAS_RESNEXT,
            INSIGHTFACE,
            VGGFACE2,
            TIMM_CSPNET,
            CAFFE,
            PADDLE,
        )
    }
)
"""By name. Where two know every name of a file, the first one has it: a plain ResNet of many libraries."""


class _OtherNetwork(NamedTuple):
    """A network of another library that no model of the zoo is."""

    network: str
    telltales: frozenset[str]
    """Tensors that it alone has, all of them."""
    reason: str
    """How the zoo's differs."""


_OTHERS = (
    _OtherNetwork(
        "torchvision's googlenet",
        frozenset({"inception3a.branch3.1.conv.weight", "inception5b.branch4.1.bn.weight"}),
        "it has batch norms, and 3x3 convolutions where the zoo's googlenet, the original of 2014, has 5x5",
    ),
    _OtherNetwork(
        "timm's resnet*c",
        frozenset({"conv1.0.weight", "layer1.0.downsample.0.weight"}),
        "it has a deep stem and shortcuts without an average, the C form; the zoo has the B form and the D form",
    ),
    _OtherNetwork(
        "pytorchcv's inceptionresnetv1",
        frozenset({"output.fc1.weight", "output.bn.weight"}),
        "it was made for faces and has a layer of 512 features before its classifier; the zoo's has the paper's head",
    ),
    _OtherNetwork(
        "pytorchcv's bninception",
        frozenset({"features.init_block.conv1.conv.bias", "features.stage3.unit3.branches.branch1.bn.weight"}),
        "its convolutions have a bias before each batch norm; the zoo's bn_inception, the one of the SENet paper's "
        "authors, has none",
    ),
)


def _other_network(keys: Collection[str]) -> _OtherNetwork | None:
    """The network that a file with these names holds, where it is one of those that the zoo is known not to have."""
    return next((other for other in _OTHERS if other.telltales <= set(keys)), None)


def recognise(keys: Collection[str]) -> Dialect:
    """The dialect that knows every one of ``keys``.

    Raises:
        WeightsMismatch: none does; the message says how far each came, or whose other function the file is.
    """
    found = next((dialect for dialect in DIALECTS.values() if keys and not dialect.unknown(keys)), None)
    if found is not None:
        return found
    if keys and all(key.startswith(_WRAPPER) for key in keys):
        return _wrapped(recognise([key.removeprefix(_WRAPPER) for key in keys]))
    other = _other_network(keys)
    if other is not None:
        raise WeightsMismatch(
            f"weights load only into the function that they were trained in, but these are of {other.network}: "
            f"{other.reason}. Run them in that library"
        )
    known = {dialect: len(keys) - len(dialect.unknown(keys)) for dialect in DIALECTS.values()}
    best = max(known, key=lambda dialect: known[dialect])
    unknown = sorted(best.unknown(keys))
    near = {dialect: n for dialect, n in known.items() if 10 * n > known[best]}
    counts = ", ".join(f"{dialect.name} ({dialect.used_by}): {n}" for dialect, n in near.items()) or "none"
    hint = _hint(unknown) or f" Give a file whose names are of {', '.join(DIALECTS)}"
    raise WeightsMismatch(
        f"tensor names must all be of one dialect; of these {len(keys)} are known: {counts}. {best.name} does not know "
        f"{_few(unknown)}.{hint}"
    )


_WRAPPER = "timm_model."


def _wrapped(inner: Dialect) -> Dialect:
    """The dialect of a network that transformers' TimmWrapper saved: timm's names behind a prefix."""

    def bare(key: str) -> str:
        return key.removeprefix(_WRAPPER)

    def read(keys: Collection[str]) -> Names:
        return {f"{_WRAPPER}{key}": native for key, native in inner.names([bare(key) for key in keys]).items()}

    return replace(
        inner,
        reader=read,
        foreign=None,
        ambiguity=lambda shapes: inner.ambiguity({bare(key): shape for key, shape in shapes.items()}),
        auxiliary=lambda key: inner.auxiliary(bare(key)),
    )


def translate(values: Mapping[str, _V], dialect: Dialect) -> dict[str, _V]:
    """Tensors, or only their shapes, under the zoo's names.

    Convolutions that stand for fully connected layers, in gates and heads, become matrices. Batch norms of files older
    than PyTorch 0.4.1, which lack the counter ``num_batches_tracked``, get one of 0, as PyTorch itself does; it has no
    part in the function. Names that the dialect does not know are dropped: `match` refuses such files before.
    """
    names = dialect.names(values.keys())
    result = {native: _as_native(native, values[foreign]) for foreign, native in names.items()}
    for native, value in list(result.items()):
        counter = native.removesuffix("running_mean") + "num_batches_tracked"
        if native.endswith(".running_mean") and counter not in result:
            result[counter] = torch.tensor(0) if isinstance(value, Tensor) else ()
    return result


def translate_back(values: Mapping[str, Tensor], dialect: Dialect, pools: Collection[str] = ()) -> dict[str, Tensor]:
    """Tensors under the names of another library, gates as the 1x1 convolutions or matrices that it has.

    Args:
        values: all tensors of a network, under the zoo's names.
        dialect: to write.
        pools: names of the network's average pools, because some libraries count them among their layers.

    Raises:
        UsageError: the scheme is only read, or has no name for one of the tensors.
    """
    if dialect.foreign is None:
        raise UsageError(f"names of {dialect.used_by} are read, not written; leave the zoo's own")
    names = dialect.foreign(values.keys(), pools)
    without = [native for native in values if native not in names]
    if without:
        raise UsageError(
            f"{dialect.used_by}: no such network has tensors for {_few(without)}; leave the zoo's own names"
        )
    convolved = not dialect.linear_gates
    return {
        names[native]: value[:, :, None, None] if convolved and _GATE.search(native) and value.ndim == 2 else value
        for native, value in values.items()
    }


def match(
    shapes: Mapping[str, Shape], expected: Mapping[str, Shape], dialect: Dialect, allow_missing: Collection[str] = ()
) -> None:
    """Check that a file holds exactly a network's tensors, before any of them is read.

    Args:
        shapes: of the file's tensors, under the file's names.
        expected: of the network's tensors, under the zoo's names.
        dialect: of the file.
        allow_missing: native names that may be absent or of another shape, because the caller replaces them: the
            classifier of a network with other classes.

    Raises:
        WeightsMismatch: tensors are missing, unexpected or of another shape; all three are reported at once.
    """
    found = translate(shapes, dialect)
    missing = sorted(set(expected) - set(found) - set(allow_missing))
    unexpected = sorted({*dialect.unknown(shapes), *(set(found) - set(expected) - set(allow_missing))})
    wrong = [
        f"{key} {found[key]} instead of {expected[key]}"
        for key in sorted(set(expected) & set(found) - set(allow_missing))
        if found[key] != expected[key]
    ]
    if not (missing or unexpected or wrong):
        return
    report = [
        f"{len(list_)} {what}: {_few(list_)}"
        for what, list_ in (("missing", missing), ("unexpected", unexpected), ("of another shape", wrong))
        if list_
    ]
    raise WeightsMismatch(
        f"the file's tensors must be exactly the network's (names read as {dialect.name}). "
        f"{'; '.join(report)}.{_hint(list(shapes), dialect)} Give weights of this network, or build the network that "
        f"they belong to."
    )


def _as_native(native: str, value: _V) -> _V:
    shape = tuple(value.shape) if isinstance(value, Tensor) else value
    if not (_MATRIX.search(native) and len(shape) == 4):
        return value
    return value.flatten(1) if isinstance(value, Tensor) else (shape[0], prod(shape[1:]))


_MADE_BY = {
    r".*\.weight_[gv]|.*\.parametrizations\..*": "parametrize or weight_norm; save it once they are removed",
    r".*\.weight_(?:orig|u|mask)": "prune or spectral_norm; save the network after their remove()",
    r".*_packed_params.*|.*\.(?:scale|zero_point)": "a quantised network; give the float weights that it was made from",
    r".*\.lora_.*|.*\.base_layer\..*": "PEFT's LoRA; save the network with the adapters merged",
}
"""What writes names that no network has, by a pattern of them."""


def _hint(keys: Collection[str], dialect: Dialect | None = None) -> str:
    for pattern, sentence in _MADE_BY.items():
        found = next((key for key in keys if re.fullmatch(pattern, key)), None)
        if found is not None:
            return f" Names such as {found[:120]} are of {sentence}."
    for prefix, writer in (
        ("module.", "DataParallel"),
        ("_orig_mod.", "torch.compile"),
        ("backbone.", "a detector"),
        ("encoder.", "a segmenter"),
    ):
        if any(key.startswith(prefix) for key in keys):
            return f" Names that start with {prefix!r} were written by {writer}: remove the prefix."
    if dialect is not None and dialect.unknown(keys):
        for other in DIALECTS.values():
            if not other.unknown(keys):
                return f" These look like {other.name} names ({other.used_by})."
    return ""


def _few(items: Collection[str], most: int = 4) -> str:
    return ", ".join(item[:200] for item in list(items)[:most]) + (
        f" and {len(items) - most} more" if len(items) > most else ""
    )
