"""Loading through the unmodified client from a hub that fails in every way we know."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import safetensors.torch
from hub.conftest import TREE, leftovers

from senet_zoo.errors import (
    UsageError,
    WeightsAccessDenied,
    WeightsCorrupted,
    WeightsMismatch,
    WeightsNotFound,
    WeightsUnavailable,
)
from senet_zoo.hub import fetch, verified
from senet_zoo.hub.fetch import locate, locate_hub
from senet_zoo.hub.sources import HubFile, PackageFile

REPO, COMMIT = "org/net", "c" * 40


@pytest.fixture
def published(hub, content, row):
    """The row of a published file, everything about it known."""
    sha256 = hub.add(REPO, content)
    return row(HubFile(REPO, COMMIT, "model.safetensors", sha256, len(content), "native"))


@pytest.fixture
def unpinned(hub, content, row):
    """The row of a published file of which the manifest knows neither commit nor sha256."""
    hub.add(REPO, content)
    return row(HubFile(REPO, None, "model.safetensors", None, None, "native"))


def files_of(cache: Path) -> list[Path]:
    """Weights that lie in the cache, under any name."""
    return [path for path in cache.rglob("*") if path.is_file() and "snapshots" in path.parts or path.parent.name == "blobs"]


def test_the_file_arrives_and_the_second_load_makes_no_request(hub, published, content):
    located = locate(published)
    assert located.path.read_bytes() == content
    assert (located.revision, located.dialect.name) == (COMMIT, "native")
    assert hub.requests() > 0
    hub.log.clear()
    assert locate(published) == located
    assert hub.log == []


def test_a_commit_that_the_manifest_does_not_know_is_resolved_once_and_remembered(hub, unpinned, content, caplog):
    with caplog.at_level("INFO", logger="senet_zoo"):
        first = locate(unpinned)
    assert (first.path.read_bytes(), first.revision) == (content, COMMIT)
    assert COMMIT in caplog.text
    assert first.sha256 in caplog.text
    hub.add(REPO, content[:-1] + b"\0", commit="d" * 40)  # the branch moves on
    hub.log.clear()
    assert locate(unpinned) == first
    assert hub.log == []


def test_a_file_that_another_program_cached_is_used_without_a_request(hub, unpinned, cache, content):
    from huggingface_hub import hf_hub_download

    path = hf_hub_download(REPO, "model.safetensors", cache_dir=cache / "hub", endpoint=hub.url, token=False)
    hub.log.clear()
    assert str(locate(unpinned).path) == path
    assert hub.log == []


def test_without_links_in_the_cache_the_hub_is_asked_for_the_sha256(hub, unpinned, content, monkeypatch):
    import huggingface_hub.file_download

    monkeypatch.setattr(huggingface_hub.file_download, "are_symlinks_supported", lambda cache_dir=None: False)
    located = locate(unpinned)
    assert not located.path.is_symlink()
    assert located.path.read_bytes() == content
    assert any("paths-info" in path for _, path, _ in hub.log)
    hub.log.clear()
    assert locate(unpinned) == located
    assert hub.log == []


@pytest.mark.parametrize("kind", ["published", "unpinned"])
def test_a_flipped_bit_is_downloaded_again_once(hub, kind, request, content):
    row = request.getfixturevalue(kind)
    hub.fault("cdn", flip=True, times=1)
    assert locate(row).path.read_bytes() == content
    assert sum("/cdn/" in path for _, path, _ in hub.log) == 2


@pytest.mark.parametrize("kind", ["published", "unpinned"])
def test_a_bit_that_is_always_flipped_is_an_error_and_leaves_nothing(hub, kind, request, cache):
    row = request.getfixturevalue(kind)
    sha256 = hub.add(REPO, next(iter(hub.repos[REPO].values()))["model.safetensors"])
    hub.fault("cdn", flip=True)
    with pytest.raises(WeightsCorrupted, match=f"(?s)must be {sha256}, but is .*fetch it again"):
        locate(row)
    assert files_of(cache) == []
    assert leftovers(cache) == []
    hub.faults.clear()
    assert verified.digest(locate(row).path) == sha256


def test_a_file_spoilt_on_disk_is_noticed_and_repaired(hub, published, content):
    located = locate(published)
    located.path.resolve().write_bytes(content[:-1] + b"\0")
    assert locate(published).path.read_bytes() == content


def test_a_verified_file_is_not_hashed_again(hub, published, monkeypatch):
    locate(published)
    verified._stamped_here.clear()  # as in a new process
    hashed = []
    monkeypatch.setattr(verified, "digest", hashed.append)
    locate(published)
    assert hashed == []


def test_verify_always_hashes_every_time(hub, published, monkeypatch):
    locate(published)
    hashed, digest = [], verified.digest
    monkeypatch.setattr(verified, "digest", lambda path: hashed.append(path) or digest(path))
    monkeypatch.setenv("SENET_ZOO_VERIFY", "always")
    locate(published)
    assert len(hashed) == 1
    monkeypatch.setenv("SENET_ZOO_VERIFY", "sometimes")
    with pytest.raises(UsageError, match="SENET_ZOO_VERIFY must be once, always or never, got 'sometimes'"):
        locate(published)


def test_a_connection_that_is_cut_once_is_made_again(hub, published, content, no_waiting):
    hub.fault("cdn", cut=100, times=1)
    assert locate(published).path.read_bytes() == content


FAULTS = {
    "cut connection": ("cdn", {"cut": 0}, WeightsUnavailable, "broke off.*try again"),
    "429": ("resolve", {"status": 429, "headers": {"Retry-After": "7"}}, WeightsUnavailable, "HTTP 429.*after 7 s.*HF_TOKEN"),
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
    "404 of a server that is no hub": ("resolve", {"status": 404}, WeightsUnavailable, "not answer like a hub.*SENET_ZOO_HUB"),
    "HTML page": (
        "resolve",
        {"status": 200, "body": b"<html>please log in", "headers": {"ETag": '"x"'}},
        WeightsUnavailable,
        "login page",
    ),
    "HTML page for a file": ("cdn", {"status": 200, "body": b"<html>please log in"}, WeightsUnavailable, "broke off"),
}


@pytest.mark.parametrize(("route", "what", "error", "message"), FAULTS.values(), ids=list(FAULTS))
def test_each_failure_has_its_error_and_leaves_no_bad_file(hub, published, cache, no_waiting, route, what, error, message):
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


def python(script: str, **env: str) -> subprocess.Popen:
    """A fresh process, for the client reads its settings when it is imported."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TREE), *sys.path]), **env}
    return subprocess.Popen([sys.executable, "-c", script], env=env, stdout=subprocess.PIPE, text=True)


def test_offline_loads_what_is_cached_and_says_what_is_not(hub, unpinned):
    located = locate(unpinned)
    hub.log.clear()
    script = f"""
from senet_zoo.errors import WeightsUnavailable
from senet_zoo.hub.fetch import locate_hub
print(locate_hub({REPO!r}).sha256)
try:
    locate_hub("org/other")
except WeightsUnavailable as e:
    print(e)
"""
    with python(script, HF_HUB_OFFLINE="1") as process:
        present, missing = process.communicate(timeout=300)[0].splitlines()
    assert present == located.sha256
    assert missing.startswith("org/other@main/model.safetensors: HF_HUB_OFFLINE is set and the file is not in ")
    assert "weights=" in missing
    assert hub.log == []


def test_several_processes_at_once_all_get_the_file(hub, content, cache):
    sha256 = hub.add(REPO, content)
    script = f"from senet_zoo.hub.fetch import locate_hub; print(locate_hub({REPO!r}).sha256)"
    with python(script) as first, python(script) as second:
        assert [process.communicate(timeout=300)[0].strip() for process in (first, second)] == [sha256] * 2
    assert leftovers(cache) == []


def test_a_full_disk_is_named_and_leaves_nothing(hub, published, cache, monkeypatch):
    import huggingface_hub.file_download

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub.file_download, "http_get", full)
    with pytest.raises(WeightsUnavailable, match=r"(?s)the disk is full: \d+ bytes are free under .*set SENET_ZOO_CACHE"):
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
        verified._stamped_here.clear()
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


def test_a_file_that_does_not_fit_gives_way_to_the_next_source(hub, row, content, tensors):
    other = safetensors.torch.save({"stem.0.conv.weight": tensors["stem.0.conv.weight"]})
    sources = [
        HubFile(repo, COMMIT, "model.safetensors", hub.add(repo, data), len(data), "native")
        for repo, data in (("org/headless", other), (REPO, content))
    ]

    def accept(located):
        if b"classifier" not in located.path.read_bytes():
            raise WeightsMismatch("1 missing: classifier.bias")

    assert locate(row(*sources), accept).path.read_bytes() == content
    with pytest.raises(WeightsMismatch, match=r"(?s)org/headless.*1 missing: classifier.bias"):
        locate(row(sources[0]), accept)


def test_all_sources_and_their_reasons_are_listed(hub, row, content, no_waiting):
    hub.add(REPO, content)
    sources = (HubFile(REPO, "d" * 40, "model.safetensors", "0" * 64, 1, "native"), PackageFile("weights/none", "0" * 64, 1, "native"))
    with pytest.raises(WeightsNotFound, match="(?s)tried in order:.*the package must hold weights/none.*no commit d{40}"):
        locate(row(*sources))


def test_the_users_own_folder_comes_first(hub, published, content, tmp_path, monkeypatch):
    monkeypatch.setenv("SENET_ZOO_WEIGHTS_DIR", str(tmp_path))
    file = tmp_path / "se_resnet20" / "test" / "model.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    assert locate(published).path == file
    file.rename(tmp_path / f"{published.sources[0].sha256}.safetensors")
    assert locate(published).path.parent == tmp_path
    assert hub.log == []


def test_a_wrong_file_in_the_users_own_folder_is_never_used(hub, published, content, tmp_path, monkeypatch):
    monkeypatch.setenv("SENET_ZOO_WEIGHTS_DIR", str(tmp_path))
    file = tmp_path / "se_resnet20" / "test" / "model.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(content[:-1] + b"\0")
    hub.fault("resolve", status=403)
    with pytest.raises(WeightsCorrupted, match="(?s)SENET_ZOO_WEIGHTS_DIR.*the sha256 of .* must be .*copy the file again"):
        locate(published)


def test_a_file_of_the_package_leaves_the_cache_alone(cache, row, content, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "__file__", str(tmp_path / "senet_zoo" / "hub" / "fetch.py"))
    (tmp_path / "senet_zoo" / "weights").mkdir(parents=True)
    file = tmp_path / "senet_zoo" / "weights" / "net.safetensors"
    file.write_bytes(content)
    source = PackageFile("weights/net.safetensors", verified.digest(file), len(content), "native")
    assert locate(row(source)).path == file
    assert not cache.exists()
    file.write_bytes(content[:-1] + b"\0")
    with pytest.raises(WeightsCorrupted, match="the sha256 of .*must be"):
        locate(row(source))


def test_a_repository_of_the_users_choice_is_recognised_by_its_tensors(hub, content):
    hub.add(REPO, content)
    assert locate_hub(REPO).dialect.name == "native"
    assert locate_hub(REPO, COMMIT).revision == COMMIT


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("net",), "repo of a hub file must be organisation/name, got 'net'"),
        (("org/net", "main"), "revision of a hub file must be a commit of 40 hex digits, .*got 'main'"),
        (("org/net", COMMIT, "../x.safetensors"), "filename of a hub file must be a relative path.*got '../x.safetensors'"),
    ],
)
def test_a_malformed_address_is_refused_before_any_request(hub, arguments, message):
    with pytest.raises(UsageError, match=message):
        locate_hub(*arguments)
    assert hub.log == []


def test_a_login_for_another_hub_is_not_sent(hub, content, monkeypatch):
    import huggingface_hub.utils._headers as headers

    hub.add(REPO, content)
    monkeypatch.setattr(headers, "get_token", lambda: "hf_secret")
    sent = []
    monkeypatch.setattr(type(hub), "seen", sent, raising=False)
    handler = hub._server.RequestHandlerClass
    original = handler.do_HEAD
    monkeypatch.setattr(handler, "do_HEAD", lambda self: sent.append(self.headers.get("Authorization")) or original(self))
    locate_hub(REPO)
    assert sent
    assert set(sent) == {None}
