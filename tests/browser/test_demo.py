"""``senet-zoo demo`` in a real Chromium: it answers as Python does, on this machine alone, with its own networks."""

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import senet_zoo

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # of gradio and what it imports
    pytest.mark.skipif(find_spec("gradio") is None, reason="gradio is not installed: pip install '.[demo]'"),
]
in_a_browser = pytest.mark.skipif(
    find_spec("playwright") is None or CHROMIUM is None, reason="there is no Chromium, or playwright is not installed"
)


def demo(*words: str, **variables: str) -> subprocess.Popen[str]:
    command = [sys.executable, *(words or ["space/app.py"])]
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.fixture(scope="module", params=["senet-zoo demo", "space"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    if request.param == "space":
        served = demo(GRADIO_SERVER_PORT=str(port))
    else:
        served = demo("-m", "senet_zoo", "demo", "--port", str(port))
    for _ in range(240):
        with socket.socket() as knock:
            if knock.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert served.poll() is None, served.stdout.read()
        time.sleep(0.5)
    yield f"http://127.0.0.1:{port}/"
    served.terminate()
    served.communicate(timeout=30)


@in_a_browser
def test_it_answers_as_python_does_and_asks_nobody_else(address: str) -> None:
    from playwright.sync_api import sync_playwright

    (expected,) = senet_zoo.Predictor("se_resnet20").predict([ROOT / "docs" / "cat.jpg"])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page, asked = browser.new_page(), []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        page.locator("input[type=file]").first.wait_for(state="attached", timeout=60_000)
        page.set_input_files("input[type=file]", ROOT / "docs" / "cat.jpg")
        page.locator(".output-class", has_text="cat").wait_for(timeout=120_000)
        assert f"{expected.probability:.0%}" in page.locator(".label").first.text_content()
        assert page.locator(".gates p").first.text_content().startswith("SE_2_1: 16 channels, mean 0.")
        page.get_by_label("Beside it").click()
        page.get_by_role("option", name="resnet20.cifar10", exact=True).click()
        page.get_by_text("This network has no gates.").wait_for(timeout=120_000)
        assert page.locator(".output-class", has_text="cat").count() == 2
        browser.close()
    others = [url for url in asked if not url.startswith((address, "blob:", "data:"))]
    assert others == []


def test_only_this_machine_reaches_it(address: str) -> None:
    port = int(address.rstrip("/").rpartition(":")[2])
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for other in others:
        with socket.socket() as knock:
            assert knock.connect_ex((other, port)) != 0 or other.startswith("127.")


def asked_directly(address: str, *values: object) -> list[dict[str, Any]]:
    """What the server answers to who speaks to it without the page."""
    body = json.dumps({"data": values, "fn_index": 0, "session_hash": uuid.uuid4().hex}).encode()
    session = json.loads(body)["session_hash"]
    post = urllib.request.Request(
        f"{address}gradio_api/queue/join", body, {"Content-Type": "application/json"}, method="POST"
    )
    urllib.request.urlopen(post).close()
    with urllib.request.urlopen(f"{address}gradio_api/queue/data?session_hash={session}") as answer:
        lines = [line[6:] for line in answer.read().decode().splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize(
    ("picture", "network"),
    [
        ("/etc/passwd", "se_resnet20.cifar10"),
        (str(ROOT / "docs" / "cat.jpg"), "se_resnet20.cifar10"),
        (None, "hf://someone/something"),
        (None, "/etc"),
    ],
)
def test_a_visitor_names_no_file_and_no_network(address: str, picture: str | None, network: str) -> None:
    given = picture and {"path": picture, "meta": {"_type": "gradio.FileData"}}
    messages = asked_directly(address, given, network, "none")
    (done,) = [message for message in messages if message["msg"] == "process_completed"]
    assert done["success"] is False, done


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"these are words", "these bytes are of none"),
        (b"", "picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "picture"),
    ],
    ids=["text", "empty", "heic"],
)
def test_what_is_no_picture_gets_a_sentence_without_the_path(data: bytes, sentence: str, tmp_path: Path) -> None:
    import gradio

    from senet_zoo.demo import _answer

    path = tmp_path / "odd.jpg"
    path.write_bytes(data)
    with pytest.raises(gradio.Error, match=sentence) as caught:
        _answer(gradio, {"x": senet_zoo.Predictor("se_resnet20")}, str(path), "x")
    assert str(tmp_path) not in str(caught.value)


def test_a_picture_of_too_many_pixels_is_not_decoded(tmp_path: Path) -> None:
    import gradio

    from senet_zoo.demo import _answer

    file = io.BytesIO()
    Image.new("1", (10_000, 6_000)).save(file, "PNG")
    path = tmp_path / "large.png"
    path.write_bytes(file.getvalue())
    with pytest.raises(gradio.Error, match="50 million pixels"):
        _answer(gradio, {"x": senet_zoo.Predictor("se_resnet20")}, str(path), "x")


def test_wrong_networks_are_said() -> None:
    from senet_zoo.demo import build_demo

    with pytest.raises(senet_zoo.UsageError, match="name one"):
        build_demo([])
    with pytest.raises(senet_zoo.UnknownModelError):
        build_demo(["se_resnet51"])


def test_a_taken_port_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = demo("-m", "senet_zoo", "demo", "--model", "se_resnet20", "--port", str(port))
        said, _ = refused.communicate(timeout=120)
    assert refused.returncode == 2, said
    assert f"{port} at 127.0.0.1 is not one" in said
    assert "Traceback" not in said
