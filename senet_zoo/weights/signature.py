"""Signatures of folders: every file with its sha256, under one key, in the form of OpenSSF Model Signing 1.0.

``model.sig`` is a Sigstore bundle around a DSSE envelope, whose payload is an in-toto statement of names and hashes.
The command ``model_signing verify key`` reads what `sign` writes, and `check_signature` reads what
``model_signing sign key`` writes. It is stricter than that command, which obeys the ``ignore_paths`` of a signature:
here every file beside ``model.sig`` must be signed, except git's own and the hub client's notes of a download.

Source: https://github.com/sigstore/model-transparency, docs/model_signing_format.md;
https://github.com/secure-systems-lab/dsse, protocol.md.
"""

import base64
import binascii
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from senet_zoo.errors import SignatureError, UsageError
from senet_zoo.support.files import atomic_file, disk_error, expanded, open_regular
from senet_zoo.support.json_fields import cut, no_duplicates
from senet_zoo.weights.file_hashes import digest
from senet_zoo.weights.rows import SHA256
from senet_zoo.weights.signing_keys import hash_of, key_hash, read_private_key, read_public_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

SIGNATURE = "model.sig"
UNSIGNED = (".git", ".gitattributes", ".github", ".gitignore", ".cache/huggingface", SIGNATURE)
"""What lies beside a model and is no part of it: git's files, huggingface_hub's notes of a download, the signature."""
MOST_BYTES = 2**22
"""Of a signature; a file takes about 200."""
MOST_FILES = 10_000

_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"


@dataclass(frozen=True)
class Signed:
    """What a signature that holds says.

    Args:
        files: that were signed, by name.
        key: the sha256 of the public key, 64 hex digits.
    """

    files: tuple[str, ...]
    key: str


def sign(folder: str | Path, key: str | Path) -> Signed:
    """Sign every file of a folder; ``model.sig`` in it is written, whole or not at all.

    The same files and key give the same bytes.

    Args:
        folder: a saved model, or a kit.
        key: a private key on an elliptic curve (P-256, P-384 or P-521), PEM. The password of an encrypted one is in
            SENET_ZOO_KEY_PASSWORD.

    Raises:
        UsageError: no folder, or no such key.
        SignatureError: the folder holds a link, a device, or more files than a model has.
        WeightsUnavailable: the disk did not take the signature.
    """
    path = require_folder(folder)
    private = read_private_key(key)
    sums = _sums(path)
    content = signature_of(sums, path.name, private)
    try:
        with atomic_file(path / SIGNATURE) as file:
            file.write(content)
    except OSError as e:
        raise disk_error(e, path, "the path") from e
    return Signed(tuple(sums), key_hash(private.public_key()))


def signature_of(sums: Mapping[str, str], name: str, key: "ec.EllipticCurvePrivateKey") -> bytes:
    """The bytes of ``model.sig`` for files with these sha256.

    Args:
        sums: sha256 by the file's name below the folder.
        name: of the model; it is not compared when the signature is checked.
        key: as `read_private_key` gives it.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec

    names = sorted(sums, key=PurePosixPath)
    root = hashlib.sha256(b"".join(bytes.fromhex(sums[each]) for each in names)).hexdigest()
    statement = {
        "_type": _STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": root}}],
        "predicateType": _PREDICATE,
        "predicate": {
            "resources": [{"algorithm": "sha256", "digest": sums[each], "name": each} for each in names],
            "serialization": {
                "method": "files",
                "hash_type": "sha256",
                "allow_symlinks": False,
                "ignore_paths": list(UNSIGNED),
            },
        },
    }
    payload = json.dumps(statement, indent=2).encode()
    try:
        algorithm = ec.ECDSA(hash_of(key.public_key()), deterministic_signing=True)
        signature = key.sign(_authenticated(payload), algorithm)
    except UnsupportedAlgorithm as e:
        raise UsageError(f"signing needs OpenSSL 3.2 or newer: {e}; pip install -U cryptography") from e
    bundle = {
        "mediaType": _BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": key_hash(key.public_key())}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": _PAYLOAD,
            "signatures": [{"sig": base64.b64encode(signature).decode(), "keyid": ""}],
        },
    }
    return json.dumps(bundle).encode()


def check_signature(folder: str | Path, key: str | Path) -> Signed:
    """Check that a folder holds exactly the files that the owner of a key signed.

    Args:
        folder: with ``model.sig``.
        key: the public key, PEM.

    Raises:
        UsageError: no folder, or no such key.
        SignatureError: it is not signed, or by another key, or the signature is damaged; or a file was changed, added
            or removed since, which is named.
    """
    path, public = require_folder(folder), read_public_key(key)
    file = path / SIGNATURE
    signed = signed_files(_read(file), public, str(file), str(key))
    compare(_sums(path), signed, str(path))
    return Signed(tuple(signed), key_hash(public))


def is_covered(name: str) -> bool:
    """Whether a file is the model's, so that a signature must name it."""
    return not any(name == other or name.startswith(f"{other}/") for other in UNSIGNED)


def compare(found: Mapping[str, str], signed: Mapping[str, str], where: str) -> None:
    """Refuse files that are not exactly those that were signed.

    Args:
        found: sha256 of every file, by its name.
        signed: the same, of the signature.
        where: the folder or address, for messages.

    Raises:
        SignatureError: files were changed, added or removed; all three are named at once.
    """
    signed = {name: sha256 for name, sha256 in signed.items() if is_covered(name)}
    changed = [name for name in signed if name in found and found[name] != signed[name]]
    removed, added = [name for name in signed if name not in found], [name for name in found if name not in signed]
    kinds = (("changed", changed), ("removed", removed), ("added", added))
    report = [
        f"{what}: {', '.join(map(cut, names[:5]))}{', ...' if names[5:] else ''}" for what, names in kinds if names
    ]
    if report:
        raise SignatureError(
            f"{where} must hold exactly the files that were signed, but since then some were {'; '.join(report)}. "
            f"Fetch the folder again; or, if the change is yours, sign it again"
        )


def signed_files(content: bytes, key: "ec.EllipticCurvePublicKey", where: str, key_name: str) -> dict[str, str]:
    """The sha256 of each file that a signature names, once it is proven to be the key's.

    Args:
        content: of ``model.sig``.
        key: as `read_public_key` gives it.
        where: path or address of the signature, for messages.
        key_name: of the key, for messages.

    Raises:
        SignatureError: the signature is damaged, of another kind or another key, or names what is no file of a folder.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec

    payload, signature, hint = _open_bundle(content, where)
    try:
        key.verify(signature, _authenticated(payload), ec.ECDSA(hash_of(key)))
    except InvalidSignature as e:
        own = key_hash(key)
        if hint not in (None, own):
            raise SignatureError(
                f"{where} was made with another key (sha256 {cut(str(hint))}) than that of {key_name} (sha256 {own}); "
                f"ask its owner for the public key, and do not use the folder before it fits"
            ) from e
        raise SignatureError(f"{where} is no signature by the key of {key_name}: it was altered; fetch it again") from e
    return _read_statement(payload, where)


def _authenticated(payload: bytes) -> bytes:
    """What is signed: DSSE's encoding of the payload and its type."""
    return b"DSSEv1 %d %b %d %b" % (len(_PAYLOAD), _PAYLOAD.encode(), len(payload), payload)


def require_folder(folder: str | Path) -> Path:
    """The folder that is to be signed, or was.

    Raises:
        UsageError: there is none.
    """
    path = expanded(folder)
    if not path.is_dir():
        raise UsageError(f"a signature is that of a folder, and {path} is none; name a saved model's folder or a kit")
    return path.resolve()


def _read(file: Path) -> bytes:
    if not os.path.lexists(file):
        raise SignatureError(
            f"{file.parent} is not signed: it has no {SIGNATURE}; ask its owner for a signed one, or sign your own"
        )
    if file.is_symlink():
        raise SignatureError(f"{file} is a link; a signature is a plain file: fetch the folder again")
    try:
        with open_regular(file) as opened:
            content = opened.read(MOST_BYTES + 1)
    except OSError as e:
        raise SignatureError(f"{file} cannot be read: {e.strerror}; check its permissions") from e
    if len(content) > MOST_BYTES:
        raise SignatureError(f"a signature may have {MOST_BYTES} bytes at most, and {file} has more; it is not read")
    return content


def _sums(folder: Path) -> dict[str, str]:
    """The sha256 of every file of a folder that a signature covers."""
    sums: dict[str, str] = {}
    for path in _files(folder):
        name = path.relative_to(folder).as_posix()
        if len(sums) == MOST_FILES:
            raise SignatureError(f"a signed folder may hold {MOST_FILES} files at most, and {folder} has more")
        try:
            with open_regular(path) as file:
                sums[name] = digest(file)
        except OSError as e:
            raise SignatureError(f"{path} cannot be read: {e.strerror}; check its permissions") from e
    return dict(sorted(sums.items()))


def _files(folder: Path) -> Iterator[Path]:
    pending = [folder]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as e:
            raise SignatureError(f"{e.filename} cannot be read: {e.strerror}; check its permissions") from e
        for entry in found:
            path = Path(entry.path)
            if not is_covered(path.relative_to(folder).as_posix()):
                continue
            mode = entry.stat(follow_symlinks=False).st_mode
            if stat.S_ISDIR(mode):
                pending.append(path)
            elif stat.S_ISREG(mode):
                yield path
            else:
                kind = "a link" if stat.S_ISLNK(mode) else "no plain file"
                raise SignatureError(f"a signed folder holds plain files alone, and {path} is {kind}; remove it")


def _open_bundle(content: bytes, where: str) -> tuple[bytes, bytes, object]:
    """The payload of a bundle, the signature of it, and the hash of its key; nothing of it is proven yet."""
    bundle = _json(content, where)
    match bundle:
        case {
            "mediaType": str(kind),
            "verificationMaterial": dict(material),
            "dsseEnvelope": {
                "payload": str(payload),
                "payloadType": str(payload_type),
                "signatures": [{"sig": str(signature)}, *others],
            },
        } if kind == _BUNDLE and payload_type == _PAYLOAD and not others:
            key = material.get("publicKey")
            if key is None:
                raise SignatureError(
                    f"{where} was made with a certificate or an identity of Sigstore, not with a key; check it with "
                    f"model_signing verify, where there is a network"
                )
            try:
                opened = base64.b64decode(payload, validate=True), base64.b64decode(signature, validate=True)
            except (binascii.Error, ValueError) as e:
                raise _damaged(where, f"its base64 is broken: {e}") from e
            return *opened, key.get("hint") if isinstance(key, dict) else None
    raise _damaged(where, f"it must be a Sigstore bundle of the form {_BUNDLE} with one signature")


def _read_statement(payload: bytes, where: str) -> dict[str, str]:
    match _json(payload, where):
        case {
            "_type": str(kind),
            "predicateType": str(predicate),
            "predicate": {"serialization": {"method": str(method)}, "resources": list(resources)},
        } if (kind, predicate) == (_STATEMENT, _PREDICATE):
            pass
        case _:
            raise _damaged(where, f"what it signs is no statement of the form {_PREDICATE}")
    if method != "files":
        raise SignatureError(f"{where} signs files in parts ({cut(repr(method))}); sign them whole: method files")
    if len(resources) > MOST_FILES:
        raise SignatureError(f"a signature may name {MOST_FILES} files at most, {where} names {len(resources)}")
    signed: dict[str, str] = {}
    for each in resources:
        match each:
            case {"name": str(name), "algorithm": "sha256", "digest": str(value)} if re.fullmatch(SHA256, value):
                if _leaves(name) or name in signed:
                    raise SignatureError(
                        f"{where} names {cut(repr(name))}, which is no file below the folder, or twice; do not use it"
                    )
                signed[name] = value
            case _:
                raise _damaged(where, f"each file must have a name and a sha256, got {cut(repr(each))}")
    if not signed:
        raise SignatureError(f"{where} names no file; sign the folder again")
    return signed


def _leaves(name: str) -> bool:
    """Whether a name is none of a file below the folder, spelt in the only way."""
    return (
        name != PurePosixPath(name).as_posix()
        or name.startswith("/")
        or "\\" in name
        or "\0" in name
        or bool({"..", ".", ""} & {*name.split("/")})
    )


def _json(content: bytes, where: str) -> object:
    try:
        return json.loads(content, object_pairs_hook=no_duplicates)
    except (ValueError, RecursionError) as e:
        raise _damaged(where, f"it is no JSON: {cut(str(e))}") from e


def _damaged(where: str, why: str) -> SignatureError:
    return SignatureError(f"{where} cannot be read as a signature, because {why}; fetch it again")
