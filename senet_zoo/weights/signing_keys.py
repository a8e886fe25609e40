"""Keys on an elliptic curve that sign folders: read from PEM, refused with the command that makes a right one."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from senet_zoo.errors import UsageError
from senet_zoo.support import settings
from senet_zoo.support.files import expanded, open_regular
from senet_zoo.support.json_fields import cut

if TYPE_CHECKING:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

_MOST_KEY_BYTES = 2**16
_CURVES = ("secp256r1", "secp384r1", "secp521r1")
_MAKE_KEY = "openssl ecparam -name prime256v1 -genkey -noout -out key.pem; openssl ec -in key.pem -pubout -out key.pub"


def read_private_key(file: str | Path) -> "ec.EllipticCurvePrivateKey":
    """A private key on an elliptic curve.

    Raises:
        UsageError: the file cannot be read, or holds none; or its password is missing or wrong.
    """
    path, content, serialization = _key_bytes(file)
    password = settings.key_password()
    try:
        key = serialization.load_pem_private_key(content, password)
    except TypeError as e:
        if password is None:
            raise UsageError(f"the key {path} is encrypted; set SENET_ZOO_KEY_PASSWORD to its password") from e
        key = serialization.load_pem_private_key(content, None)
    except Exception as e:  # ValueError, UnsupportedAlgorithm, and what OpenSSL makes of a stranger's file
        wrong = " or SENET_ZOO_KEY_PASSWORD is another key's" if b"ENCRYPTED" in content else ""
        raise UsageError(
            f"{path} must hold a private key in PEM, and does not{wrong} ({cut(str(e))}); make one with: {_MAKE_KEY}"
        ) from e
    return cast("ec.EllipticCurvePrivateKey", _require_curve(key, path))


def read_public_key(file: str | Path) -> "ec.EllipticCurvePublicKey":
    """A public key on an elliptic curve.

    Raises:
        UsageError: the file cannot be read, or holds none.
    """
    path, content, serialization = _key_bytes(file)
    if b"PRIVATE KEY" in content:
        raise UsageError(
            f"a signature is checked with the public key, and {path} is a private one, which goes to nobody; write its "
            f"public half with: openssl ec -in {path} -pubout -out key.pub"
        )
    try:
        key = serialization.load_pem_public_key(content)
    except Exception as e:  # as above
        raise UsageError(
            f"{path} must hold a public key in PEM, and does not ({cut(str(e))}); name the right file"
        ) from e
    return cast("ec.EllipticCurvePublicKey", _require_curve(key, path))


def _key_bytes(file: str | Path) -> tuple[Path, bytes, Any]:
    try:
        from cryptography.hazmat.primitives import serialization
    except ImportError as error:
        raise UsageError(
            f"signatures need {error.name}, which cannot be imported ({error}): pip install 'senet-zoo[sign]'"
        ) from error
    path = expanded(file)
    try:
        with open_regular(path) as opened:
            content = opened.read(_MOST_KEY_BYTES + 1)
    except OSError as e:
        raise UsageError(f"the key {path} cannot be read: {e.strerror}; name a file in PEM") from e
    if len(content) > _MOST_KEY_BYTES:
        raise UsageError(f"a key may have {_MOST_KEY_BYTES} bytes at most, and {path} has more; name a file in PEM")
    return path, content, serialization


def _require_curve(key: object, path: Path) -> object:
    from cryptography.hazmat.primitives.asymmetric import ec

    if not isinstance(key, ec.EllipticCurvePrivateKey | ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise UsageError(
            f"signatures are made with a key on the curve P-256, P-384 or P-521, and that of {path} is another; make "
            f"one with: {_MAKE_KEY}"
        )
    return key


def hash_of(key: "ec.EllipticCurvePublicKey") -> "hashes.HashAlgorithm":
    """The hash that goes with a key, by the size of its curve."""
    from cryptography.hazmat.primitives import hashes

    return {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[key.curve.key_size]


def public_pem(key: "ec.EllipticCurvePublicKey") -> bytes:
    """A public key as a file."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def key_hash(key: "ec.EllipticCurvePublicKey") -> str:
    """The sha256 of a public key, by which a signature names it."""
    return hashlib.sha256(public_pem(key)).hexdigest()
