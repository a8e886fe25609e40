"""Limits on what a server may answer, whoever runs it: bytes, seconds, and the names that it gives to files.

huggingface_hub takes as much as a server sends, for as long as it sends, and keeps a file under the name that the ETag
says, which may be a path. `limited` runs a call of the client within limits on every answer that it gets.

Where hf-xet is installed, the client leaves the bytes of a file to it, a library with connections of its own, which no
limit reaches. So Xet is off meanwhile, for the process's other threads too. That costs its parallel connections and the
parts that it has of other revisions: a file comes in one HTTPS stream, in full, as it does where hf-xet is missing.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar
from urllib.parse import urlsplit

from senet_zoo.errors import WeightsUnavailable, WeightsUnsafe
from senet_zoo.weights.hub_errors import http_library, utilities

MOST_ANSWER_BYTES = 2**24
"""Of JSON and other answers that are no files; a repository of ten thousand files is described in four megabytes."""
LEAST_RATE = 16_000
"""Bytes a second below which a download is given up."""
GRACE = 4.0
"""Seconds of an answer besides twice the client's own timeout."""
QUICK = 3.0
"""Seconds to connect, after which a server counts as unreachable."""

_PAUSE = 10.0  # seconds for which a server that could not be reached is not asked again
_NAME = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")  # git's hash of a small file, sha256 of a large one
_NAMES = {"X-Repo-Commit": re.compile("[0-9a-f]{40}"), "X-Xet-Hash": re.compile("[0-9a-f]{64}")}
_Answer = TypeVar("_Answer")
_lock = threading.Lock()
_before: list[bool] = []  # for each call that runs, whether Xet was off before the first
_unreachable: dict[str, float] = {}  # when a host could not be reached, by host and port


class _Limits:
    def __init__(self, what: str, most: int, seconds: float) -> None:
        self.what, self.most, self.seconds = what, most, seconds
        self.end = time.monotonic() + seconds

    def check(self, received: int) -> None:
        if received > self.most:
            raise WeightsUnavailable(
                f"{self.what}: the download broke off: the server sends more than the {self.most} bytes that it may; "
                f"check the address"
            )
        if time.monotonic() > self.end:
            raise self.too_slow()

    def too_slow(self) -> WeightsUnavailable:
        return WeightsUnavailable(
            f"{self.what}: the server took longer than {self.seconds:.0f} s; try again, or raise "
            f"HF_HUB_DOWNLOAD_TIMEOUT (seconds)"
        )


_current: ContextVar[_Limits | None] = ContextVar("_current", default=None)


def limited(ask: Callable[[], _Answer], *, what: str, most: int, size: int = 0) -> _Answer:
    """What a call of the client gives, if every answer that it gets keeps the limits.

    The time is twice HF_HUB_DOWNLOAD_TIMEOUT, `GRACE`, and what a download at `LEAST_RATE` takes, all tries
    together; each byte starts the client's own timeout anew.

    Args:
        ask: calls the client.
        what: is asked for, for messages.
        most: bytes of each answer.
        size: bytes of a file that is downloaded.

    Raises:
        WeightsUnavailable: an answer has more bytes, or takes longer.
        WeightsUnsafe: a server names a file by anything but a hash.
    """
    from huggingface_hub import constants

    watch(utilities().get_session())
    limits = _Limits(what, most, 2 * constants.HF_HUB_DOWNLOAD_TIMEOUT + GRACE + size / LEAST_RATE)
    _current.set(limits)
    context = copy_context()
    _current.set(None)
    results: list[_Answer] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with _without_xet():
                results.append(context.run(ask))
        except BaseException as e:  # raised again by whoever waits
            errors.append(e)

    # In a thread, because neither the look-up of a name nor the head of an answer ends by itself.
    thread = threading.Thread(target=run, daemon=True, name="senet_zoo: ask a server")
    thread.start()
    try:
        thread.join(limits.seconds + 1)
    except BaseException:
        limits.end = 0.0  # Ctrl-C: the thread tidies up at the next bytes
        thread.join(1)
        raise
    if thread.is_alive():
        limits.end = 0.0
        raise limits.too_slow()
    if errors:
        raise errors[0]
    return results[0]


@contextmanager
def _without_xet() -> Iterator[None]:
    from huggingface_hub import constants

    with _lock:
        _before.append(_before[0] if _before else constants.HF_HUB_DISABLE_XET)
        constants.HF_HUB_DISABLE_XET = True  # what the variable of that name sets, and the client asks at each download
    try:
        yield
    finally:
        with _lock:
            before = _before.pop()
            if not _before:
                constants.HF_HUB_DISABLE_XET = before


def reached(address: str, ask: Callable[[], _Answer]) -> _Answer:
    """What ``ask`` gives; a server that cannot be reached is asked twice, and then not for some seconds.

    Raises:
        WeightsUnavailable: it could not be reached just now.
    """
    httpx, host = http_library(), urlsplit(address).netloc.rpartition("@")[2]
    if time.monotonic() - _unreachable.get(host, -_PAUSE) < _PAUSE:
        raise WeightsUnavailable(f"{host} could not be reached a moment ago, and is not asked again for some seconds")
    for last in (False, True):
        try:
            answer = ask()
        except (httpx.ConnectError, httpx.ConnectTimeout):
            if last:
                _unreachable[host] = time.monotonic()
                raise
            time.sleep(0.2)
        else:
            _unreachable.pop(host, None)
            return answer
    raise AssertionError


def watch(client: Any) -> None:
    """Look at the answers that the client gets inside of `limited`; all others pass as before."""
    hooks = client.event_hooks
    if _check_answer not in hooks["response"]:
        client.event_hooks = {
            "request": [*hooks["request"], _ask_plainly],
            "response": [*hooks["response"], _check_answer],
        }


def _ask_plainly(request: Any) -> None:
    if _current.get() is not None:
        request.headers["Accept-Encoding"] = "identity"  # a megabyte of gzip is a gigabyte of blanks


def _check_answer(response: Any) -> None:
    limits = _current.get()
    if limits is None:
        return
    headers = response.headers
    named = {name: (headers.get(name), rule) for name, rule in _NAMES.items()}
    if (
        response.request.method == "HEAD" and response.status_code < 400 and "X-Repo-Commit" in headers
    ):  # the file will be kept under this name
        etag = headers.get("X-Linked-Etag") or headers.get("ETag") or ""
        named["ETag"] = (etag.removeprefix("W/").strip('"'), _NAME)
    for name, (value, rule) in named.items():
        if value is not None and rule.fullmatch(value) is None:
            raise WeightsUnsafe(
                f"{limits.what}: a hub names a file by 40 or 64 hex digits, but the {name} of this one is "
                f"{value[:80]!r}; nothing was fetched: do not use this hub"
            )
    if headers.get("Content-Encoding", "identity") != "identity":
        raise WeightsUnavailable(
            f"{limits.what}: the server packs its answer ({headers['Content-Encoding'][:40]!r}), which nobody asked "
            f"for; check the address"
        )
    if response.request.method != "HEAD":
        response.stream = _stream(response.stream, limits)


def _stream(stream: Any, limits: _Limits) -> Any:
    class Limited(http_library().SyncByteStream):  # type: ignore[misc]
        def __iter__(self) -> Iterator[bytes]:
            received = 0
            limits.check(received)
            for chunk in stream:
                received += len(chunk)
                limits.check(received)
                yield chunk

        def close(self) -> None:
            stream.close()

    return Limited()
