"""Which tensors of a file are the network's: those under the longest prefix below which a dialect knows every name.

A file of a training run holds more than the network: an optimizer's state, an average of the weights, a loss, the
decoder or the projection head of another task. And its names start with those of the modules around the network:
``module.``, ``net.``, ``timm_model.``.
"""

import logging
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from senet_zoo.errors import UsageError
from senet_zoo.formats.dialects import DIALECTS, Dialect

_log = logging.getLogger("senet_zoo")

_MOST_PARTS = 6
_MOST_PREFIXES = 40
_WRAPPERS = {"state_dict", "model_state_dict", "model", "net", "network", "module", "_orig_mod", "ema_model", "encoder"}
# The averaged weights of a training that kept them are the ones that were evaluated; MoCo's key encoder is no average
# of that kind, but a target for its loss.
_PREFERRED = (
    *("state_dict_ema", "ema_state_dict", "model_ema", "module_ema", "model_averaged", "ema_model", "ema"),
    *("encoder_q", "online_encoder", "online_network"),
)
_BESIDE = re.compile(
    r"(?:criterion|losses|loss\w*|\w+_loss|metrics?|\w+_metrics?|(?:train|val|valid|test)_\w+|queue\w*|mean|std"
    r"|pixel_mean|pixel_std|n_averaged|projector|projection\w*|proj_head|predictor|prototypes)(?:\..+)?"
)
"""Tensors that stand beside a network in its own module and have no part in its function."""
_NUMBERED = re.compile(r"(?P<head>.+?)\.(?P<index>\d+)(?:\.\w+)*\.(?P<leaf>\w+)")


@dataclass(frozen=True)
class ChosenNames:
    """The tensors of a file that are a network's.

    Args:
        names: from those in the file to those below the prefix.
        dialect: that knows them all; None where none does.
        prefix: that was taken off.
    """

    names: Mapping[str, str]
    dialect: Dialect | None
    prefix: str = ""


def select(keys: Collection[str], prefix: str | None = None) -> ChosenNames:
    """Choose a network's tensors among all names of a file; what is left out is logged.

    Args:
        keys: names in the file.
        prefix: with which the network's names start, such as ``net.``; None to find it.

    Raises:
        UsageError: no name starts with the prefix, or two networks of one size are in the file.
    """
    if prefix is not None:
        prefix = prefix and prefix.removesuffix(".") + "."
        group = [key for key in keys if key.startswith(prefix)]
        if not group:
            heads = ", ".join(sorted({key.partition(".")[0] for key in keys})[:8])
            raise UsageError(f"no tensor's name starts with {prefix!r}; the names start with {heads}")
        fit = _fit(_below(prefix, group), part=False)
        return _selection(prefix, group, fit or _Fit(None), keys)
    known: dict[str, _Fit] = {}
    size = 0
    for candidate, group in _groups(keys):
        if known and len(group) < size and not (_rank(candidate) < len(_PREFERRED) and 2 * len(group) >= size):
            continue
        if any(candidate.startswith(other) for other in known):
            continue
        fit = _fit(_below(candidate, group), part=candidate != "")
        if fit is not None:
            known[candidate], size = fit, size or len(group)
    if not known:
        return _unknown(keys)
    best = min(map(_rank, known))
    first = [candidate for candidate in known if _rank(candidate) == best]
    if len(first) > 1:
        raise UsageError(
            f"the file holds a network under each of the prefixes {', '.join(map(repr, first[:6]))}; choose one",
            python=f": prefix={first[0]!r}",
            command_line=f": --prefix {first[0]}",
        )
    return _selection(first[0], [key for key in keys if key.startswith(first[0])], known[first[0]], keys)


@dataclass(frozen=True)
class _Fit:
    """How a dialect knows names.

    Args:
        dialect: that knows them.
        renamed: names of a classifier that is the one layer of a Sequential.
        left_out: names beside the network, or of a head of several layers.
    """

    dialect: Dialect | None
    renamed: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    left_out: frozenset[str] = frozenset()


def _fit(names: list[str], part: bool) -> _Fit | None:
    """The first dialect that knows all names, except those beside the network and in a head of its own.

    Args:
        names: to be known.
        part: whether they are a part of the file, which must look like a network.
    """
    tried = sorted(DIALECTS.values(), key=lambda dialect: len(dialect.unknown(names)))
    for dialect in tried[:3]:
        unknown = dialect.unknown(names)
        if not unknown:
            first = next(each for each in DIALECTS.values() if not each.unknown(names))
            return _Fit(first) if _is_network(first, names) or not part else None
        beside = {name for name in unknown if _BESIDE.fullmatch(name)}
        heads = {match["head"] for name in unknown if (match := _NUMBERED.fullmatch(name))}
        renamed, several = _classifier(dialect, names, heads)
        left_out = beside | several
        if set(unknown) <= left_out | set(renamed) and _is_network(dialect, [*set(names) - left_out]):
            return _Fit(dialect, MappingProxyType(renamed), frozenset(left_out))
    return None


def _classifier(dialect: Dialect, names: list[str], heads: set[str]) -> tuple[dict[str, str], set[str]]:
    """A classifier inside a ``Sequential`` under its usual name, and the names of a head of several layers."""
    for head in heads:
        inside = [name for name in names if name.startswith(f"{head}.")]
        others = [name for name in names if name not in inside]
        if dialect.names([*others, f"{head}.weight"]).get(f"{head}.weight") != "classifier.weight":
            continue
        layers = {name.removeprefix(f"{head}.").partition(".")[0] for name in inside}
        if len(layers) == 1 and {name.rpartition(".")[2] for name in inside} <= {"weight", "bias"}:
            return {name: f"{head}.{name.rpartition('.')[2]}" for name in inside}, set()
        return {}, set(inside)
    return {}, set()


def _is_network(dialect: Dialect, names: list[str]) -> bool:
    """Whether there is more of a network than one of its stages, which may have the names of another's stem."""
    stages = {name.split(".")[1] for name in dialect.names(names).values() if name.startswith("stages.")}
    return len(stages) > 1


def _groups(keys: Collection[str]) -> Iterator[tuple[str, list[str]]]:
    """Prefixes and the names that start with each, those of most names first, and of these the shortest."""
    counts: Counter[str] = Counter()
    for key in keys:
        parts = key.split(".")
        counts.update(".".join(parts[:length]) + "." for length in range(1, min(_MOST_PARTS, len(parts))))
    ordered = sorted(counts, key=lambda prefix: (-counts[prefix], len(prefix), prefix))
    yield "", [*keys]
    for prefix in ordered[:_MOST_PREFIXES]:
        yield prefix, [key for key in keys if key.startswith(prefix)]


def _rank(prefix: str) -> int:
    parts = prefix.split(".")
    return next((rank for rank, part in enumerate(_PREFERRED) if part in parts), len(_PREFERRED))


def _below(prefix: str, group: list[str]) -> list[str]:
    return [key.removeprefix(prefix) for key in group]


def _selection(prefix: str, group: list[str], fit: _Fit, keys: Collection[str]) -> ChosenNames:
    names = {key: key.removeprefix(prefix) for key in group}
    others = [key for key in keys if key not in names and key.rpartition(".")[2] != "n_averaged"]
    if others:
        _log.warning(
            "the network's tensors are those under %r; %d others are left out, such as %s",
            prefix,
            len(others),
            _shown(others[0]),
        )
    if fit.left_out:
        _log.warning(
            "%d tensors are left out, which have no part in the network or are a head of several layers: %s",
            len(fit.left_out),
            ", ".join(map(_shown, sorted(fit.left_out)[:4])),
        )
    taken = {key: fit.renamed.get(name, name) for key, name in names.items() if name not in fit.left_out}
    return ChosenNames(MappingProxyType(taken), fit.dialect, prefix)


def _unknown(keys: Collection[str]) -> ChosenNames:
    """Names that no dialect knows, without the prefixes that wrappers add: what is unknown shows best then."""
    best, most = "", 0
    for prefix, group in _groups(keys):
        below = _below(prefix, group)
        known = max(len(below) - len(dialect.unknown(below)) for dialect in DIALECTS.values())
        if known > most and (not prefix or 2 * known > len(below)):
            best, most = prefix, known
    while not most:
        part = next(iter(keys), "")[len(best) :].partition(".")[0]
        if part not in _WRAPPERS or not all(key.startswith(f"{best}{part}.") for key in keys):
            break
        best += f"{part}."
    group = [key for key in keys if key.startswith(best)]
    return ChosenNames(MappingProxyType({key: key.removeprefix(best) for key in group}), None, best)


def _shown(name: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in name[:80])
