"""Checks of a checkpoint, one by one, each with what it found."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import UsageError, WeightsCorrupted, WeightsError
from senet_zoo.formats import safetensors
from senet_zoo.formats.dialects import Dialect
from senet_zoo.formats.metadata import Fingerprint
from senet_zoo.networks import registry
from senet_zoo.networks.network import ConvNet, on_meta
from senet_zoo.networks.specs import NetworkSpec
from senet_zoo.weights import kit
from senet_zoo.weights.cache import digest
from senet_zoo.weights.catalogue import get_weights, split_name
from senet_zoo.weights.checks import Check
from senet_zoo.weights.checks import Verification as Verification  # part of the public face, which imports it from here
from senet_zoo.weights.config import CONFIG, FolderConfig, config_beside
from senet_zoo.weights.download import VerifiedCheckpoint, locate, resolve
from senet_zoo.weights.fingerprint import TOLERANCE, UNSAID, compare, suggest
from senet_zoo.weights.load import Checkpoint, open_checkpoint
from senet_zoo.weights.recognition import spec_of
from senet_zoo.weights.rows import WeightsRow


def download(name: str) -> VerifiedCheckpoint:
    """The verified file of a checkpoint on this machine, fetched where it is not here yet.

    Args:
        name: ``model.tag``, or ``model`` for its default weights.

    Raises:
        UnknownModelError, UnknownWeightsError: no such model or weights.
        WeightsError: it could not be had.
    """
    return locate(get_weights(name).row)


def verify(target: str | Path, *, model: str | None = None) -> Verification:
    """Check a published checkpoint, a file or a kit, as thoroughly as can be done without running the network.

    Args:
        target: ``model.tag``, ``model``, what ``create_model(weights=...)`` takes, or a folder that
            ``senet-zoo download --to`` wrote.
        model: the network that a file's tensors should belong to, or the ``model.tag`` that it should be; without it, a
            folder's config or a file's own remark decides, and where there is none its shapes are not compared.

    Raises:
        UnknownModelError, UnknownWeightsError: no such model or weights.
        UsageError: ``target`` names both a file and published weights, or ``model`` is given for the latter or a kit.
    """
    if _is_kit(target, model):
        return kit.verify_kit(Path(target).expanduser())
    verification, _ = _examine(_asked(target, model))
    return verification


def verify_deep(target: str | Path, *, model: str | None = None) -> Verification:
    """`verify`, and run the network: its logits for a fixed picture must be those that were published.

    That proves the function, which names and shapes of tensors do not: where the strides are, how the pools count their
    borders, in which order channels and classes stand. Where nothing was published to compare with, the check does not
    hold, for nothing is proven.

    Args:
        target: as in `verify`.
        model: likewise. Of a file or folder of one's own, the fingerprint that `convert` or `save_pretrained` put into
            it is compared; of a ``model.tag``, the published one.

    Raises:
        UnknownModelError, UnknownWeightsError, UsageError: as `verify`.
    """
    if not _is_kit(target, model):
        return _with_function(_asked(target, model))
    folder = Path(target).expanduser()
    whole = kit.verify_kit(folder)
    if not whole.ok:
        return whole
    functions = [
        replace(check, name=f"{check.name} of {row.name}")
        for row in kit.load_manifest_of(folder)
        for check in _with_function(_kept(folder, row)).checks
        if check.name == _FUNCTION or not check.ok
    ]
    return replace(whole, checks=(*whole.checks, *functions))


_NEXT = ("file", "header", "tensors", "finite")  # the checks in order, for the name of the one that did not hold
_FUNCTION = "function"


@dataclass(frozen=True)
class _Asked:
    """What is to be checked.

    Args:
        name: for the report.
        find: the file, its dialect where that is known, and where it is in words; may raise a `WeightsError`.
        model: the network that it should belong to, where that is known.
        row: what was published of it; None for a file of one's own.
        config: of the folder that it lies in, where it has one.
    """

    name: str
    find: Callable[[], tuple[Path, Dialect | None, str]]
    model: str | None
    row: WeightsRow | None
    config: FolderConfig | None


@dataclass(frozen=True)
class _Network:
    """A checked file, the architecture that its tensors are exactly those of, and the config of its folder, if any."""

    checkpoint: Checkpoint
    spec: NetworkSpec
    config: FolderConfig | None

    def build(self) -> ConvNet:
        """The network that holds the tensors, in float32 whatever the file's type."""
        spec, file = self.spec, self.checkpoint
        net = on_meta(spec, num_classes=file.num_classes, in_channels=file.in_channels(spec))
        file.load_into(net)
        return net.float()


def _is_kit(target: str | Path, model: str | None) -> bool:
    if not kit.is_kit(Path(target).expanduser()):
        return False
    if model is not None:
        raise UsageError(f"the manifest in {target} names the models of its weights; model={model!r} goes with a file")
    return True


def _asked(target: str | Path, model: str | None) -> _Asked:
    text = str(target)
    if "/" in text or text.endswith(".safetensors") or Path(text).expanduser().exists():
        config = config_beside(target)
        name, tag = split_name(model) if model else (config.architecture if config else None, None)
        return _Asked(text, lambda: _own(target), name, get_weights(str(model)).row if tag else None, config)
    if model is not None:
        raise UsageError(f"{text} already names its model; model={model!r} goes with a file")
    row = get_weights(text).row
    return _Asked(row.name, lambda: _published(row), row.model, row, None)


def _own(target: str | Path) -> tuple[Path, Dialect | None, str]:
    path, dialect = resolve(target)
    safetensors.check(path)
    return path, dialect, str(path)


def _published(row: WeightsRow) -> tuple[Path, Dialect | None, str]:
    located = locate(row)
    return located.path, located.dialect, f"{located.path}, from {located.source}"


def _kept(folder: Path, row: WeightsRow) -> _Asked:
    return _Asked(row.name, lambda: _own(folder / kit.place(row)), row.model, row, None)


def _examine(asked: _Asked) -> tuple[Verification, _Network | None]:
    """All checks but that of the function; and what it takes to run the network, if they hold and a model was named."""
    checks: list[Check] = []
    path = sha256 = network = None
    try:
        path, dialect, found = asked.find()
        sha256 = digest(path)
        _require_saved(asked.config, path, sha256)
        checks.append(Check("file", True, found))
        checkpoint = open_checkpoint(path, dialect)
        kinds = f"{len(checkpoint.header.tensors)} tensors, named as {checkpoint.dialect.name}"
        checks.append(Check("header", True, kinds))
        name = asked.model or checkpoint.header.metadata.get("model")
        if name:
            entry = registry.find(name)
            config = asked.config if asked.config and asked.config.architecture == entry.name else None
            spec = config.spec if config else spec_of(entry, checkpoint)
            checkpoint.check(entry, spec, asked.row.num_classes if asked.row else None)
        checks.append(
            Check("tensors", True, f"exactly those of {name}" if name else "not compared: no model was named")
        )
        checks.append(_finite(checkpoint))
        if name and checks[-1].ok:
            network = _Network(checkpoint, spec, config)
    except WeightsError as e:
        checks.append(Check(_NEXT[len(checks)], False, str(e)))
    return Verification(asked.name, path, sha256, tuple(checks)), network


def _require_saved(config: FolderConfig | None, path: Path, sha256: str) -> None:
    """Refuse tensors that are not those that the folder's config was written for."""
    saved = config.provenance.sha256 if config and config.provenance else sha256
    if saved != sha256:
        raise WeightsCorrupted(
            f"the sha256 of {path} must be {saved}, as its {CONFIG} says, but is {sha256}; save or copy the folder "
            f"again"
        )


def _finite(checkpoint: Checkpoint) -> Check:
    tensors = safetensors.read(checkpoint.path, checkpoint.header)
    bad = [key for key, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if bad:
        return Check(
            "finite",
            False,
            f"every value must be finite, but those of {', '.join(bad[:3])}{' and others' if bad[3:] else ''} are not",
        )
    return Check("finite", True, "every value is finite")


def _with_function(asked: _Asked) -> Verification:
    verification, network = _examine(asked)
    if not verification.ok:
        return verification
    return replace(verification, checks=(*verification.checks, _function(asked, network)))


def _function(asked: _Asked, network: _Network | None) -> Check:
    if network is None:
        return Check(_FUNCTION, False, "not proven: nothing says which network this is; name it with --model")
    if network.checkpoint.num_classes == 0:
        return Check(_FUNCTION, False, "not proven: a network without logits (num_classes=0) has no fingerprint")
    try:
        preprocessing, published = _promised(asked.row, network)
    except WeightsError as e:
        return Check(_FUNCTION, False, f"not proven: {e}")
    if published is None:
        own = "it carries no fingerprint; name the published weights as MODEL.TAG"
        lacking = f"the manifest holds no fingerprint of {asked.row.name}" if asked.row else own
        return Check(_FUNCTION, False, f"not proven: {lacking}")
    net = network.build()
    deviation = compare(net, preprocessing, published)
    greatest = f"greatest deviation {deviation.share:.1e} of the logits' scale, {TOLERANCE:.0e} allowed"
    if deviation.ok:
        return Check(_FUNCTION, True, f"the published one: {greatest}")
    hint = suggest(net, preprocessing, published)
    return Check(_FUNCTION, False, f"not the published one: {greatest}: {deviation.where}; {hint}")


def _promised(row: WeightsRow | None, network: _Network) -> tuple[Preprocessing, Fingerprint | None]:
    """What the picture goes through, and what is promised of the answer: by the manifest, the folder or the file."""
    if row is not None:
        return row.preprocessing, row.fingerprint
    if network.config is not None:
        return network.config.preprocessing or UNSAID, network.config.fingerprint
    file = network.checkpoint
    return file.metadata.preprocessing or UNSAID, file.metadata.fingerprint
