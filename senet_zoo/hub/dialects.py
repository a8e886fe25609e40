"""Names of the same tensors in other libraries, as named maps to the zoo's own.

A map is a function of all names in a file, for some names mean different things in different networks: ``bn1`` is
the first batch norm of a plain stem and the last of a deep one.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import overload

import torch
from torch import Tensor

from senet_zoo.errors import WeightsMismatch

Shape = tuple[int, ...]
Names = dict[str, str]

_BN = r"(?P<leaf>weight|bias|running_mean|running_var|num_batches_tracked)"
_GATE = re.compile(r"\.se\.fc[12]\.weight")


@dataclass(frozen=True)
class Dialect:
    """A naming scheme.

    Args:
        name: as in the manifest.
        used_by: which libraries write it.
        names: from all names in a file to those of the zoo, ``{foreign: native}``; names that it does not know are
            left out. No two foreign names have the same native one, so that the dictionary can be turned round.
    """

    name: str
    used_by: str
    names: Callable[[Collection[str]], Names]


def _native(keys: Collection[str]) -> Names:
    return {key: key for key in keys if re.match(r"(stem|stages|head|classifier)\.", key)}


def _cadene(keys: Collection[str]) -> Names:
    return _by_rules(
        keys,
        [
            (r"layer0\.conv(?P<n>[123])\.weight", lambda m: f"stem.{int(m['n']) - 1}.conv.weight"),
            (rf"layer0\.bn(?P<n>[123])\.{_BN}", lambda m: f"stem.{int(m['n']) - 1}.bn.{m['leaf']}"),
            *_block_rules(gate="se_module", averaged=False),
            (r"last_linear\.(?P<leaf>weight|bias)", lambda m: f"classifier.{m['leaf']}"),
        ],
    )


def _timm_resnet(keys: Collection[str]) -> Names:
    deep = "conv1.0.weight" in keys
    stem: list[_Rule] = (
        [
            (r"conv1\.(?P<n>[036])\.weight", lambda m: f"stem.{int(m['n']) // 3}.conv.weight"),
            (rf"conv1\.(?P<n>[14])\.{_BN}", lambda m: f"stem.{int(m['n']) // 3}.bn.{m['leaf']}"),
            (rf"bn1\.{_BN}", lambda m: f"stem.2.bn.{m['leaf']}"),
        ]
        if deep
        else [
            (r"conv1\.weight", lambda m: "stem.0.conv.weight"),
            (rf"bn1\.{_BN}", lambda m: f"stem.0.bn.{m['leaf']}"),
        ]
    )
    averaged = any(re.fullmatch(r"layer\d\.\d+\.downsample\.2\.weight", key) for key in keys)
    return _by_rules(
        keys,
        [
            *stem,
            *_block_rules(gate="se", averaged=averaged),
            (r"fc\.(?P<leaf>weight|bias)", lambda m: f"classifier.{m['leaf']}"),
        ],
    )


_Rule = tuple[str, Callable[[re.Match[str]], str]]


def _block_rules(gate: str, averaged: bool) -> list[_Rule]:
    # An averaged shortcut has its pool at place 0, which moves convolution and batch norm up by one.
    conv, bn = (1, 2) if averaged else (0, 1)
    unit = r"layer(?P<l>[1-4])\.(?P<b>\d+)"

    def block(m: re.Match[str]) -> str:
        return f"stages.{int(m['l']) - 1}.{m['b']}"

    return [
        (rf"{unit}\.conv(?P<n>[123])\.weight", lambda m: f"{block(m)}.branch.conv{m['n']}.conv.weight"),
        (rf"{unit}\.bn(?P<n>[123])\.{_BN}", lambda m: f"{block(m)}.branch.conv{m['n']}.bn.{m['leaf']}"),
        (rf"{unit}\.{gate}\.fc(?P<n>[12])\.(?P<leaf>weight|bias)", lambda m: f"{block(m)}.se.fc{m['n']}.{m['leaf']}"),
        (rf"{unit}\.downsample\.{conv}\.weight", lambda m: f"{block(m)}.shortcut.conv.weight"),
        (rf"{unit}\.downsample\.{bn}\.{_BN}", lambda m: f"{block(m)}.shortcut.bn.{m['leaf']}"),
    ]


def _by_rules(keys: Collection[str], rules: list[_Rule]) -> Names:
    names = {}
    for key in keys:
        for pattern, native in rules:
            match = re.fullmatch(pattern, key)
            if match:
                names[key] = native(match)
                break
    return names


NATIVE = Dialect("native", "senet_zoo", _native)
CADENE = Dialect("cadene", "Cadene's pretrainedmodels, timm legacy_*, segmentation_models.pytorch", _cadene)
TIMM_RESNET = Dialect("timm_resnet", "timm resnet*, seresnet*, senet154; torchvision resnet*", _timm_resnet)

DIALECTS: Mapping[str, Dialect] = MappingProxyType({d.name: d for d in (NATIVE, CADENE, TIMM_RESNET)})


def recognise(keys: Collection[str]) -> Dialect:
    """The dialect that knows every one of ``keys``.

    Raises:
        WeightsMismatch: none does; the message says how far each came.
    """
    known = {dialect: len(dialect.names(keys)) for dialect in DIALECTS.values()}
    best = max(known, key=lambda dialect: known[dialect])
    if keys and known[best] == len(keys):
        return best
    unknown = sorted(set(keys) - set(best.names(keys)))
    counts = ", ".join(f"{dialect.name} ({dialect.used_by}): {n}" for dialect, n in known.items())
    raise WeightsMismatch(
        f"tensor names must all belong to one known dialect; of {len(keys)} names each knows: {counts}. "
        f"{best.name} does not know {_few(unknown)}.{_hint(unknown)}"
    )


@overload
def translate(values: Mapping[str, Tensor], dialect: Dialect) -> dict[str, Tensor]: ...
@overload
def translate(values: Mapping[str, Shape], dialect: Dialect) -> dict[str, Shape]: ...
def translate(
    values: Mapping[str, Tensor] | Mapping[str, Shape], dialect: Dialect
) -> dict[str, Tensor] | dict[str, Shape]:
    """Tensors, or only their shapes, under the zoo's names.

    The gates' 1x1 convolutions become matrices. Batch norms of files older than PyTorch 0.4.1, which lack the counter
    ``num_batches_tracked``, get one of 0, as PyTorch itself does; it has no part in the function. Names that the
    dialect does not know are dropped: `match` refuses such files before.
    """
    names = dialect.names(values.keys())
    result = {native: _as_native(native, values[foreign]) for foreign, native in names.items()}
    for native in list(result):
        counter = native.removesuffix("running_mean") + "num_batches_tracked"
        if native.endswith(".running_mean") and counter not in result:
            result[counter] = torch.tensor(0) if isinstance(result[native], Tensor) else ()
    return result  # type: ignore[return-value]


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
    names = dialect.names(shapes.keys())
    found = translate(shapes, dialect)
    missing = sorted(set(expected) - set(found) - set(allow_missing))
    unexpected = sorted({*(set(shapes) - set(names)), *(set(found) - set(expected) - set(allow_missing))})
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


@overload
def _as_native(native: str, value: Tensor) -> Tensor: ...
@overload
def _as_native(native: str, value: Shape) -> Shape: ...
def _as_native(native: str, value: Tensor | Shape) -> Tensor | Shape:
    shape = tuple(value.shape) if isinstance(value, Tensor) else value
    if not (_GATE.search(native) and len(shape) == 4 and shape[2:] == (1, 1)):
        return value
    return value.reshape(shape[:2]) if isinstance(value, Tensor) else shape[:2]


def _hint(keys: Collection[str], dialect: Dialect | None = None) -> str:
    for prefix, writer in (
        ("module.", "DataParallel"),
        ("_orig_mod.", "torch.compile"),
        ("backbone.", "a detector"),
        ("encoder.", "a segmenter"),
    ):
        if any(key.startswith(prefix) for key in keys):
            return f" Names that start with {prefix!r} were written by {writer}: remove the prefix."
    if dialect is not None and not all(key in dialect.names(keys) for key in keys):
        for other in DIALECTS.values():
            if len(other.names(keys)) == len(keys):
                return f" These look like {other.name} names ({other.used_by})."
    return ""


def _few(items: Collection[str], most: int = 4) -> str:
    return ", ".join(list(items)[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")
