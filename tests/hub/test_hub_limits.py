"""A hub, a mirror or what stands between may be hostile: it writes nowhere else, and takes not all time and memory."""

import contextlib
import gzip
import hashlib
import http.server
import threading
import time
from pathlib import Path

import huggingface_hub
import pytest

import senet_zoo
from senet_zoo.errors import SenetZooError, UsageError, WeightsCorrupted, WeightsUnavailable, WeightsUnsafe
from senet_zoo.support import settings
from senet_zoo.weights import hub_limits, huggingface
from senet_zoo.weights.download import locate, locate_hub
from senet_zoo.weights.hub_repository import describe_file, fetch_text
from senet_zoo.weights.rows import HubFile, ReleaseFile

COMMIT, BODY = "c" * 40, b"import os; os.system('not yours')\n"


class Hostile(http.server.BaseHTTPRequestHandler):
    """Answers by what ``answers`` holds for a part of the path: status, headers, and a body or its parts."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append(dict(self.headers))
        answer = next((answer for part, answer in self.server.answers.items() if part in self.path), None)
        status, headers, body = answer or (404, {}, b"")
        self.send_response(status)
        sized = isinstance(body, bytes)
        length = {"Content-Length": str(len(body))} if sized else {"Transfer-Encoding": "chunked"}
        for name, value in {**length, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        with contextlib.suppress(OSError):
            for part in [body] if sized else body():
                self.wfile.write(part if sized else b"%x\r\n%s\r\n" % (len(part), part))
                self.wfile.flush()

    do_HEAD = do_POST = do_GET

    def log_message(self, *_) -> None:
        """Silence."""


@pytest.fixture
def hostile(cache, monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    server.daemon_threads, server.answers, server.seen = True, {}, []
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("SENET_ZOO_HUB", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.5)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_ETAG_TIMEOUT", 0.5)
    yield server
    server.shutdown()
    server.server_close()


def headers_of(etag: str, **more: str) -> dict[str, str]:
    return {
        "X-Repo-Commit": COMMIT,
        "ETag": f'"{etag}"',
        "X-Linked-Etag": f'"{etag}"',
        "X-Linked-Size": str(len(BODY)),
    } | {name.replace("_", "-"): value for name, value in more.items()}


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "etag", ["{users}/run.pth", "{users}/thesis.txt", "../../../../users/run.pth", "..", "A" * 64, "a" * 63, "", "a/b"]
)
def test_an_etag_that_is_no_hash_writes_and_removes_nothing(hostile, tmp_path, cache, etag):
    users = tmp_path / "users"
    users.mkdir()
    (users / "thesis.txt").write_text("my thesis")
    before = tree(users)
    hostile.answers["/resolve/"] = (200, headers_of(etag.format(users=users)), BODY)
    for load in (
        lambda: senet_zoo.create_model("se_resnet20", weights="hf://e/net"),
        lambda: fetch_text("e/net", COMMIT, "config.json"),
    ):
        with pytest.raises(WeightsUnsafe, match="40 or 64 hex digits, but the ETag"):
            load()
    assert tree(users) == before
    assert not [path for path in cache.rglob("*") if path.name in ("blobs", "run.pth")]


@pytest.mark.parametrize(
    ("name", "value"), [("X_Repo_Commit", "../../../../users"), ("X_Xet_Hash", "../../../users/run.pth")]
)
def test_other_names_of_a_server_must_be_hashes_too(hostile, tmp_path, name, value):
    hostile.answers["/resolve/"] = (200, headers_of("a" * 64, **{name: value}), BODY)
    with pytest.raises(WeightsUnsafe, match=name.replace("_", "-")):
        locate_hub("e/net")


def test_xet_which_knows_no_limits_is_not_used(hostile, monkeypatch):
    """The client leaves a file with a Xet hash to hf-xet, if that is installed."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    monkeypatch.setattr("huggingface_hub.utils._runtime.is_package_available", lambda *_: True)
    left: list[str] = []
    monkeypatch.setattr("huggingface_hub.file_download.xet_get", lambda **_: left.append("to hf-xet"))
    digest = hashlib.sha256(BODY).hexdigest()
    xet = {"X_Xet_Hash": "e" * 64, "X_Xet_Refresh_Route": "/api/models/e/net/xet-read-token/main"}
    hostile.answers["/resolve/"] = (200, headers_of(digest, **xet), BODY)
    found = huggingface.download(HubFile("e/net", COMMIT, "model.safetensors", digest, len(BODY), "native"))
    assert found.path.read_bytes() == BODY
    assert left == []
    assert not huggingface_hub.constants.HF_HUB_DISABLE_XET, "others use it as before"


def test_xet_is_on_again_when_the_last_of_several_calls_ends(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    first, second = threading.Event(), threading.Event()

    def ask(until: threading.Event) -> None:
        hub_limits.limited(lambda: until.wait(10), what="a file", most=1)

    threads = [threading.Thread(target=ask, args=(until,)) for until in (first, second)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 5
    while len(hub_limits._before) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    first.set()
    threads[0].join()
    assert huggingface_hub.constants.HF_HUB_DISABLE_XET
    second.set()
    threads[1].join()
    assert not huggingface_hub.constants.HF_HUB_DISABLE_XET


def snapshot(cache: Path, target: Path) -> Path:
    link = cache / "hub" / "models--o--net" / "snapshots" / ("d" * 40) / "model.safetensors"
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    return link


@pytest.mark.parametrize("place", ["data/mine.safetensors", f"data/{'a' * 64}", f"elsewhere/blobs/{'b' * 64}"])
def test_what_lies_behind_a_link_out_of_the_cache_stays(hostile, cache, row, tmp_path, place):
    target = tmp_path / place
    target.parent.mkdir(parents=True)
    target.write_bytes(b"the only copy")
    snapshot(cache, target)
    source = HubFile("o/net", "d" * 40, "model.safetensors", "a" * 64, len(b"the only copy"), "native")
    with pytest.raises(SenetZooError):
        locate(row(source))
    assert target.read_bytes() == b"the only copy"


def test_a_folder_of_the_cache_that_is_a_link_keeps_its_files(hostile, cache, row, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "model.safetensors").write_bytes(b"the only copy")
    link = cache / "hub" / "models--o--net" / "snapshots" / ("d" * 40)
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    source = HubFile("o/net", "d" * 40, "model.safetensors", "a" * 64, len(b"the only copy"), "native")
    with pytest.raises(WeightsCorrupted):
        locate(row(source))
    assert (elsewhere / "model.safetensors").exists()


def endless():
    for _ in range(200):
        yield b" " * 2**20


def drip():
    for _ in range(200):
        yield b" "
        time.sleep(0.1)


def questions(row):
    return {
        "describe": lambda: describe_file("e/net", "v1", "model.safetensors"),
        "paths": lambda: locate_hub("e/small"),
        "text": lambda: fetch_text("e/net", COMMIT, "config.json"),
        "release": lambda: locate(row(ReleaseFile(f"{settings.hub_endpoint()}/f/a.pth", "0" * 8, 100, "native"))),
    }


@pytest.mark.parametrize("question", ["describe", "paths", "text", "release"])
@pytest.mark.parametrize("body", [endless, drip])
def test_an_answer_without_end_ends(hostile, row, question, body, monkeypatch):
    monkeypatch.setattr(hub_limits, "MOST_ANSWER_BYTES", 2**22)
    monkeypatch.setattr(hub_limits, "GRACE", 0.5)
    json = {"Content-Type": "application/json"}
    hostile.answers |= {
        "/e/small/resolve/": (200, headers_of("b" * 40), BODY),  # no sha256 stands here; it has to be asked for
        "/e/net/resolve/": (200, {"X-Repo-Commit": COMMIT, "ETag": f'"{"b" * 40}"', "X-Linked-Size": "100"}, body),
        "/api/": (200, json, body),
        "/f/": (200, {}, body),
    }
    start = time.monotonic()
    with pytest.raises((WeightsUnavailable, WeightsCorrupted)):
        questions(row)[question]()
    assert time.monotonic() - start < 20


def test_a_packed_answer_is_not_unpacked(hostile):
    bomb = gzip.compress(b" " * 2**24)
    hostile.answers["/api/"] = (200, {"Content-Type": "application/json", "Content-Encoding": "gzip"}, bomb)
    with pytest.raises(WeightsUnavailable, match="packs its answer"):
        describe_file("e/net", "v1", "model.safetensors")
    assert hostile.seen[-1]["Accept-Encoding"] == "identity"


def test_more_than_was_announced_is_not_kept(hostile, row, cache):
    announced = headers_of("a" * 64)
    hostile.answers["/resolve/"] = (200, announced, endless)
    with pytest.raises(WeightsUnavailable, match="more than the 34 bytes"):
        locate(row(HubFile("e/net", COMMIT, "model.safetensors", "a" * 64, None, "native")))
    assert sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) < 2**20


def test_the_clients_other_requests_pass_as_before(hostile):
    from huggingface_hub.utils import get_session

    hostile.answers["/page"] = (200, {"Content-Encoding": "gzip"}, gzip.compress(b"a page"))
    address = f"{settings.hub_endpoint()}/page"
    assert hub_limits.limited(lambda: "done", what="x", most=1) == "done"
    assert get_session().get(address).text == "a page"


def test_without_a_network_many_checkpoints_are_refused_at_once(cache, monkeypatch, caplog):
    monkeypatch.setenv("SENET_ZOO_HUB", "http://127.0.0.1:9")
    start = time.monotonic()
    for number in range(20):
        with pytest.raises(WeightsUnavailable, match=r"127\.0\.0\.1:9.*could not be reached|cannot be reached"):
            locate_hub(f"org/net{number}")
    assert time.monotonic() - start < 3
    assert "Retrying" not in caplog.text


def test_a_server_that_is_back_is_asked_again(hub, published, monkeypatch):
    monkeypatch.setattr(hub_limits, "_PAUSE", 0.2)
    hub_limits._unreachable[hub.url.partition("://")[2]] = time.monotonic()
    with pytest.raises(WeightsUnavailable, match="not asked again"):
        locate(published)
    time.sleep(0.25)
    assert locate(published)


@pytest.mark.parametrize("name", ["SENET_ZOO_HUB", "HF_ENDPOINT"])
def test_a_password_in_an_address_is_refused_without_being_repeated(cache, monkeypatch, caplog, name):
    monkeypatch.setenv(name, "http://bob:hunter2@127.0.0.1:9")
    with caplog.at_level("DEBUG"), pytest.raises(UsageError, match=f"{name} must hold no name and password") as caught:
        senet_zoo.create_model("se_resnet20", weights="hf://org/net")
    assert "hunter2" not in str(caught.value) + caplog.text


def test_a_saved_login_goes_to_no_other_hub(cache, monkeypatch):
    for name, address, expected in (
        ("HF_ENDPOINT", "https://mirror.example", False),
        ("HF_ENDPOINT", "https://huggingface.co/", None),
        ("SENET_ZOO_HUB", "https://mirror.example", False),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, address)
            assert settings.hub_token() is expected
            patch.setenv("HF_TOKEN", "hf_given")
            assert settings.hub_token() in ("hf_given", None)


def test_a_token_that_a_server_sends_back_is_not_repeated():
    for text in ("refused; you sent Bearer hf_abcDEF123, go", "token hf_abcDEF123 expired", "Basic Ym9iOmh1bnRlcjI="):
        assert not {"hf_abcDEF123", "Ym9iOmh1bnRlcjI="} & set(str(WeightsUnavailable(text)).replace(",", "").split())
    assert str(WeightsUnavailable("run hf auth login")) == "run hf auth login"
