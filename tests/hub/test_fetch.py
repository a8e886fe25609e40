"""From a manifest row to a verified file, through the unmodified client and a hub on this machine."""

import os
import subprocess
import sys

import pytest
import safetensors.torch
from hub.places import TREE, leftovers

import senet_zoo
from senet_zoo.errors import UsageError, WeightsCorrupted, WeightsMismatch, WeightsNotFound
from senet_zoo.weights import download, file_hashes
from senet_zoo.weights.download import Failures, candidates, locate, locate_hub
from senet_zoo.weights.rows import HubFile, PackageFile

REPO, COMMIT = "org/net", "c" * 40


def test_the_file_arrives_and_the_second_load_makes_no_request(hub, published, content):
    located = locate(published)
    assert located.path.read_bytes() == content
    assert (located.revision, located.dialect.name) == (COMMIT, "native")
    assert hub.requests() > 0
    hub.log.clear()
    assert locate(published) == located
    assert hub.log == []


def test_a_commit_that_is_not_known_is_resolved_once_and_remembered(hub, unpinned, cache, content, caplog):
    from huggingface_hub import hf_hub_download

    with caplog.at_level("INFO", logger="senet_zoo"):
        first = locate(unpinned)
    assert (first.path.read_bytes(), first.revision) == (content, COMMIT)
    assert COMMIT in caplog.text
    assert first.sha256 in caplog.text
    hub.add(REPO, content[:-1] + b"\0", commit="d" * 40)  # the branch moves on, and another program follows it
    hf_hub_download(REPO, "model.safetensors", cache_dir=cache / "hub", endpoint=hub.url, token=False)
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


def test_a_verified_file_is_not_hashed_again(hub, published, monkeypatch):
    locate(published)
    file_hashes._stamped_here.clear()  # as in a new process
    hashed = []
    monkeypatch.setattr(file_hashes, "digest", hashed.append)
    locate(published)
    assert hashed == []


def test_verify_always_hashes_every_time(hub, published, monkeypatch):
    locate(published)
    hashed, digest = [], file_hashes.digest
    monkeypatch.setattr(file_hashes, "digest", lambda path: hashed.append(path) or digest(path))
    monkeypatch.setenv("SENET_ZOO_VERIFY", "always")
    locate(published)
    assert len(hashed) == 1
    monkeypatch.setenv("SENET_ZOO_VERIFY", "sometimes")
    with pytest.raises(UsageError, match="SENET_ZOO_VERIFY must be once, always or never, got 'sometimes'"):
        locate(published)


def python(script: str, **env: str) -> subprocess.Popen:
    """A fresh process, for the client reads its settings when it is imported."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TREE), *sys.path]), **env}
    return subprocess.Popen([sys.executable, "-c", script], env=env, stdout=subprocess.PIPE, text=True)


def test_offline_loads_what_is_cached_and_says_what_is_not(hub, unpinned):
    located = locate(unpinned)
    hub.log.clear()
    script = f"""
from senet_zoo.errors import WeightsUnavailable
from senet_zoo.weights.download import locate_hub
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
    script = f"from senet_zoo.weights.download import locate_hub; print(locate_hub({REPO!r}).sha256)"
    with python(script) as first, python(script) as second:
        assert [process.communicate(timeout=300)[0].strip() for process in (first, second)] == [sha256] * 2
    assert leftovers(cache) == []


def test_a_file_that_does_not_fit_gives_way_to_the_next_source(hub, row, content, tensors):
    other = safetensors.torch.save({"stem.0.conv.weight": tensors["stem.0.conv.weight"]})
    sources = [
        HubFile(repo, COMMIT, "model.safetensors", hub.add(repo, data), len(data), "native")
        for repo, data in (("org/headless", other), (REPO, content))
    ]

    def first_that_fits(row):
        failures = Failures(row.name)
        for source, checkpoint in candidates(row, failures):
            with failures.recorded(source):
                if b"classifier" not in checkpoint.path.read_bytes():
                    raise WeightsMismatch("1 missing: classifier.bias")
                return checkpoint
        raise failures.error()

    assert first_that_fits(row(*sources)).path.read_bytes() == content
    with pytest.raises(WeightsMismatch, match=r"(?s)org/headless.*1 missing: classifier.bias"):
        first_that_fits(row(sources[0]))


def test_all_sources_and_their_reasons_are_listed(hub, row, content, no_waiting):
    hub.add(REPO, content)
    sources = (
        HubFile(REPO, "d" * 40, "model.safetensors", "0" * 64, 1, "native"),
        PackageFile("weights/none", "0" * 64, 1, "native"),
    )
    with pytest.raises(
        WeightsNotFound, match=r"(?s)tried in order:.*the package must hold weights/none.*no commit d{40}"
    ):
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
    with pytest.raises(
        WeightsCorrupted, match=r"(?s)SENET_ZOO_WEIGHTS_DIR.*the sha256 of .* must be .*copy the file again"
    ):
        locate(published)


def test_a_file_of_the_package_leaves_the_cache_alone(cache, row, content, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "__file__", str(tmp_path / "senet_zoo" / "hub" / "fetch.py"))
    (tmp_path / "senet_zoo" / "weights").mkdir(parents=True)
    file = tmp_path / "senet_zoo" / "weights" / "net.safetensors"
    file.write_bytes(content)
    source = PackageFile("weights/net.safetensors", file_hashes.digest(file), len(content), "native")
    assert locate(row(source)).path == file
    assert not cache.exists()
    file.write_bytes(content[:-1] + b"\0")
    with pytest.raises(WeightsCorrupted, match=r"the sha256 of .*must be"):
        locate(row(source))


def test_a_repository_of_the_users_choice_is_recognised_by_its_tensors(hub, content):
    hub.add(REPO, content)
    assert locate_hub(REPO).dialect.name == "native"
    assert locate_hub(REPO, COMMIT).revision == COMMIT


@pytest.mark.parametrize("name", ["v1.0+cpu", "release-candidate-2", "feature/gates", "main"])
def test_a_tag_or_branch_is_resolved_once_and_the_commit_it_stands_for_is_said(hub, content, tensors, name, caplog):
    hub.add(REPO, content)
    hub.tags[REPO] = {name: COMMIT}
    with caplog.at_level("INFO", logger="senet_zoo"):
        first = locate_hub(REPO, name)
    assert (first.path.read_bytes(), first.revision) == (content, COMMIT)
    assert f"hf://{REPO}@{COMMIT} names it for good" in caplog.text
    assert f"{REPO}@{name}/model.safetensors" in first.source
    hub.add(REPO, safetensors.torch.save({"stem.0.conv.weight": tensors["stem.0.conv.weight"]}), commit="d" * 40)
    hub.tags[REPO] = {name: "d" * 40}
    hub.log.clear()
    assert locate_hub(REPO, name) == first
    assert hub.log == [], "a tag that moves changes no network that was loaded by it before"


@pytest.mark.parametrize("name", ["v9", "ccccccc"])
def test_a_revision_that_does_not_exist_is_named_with_where_to_look(hub, content, cache, name):
    hub.add(REPO, content)
    with pytest.raises(
        WeightsNotFound, match=f"no tag or branch {name!r} there, and a commit .* all of its 40 .*/{REPO}/tree/main"
    ):
        locate_hub(REPO, name)
    assert leftovers(cache) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("net",), "repo of a hub file must be organisation/name, got 'net'"),
        (("org/net", "../main"), "revision of a hub file must be a commit of 40 hex digits, .*got '../main'"),
        (("org/net", ""), "revision of a hub file must be .*a tag or a branch, or nothing for the newest, got ''"),
        (("org/net", "v1 "), "revision of a hub file must be .*got 'v1 '"),
        (("org/net", "x" * 251), "revision of a hub file must be"),
        (
            ("org/net", COMMIT, "../x.safetensors"),
            "filename of a hub file must be a relative path.*got '../x.safetensors'",
        ),
    ],
)
def test_a_malformed_address_is_refused_before_any_request(hub, arguments, message):
    with pytest.raises(UsageError, match=message):
        locate_hub(*arguments)
    assert hub.log == []


def test_an_address_that_ends_in_an_at_sign_names_no_revision(hub):
    for load in (senet_zoo.from_pretrained, lambda address: senet_zoo.create_model("se_resnet20", weights=address)):
        with pytest.raises(UsageError, match="a tag or a branch, or nothing for the newest, got ''"):
            load("hf://org/net@")
    assert hub.log == []


def test_a_login_for_another_hub_is_not_sent(hub, content, monkeypatch):
    import huggingface_hub.utils._headers as headers

    hub.add(REPO, content)
    monkeypatch.setattr(headers, "get_token", lambda: "hf_secret")
    sent = []
    monkeypatch.setattr(type(hub), "seen", sent, raising=False)
    handler = hub._server.RequestHandlerClass
    original = handler.do_HEAD
    monkeypatch.setattr(
        handler, "do_HEAD", lambda self: sent.append(self.headers.get("Authorization")) or original(self)
    )
    locate_hub(REPO)
    assert sent
    assert set(sent) == {None}
