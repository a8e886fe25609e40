"""Whose signature covers what `verify` takes: a saved folder, a kit, a hub's repository, or published weights."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from senet_zoo.errors import SenetZooError, SignatureError, UsageError
from senet_zoo.support.files import expanded, is_file, is_folder
from senet_zoo.support.json_fields import read_json
from senet_zoo.weights.catalogue import get_weights
from senet_zoo.weights.config import HUB, TENSORS
from senet_zoo.weights.file_hashes import digest
from senet_zoo.weights.manifest import document, load_manifest
from senet_zoo.weights.rows import HubFile, PackageFile, WeightsRow, split_revision
from senet_zoo.weights.signature import SIGNATURE, Signed, check_signature, compare, is_covered, sign, signed_files
from senet_zoo.weights.signing_keys import key_hash, public_pem, read_private_key, read_public_key
from senet_zoo.weights.verify import Finding, Verification

CHECKPOINTS = Path(__file__).resolve().parents[1] / "checkpoints"
KEY, ROWS = "key.pub", "rows.json"
"""Beside the checkpoints of a release: the public key, and the manifest's rows of these checkpoints."""


def with_signature(found: Verification, target: str | Path, key: str | Path | None) -> Verification:
    """A verification with one more check: that the files are those that the owner of a key signed.

    Args:
        found: what `verify` says of the target.
        target: as `verify` takes it.
        key: the public key, PEM; None for the one in the package, which is that of its own checkpoints.

    Raises:
        UsageError: no such key; or none is given, and the target is none of the package's own.
    """
    try:
        signed = _check(target, key)
        text = f"{len(signed.files)} files, signed with the key of sha256 {signed.key}"
        check = Finding("signature", True, text)
    except UsageError:
        raise
    except SenetZooError as error:
        check = Finding("signature", False, str(error))
    return replace(found, checks=(*found.checks, check))


def check_checkpoints(folder: Path, key: str | Path | None = None) -> Signed:
    """Check the package's own checkpoints, and that the manifest says of them what was signed.

    Args:
        folder: of the checkpoints.
        key: the public key; None for the one beside them.

    Raises:
        UsageError: no such key.
        SignatureError: they are not signed, or not by that key, or something changed since.
    """
    if key is not None:
        read_public_key(key)
    if not is_file(folder / SIGNATURE) or (key is None and not is_file(folder / KEY)):
        raise SignatureError(
            f"the checkpoints in {folder} are not signed; those of a release can be, by its maintainers. Their sha256 "
            f"is in the manifest: senet-zoo verify compares it"
        )
    signed = check_signature(folder, folder / KEY if key is None else key)
    rows = read_json(folder / ROWS) if ROWS in signed.files else None
    if rows != _as_json(_own_rows()):
        raise SignatureError(f"the manifest must say of the package's checkpoints what the signed {folder / ROWS} says")
    return signed


def sign_checkpoints(folder: Path, key: str | Path) -> Signed:
    """Sign the package's checkpoints, their rows of the manifest and the public key; `check_checkpoints` reads it.

    Args:
        folder: of the checkpoints.
        key: the private key, PEM.
    """
    (folder / KEY).write_bytes(public_pem(read_private_key(key).public_key()))
    (folder / ROWS).write_text(json.dumps(document(_own_rows()), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return sign(folder, key)


def _own_rows() -> list[WeightsRow]:
    rows = (row for rows in load_manifest().models.values() for row in rows)
    return [row for row in rows if any(isinstance(source, PackageFile) for source in row.sources)]


def _as_json(rows: Sequence[WeightsRow]) -> object:
    return json.loads(json.dumps(document(rows)))


def _check(target: str | Path, key: str | Path | None) -> Signed:
    text = str(target)
    path = None if "://" in text else expanded(target)
    if path is not None and not is_folder(path) and (path.name == TENSORS or is_file(path)):
        if path.name != TENSORS:
            raise SignatureError(f"a signature is that of a folder; name the folder of {path}, with its {SIGNATURE}")
        path = path.parent
    if path is not None and is_folder(path):
        return check_signature(path, _given(key))
    if text.startswith(HUB):
        return _check_hub(*split_revision(text.removeprefix(HUB)), _given(key))
    row = get_weights(text).row
    if any(isinstance(source, PackageFile) for source in row.sources):
        return check_checkpoints(CHECKPOINTS, key)
    hub = next((source for source in row.sources if isinstance(source, HubFile)), None)
    if hub is None:
        raise SignatureError(f"{row.name} is published as a single file, which nobody signed")
    return _check_hub(hub.repo, hub.revision, _given(key))


def _given(key: str | Path | None) -> str | Path:
    if key is None:
        raise UsageError(
            "whose signature it should be is said by a public key, which only the package's own checkpoints have "
            "beside them: --signature KEY.pub"
        )
    return key


def _check_hub(repo: str, revision: str | None, key: str | Path) -> Signed:
    """Check a repository at one commit, file by file; the bytes are those that `from_pretrained` loads."""
    from senet_zoo.weights.download import hub_file
    from senet_zoo.weights.hub_repository import fetch_text, list_files

    public = read_public_key(key)
    tensors = hub_file(repo, revision)
    commit = str(tensors.revision)
    where = f"{HUB}{repo}@{commit}"
    signature = fetch_text(repo, commit, SIGNATURE)
    if signature is None:
        raise SignatureError(f"{where} is not signed: it has no {SIGNATURE}; ask its owner for a signed one")
    signed = signed_files(signature.read_bytes(), public, f"{where}/{SIGNATURE}", str(key))
    sums = {}
    for name in list_files(repo, commit):
        if is_covered(name):
            file = tensors.path if name == TENSORS else fetch_text(repo, commit, name) if name in signed else None
            sums[name] = "" if file is None else digest(file)
    compare(sums, signed, where)
    return Signed(tuple(signed), key_hash(public))
