"""A signature covers every file of a folder, and OpenSSF's own command agrees with it, both ways."""

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hub.conftest import cache, hub  # noqa: F401 (fixtures)
from hub.loopback import Loopback
from hypothesis import given, settings
from hypothesis import strategies as st

import senet_zoo
from senet_zoo.cli import main
from senet_zoo.detection import faster_rcnn
from senet_zoo.errors import PublishError, SignatureError, UsageError
from senet_zoo.tasks import sign, verify_signature
from senet_zoo.weights import signed as signed_module
from senet_zoo.weights.signature import SIGNATURE, check_signature
from senet_zoo.weights.signed import CHECKPOINTS, check_checkpoints, sign_checkpoints

# A folder with one file, signed by `model_signing sign key` 1.1.1, and its key.
THEIRS = {"a.txt": b"a\n"}
THEIR_KEY = """\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEzV+uifAh9RdHaQOGQqiUxA453fZd
1hh4gRRct826oWsNKxZwUktdpYOzP7FNX1c1kpheYBQCqa9za2+Zx+8pig==
-----END PUBLIC KEY-----
"""
THEIR_PAYLOAD = (
    "ewogICJfdHlwZSI6ICJodHRwczovL2luLXRvdG8uaW8vU3RhdGVtZW50L3YxIiwKICAic3ViamVjdCI6IFsKICAgIHsKICAgICAg"
    "Im5hbWUiOiAibSIsCiAgICAgICJkaWdlc3QiOiB7CiAgICAgICAgInNoYTI1NiI6ICIyMjVmMWJiYmM0YjFhM2Q5N2M2MjJhNDky"
    "ZDkxZWE4ZDY4NThkN2UxMTY0YmJiYjU5NTNmNzQzMTFkNmQyMjJlIgogICAgICB9CiAgICB9CiAgXSwKICAicHJlZGljYXRlVHlw"
    "ZSI6ICJodHRwczovL21vZGVsX3NpZ25pbmcvc2lnbmF0dXJlL3YxLjAiLAogICJwcmVkaWNhdGUiOiB7CiAgICAicmVzb3VyY2Vz"
    "IjogWwogICAgICB7CiAgICAgICAgImFsZ29yaXRobSI6ICJzaGEyNTYiLAogICAgICAgICJkaWdlc3QiOiAiODc0MjhmYzUyMjgw"
    "M2QzMTA2NWU3YmNlM2NmMDNmZTQ3NTA5NjYzMWU1ZTA3YmJkN2EwZmRlNjBjNGNmMjVjNyIsCiAgICAgICAgIm5hbWUiOiAiYS50"
    "eHQiCiAgICAgIH0KICAgIF0sCiAgICAic2VyaWFsaXphdGlvbiI6IHsKICAgICAgImhhc2hfdHlwZSI6ICJzaGEyNTYiLAogICAg"
    "ICAiYWxsb3dfc3ltbGlua3MiOiBmYWxzZSwKICAgICAgIm1ldGhvZCI6ICJmaWxlcyIsCiAgICAgICJpZ25vcmVfcGF0aHMiOiBb"
    "CiAgICAgICAgIi5naXRhdHRyaWJ1dGVzIiwKICAgICAgICAiLmdpdGlnbm9yZSIsCiAgICAgICAgIm1vZGVsLnNpZyIsCiAgICAg"
    "ICAgIi5naXRodWIiLAogICAgICAgICIuZ2l0IgogICAgICBdCiAgICB9CiAgfQp9"
)
THEIR_SIG = "MEQCIBZOA/4bTUx2AnmDlWNZWQilUwpFrB4ZEbhzGBf96rlyAiBU3TZzHMveqIDkaqkkunimbFqFtOmhZTm9uN/nA00AkA=="
THEIR_SIGNATURE = {
    "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
    "verificationMaterial": {
        "publicKey": {"hint": "f459a2c14a3230ec98e51fdb46bfb11489a27fc2c0e20f9bba46f0e5063deddd"},
        "tlogEntries": [],
    },
    "dsseEnvelope": {
        "payload": THEIR_PAYLOAD,
        "payloadType": "application/vnd.in-toto+json",
        "signatures": [
            {
                "sig": THEIR_SIG,
                "keyid": "",
            }
        ],
    },
}


def write_key(path: Path, curve: ec.EllipticCurve | None = None, password: bytes | None = None) -> Path:
    """A new private key, and its public half beside it; returns the private one's path."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    kind = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pem, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, kind))
    path.with_suffix(".pub").write_bytes(key.public_key().public_bytes(pem, form))
    return path


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_key(tmp_path_factory.mktemp("keys") / "key.pem")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, key: Path) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "run"
    senet_zoo.save_pretrained(senet_zoo.create_model("se_resnet20", pretrained=True), folder)
    sign(folder, key)
    return folder


@pytest.fixture
def run(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "run"))


def public(key: Path) -> Path:
    return key.with_suffix(".pub")


def test_a_signed_folder_verifies_and_signing_it_again_gives_the_same_bytes(
    run: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = (run / SIGNATURE).read_bytes()
    assert main(["sign", str(run), "--key", str(key)]) == 0
    assert "4 files signed with the key of sha256" in capsys.readouterr().out
    assert (run / SIGNATURE).read_bytes() == first
    assert main(["verify", str(run), "--signature", str(public(key)), "--deep", "--json"]) == 0
    (document,) = json.loads(capsys.readouterr().out)
    assert [check["name"] for check in document["checks"]][-2:] == ["function", "signature"]
    signed = check_signature(run, public(key))
    assert signed.files == ("README.md", "config.json", "model.safetensors", "preprocessor_config.json")
    assert main(["verify", str(run / "model.safetensors"), "--signature", str(public(key))]) == 0


def swap_labels(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    labels = config["categories"]
    labels[0], labels[1] = labels[1], labels[0]
    (folder / "config.json").write_text(json.dumps(config))


def flip(folder: Path) -> None:
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-100] ^= 1
    (folder / "model.safetensors").write_bytes(content)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a byte of the weights": (flip, "changed: model.safetensors"),
    "the order of labels": (swap_labels, "changed: config.json"),
    "a byte of the card": (lambda run: (run / "README.md").write_text("another"), "changed: README.md"),
    "a file removed": (lambda run: (run / "README.md").unlink(), "removed: README.md"),
    "a file added": (lambda run: (run / "pytorch_model.bin").write_text("x"), "added: pytorch_model.bin"),
    "a file added below": (
        lambda run: [(run / "sub").mkdir(), (run / "sub" / "x.py").write_text("x")],
        "added: sub/x.py",
    ),
    "a hidden file": (lambda run: (run / ".x").write_text("x"), "added: .x"),
    "a link": (lambda run: (run / "x").symlink_to("config.json"), "x is a link"),
    "a link to a folder": (lambda run: (run / "x").symlink_to("/"), "x is a link"),
    "a pipe": (lambda run: os.mkfifo(run / "x"), "x is no plain file"),
    "a file that became a link": (
        lambda run: [(run / "README.md").rename(run.parent / "c"), (run / "README.md").symlink_to(run.parent / "c")],
        "README.md is a link",
    ),
    "the signature became a link": (
        lambda run: [(run / SIGNATURE).rename(run.parent / "s"), (run / SIGNATURE).symlink_to(run.parent / "s")],
        "is a link",
    ),
    "no signature": (lambda run: (run / SIGNATURE).unlink(), "is not signed: it has no model.sig"),
    "the signature is a folder": (
        lambda run: [(run / SIGNATURE).unlink(), (run / SIGNATURE).mkdir()],
        "cannot be read",
    ),
    "a huge signature": (lambda run: (run / SIGNATURE).write_bytes(b" " * (2**22 + 1)), "4194304 bytes at most"),
    "an empty signature": (lambda run: (run / SIGNATURE).write_bytes(b""), "no JSON"),
    "nested brackets": (lambda run: (run / SIGNATURE).write_bytes(b"[" * 200_000), "no JSON"),
    "a key that stands twice": (lambda run: (run / SIGNATURE).write_bytes(b'{"a": 1, "a": 2}'), "stands twice"),
    "other JSON": (lambda run: (run / SIGNATURE).write_bytes(b"[]"), "must be a Sigstore bundle"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_is_named(change: str, run: Path, key: Path, capsys: pytest.CaptureFixture[str]) -> None:
    act, message = CHANGES[change]
    act(run)
    with pytest.raises(SignatureError, match=message.replace(".", r"\.")):
        check_signature(run, public(key))
    if "became a link" not in change or SIGNATURE not in message:
        found = verify_signature(run, public(key))
        assert not found.ok
        assert found.checks[-1].name == "signature"
    assert main(["verify", str(run), "--signature", str(public(key))]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_git_and_the_notes_of_a_download_are_no_part_of_the_model(run: Path, key: Path) -> None:
    (run / ".gitattributes").write_text("x")
    (run / ".cache" / "huggingface" / "download").mkdir(parents=True)
    (run / ".cache" / "huggingface" / "download" / "config.json.metadata").write_text("x")
    (run / ".git").mkdir()
    check_signature(run, public(key))


def bundle(run: Path) -> dict[str, object]:
    return json.loads((run / SIGNATURE).read_text())


def resigned(run: Path, key: Path, change: Callable[[dict[str, object]], object]) -> None:
    """The signature with another statement, signed by the same key: what its owner's tool might write."""
    from senet_zoo.weights import signature, signing_keys

    private = signing_keys.read_private_key(key)
    whole = bundle(run)
    statement = json.loads(base64.b64decode(whole["dsseEnvelope"]["payload"]))
    change(statement)
    payload = json.dumps(statement).encode()
    made = private.sign(signature._authenticated(payload), ec.ECDSA(signing_keys.hash_of(private.public_key())))
    whole["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    whole["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(made).decode()
    (run / SIGNATURE).write_text(json.dumps(whole))


def named(name: str) -> Callable[[dict[str, object]], object]:
    return lambda statement: statement["predicate"]["resources"][0].update(name=name)


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/../b", "./README.md", "a//b", "", "..", "a\\b", "config.json", "x\0y"]
)
def test_a_signed_name_that_leaves_the_folder_or_stands_twice_is_refused(name: str, run: Path, key: Path) -> None:
    resigned(run, key, named(name))
    with pytest.raises(SignatureError, match="no file below the folder, or twice"):
        check_signature(run, public(key))


STATEMENTS: dict[str, tuple[Callable[[dict[str, object]], object], str]] = {
    "in parts": (lambda s: s["predicate"]["serialization"].update(method="shards"), "signs files in parts"),
    "another predicate": (lambda s: s.update(predicateType="x"), "no statement of the form"),
    "another statement": (lambda s: s.update(_type="x"), "no statement of the form"),
    "another hash": (lambda s: s["predicate"]["resources"][0].update(algorithm="blake3"), "a name and a sha256"),
    "a hash that is none": (lambda s: s["predicate"]["resources"][0].update(digest="00"), "a name and a sha256"),
    "no files": (lambda s: s["predicate"]["resources"].clear(), "names no file"),
    "resources that are none": (lambda s: s["predicate"].update(resources=3), "no statement of the form"),
    "a file left out": (lambda s: s["predicate"]["resources"].pop(0), "added: README.md"),
}


@pytest.mark.parametrize("kind", STATEMENTS)
def test_a_signed_statement_of_another_form_is_refused(kind: str, run: Path, key: Path) -> None:
    change, message = STATEMENTS[kind]
    resigned(run, key, change)
    with pytest.raises(SignatureError, match=message):
        check_signature(run, public(key))


def test_files_that_a_signature_says_to_ignore_are_not_ignored(run: Path, key: Path) -> None:
    resigned(run, key, lambda s: s["predicate"]["serialization"]["ignore_paths"].append("README.md"))
    resigned(run, key, lambda s: s["predicate"]["resources"].pop(0))
    (run / "README.md").write_text("another card")
    with pytest.raises(SignatureError, match=r"added: README\.md"):
        check_signature(run, public(key))


def test_another_key_and_an_altered_signature_are_told_apart(run: Path, key: Path, tmp_path: Path) -> None:
    other = write_key(tmp_path / "other.pem")
    with pytest.raises(SignatureError, match="made with another key"):
        check_signature(run, public(other))
    whole = bundle(run)
    whole["dsseEnvelope"]["payload"] = base64.b64encode(b"{}").decode()
    (run / SIGNATURE).write_text(json.dumps(whole))
    with pytest.raises(SignatureError, match="no signature by the key"):
        check_signature(run, public(key))
    del whole["verificationMaterial"]["publicKey"]
    (run / SIGNATURE).write_text(json.dumps(whole))
    with pytest.raises(SignatureError, match="a certificate or an identity of Sigstore"):
        check_signature(run, public(key))


@given(where=st.integers(0, 10_000), byte=st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_a_damaged_signature_is_a_typed_error_or_still_true(
    saved: Path, key: Path, tmp_path_factory: pytest.TempPathFactory, where: int, byte: int
) -> None:
    folder = Path(shutil.copytree(saved, tmp_path_factory.mktemp("fuzz") / "run"))
    content = bytearray((folder / SIGNATURE).read_bytes())
    content[where % len(content)] = byte
    for damaged in (bytes(content), bytes(content[: where % len(content)])):
        (folder / SIGNATURE).write_bytes(damaged)
        try:
            found = check_signature(folder, public(key))
        except SignatureError:
            continue
        assert len(found.files) == 4  # the byte stood in what nobody signed: the hint, the key's name


def test_keys_that_are_none(run: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    for name, private in (("rsa", rsa.generate_private_key(65537, 2048)), ("ed", ed25519.Ed25519PrivateKey.generate())):
        (tmp_path / name).write_bytes(private.public_key().public_bytes(pem, form))
        with pytest.raises(UsageError, match="P-256, P-384 or P-521"):
            check_signature(run, tmp_path / name)
    with pytest.raises(UsageError, match="P-256, P-384 or P-521"):
        check_signature(run, public(write_key(tmp_path / "k1.pem", ec.SECP256K1())))
    with pytest.raises(UsageError, match="private one, which goes to nobody"):
        check_signature(run, key)
    with pytest.raises(UsageError, match="must hold a private key"):
        sign(run, public(key))
    with pytest.raises(UsageError, match="must hold a public key"):
        check_signature(run, run / "README.md")
    with pytest.raises(UsageError, match="65536 bytes at most"):
        check_signature(run, run / "model.safetensors")
    for nothing in (tmp_path / "none", tmp_path, "/dev/zero"):
        with pytest.raises(UsageError, match="cannot be read"):
            check_signature(run, nothing)
    locked = write_key(tmp_path / "locked.pem", ec.SECP384R1(), b"secret")
    with pytest.raises(UsageError, match="is encrypted; set SENET_ZOO_KEY_PASSWORD"):
        sign(run, locked)
    monkeypatch.setenv("SENET_ZOO_KEY_PASSWORD", "wrong")
    with pytest.raises(UsageError, match="SENET_ZOO_KEY_PASSWORD is another key's"):
        sign(run, locked)
    monkeypatch.setenv("SENET_ZOO_KEY_PASSWORD", "secret")
    for encrypted in (locked, key, write_key(tmp_path / "long.pem", ec.SECP521R1())):
        sign(run, encrypted)
        assert verify_signature(run, public(encrypted)).ok


def test_what_is_not_whole_is_not_signed(run: Path, key: Path, tmp_path: Path) -> None:
    before = (run / SIGNATURE).read_bytes()
    flip(run)
    with pytest.raises(SignatureError, match="only what is whole is signed"):
        sign(run, key)
    assert (run / SIGNATURE).read_bytes() == before
    with pytest.raises(UsageError, match="that of a folder"):
        sign(tmp_path / "nowhere", key)
    with pytest.raises(UsageError, match="said by a public key"):
        verify_signature(run)


def test_a_kit_is_signed_as_a_whole(tmp_path: Path, key: Path) -> None:
    kit = tmp_path / "kit"
    assert main(["download", "se_resnet20", "resnet20", "--to", str(kit)]) == 0
    sign(kit, key)
    assert verify_signature(kit, public(key)).ok
    (kit / "weights_manifest.json").write_text("{}")
    assert not verify_signature(kit, public(key)).ok


def test_a_detector_s_folder_is_signed(tmp_path: Path, key: Path) -> None:
    torch.manual_seed(0)
    senet_zoo.save_pretrained(faster_rcnn("se_resnet18", 3), tmp_path / "run", categories=("ant", "bee"))
    sign(tmp_path / "run", key)
    assert verify_signature(tmp_path / "run", public(key)).ok


@pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload:DeprecationWarning")
def test_what_is_published_is_signed_and_checked_from_the_hub(
    hub: Loopback,  # noqa: F811
    run: Path,
    key: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import huggingface_hub.constants

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    hub.token = "hf_secret"
    with pytest.raises(PublishError, match="would no longer hold"):
        senet_zoo.push_to_hub(run, "org/net")
    words = ["publish", str(run), "org/net", "--sign", str(key), "--tag", "v1"]
    assert main([*words, "--dry-run"]) == 0
    assert SIGNATURE in capsys.readouterr().out
    assert main(words) == 0
    head = hub.head("org/net")
    assert main(words) == 0, "the same again"
    assert hub.head("org/net") == head, "changes nothing"
    assert main(["verify", "hf://org/net@v1", "--signature", str(public(key))]) == 0
    files = hub.repos["org/net"][head]
    changed = {**files, "config.json": files["config.json"].replace(b"frog", b"toad"), "evil.py": b"x"}
    for name, content in changed.items():
        hub.add("org/net", content, "d" * 40, name)
    capsys.readouterr()
    assert main(["verify", f"hf://org/net@{'d' * 40}", "--signature", str(public(key))]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "changed: config.json" in out
    assert "added: evil.py" in out
    hub.add("org/plain", files["model.safetensors"], "e" * 40)
    found = verify_signature(f"hf://org/plain@{'e' * 40}", public(key))
    assert "is not signed" in found.checks[-1].found


def test_the_checkpoints_of_a_release_are_signed_with_their_rows(
    tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(CHECKPOINTS, tmp_path / "checkpoints"))
    monkeypatch.setattr(signed_module, "CHECKPOINTS", folder)
    for name in (SIGNATURE, "key.pub", "rows.json"):
        (folder / name).unlink(missing_ok=True)
    assert main(["verify", "--signature"]) == 1
    assert "are not signed" in " ".join(capsys.readouterr().out.split())
    assert main(["verify", "--signature", str(folder)]) == 2  # a folder where the key should be
    assert "Is a directory; name a file in PEM" in capsys.readouterr().err
    sign_checkpoints(folder, key)
    assert (folder / "key.pub").read_bytes() == public(key).read_bytes()
    assert main(["verify", "--signature"]) == 0
    assert main(["verify", "se_mobilenet", "--signature", str(public(key))]) == 0
    rows = json.loads((folder / "rows.json").read_text())
    rows["models"]["se_resnet20"]["weights"]["cifar10"]["top1"] = 1
    (folder / "rows.json").write_text(json.dumps(rows))
    from senet_zoo.weights.signature import sign as sign_bytes

    sign_bytes(folder, key)
    with pytest.raises(SignatureError, match="the manifest must say"):
        check_checkpoints(folder)


def test_the_package_s_own_signature_is_true_and_its_key_is_in_the_changelog() -> None:
    signed = check_checkpoints(CHECKPOINTS)
    assert signed.key in (CHECKPOINTS.parents[1] / "CHANGELOG.md").read_text()
    private = [path for path in CHECKPOINTS.parents[1].rglob("*.p[eu][mb]") if b"PRIVATE KEY" in path.read_bytes()]
    assert not private, "a private key is never committed"


def test_what_the_reference_signed_is_checked_here(tmp_path: Path) -> None:
    for name, content in {**THEIRS, SIGNATURE: json.dumps(THEIR_SIGNATURE).encode()}.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path.parent / "theirs.pub").write_text(THEIR_KEY)
    assert check_signature(tmp_path, tmp_path.parent / "theirs.pub").files == ("a.txt",)
    (tmp_path / "a.txt").write_text("b\n")
    with pytest.raises(SignatureError, match=r"changed: a\.txt"):
        check_signature(tmp_path, tmp_path.parent / "theirs.pub")


def reference(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "model_signing", *map(str, words)], capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(
    find_spec("model_signing") is None or find_spec("OpenSSL") is None,
    reason="model-signing is not installed: pip install 'senet-zoo[sign]'",
)
def test_the_reference_agrees_both_ways(run: Path, key: Path) -> None:
    words = ("--signature", run / SIGNATURE)
    checked = reference("verify", "key", run, *words, "--public_key", public(key))
    assert checked.returncode == 0, checked.stderr
    (run / "config.json").write_text("{}")
    assert reference("verify", "key", run, *words, "--public_key", public(key)).returncode != 0
    made = reference("sign", "key", run, *words, "--private_key", key)
    assert made.returncode == 0, made.stderr
    assert "config.json" in check_signature(run, public(key)).files
    left_out = reference("sign", "key", run, *words, "--private_key", key, "--ignore-paths", run / "config.json")
    assert left_out.returncode == 0, left_out.stderr
    with pytest.raises(SignatureError, match=r"added: config\.json"):
        check_signature(run, public(key))
