"""`verify`: a checkpoint, a file or a kit checked step by step, each step with what it found."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import ManifestError, UsageError, WeightsCorrupted, WeightsError
from senet_zoo.formats import safetensors
from senet_zoo.formats.dialects import Dialect
from senet_zoo.formats.metadata import Fingerprint
from senet_zoo.networks import registry
from senet_zoo.networks.network import ConvNet, on_meta
from senet_zoo.networks.specs import NetworkSpec
from senet_zoo.support.files import expanded, stat_of, state_of
from senet_zoo.weights import offline_kit
from senet_zoo.weights.catalogue import get_weights, split_name
from senet_zoo.weights.config import CONFIG, FolderConfig, config_beside
from senet_zoo.weights.download import locate, resolve
from senet_zoo.weights.file_hashes import digest
from senet_zoo.weights.fingerprint import TOLERANCE, UNSAID, compare, suggest
from senet_zoo.weights.load import Checkpoint, open_checkpoint, spec_of
from senet_zoo.weights.manifest import FILENAME as MANIFEST
from senet_zoo.weights.manifest import load_manifest
from senet_zoo.weights.rows import ReleaseFile, WeightsRow
from senet_zoo.weights.signature import SIGNATURE


@dataclass(frozen=True)
class Finding:
    """One check of a verification: what was asked, whether it held, and what was found."""

    name: str
    ok: bool
    found: str


@dataclass(frozen=True)
class Verification:
    """The checks of one checkpoint, of a kit of them, or of a manifest, in order.

    Args:
        name: what was asked for: ``model.tag``, or a path.
        path: the file or the kit's folder, or None where there is none that can be read.
        sha256: of the file's bytes, or of a kit's sums, hashed now; None where there is no file.
        checks: in order; of a checkpoint, those that build on one that did not hold are not made.
    """

    name: str
    path: Path | None
    sha256: str | None
    checks: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether every check held."""
        return all(check.ok for check in self.checks)


def verify(target: str | Path, *, model: str | None = None) -> Verification:
    """`senet_zoo.verify` of a published checkpoint, a classifier's file or a kit; arguments and errors as there."""
    if _is_kit(target, model):
        return _verify_kit(expanded(target))
    verification, _ = _check_tensors(_request(target, model))
    return verification


def verify_deep(target: str | Path, *, model: str | None = None) -> Verification:
    """`senet_zoo.verify_deep` of the same."""
    if not _is_kit(target, model):
        return _with_function(_request(target, model))
    folder = expanded(target)
    whole = _verify_kit(folder)
    if not whole.ok:
        return whole
    functions = [
        replace(check, name=f"{check.name} of {row.name}")
        for row in offline_kit.read_rows(folder)
        for check in _with_function(_in_kit(folder, row)).checks
        if check.name == _FUNCTION or not check.ok
    ]
    return replace(whole, checks=(*whole.checks, *functions))


_STEPS = ("file", "header", "tensors", "finite")  # the checks in order, for the name of the one that did not hold
_FUNCTION = "function"


@dataclass(frozen=True)
class _Request:
    """What is to be checked.

    Args:
        name: for the report.
        find: gives the file, its dialect where that is known, and a text that says where it is.
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
    if not offline_kit.is_kit(expanded(target)):
        return False
    if model is not None:
        raise UsageError(
            f"the manifest in {target} names the models of its weights; a model {model!r} goes with a file"
        )
    return True


def _request(target: str | Path, model: str | None) -> _Request:
    text = str(target)
    if "/" in text or text.endswith(".safetensors") or stat_of(expanded(text)) is not None:
        config = config_beside(target)
        name, tag = split_name(model) if model else (config.architecture if config else None, None)
        return _Request(text, lambda: _find_own(target), name, get_weights(str(model)).row if tag else None, config)
    if model is not None:
        raise UsageError(f"{text} already names its model; a model {model!r} goes with a file")
    row = get_weights(text).row
    return _Request(row.name, lambda: _find_published(row), row.model, row, None)


def _find_own(target: str | Path) -> tuple[Path, Dialect | None, str]:
    path, dialect = resolve(target)
    safetensors.check(path)
    return path, dialect, str(path)


def _find_published(row: WeightsRow) -> tuple[Path, Dialect | None, str]:
    located = locate(row)
    proofs = [each.proof for each in row.sources if isinstance(each, ReleaseFile) and each.url == located.source]
    known = f", whose sha256 {proofs[0]}" if proofs else ""
    return located.path, located.dialect, f"{located.path}, from {located.source}{known}"


def _in_kit(folder: Path, row: WeightsRow) -> _Request:
    return _Request(row.name, lambda: _find_own(folder / offline_kit.path_of(row)), row.model, row, None)


def _check_tensors(request: _Request) -> tuple[Verification, _Network | None]:
    """All checks but that of the function; and what it takes to run the network, if they hold and a model was named."""
    checks: list[Finding] = []
    path = sha256 = network = None
    try:
        path, dialect, found = request.find()
        state, sha256 = state_of(path.stat()), digest(path)
        _require_saved(request.config, path, sha256)
        checks.append(Finding("file", True, found))
        checkpoint = open_checkpoint(path, dialect)
        if checkpoint.header.state not in (None, state):
            raise WeightsCorrupted(f"{path} was written to while it was verified; verify it again")
        kinds = f"{len(checkpoint.header.tensors)} tensors, named as {checkpoint.dialect.name}"
        checks.append(Finding("header", True, kinds))
        name = request.model or checkpoint.header.metadata.get("model")
        if name:
            entry = registry.find(name)
            config = request.config if request.config and request.config.architecture == entry.name else None
            gate = None if request.row is None else request.row.se
            known = config.spec if config else None if gate is None else entry.spec(gate)
            spec = known or spec_of(entry, checkpoint)
            checkpoint.check(entry, spec, request.row.num_classes if request.row else None)
        checks.append(
            Finding("tensors", True, f"exactly those of {name}" if name else "not compared: no model was named")
        )
        checks.append(_finite(checkpoint))
        if name and checks[-1].ok:
            network = _Network(checkpoint, spec, config)
    except WeightsError as e:
        checks.append(Finding(_STEPS[len(checks)], False, str(e)))
    return Verification(request.name, path, sha256, tuple(checks)), network


def _require_saved(config: FolderConfig | None, path: Path, sha256: str) -> None:
    """Refuse tensors that are not those that the folder's config was written for."""
    saved = config.provenance.sha256 if config and config.provenance else sha256
    if saved != sha256:
        raise WeightsCorrupted(
            f"the sha256 of {path} must be {saved}, as its {CONFIG} says, but is {sha256}; save or copy the folder "
            f"again"
        )


def not_finite(tensors: Mapping[str, torch.Tensor]) -> str:
    """The first tensors with a value that is not finite, in a sentence; empty where all are."""
    bad = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    more = " and others" if bad[3:] else ""
    return f"every value must be finite, but those of {', '.join(bad[:3])}{more} are not" if bad else ""


def _finite(checkpoint: Checkpoint) -> Finding:
    wrong = not_finite(safetensors.read(checkpoint.path, checkpoint.header))
    return Finding("finite", not wrong, wrong or "every value is finite")


def _with_function(request: _Request) -> Verification:
    verification, network = _check_tensors(request)
    if not verification.ok:
        return verification
    return replace(verification, checks=(*verification.checks, _function(request, network)))


def _function(request: _Request, network: _Network | None) -> Finding:
    if network is None:
        return Finding(_FUNCTION, False, "not proven: nothing says which network this is; name it with --model")
    try:
        preprocessing, published = _published_answer(request.row, network)
    except WeightsError as e:
        return Finding(_FUNCTION, False, f"not proven: {e}")
    if published is None:
        own = "it carries no fingerprint; name the published weights as MODEL.TAG"
        lacking = f"the manifest holds no fingerprint of {request.row.name}" if request.row else own
        return Finding(_FUNCTION, False, f"not proven: {lacking}")
    net = network.build()
    deviation = compare(net, preprocessing, published)
    greatest = f"greatest deviation {deviation.share:.1e} of the answer's scale, {TOLERANCE:.0e} allowed"
    if deviation.ok:
        return Finding(_FUNCTION, True, f"the published one: {greatest}")
    hint = suggest(net, preprocessing, published)
    return Finding(_FUNCTION, False, f"not the published one: {greatest}: {deviation.where}; {hint}")


def _published_answer(row: WeightsRow | None, network: _Network) -> tuple[Preprocessing, Fingerprint | None]:
    """What the picture goes through, and what is promised of the answer: by the manifest, the folder or the file."""
    if row is not None:
        return row.preprocessing, row.fingerprint
    if network.config is not None:
        return network.config.preprocessing or UNSAID, network.config.fingerprint
    file = network.checkpoint
    return file.metadata.preprocessing or UNSAID, file.metadata.fingerprint


def _verify_kit(folder: Path) -> Verification:
    """Check every file of a kit against its sums, its manifest and this zoo's; missing and extra files are named."""
    checks: list[Finding] = []
    sums: Mapping[str, str] = {}
    try:
        sums = offline_kit.read_sums(folder)
        checks.append(Finding(offline_kit.SUMS, True, f"{len(sums)} files"))
        rows = offline_kit.read_rows(folder)
        checks.append(_kit_file(folder, MANIFEST, sums))
        checks += [_kit_weights(folder, row, sums) for row in rows]
        checks.append(_no_other_files(folder, {offline_kit.path_of(row) for row in rows} | {MANIFEST}, sums))
    except (WeightsError, ManifestError) as e:
        checks.append(Finding(MANIFEST if checks else offline_kit.SUMS, False, str(e)))
    sha256 = digest(folder / offline_kit.SUMS) if checks[0].ok else None
    return Verification(str(folder), folder, sha256, tuple(checks))


def _kit_file(folder: Path, name: str, sums: Mapping[str, str]) -> Finding:
    """Whether a file is there and as its sum says."""
    path = folder / name
    if not path.exists():
        return Finding(name, False, f"missing: there is no {path}; copy the kit again")
    if not path.is_file() or path.resolve() != folder.resolve() / name:
        return Finding(name, False, f"{path} must be a plain file, not a link or a folder; copy the kit again")
    if name not in sums:
        return Finding(name, False, f"{offline_kit.SUMS} does not name it; download it into the kit again")
    try:
        actual = digest(path)
    except OSError as e:
        return Finding(name, False, f"{path} cannot be read: {e.strerror}; check the file's permissions and its disk")
    if actual != sums[name]:
        return Finding(name, False, f"changed: its sha256 must be {sums[name]}, but is {actual}; copy the kit again")
    return Finding(name, True, f"sha256 {actual}")


def _kit_weights(folder: Path, row: WeightsRow, sums: Mapping[str, str]) -> Finding:
    """Whether a checkpoint is as its sum, the kit's manifest and this zoo's manifest say."""
    check = _kit_file(folder, offline_kit.path_of(row), sums)
    if not check.ok:
        return check
    proven = False
    for whose, known in (("the kit's manifest", row), ("the manifest of this senet_zoo", _published_row(row.name))):
        hashes = None if known is None else _known_hashes(known)
        if hashes is None:
            continue
        if sums[offline_kit.path_of(row)] not in hashes:
            expected = " or ".join(sorted(hashes))
            return replace(
                check, ok=False, found=f"not what {whose} publishes: its sha256 must be {expected}, {check.found}"
            )
        proven = True
    how = "as published" if proven else f"as {offline_kit.SUMS} says; the manifest knows no sha256 of it"
    return replace(check, found=f"{check.found}, {how}")


def _published_row(name: str) -> WeightsRow | None:
    model, _, tag = name.partition(".")
    return next((row for row in load_manifest().rows(model) if row.tag == tag), None)


def _known_hashes(row: WeightsRow) -> set[str] | None:
    """Every sha256 that the file may have; None where a source's is not known, as after converting a release."""
    hashes = {None if isinstance(source, ReleaseFile) else source.sha256 for source in row.sources}
    known = {sha256 for sha256 in hashes if sha256 is not None}
    return known if len(known) == len(hashes) else None


def _no_other_files(folder: Path, expected: set[str], sums: Mapping[str, str]) -> Finding:
    extra = sorted({*_files_below(folder), *sums} - expected - {offline_kit.SUMS, SIGNATURE})
    if not extra:
        return Finding("nothing else", True, "no other file")
    shown = ", ".join(extra[:5]) + (f" and {len(extra) - 5} more" if extra[5:] else "")
    return Finding("nothing else", False, f"extra: {shown}; the manifest has no such weights, remove them")


def _files_below(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(folder).as_posix()
