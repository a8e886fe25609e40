"""A kit: weights for a machine without network, in a folder that proves itself.

::

    DIR/se_resnet20/cifar10/model.safetensors    as SENET_ZOO_WEIGHTS_DIR=DIR reads it
    DIR/weights_manifest.json                    the rows of the weights in it
    DIR/SHA256SUMS                               of every other file, as ``sha256sum --check`` reads it
"""

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

from senet_zoo.errors import UsageError, WeightsCorrupted, WeightsUnavailable
from senet_zoo.support.files import atomic_file, disk_error, expanded, is_file, is_folder, stat_of
from senet_zoo.weights.catalogue import get_weights
from senet_zoo.weights.download import VerifiedCheckpoint, locate
from senet_zoo.weights.file_hashes import digest
from senet_zoo.weights.manifest import FILENAME, document, load_manifest
from senet_zoo.weights.rows import PATH, SHA256, WeightsRow

SUMS = "SHA256SUMS"

_MOST_BYTES = 2**20  # of SHA256SUMS


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
    row, target = get_weights(name).row, expanded(folder)
    rows, sums = _read_kit(target)
    located = locate(row)
    path = target / path_of(row)
    rows[row.name] = row
    if path_of(row) not in sums and is_file(path) and digest(path) != located.sha256:
        raise UsageError(
            f"a kit replaces only files of its own, and {path} is none that {target / SUMS} names; choose another "
            f"folder, or move what is there"
        )
    try:
        _copy(located, path)
        # The sums come last: whatever interrupts this before, `senet_zoo.verify` names the file that they do not cover.
        manifest = json.dumps(document(rows.values()), indent=2, ensure_ascii=False).encode() + b"\n"
        _write(target / FILENAME, manifest)
        sums |= {path_of(row): located.sha256, FILENAME: hashlib.sha256(manifest).hexdigest()}
        _write(target / SUMS, "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode())
    except OSError as e:
        raise disk_error(e, target, "the path") from e
    return replace(located, path=path)


def path_of(row: WeightsRow) -> str:
    """Path of a checkpoint's file below a kit's folder."""
    return f"{row.model}/{row.tag}/model.safetensors"


def is_kit(folder: Path) -> bool:
    """Whether a folder is a kit, be it one whose sums are missing; a saved model's folder is none."""
    with_manifest = is_file(folder / FILENAME) and stat_of(folder / "model.safetensors") is None
    return is_folder(folder) and (with_manifest or is_file(folder / SUMS))


def read_rows(folder: Path) -> tuple[WeightsRow, ...]:
    """The rows of a kit's manifest.

    Raises:
        ManifestError: it cannot be read, or breaks a rule.
    """
    return tuple(row for rows in load_manifest(folder / FILENAME).models.values() for row in rows)


def sum_of(row: WeightsRow, folder: Path) -> str | None:
    """The sha256 that a folder's sums name for a checkpoint; None where it has no sums, or they do not name it.

    Raises:
        WeightsCorrupted, WeightsUnavailable: as `read_sums`.
    """
    return read_sums(folder).get(path_of(row)) if is_file(folder / SUMS) else None


def _read_kit(folder: Path) -> tuple[dict[str, WeightsRow], dict[str, str]]:
    """The rows of a kit by their names, and its sums; both empty where there is none."""
    rows = read_rows(folder) if is_file(folder / FILENAME) else ()
    sums = read_sums(folder) if is_file(folder / SUMS) else {}
    foreign = sorted(set(sums) - {path_of(row) for row in rows} - {FILENAME})
    if foreign:
        raise UsageError(
            f"weights go into a folder of their own, but {folder / SUMS} names {foreign[0]}, which is none of its "
            f"manifest's; name another folder"
        )
    return {row.name: row for row in rows}, sums


def _copy(located: VerifiedCheckpoint, path: Path) -> None:
    with located.path.open("rb") as source, atomic_file(path) as file:
        shutil.copyfileobj(source, file)
        file.flush()
        sha256 = digest(Path(file.name))
        if sha256 != located.sha256:
            raise WeightsCorrupted(
                f"the sha256 of {located.path} was {located.sha256}, but reading it again gave {sha256}: the disk or "
                f"another program altered it; delete it and fetch it again"
            )


def _write(path: Path, content: bytes) -> None:
    with atomic_file(path) as file:
        file.write(content)


def read_sums(folder: Path) -> dict[str, str]:
    """The sha256 of each file of a kit, by its path below the folder.

    Raises:
        WeightsCorrupted: the sums are missing, or not in the form that this zoo writes.
        WeightsUnavailable: the system does not let them be read.
    """
    path = folder / SUMS
    if not is_file(path):
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
