"""A hub, a network or a disk that fails: each has its error, and leaves no bad file behind."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hub.places import leftovers

from senet_zoo.errors import WeightsAccessDenied, WeightsCorrupted, WeightsNotFound, WeightsUnavailable
from senet_zoo.weights import file_hashes
from senet_zoo.weights.download import locate

REPO, COMMIT = "org/net", "c" * 40


def files_of(cache: Path) -> list[Path]:
    """Weights that lie in the cache, under any name."""
    return [
        path
        for path in cache.rglob("*")
        if (path.is_file() and "snapshots" in path.parts) or path.parent.name == "blobs"
    ]


@pytest.mark.parametrize("kind", ["published", "unpinned"])
def test_a_flipped_bit_is_downloaded_again_once(hub, kind, request, content):
    row = request.getfixturevalue(kind)
    hub.fault("cdn", flip=0.5, times=1)
    assert locate(row).path.read_bytes() == content
    assert sum("/cdn/" in path for _, path, _ in hub.log) == 2


@pytest.mark.parametrize("kind", ["published", "unpinned"])
def test_a_bit_that_is_always_flipped_is_an_error_and_leaves_nothing(hub, kind, request, cache):
    row = request.getfixturevalue(kind)
    sha256 = hub.add(REPO, next(iter(hub.repos[REPO].values()))["model.safetensors"])
    hub.fault("cdn", flip=0.5)
    with pytest.raises(WeightsCorrupted, match=f"(?s)must be {sha256}, but is .*fetch it again"):
        locate(row)
    assert files_of(cache) == []
    assert leftovers(cache) == []
    hub.faults.clear()
    assert file_hashes.digest(locate(row).path) == sha256


def test_a_file_spoilt_on_disk_is_noticed_and_repaired(hub, published, content):
    located = locate(published)
    located.path.resolve().write_bytes(content[:-1] + b"\0")
    assert locate(published).path.read_bytes() == content


def test_a_connection_that_is_cut_once_is_made_again(hub, published, content, no_waiting):
    hub.fault("cdn", cut=100, times=1)
    assert locate(published).path.read_bytes() == content


FAULTS = {
    "cut connection": ("cdn", {"cut": 0}, WeightsUnavailable, "broke off.*try again"),
    "429": (
        "resolve",
        {"status": 429, "headers": {"Retry-After": "7"}},
        WeightsUnavailable,
        "HTTP 429.*after 7 s.*HF_TOKEN",
    ),
    "503": ("resolve", {"status": 503}, WeightsUnavailable, "HTTP 503.*try again later"),
    "404 of the repository": (
        "resolve",
        {"status": 404, "headers": {"X-Error-Code": "RepoNotFound"}},
        WeightsNotFound,
        "no such repository.*HF_TOKEN",
    ),
    "404 of the file": (
        "resolve",
        {"status": 404, "headers": {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}},
        WeightsNotFound,
        "no such file at c{40}.*check its name",
    ),
    "wrong commit": (
        "resolve",
        {"status": 404, "headers": {"X-Error-Code": "RevisionNotFound"}},
        WeightsNotFound,
        "no commit c{40}.*refresh the mirror",
    ),
    "gated": (
        "resolve",
        {"status": 403, "headers": {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"}},
        WeightsAccessDenied,
        "request it at http://127.*/org/net.*HF_TOKEN",
    ),
    "refused token": (
        "resolve",
        {"status": 401, "headers": {"X-Error-Message": "Invalid credentials in Authorization header"}},
        WeightsAccessDenied,
        "HTTP 401.*HF_TOKEN.*unset it",
    ),
    "blocked": ("resolve", {"status": 403}, WeightsAccessDenied, "refuses this user.*HTTP 403"),
    "404 of a server that is no hub": (
        "resolve",
        {"status": 404},
        WeightsUnavailable,
        "not answer like a hub.*SENET_ZOO_HUB",
    ),
    "HTML page": (
        "resolve",
        {"status": 200, "body": b"<html>please log in", "headers": {"ETag": '"x"'}},
        WeightsUnavailable,
        "login page",
    ),
    "short body": ("cdn", {"short": 5}, WeightsUnavailable, "broke off.*should be of size"),
    "longer than announced": ("cdn", {"miscount": -5}, WeightsUnavailable, "broke off"),
    "shorter than announced": ("cdn", {"miscount": 5}, WeightsUnavailable, "broke off"),
    "wrong size in the metadata": ("resolve", {"miscount": 5}, WeightsUnavailable, "broke off.*should be of size"),
    "HTML page for a file": ("cdn", {"status": 200, "body": b"<html>please log in"}, WeightsUnavailable, "broke off"),
}


@pytest.mark.parametrize(("route", "what", "error", "message"), FAULTS.values(), ids=list(FAULTS))
def test_each_failure_has_its_error_and_leaves_no_bad_file(
    hub, published, cache, no_waiting, route, what, error, message
):
    hub.fault(route, **what)
    with pytest.raises(error, match=f"(?s)se_resnet20.test could not be loaded.*{message}") as caught:
        locate(published)
    assert hub.url in str(caught.value)
    assert caught.value.__cause__ is not None
    assert files_of(cache) == []
    assert leftovers(cache) == []
    hub.faults.clear()
    assert locate(published).sha256 == published.sources[0].sha256


@pytest.mark.parametrize(("route", "status"), [("resolve", 429), ("resolve", 503), ("cdn", 429)])
def test_a_passing_failure_is_tried_again(hub, published, content, no_waiting, route, status):
    hub.fault(route, status=status, times=2)
    assert locate(published).path.read_bytes() == content


@pytest.mark.parametrize(
    "what", [{"drip": 0.002}, {"stall": 0.05}, {"cut": 100}, {"restart": 0.05}], ids=lambda what: next(iter(what))
)
def test_a_slow_or_restarted_hub_delivers_in_the_end(hub, published, content, what):
    hub.fault("cdn", times=1, **what)
    assert locate(published).path.read_bytes() == content


def test_a_dead_server_has_its_error(hub, published, cache, no_waiting, monkeypatch):
    monkeypatch.setenv("SENET_ZOO_HUB", "http://127.0.0.1:9")
    with pytest.raises(WeightsUnavailable, match=r"(?s)http://127.0.0.1:9 cannot be reached.*local file as weights="):
        locate(published)
    assert leftovers(cache) == []


def test_what_is_cached_needs_no_server(hub, published):
    located = locate(published)
    hub.fault("resolve", status=503)
    hub.fault("cdn", status=503)
    assert locate(published) == located


def test_a_full_disk_is_named_and_leaves_nothing(hub, published, cache, monkeypatch):
    import huggingface_hub.file_download

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub.file_download, "http_get", full)
    with pytest.raises(
        WeightsUnavailable, match=r"(?s)the disk is full: \d+ bytes are free under .*set SENET_ZOO_CACHE"
    ):
        locate(published)
    assert files_of(cache) == []
    assert leftovers(cache) == []


@pytest.fixture
def read_only(monkeypatch):
    """A folder that cannot be written, whoever runs the tests."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield folder
    if root:
        os.seteuid(0)
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_read_only_cache_is_named(hub, published, content, read_only, monkeypatch):
    monkeypatch.setenv("SENET_ZOO_CACHE", str(read_only))
    with pytest.raises(WeightsUnavailable, match=f"(?s){read_only}.* is read-only.*set SENET_ZOO_CACHE"):
        locate(published)


def test_a_file_in_a_read_only_cache_is_loaded(hub, published, content):
    folder = Path(tempfile.mkdtemp())
    try:
        os.environ["SENET_ZOO_CACHE"] = str(folder)
        expected = locate(published)
        shutil.rmtree(folder / "verified")
        file_hashes._stamped_here.clear()
        folder.chmod(0o755)
        for path in folder.rglob("*"):
            if not path.is_symlink():
                path.chmod(0o555)
        folder.chmod(0o555)
        if os.geteuid() == 0:
            os.seteuid(65534)
        hub.log.clear()
        assert locate(published) == expected
        assert hub.log == []
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        for path in (folder, *folder.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755)
        shutil.rmtree(folder)
