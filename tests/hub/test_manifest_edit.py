"""A manifest's nulls are pinned by asking, never by downloading; a row is added whole; nothing else moves."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hub.places import leftovers

from senet_zoo.errors import ManifestError, WeightsUnavailable
from senet_zoo.weights import hub_repository
from senet_zoo.weights.manifest import document, load_manifest, text_of
from senet_zoo.weights.manifest_edit import PinnedField, add_row, pin_manifest
from senet_zoo.weights.rows import HubFile, ReleaseFile

COMMIT = "c" * 40


@pytest.fixture
def file(tmp_path):
    return tmp_path / "mine.json"


def hub_file(repo="org/net", revision=None, sha256=None, size=None):
    return HubFile(repo, revision, "model.safetensors", sha256, size, "native")


def test_what_is_null_is_pinned_by_metadata_alone_and_every_other_line_stays(hub, row, content, file):
    sha256 = hub.add("org/net", content)
    hub.files["net-12345678.pth"] = b"x" * 1000
    release = ReleaseFile(f"{hub.url}/files/net-12345678.pth", "12345678", None, "native")
    file.write_text(text_of(document([row(hub_file(), release)])))
    before = file.read_text().splitlines()
    done = pin_manifest(file)
    name = "se_resnet20.test"
    assert done.pinned == (
        PinnedField(name, "org/net", "revision", COMMIT),
        PinnedField(name, "org/net", "sha256", sha256),
        PinnedField(name, "org/net", "size", len(content)),
        PinnedField(name, release.url, "size", 1000),
    )
    assert done.left == ()
    after = file.read_text().splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert [line.split(":")[0].strip() for line in changed] == ['"revision"', '"sha256"', '"size"', '"size"']
    hub_source, release_source = load_manifest(file).row("se_resnet20").sources
    assert hub_source == hub_file(revision=COMMIT, sha256=sha256, size=len(content))
    assert release_source.size == 1000
    assert hub.sent < 1000, "metadata only"
    assert not any("resolve" in path or "cdn" in path for _, path, _ in hub.log)
    hub.log.clear()
    assert pin_manifest(file).pinned == ()
    assert hub.log == [], "what is pinned is not asked for"


def test_a_commit_that_is_known_is_the_one_that_is_asked(hub, row, content, file):
    old = hub.add("org/net", content, commit="a" * 40)
    hub.add("org/net", content + b" ", commit="b" * 40)
    file.write_text(text_of(document([row(hub_file(revision="a" * 40))])))
    pin_manifest(file)
    assert load_manifest(file).row("se_resnet20").sources == (hub_file("org/net", "a" * 40, old, len(content)),)


def test_what_could_not_be_had_is_left_and_named_and_the_rest_is_pinned(hub, row, content, file, no_waiting):
    hub.add("org/net", content)
    hub.add("org/notes", content, filename="model.txt")
    sources = (hub_file("org/gone"), hub_file(sha256="0" * 64), hub_file("org/notes"), hub_file("org/net"))
    file.write_text(text_of(document([row(*sources)])))
    done = pin_manifest(file)
    reasons = [left.reason for left in done.left]
    assert ["no such repository" in reasons[0], "the hub says" in reasons[1], "no such file" in reasons[2]] == [
        True
    ] * 3
    assert {pin.source for pin in done.pinned} == {"org/net"}
    left = load_manifest(file).row("se_resnet20").sources
    assert left[:3] == sources[:3]
    assert left[3].revision == COMMIT


def test_a_dead_network_is_given_up_soon_and_leaves_the_file(row, file, cache, monkeypatch):
    monkeypatch.setenv("SENET_ZOO_HUB", "http://127.0.0.1:9")
    file.write_text(text_of(document([row(*(hub_file(f"org/net{i}") for i in range(9)))])))
    before = file.read_text()
    asked = []
    describe = hub_repository.describe_file
    monkeypatch.setattr(hub_repository, "describe_file", lambda *place: asked.append(place) or describe(*place))
    done = pin_manifest(file)
    assert len(done.left) == 9
    assert len(asked) == 3
    assert "cannot be reached" in done.left[0].reason
    assert "not asked again" in done.left[-1].reason
    assert file.read_text() == before


def test_what_somebody_writes_meanwhile_is_not_overwritten(hub, row, content, file, monkeypatch):
    hub.add("org/net", content)
    file.write_text(text_of(document([row(hub_file())])))
    describe = hub_repository.describe_file

    def meanwhile(*place):
        add_row(file, replace(row(hub_file()), tag="second", sources=(hub_file("org/second"),)))
        return describe(*place)

    monkeypatch.setattr(hub_repository, "describe_file", meanwhile)
    with pytest.raises(ManifestError, match="somebody changed it; pin it again"):
        pin_manifest(file)
    assert [each.tag for each in load_manifest(file).rows("se_resnet20")] == ["test", "second"]


def test_another_layout_keeps_its_values(hub, row, content, file):
    hub.add("org/net", content)
    data = json.loads(text_of(document([row(hub_file())])))
    file.write_text(json.dumps(data))
    pin_manifest(file)
    assert file.read_text() == text_of(json.loads(file.read_text()))
    after = json.loads(file.read_text())
    (source,) = after["models"]["se_resnet20"]["weights"]["test"]["sources"]
    source.update(revision=None, sha256=None, size=None)
    assert after == data


def test_a_disk_that_refuses_leaves_the_file_as_it_was(hub, row, content, file, monkeypatch, tmp_path):
    hub.add("org/net", content)
    file.write_text(text_of(document([row(hub_file())])))
    before = file.read_bytes()

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(WeightsUnavailable, match="the disk is full"):
        pin_manifest(file)
    assert file.read_bytes() == before
    assert leftovers(tmp_path) == []


def test_a_manifest_that_breaks_a_rule_is_not_touched_and_nobody_is_asked(hub, row, file):
    file.write_text(json.dumps(document([row(hub_file())]) | {"extra": 1}, default=list))
    before = file.read_bytes()
    for change in (pin_manifest, lambda path: add_row(path, row(hub_file()))):
        with pytest.raises(ManifestError, match="unknown fields: 'extra'"):
            change(file)
    assert file.read_bytes() == before
    assert hub.log == []


def test_rows_are_added_beside_those_that_are_there_and_a_name_stands_once(row, file):
    first = row(hub_file())
    add_row(file, first)
    text = file.read_text()
    second, third = (hub_file("org/second"),), (hub_file("org/third"),)
    for other in (replace(first, tag="second", sources=second), replace(first, model="se_resnet56", sources=third)):
        add_row(file, other)
    manifest = load_manifest(file)
    assert [each.tag for each in manifest.rows("se_resnet20")] == ["test", "second"]
    assert manifest.row("se_resnet20") == first
    assert all(line in file.read_text().splitlines() for line in text.splitlines()[5:-6])
    before = file.read_bytes()
    with pytest.raises(ManifestError, match=r"se_resnet20\.test must stand once.*another tag"):
        add_row(file, first)
    with pytest.raises(ManifestError, match=r"se_resnet20\.cifar10 must stand once.*weights_manifest\.json"):
        add_row(file, replace(first, tag="cifar10"))
    assert file.read_bytes() == before


def test_a_link_to_a_manifest_stays_one(row, file, tmp_path):
    add_row(file, row(hub_file()))
    link = tmp_path / "link.json"
    link.symlink_to(file)
    add_row(link, replace(row(hub_file()), tag="second", sources=(hub_file("org/second"),)))
    assert link.is_symlink()
    assert len(load_manifest(file).rows("se_resnet20")) == 2
