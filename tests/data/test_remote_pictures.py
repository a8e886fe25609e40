"""Pictures at addresses: what is fetched, what is refused, and what a bad server can do."""

import io
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

import senet_zoo
from senet_zoo.cli import main
from senet_zoo.data import remote_pictures
from senet_zoo.data.remote_pictures import fetch_picture
from senet_zoo.errors import PictureError, UsageError


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(file, "PNG")
    return file.getvalue()


class Server(BaseHTTPRequestHandler):
    """Answers by path."""

    def log_message(self, *words: object) -> None:
        pass

    def do_GET(self) -> None:
        body, headers, status = png(), {"Content-Type": "image/png"}, 200
        match self.path.strip("/").partition("?")[0]:
            case "page":
                headers, body = {"Content-Type": "text/html; charset=utf-8"}, b"<html>"
            case "none":
                status = 404
            case "moved":
                status, headers = 302, {"Location": "/red.png"}
            case "round":
                status, headers = 302, {"Location": "/round"}
            case "file":
                status, headers = 302, {"Location": "file:///etc/passwd"}
            case "nowhere":
                status, headers = 302, {"Location": "http://[::"}
            case "large":
                headers["Content-Length"] = str(10**12)
            case "endless":
                self.send_response(200)
                self.end_headers()
                for _ in range(100):
                    self.wfile.write(bytes(2**16))
                return
            case "short":
                headers["Content-Length"] = "100000"
            case "packed":
                headers["Content-Encoding"] = "gzip"
            case "text":
                body = b"no picture"
            case "unsaid":
                headers = {}
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that has seen enough is no error."""


def serve(server: ThreadingHTTPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("SENET_ZOO_URLS", "any")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    for port in serve(QuietServer(("127.0.0.1", 0), Server)):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("SENET_ZOO_URLS", "any")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    if not shutil.which("openssl"):
        pytest.skip("openssl makes the certificate")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 1 -subj /CN=localhost"
    subprocess.run(
        [*command.split(), "-addext", "subjectAltName=DNS:localhost"], cwd=tmp_path, check=True, capture_output=True
    )
    server = QuietServer(("127.0.0.1", 0), Server)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    for port in serve(server):
        yield f"https://localhost:{port}"


@pytest.mark.parametrize("path", ["red.png", "moved", "unsaid", "röt.png?größe=1 2"])
def test_a_picture_is_fetched(path: str, plain: str) -> None:
    assert fetch_picture(f"{plain}/{path}") == png()


def test_predict_takes_addresses_among_files(plain: str, tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red.png")
    there, missing, here = senet_zoo.Predictor("se_resnet20").stream(
        [f"{plain}/red.png", f"{plain}/none", tmp_path / "red.png"]
    )
    assert there.classes == here.classes
    assert there.path == f"{plain}/red.png"
    assert "404" in str(missing.error)


def test_the_gates_of_a_picture_at_an_address(
    plain: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["excite", f"{plain}/red.png"]) == 0
    out = capsys.readouterr().out
    assert f"se_resnet20.cifar10 on {plain}/red.png, 1 picture" in out
    assert out.endswith("-o FOLDER draws them, and writes every channel as CSV\n")
    assert main(["excite", f"{plain}/none", "-o", "gates"]) == 1
    assert "the server says 404" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("page", "it is text/html, not a picture"),
        ("none", "the server says 404 Not Found"),
        ("round", "leads on more than 5 times"),
        ("file", "file: is no https: address"),
        ("nowhere", "could not be fetched"),
        ("large", "it has 1000000000000 bytes"),
        ("endless", "it has more than 1048576 bytes"),
        ("short", "could not be fetched|of 100000 bytes came"),
        ("packed", "packs it"),
    ],
)
def test_what_is_no_picture_is_refused(path: str, message: str, plain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_pictures, "MOST_BYTES", 2**20)
    with pytest.raises(PictureError, match=message) as caught:
        fetch_picture(f"{plain}/{path}")
    assert plain in str(caught.value)


def test_what_is_fetched_and_cannot_be_decoded_is_named(plain: str) -> None:
    with pytest.raises(PictureError, match=f"{plain}/text"):
        senet_zoo.predict(f"{plain}/text")


def test_a_silent_server_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENET_ZOO_URLS", "any")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(remote_pictures, "MOST_SILENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(PictureError, match="nothing came for"):
            fetch_picture(f"http://127.0.0.1:{port}/a.png")
    with pytest.raises(PictureError, match="could not be fetched: Connection refused"):
        fetch_picture(f"http://127.0.0.1:{port}/a.png")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://example.com/a.png", "http: is no https: address"),
        ("https://127.0.0.1/a.png", "a host of this machine or its network"),
        ("https://localhost/a.png", "a host of this machine"),
        ("https://10.0.0.7/a.png", "a host of this machine"),
        ("https://169.254.169.254/latest/meta-data", "a host of this machine"),
        ("https://[::1]/a.png", "a host of this machine"),
        ("https://[::ffff:127.0.0.1]/a.png", "a host of this machine"),
        ("https://2130706433/a.png", "a host of this machine|not known"),
        ("https://me:secret@example.com/a.png", "a name and password is not asked"),
        ("https:///a.png", "names no host"),
        ("https://exa mple.invalid/a.png", "is not known|could not be fetched"),
        ("https://a.example:99999/", "could not be fetched"),
    ],
)
def test_addresses_that_are_not_asked(url: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    with pytest.raises(PictureError, match=message) as caught:
        fetch_picture(url)
    assert "secret" not in str(caught.value)


def test_offline_nothing_is_asked(plain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(PictureError, match="HF_HUB_OFFLINE is set"):
        fetch_picture(f"{plain}/red.png")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv("SENET_ZOO_URLS", "none")
    with pytest.raises(PictureError, match="SENET_ZOO_URLS=none"):
        fetch_picture(f"{plain}/red.png")
    monkeypatch.setenv("SENET_ZOO_URLS", "all")
    with pytest.raises(UsageError, match="must be https, any or none"):
        fetch_picture(f"{plain}/red.png")


def test_a_certificate_must_be_good(secure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PictureError, match="certificate is not good"):
        fetch_picture(f"{secure}/red.png")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    assert fetch_picture(f"{secure}/red.png") == png()
    with pytest.raises(PictureError, match="certificate is not good"):
        fetch_picture(f"{secure.replace('localhost', '127.0.0.1')}/red.png")
