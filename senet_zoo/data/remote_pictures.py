"""A picture at an ``https:`` address, fetched into memory: bounded in bytes and time, and from public hosts only.

``SENET_ZOO_URLS`` says which addresses are fetched: ``https`` (default), ``any`` for ``http:`` and for hosts of the own
network, too, ``none``. With ``HF_HUB_OFFLINE`` none is.
"""

import http.client
import ipaddress
import os
import socket
import ssl
import time
from contextlib import closing
from importlib.util import find_spec
from urllib.parse import SplitResult, urljoin, urlsplit

from senet_zoo.errors import PictureError, UsageError

SETTING = "SENET_ZOO_URLS"
MOST_BYTES = 50 * 2**20
MOST_SECONDS = 60.0  # of all answers together
MOST_SILENCE = 15.0  # seconds until the next byte
MOST_REDIRECTS = 5
TYPES = ("image/", "application/octet-stream", "binary/octet-stream")
"""What a server may call a picture."""


def is_remote(source: str) -> bool:
    """Whether a text is an address of the web and no path."""
    return source[:8].lower().startswith(("https://", "http://"))


def fetch_picture(url: str) -> bytes:
    """The bytes at an address.

    Raises:
        PictureError: the address is none that is fetched, or nothing that could be a picture came from there.
        UsageError: SENET_ZOO_URLS is none of its values.
    """
    if os.environ.get(SETTING, "") not in ("", "https", "any", "none"):
        raise UsageError(f"{SETTING} must be https, any or none, got {os.environ[SETTING]!r}")
    shown = url if len(url) <= 200 else f"{url[:197]}..."
    end = time.monotonic() + MOST_SECONDS
    address = url
    try:
        for _ in range(MOST_REDIRECTS + 1):
            status, headers, body = _get(_checked(address), end)
            if status not in (301, 302, 303, 307, 308):
                break
            address = urljoin(address, headers.get("location", ""))
        else:
            raise _Refused(f"it leads on more than {MOST_REDIRECTS} times")
        _require(status == 200, f"the server says {status} {http.client.responses.get(status, '')}".rstrip())
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        _require(not kind or kind.startswith(TYPES), f"it is {kind}, not a picture")
    except (OSError, http.client.HTTPException, ValueError, _Refused) as error:
        raise PictureError(f"{shown}: a picture must be there, and {_reason(error)}") from error
    return body


class _Refused(Exception):
    """Why an address is not fetched."""


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise _Refused(reason)


def _reason(error: Exception) -> str:
    if isinstance(error, _Refused):
        return str(error)
    if isinstance(error, TimeoutError):
        return f"nothing came for {MOST_SILENCE:.0f} seconds"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not good: {error.verify_message}"
    return f"it could not be fetched: {getattr(error, 'strerror', None) or error or type(error).__name__}"


def _any_address() -> bool:
    _require(os.environ.get(SETTING) != "none", f"{SETTING}=none is set")
    offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
    _require(not offline, "HF_HUB_OFFLINE is set; unset it, or download the picture first")
    return os.environ.get(SETTING) == "any"


def _checked(url: str) -> SplitResult:
    """The parts of an address that may be asked."""
    parts = urlsplit(url)
    _require(
        parts.scheme == "https" or (_any_address() and parts.scheme == "http"),
        f"{parts.scheme or 'this'}: is no https: address (SENET_ZOO_URLS=any takes http:, too)",
    )
    _any_address()
    _require(parts.username is None and parts.password is None, "an address with a name and password is not asked")
    _require(bool(parts.hostname), "it names no host")
    return parts


def _public(host: str, port: int) -> str:
    """The host's first address, none of which may be of this machine or its network."""
    try:
        found = [str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:
        raise _Refused(f"the host {host!r} is not known") from error
    if not _any_address():
        for each in found:
            number = ipaddress.ip_address(each.partition("%")[0])
            mapped = getattr(number, "ipv4_mapped", None) or number
            _require(
                mapped.is_global and not mapped.is_multicast,
                f"{host!r} is a host of this machine or its network ({each}); SENET_ZOO_URLS=any takes it",
            )
    return found[0]


def _get(parts: SplitResult, end: float) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one answer; the host's address is looked up once, checked and used."""
    host = str(parts.hostname).encode("idna").decode()
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    left = min(MOST_SILENCE, end - time.monotonic())
    _require(left > 0, f"it took more than {MOST_SECONDS:.0f} seconds")
    connection = http.client.HTTPConnection(host, port)
    with closing(connection):
        connection.sock = socket.create_connection((_public(host, port), port), timeout=left)
        if secure:
            connection.sock = _context().wrap_socket(connection.sock, server_hostname=host)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"User-Agent": "senet_zoo", "Accept": "image/*", "Accept-Encoding": "identity"}
        connection.request("GET", "".join(c if " " < c < "\x7f" else _quoted(c) for c in path), headers=headers)
        with closing(connection.getresponse()) as answer:
            names = {name.lower(): value for name, value in answer.getheaders()}
            if answer.status != 200:
                return answer.status, names, b""
            length = names.get("content-length", "")
            _require(
                not length.isdecimal() or int(length) <= MOST_BYTES, f"it has {length} bytes, at most {MOST_BYTES}"
            )
            _require(names.get("content-encoding", "identity") == "identity", "the server packs it, unasked")
            body = bytearray()
            while part := answer.read1(2**16):
                body += part
                _require(len(body) <= MOST_BYTES, f"it has more than {MOST_BYTES} bytes")
                _require(time.monotonic() < end, f"it took more than {MOST_SECONDS:.0f} seconds")
            _require(not length.isdecimal() or len(body) == int(length), f"{len(body)} of {length} bytes came")
            return answer.status, names, bytes(body)


def _quoted(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode())


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not os.environ.get("SSL_CERT_FILE") and find_spec("certifi"):  # Python from python.org has none on a Mac
        import certifi

        context.load_verify_locations(certifi.where())
    return context
