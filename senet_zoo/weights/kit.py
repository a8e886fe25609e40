"""A kit: weights for a machine without network, in a folder that proves itself.

::

    DIR/se_resnet20/cifar10/model.safetensors    as SENET_ZOO_WEIGHTS_DIR=DIR reads it
    DIR/weights_manifest.json                    the rows of the weights in it
    DIR/SHA256SUMS                               of every other file, as ``sha256sum --check`` reads it
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from senet_zoo.errors import ManifestError, UsageError, WeightsCorrupted, WeightsError, WeightsUnavailable
from senet_zoo.support.files import atomic_file, disk_error
from senet_zoo.weights.cache import digest
from senet_zoo.weights.catalogue import get_weights
from senet_zoo.weights.checks import Check, Verification
from senet_zoo.weights.download import VerifiedCheckpoint, locate
from senet_zoo.weights.manifest import FILENAME, document, load_manifest
from senet_zoo.weights.rows import PATH, SHA256, ReleaseFile, WeightsRow

SUMS = "SHA256SUMS"

_MOST_BYTES = 2**20  # of SHA256SUMS
_CHUNK = 2**20


@dataclass(frozen=True)
class Kit:
    """What a kit says of itself.

    Args:
        rows: of its manifest, by ``model.tag``.
        sums: sha256 by path below its folder.
    """

    rows: Mapping[str, WeightsRow]
    sums: Mapping[str, str]


def download_to(name: str, folder: str | Path) -> VerifiedCheckpoint:
    """Fetch a checkpoint where it is not on this machine, and add it to the kit in a folder.

    Args:
        name: ``model.tag``, or ``model`` for its default weights.
        folder: a kit, or where one is to be; made where there is none.

    Returns:
        The file in the kit, verified.

    Raises:
        UnknownModelError, UnknownWeightsError: no such model or weights.
        UsageError: the folder has sums of files that are no kit's.
        ManifestError: the folder's manifest breaks a rule.
        WeightsError: the checkpoint could not be had, or the disk did not take it; no half-written file is left, and
            what was in the kit stays.
    """
    row, target = get_weights(name).row, Path(folder).expanduser()
    kit = _present(target)
    located = locate(row)
    path = target / place(row)
    rows = {**kit.rows, row.name: row}
    try:
        _copy(located, path)
        # The sums come last: whatever interrupts this before, `verify_kit` names the file that they do not cover.
        manifest = json.dumps(document(rows.values()), indent=2, ensure_ascii=False).encode() + b"\n"
        _write(target / FILENAME, manifest)
        sums = {**kit.sums, place(row): located.sha256, FILENAME: hashlib.sha256(manifest).hexdigest()}
        _write(target / SUMS, "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode())
    except OSError as e:
        raise disk_error(e, target, "the path") from e
    return replace(located, path=path)


def place(row: WeightsRow) -> str:
    """Path of a checkpoint's file below a kit's folder."""
    return f"{row.model}/{row.tag}/model.safetensors"


def is_kit(folder: Path) -> bool:
    """Whether a folder is a kit, be it one whose sums are missing; a saved model's folder is none."""
    with_manifest = (folder / FILENAME).is_file() and not (folder / "model.safetensors").exists()
    return folder.is_dir() and (with_manifest or (folder / SUMS).is_file())


def verify_kit(folder: Path) -> Verification:
    """Check every file of a kit against its sums, its manifest and this zoo's; missing and extra files are named."""
    checks: list[Check] = []
    sums: Mapping[str, str] = {}
    try:
        sums = _read_sums(folder)
        checks.append(Check(SUMS, True, f"{len(sums)} files"))
        rows = load_manifest_of(folder)
        checks.append(_file(folder, FILENAME, sums))
        checks += [_weights(folder, row, sums) for row in rows]
        checks.append(_nothing_else(folder, {place(row) for row in rows} | {FILENAME}, sums))
    except (WeightsError, ManifestError) as e:
        checks.append(Check(FILENAME if checks else SUMS, False, str(e)))
    sha256 = digest(folder / SUMS) if checks[0].ok else None
    return Verification(str(folder), folder, sha256, tuple(checks))


def load_manifest_of(folder: Path) -> tuple[WeightsRow, ...]:
    """The rows of a kit's manifest.

    Raises:
        ManifestError: it cannot be read, or breaks a rule.
    """
    return tuple(row for rows in load_manifest(folder / FILENAME).models.values() for row in rows)


def _present(folder: Path) -> Kit:
    """What a kit already says; empty where there is none."""
    rows = load_manifest_of(folder) if (folder / FILENAME).exists() else ()
    sums = _read_sums(folder) if (folder / SUMS).exists() else {}
    foreign = sorted(set(sums) - {place(row) for row in rows} - {FILENAME})
    if foreign:
        raise UsageError(
            f"weights go into a folder of their own, but {folder / SUMS} names {foreign[0]}, which is none of its "
            f"manifest's; name another folder"
        )
    return Kit({row.name: row for row in rows}, sums)


def _copy(located: VerifiedCheckpoint, path: Path) -> None:
    sha256 = hashlib.sha256()
    with located.path.open("rb") as source, atomic_file(path) as file:
        while chunk := source.read(_CHUNK):
            sha256.update(chunk)
            file.write(chunk)
        if sha256.hexdigest() != located.sha256:
            raise WeightsCorrupted(
                f"the sha256 of {located.path} was {located.sha256}, but reading it again gave {sha256.hexdigest()}: "
                f"the disk or another program altered it; delete it and fetch it again"
            )


def _write(path: Path, content: bytes) -> None:
    with atomic_file(path) as file:
        file.write(content)


def _read_sums(folder: Path) -> dict[str, str]:
    path = folder / SUMS
    if not path.is_file():
        raise WeightsCorrupted(f"a kit must hold {SUMS}, but there is no {path}; copy the kit again")
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as e:
        raise WeightsUnavailable(f"{path} cannot be read: {e.strerror}; check its permissions and its disk") from e
    sums: dict[str, str] = {}
    for number, line in enumerate(content.decode(errors="replace").splitlines(), 1):
        match = re.fullmatch(rf"({SHA256})  ({PATH})", line)
        if match is None or match[2] in sums or len(content) > _MOST_BYTES:
            raise WeightsCorrupted(
                f"line {number} of {path} must be a sha256, two spaces and the path of a file below the kit that no "
                f"other line names, got {line[:120]!r}; copy the kit again"
            )
        sums[match[2]] = match[1]
    return sums


def _file(folder: Path, name: str, sums: Mapping[str, str]) -> Check:
    """Whether a file is there and as its sum says."""
    path = folder / name
    if not path.exists():
        return Check(name, False, f"missing: there is no {path}; copy the kit again")
    if not path.is_file() or path.resolve() != folder.resolve() / name:
        return Check(name, False, f"{path} must be a plain file, not a link or a folder; copy the kit again")
    if name not in sums:
        return Check(name, False, f"{SUMS} does not name it; download it into the kit again")
    try:
        actual = digest(path)
    except OSError as e:
        return Check(name, False, f"{path} cannot be read: {e.strerror}; check the file's permissions and its disk")
    if actual != sums[name]:
        return Check(name, False, f"changed: its sha256 must be {sums[name]}, but is {actual}; copy the kit again")
    return Check(name, True, f"sha256 {actual}")


def _weights(folder: Path, row: WeightsRow, sums: Mapping[str, str]) -> Check:
    """Whether a checkpoint is as its sum, the kit's manifest and this zoo's manifest say."""
    check = _file(folder, place(row), sums)
    if not check.ok:
        return check
    proven = False
    for whose, known in (("the kit's manifest", row), ("the manifest of this senet_zoo", _published(row.name))):
        hashes = None if known is None else _hashes(known)
        if hashes is None:
            continue
        if sums[place(row)] not in hashes:
            expected = " or ".join(sorted(hashes))
            return replace(
                check, ok=False, found=f"not what {whose} publishes: its sha256 must be {expected}, {check.found}"
            )
        proven = True
    words = "as published" if proven else f"as {SUMS} says; the manifest knows no sha256 of it"
    return replace(check, found=f"{check.found}, {words}")


def _published(name: str) -> WeightsRow | None:
    model, _, tag = name.partition(".")
    return next((row for row in load_manifest().rows(model) if row.tag == tag), None)


def _hashes(row: WeightsRow) -> set[str] | None:
    """Every sha256 that the file may have; None where a source's is not known, as after converting a release."""
    hashes = {None if isinstance(source, ReleaseFile) else source.sha256 for source in row.sources}
    known = {sha256 for sha256 in hashes if sha256 is not None}
    return known if len(known) == len(hashes) else None


def _nothing_else(folder: Path, expected: set[str], sums: Mapping[str, str]) -> Check:
    extra = sorted({*_entries(folder), *sums} - expected - {SUMS})
    if not extra:
        return Check("nothing else", True, "no other file")
    shown = ", ".join(extra[:5]) + (f" and {len(extra) - 5} more" if extra[5:] else "")
    return Check("nothing else", False, f"extra: {shown}; the manifest has no such weights, remove them")


def _entries(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(folder).as_posix()
