"""A kit: weights copied whole or not at all, read without network, and every altered file of it named."""

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
from hub.loopback import Loopback
from hub.places import TREE, leftovers
from networks import randomise

import senet_zoo
from senet_zoo.errors import ManifestError, UsageError, WeightsCorrupted, WeightsUnavailable
from senet_zoo.support.json_fields import as_json, read_as
from senet_zoo.weights import file_hashes
from senet_zoo.weights.fingerprint import fingerprint
from senet_zoo.weights.manifest import document, load_manifest
from senet_zoo.weights.offline_kit import download_to
from senet_zoo.weights.rows import WeightsRow
from senet_zoo.weights.verify import verify, verify_deep

EMBEDDED = ("se_resnet20.cifar10", "resnet20.cifar10")
FILES = ["SHA256SUMS", "resnet20/cifar10/model.safetensors", "se_resnet20/cifar10/model.safetensors"]


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SENET_ZOO_HUB", "SENET_ZOO_WEIGHTS_DIR", "SENET_ZOO_MANIFEST", "SENET_ZOO_VERIFY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SENET_ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(file_hashes, "_stamped_here", set())


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here may ask the network outside."""
    connect = socket.socket.connect

    def local(self: socket.socket, address) -> None:
        assert isinstance(address, str | bytes) or address[0] in ("127.0.0.1", "localhost", "::1"), address
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local)


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    for name in EMBEDDED:
        download_to(name, tmp_path / "kit")
    return tmp_path / "kit"


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A loopback hub with one network, and the private manifest that names it ``se_resnet20.mine``."""
    model = randomise(senet_zoo.create_model("se_resnet20"))
    content = safetensors.torch.save(model.state_dict())
    with Loopback() as hub:
        sha256 = hub.add("me/net", content)
        row = as_json(senet_zoo.get_weights("se_resnet20.cifar10").row)
        row["sources"] = [
            {"kind": "hub", "repo": "me/net", "revision": "c" * 40, "filename": "model.safetensors"}
            | {"sha256": sha256, "size": len(content), "dialect": "native"}
        ]
        row["fingerprint"] = as_json(fingerprint(model, senet_zoo.get_weights("se_resnet20").preprocessing))
        models = {"se_resnet20": {"default": "mine", "weights": {"mine": row}}}
        (tmp_path / "private.json").write_text(json.dumps({"manifest_version": 1, "models": models}))
        monkeypatch.setenv("SENET_ZOO_MANIFEST", str(tmp_path / "private.json"))
        monkeypatch.setenv("SENET_ZOO_HUB", hub.url)
        yield hub


def wrong(folder: Path) -> dict[str, str]:
    """What does not hold of a kit."""
    return {check.name: check.found for check in verify(folder).checks if not check.ok}


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_kit_is_weights_manifest_and_sums(kit: Path) -> None:
    assert files(kit) == sorted([*FILES, "weights_manifest.json"])
    assert verify(kit).ok
    for name in EMBEDDED:
        model, tag = name.split(".")
        assert (kit / model / tag / "model.safetensors").read_bytes() == senet_zoo.download(name).path.read_bytes()
        assert load_manifest(kit / "weights_manifest.json").row(model, tag) == senet_zoo.get_weights(name).row


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="no sha256sum on this system")
def test_the_sums_are_those_that_sha256sum_reads(kit: Path) -> None:
    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=kit, capture_output=True, text=True)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3)


def test_a_machine_without_network_loads_from_it(kit: Path, tmp_path: Path) -> None:
    code = """
import logging, socket, sys
def refuse(*_): raise AssertionError("the network was asked")
socket.socket.connect = refuse
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
import senet_zoo
senet_zoo.create_model("se_resnet20", pretrained=True)
"""
    env = {**os.environ, "SENET_ZOO_WEIGHTS_DIR": str(kit), "SENET_ZOO_CACHE": str(tmp_path / "other")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=TREE)
    assert done.returncode == 0, done.stderr
    assert f"from SENET_ZOO_WEIGHTS_DIR ({kit / 'se_resnet20/cifar10/model.safetensors'})" in done.stdout


def test_private_weights_of_a_hub_travel_with_their_row(
    private: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "se_resnet20.mine" in senet_zoo.list_weights("se_resnet20")
    assert senet_zoo.get_weights("se_resnet20").name == "se_resnet20.cifar10"  # the published default stays
    kit = tmp_path / "kit"
    located = download_to("se_resnet20.mine", kit)
    assert located.path == kit / "se_resnet20/mine/model.safetensors"
    asked = private.requests()

    monkeypatch.setenv("SENET_ZOO_MANIFEST", str(kit / "weights_manifest.json"))
    monkeypatch.setenv("SENET_ZOO_WEIGHTS_DIR", str(kit))
    monkeypatch.setenv("SENET_ZOO_CACHE", str(tmp_path / "other"))
    model = senet_zoo.create_model("se_resnet20.mine", pretrained=True)
    assert model.weights.name == "se_resnet20.mine"
    assert verify_deep(kit).ok
    assert [check.name for check in verify_deep(kit).checks][-1] == "function of se_resnet20.mine"
    assert private.requests() == asked


def test_a_kit_grows_and_adding_again_changes_nothing(kit: Path, private: Loopback) -> None:
    download_to("se_resnet20.mine", kit)
    before = {name: (kit / name).read_bytes() for name in files(kit)}
    assert len(before) == 5
    assert verify(kit).ok
    download_to("se_resnet20.mine", kit)
    assert {name: (kit / name).read_bytes() for name in files(kit)} == before


def test_a_kit_may_be_the_folder_that_is_read(kit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENET_ZOO_WEIGHTS_DIR", str(kit))
    download_to("se_resnet20.cifar10", kit)
    assert verify(kit).ok


def test_a_changed_file_is_named(kit: Path) -> None:
    file = kit / FILES[2]
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert list(wrong(kit)) == [FILES[2]]
    assert "changed" in wrong(kit)[FILES[2]]


def test_a_changed_manifest_is_named(kit: Path) -> None:
    (kit / "weights_manifest.json").write_bytes((kit / "weights_manifest.json").read_bytes() + b"\n")
    assert "changed" in wrong(kit)["weights_manifest.json"]
    (kit / "weights_manifest.json").write_text("{")
    assert "must be a JSON document" in wrong(kit)["weights_manifest.json"]


def test_a_missing_file_is_named(kit: Path) -> None:
    (kit / FILES[1]).unlink()
    assert "missing" in wrong(kit)[FILES[1]]
    (kit / "SHA256SUMS").unlink()
    assert "a kit must hold SHA256SUMS" in wrong(kit)["SHA256SUMS"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="this user may read everything")
def test_a_file_that_may_not_be_read_is_named(kit: Path) -> None:
    for name, rule in ((FILES[1], "cannot be read"), ("SHA256SUMS", "cannot be read")):
        (kit / name).chmod(0)
        assert rule in wrong(kit)[name]


def test_an_extra_file_is_named(kit: Path) -> None:
    (kit / "se_resnet20" / "cifar10" / ".model.safetensors.0.part").write_bytes(b"half")
    assert ".model.safetensors.0.part" in wrong(kit)["nothing else"]


def test_a_link_is_no_copy(kit: Path, tmp_path: Path) -> None:
    (kit / FILES[1]).rename(tmp_path / "elsewhere")
    (kit / FILES[1]).symlink_to(tmp_path / "elsewhere")
    assert "plain file" in wrong(kit)[FILES[1]]


def test_sums_that_fit_altered_weights_do_not_make_them_the_published_ones(kit: Path) -> None:
    file, manifest = kit / FILES[2], kit / "weights_manifest.json"
    old, old_manifest = file_hashes.digest(file), file_hashes.digest(manifest)
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    sums = (kit / "SHA256SUMS").read_text().replace(old, file_hashes.digest(file))
    (kit / "SHA256SUMS").write_text(sums)
    assert "not what the kit's manifest publishes" in wrong(kit)[FILES[2]]
    manifest.write_text(manifest.read_text().replace(old, file_hashes.digest(file)))
    (kit / "SHA256SUMS").write_text(sums.replace(old_manifest, file_hashes.digest(manifest)))
    assert "not what the manifest of this senet_zoo publishes" in wrong(kit)[FILES[2]]


@pytest.mark.parametrize(
    "line",
    [
        "0" * 64 + "  ../../etc/passwd",
        "0" * 64 + "  /etc/passwd",
        "abc  a",
        "",
        "0" * 64 + "  " + FILES[1],
        "x" * 2**21,
    ],
)
def test_sums_are_data_that_cannot_leave_the_kit(kit: Path, line: str) -> None:
    with (kit / "SHA256SUMS").open("a") as sums:
        sums.write(line + "\n")
    assert "must be a sha256, two spaces and the path" in wrong(kit)["SHA256SUMS"]
    with pytest.raises(WeightsCorrupted, match="must be a sha256"):
        download_to("se_resnet20", kit)


def test_a_folder_with_other_sums_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_text("0" * 64 + "  disk.iso\n")
    with pytest.raises(UsageError, match=r"disk\.iso, which is none of its manifest's; name another folder"):
        download_to("se_resnet20", tmp_path)
    assert files(tmp_path) == ["SHA256SUMS"]


def test_a_file_that_no_kit_wrote_is_left_alone(tmp_path: Path) -> None:
    own = tmp_path / "se_resnet20" / "cifar10" / "model.safetensors"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    with pytest.raises(UsageError, match="replaces only files of its own"):
        download_to("se_resnet20", tmp_path)
    assert own.read_bytes() == b"mine"


def test_a_disk_that_fills_up_leaves_the_kit_as_it_was(
    tmp_path: Path, kit: Path, private: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    senet_zoo.download("se_resnet20.mine")
    before = {name: (kit / name).read_bytes() for name in files(kit)}

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        with pytest.raises(WeightsUnavailable, match="the disk is full"):
            download_to("se_resnet20.mine", kit)
    assert {name: (kit / name).read_bytes() for name in files(kit)} == before
    assert leftovers(kit) == []
    download_to("se_resnet20.mine", kit)
    assert verify(kit).ok


def test_what_was_interrupted_is_named_and_mended(
    kit: Path, private: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(rows) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("senet_zoo.weights.offline_kit.document", killed)
        with pytest.raises(KeyboardInterrupt):
            download_to("se_resnet20.mine", kit)
    assert "se_resnet20/mine/model.safetensors" in wrong(kit)["nothing else"]
    download_to("se_resnet20.mine", kit)
    assert verify(kit).ok


def test_a_file_that_changes_while_it_is_copied_is_not_kept(
    tmp_path: Path, private: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    located = senet_zoo.download("se_resnet20.mine")

    def altered(row):
        path = tmp_path / "altered"
        path.write_bytes(located.path.read_bytes()[:-1] + b"\x01")
        return replace(located, path=path)

    monkeypatch.setattr("senet_zoo.weights.offline_kit.locate", altered)
    with pytest.raises(WeightsCorrupted, match="reading it again gave"):
        download_to("se_resnet20.mine", tmp_path / "kit")
    assert files(tmp_path / "kit") == []


def test_every_row_can_be_written_and_read_again() -> None:
    rows = [row for rows in load_manifest().models.values() for row in rows]
    assert all(
        read_as(WeightsRow, json.loads(json.dumps(as_json(row))), row.name, {"model": row.model, "tag": row.tag}) == row
        for row in rows
    )
    assert len(document(rows)["models"]) == len(load_manifest().models)


def test_a_private_manifest_adds_and_changes_nothing(
    private: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "private.json"
    content = json.loads(file.read_text())
    weights = content["models"]["se_resnet20"]["weights"]
    weights["cifar10"] = weights.pop("mine")
    content["models"]["se_resnet20"]["default"] = "cifar10"
    file.write_text(json.dumps(content))
    with pytest.raises(ManifestError, match=r"se_resnet20\.cifar10 of .*private\.json differs .* another tag"):
        senet_zoo.list_weights()
    monkeypatch.setenv("SENET_ZOO_MANIFEST", str(tmp_path / "gone.json"))
    with pytest.raises(ManifestError, match=r"gone\.json cannot be read"):
        senet_zoo.list_weights()
    monkeypatch.setenv("SENET_ZOO_MANIFEST", "https://example.org/manifest.json")
    with pytest.raises(UsageError, match="must be the path of a file on this machine"):
        senet_zoo.list_weights()


def test_a_file_of_ones_own_is_proven_by_naming_what_it_should_be(kit: Path) -> None:
    assert verify_deep(kit / FILES[2], model="se_resnet20.cifar10").ok
    with pytest.raises(UsageError, match="goes with a file"):
        verify(kit, model="se_resnet20")


def test_a_saved_variant_is_whole(tmp_path: Path) -> None:
    model = senet_zoo.create_model("se_resnet20", se=senet_zoo.SE(reduction=4), num_classes=5).eval()
    senet_zoo.save_pretrained(model, tmp_path / "run")
    assert verify(tmp_path / "run").ok
