"""Checks of a checkpoint, one by one, each with what it found."""

from dataclasses import dataclass
from pathlib import Path

import torch

from senet_zoo import registry
from senet_zoo.errors import UsageError, WeightsError
from senet_zoo.hub import tensor_files
from senet_zoo.hub.dialects import Dialect
from senet_zoo.hub.fetch import Located, locate
from senet_zoo.hub.rows import WeightsRow
from senet_zoo.hub.verified import digest
from senet_zoo.zoo.catalogue import get_weights
from senet_zoo.zoo.loading import Checkpoint, open_checkpoint, resolve


@dataclass(frozen=True)
class Check:
    """One check: what was asked, whether it held, and what was found."""

    name: str
    ok: bool
    found: str


@dataclass(frozen=True)
class Verification:
    """The checks of one checkpoint, in order; after one that did not hold, those that build on it are not made.

    Args:
        name: what was asked for: ``model.tag``, or a path.
        path: the file, or None where there is none.
        sha256: of the file's bytes, hashed now; None where there is no file.
        checks: in order.
    """

    name: str
    path: Path | None
    sha256: str | None
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check held."""
        return all(check.ok for check in self.checks)


def download(name: str) -> Located:
    """The verified file of a checkpoint on this machine, fetched where it is not here yet.

    Args:
        name: ``model.tag``, or ``model`` for its default weights.

    Raises:
        UnknownModelError, UnknownWeightsError: no such model or weights.
        WeightsError: it could not be had.
    """
    return locate(get_weights(name).row)


def verify(target: str | Path, *, model: str | None = None) -> Verification:
    """Check a published checkpoint, or a file, as thoroughly as can be done without its training pictures.

    Args:
        target: ``model.tag``, ``model``, or what ``create_model(weights=...)`` takes.
        model: the network that a file's tensors should belong to; without it, a file's own remark decides, and where it
            has none its shapes are not compared.

    Raises:
        UnknownModelError, UnknownWeightsError: no such model or weights.
        UsageError: ``target`` names both a file and published weights, or ``model`` is given for the latter.
    """
    text = str(target)
    is_file = "/" in text or text.endswith(".safetensors") or Path(text).expanduser().exists()
    if not is_file and model is not None:
        raise UsageError(f"{text} already names its model; model={model!r} goes with a file")
    row = None if is_file else get_weights(text).row
    name = row.model if row else model
    checks: list[Check] = []
    path = sha256 = None
    try:
        path, dialect, found = _find(target, row)
        checks.append(Check("file", True, found))
        sha256 = digest(path)
        checkpoint = open_checkpoint(path, dialect)
        kinds = f"{len(checkpoint.header.tensors)} tensors, named as {checkpoint.dialect.name}"
        checks.append(Check("header", True, kinds))
        name = name or checkpoint.header.metadata.get("model")
        if name:
            asked = registry.find(name)
            checkpoint.check(asked, asked.spec(), row.num_classes if row else None)
        checks.append(
            Check("tensors", True, f"exactly those of {name}" if name else "not compared: no model was named")
        )
        checks.append(_finite(checkpoint))
    except WeightsError as e:
        checks.append(Check(_NEXT[len(checks)], False, str(e)))
    return Verification(row.name if row else text, path, sha256, tuple(checks))


def _find(target: str | Path, row: WeightsRow | None) -> tuple[Path, Dialect | None, str]:
    if row is None:
        path, dialect = resolve(target)
        tensor_files.check(path)
        return path, dialect, str(path)
    located = locate(row)
    return located.path, located.dialect, f"{located.path}, from {located.source}"


_NEXT = ("file", "header", "tensors", "finite")  # the checks in order, for the name of the one that did not hold


def _finite(checkpoint: Checkpoint) -> Check:
    tensors = tensor_files.read(checkpoint.path, checkpoint.header)
    bad = [key for key, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if bad:
        return Check(
            "finite",
            False,
            f"every value must be finite, but those of {', '.join(bad[:3])}{' and others' if bad[3:] else ''} are not",
        )
    return Check("finite", True, "every value is finite")
