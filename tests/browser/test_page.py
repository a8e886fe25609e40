"""The page in the browser, in a real Chromium: it answers as Python does, and what it cannot read gets a sentence."""

import io
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.ImageCms import ImageCmsProfile, createProfile

import senet_zoo

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
RUNTIME = ROOT / "browser" / "node_modules" / "onnxruntime-web"
NETWORKS = ("se_mobilenet", "se_shufflenet", "se_resnet20")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("playwright") is None, reason="playwright is not installed: pip install '.[docs]'"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium"),
    pytest.mark.skipif(not RUNTIME.is_dir(), reason="no runtime: npm ci --prefix browser --ignore-scripts"),
]


class Quiet(SimpleHTTPRequestHandler):
    """A server as plain as there are: it knows neither .mjs nor .wasm."""

    def guess_type(self, path: str) -> str:
        known = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
        return known.get(Path(path).suffix, "application/octet-stream")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "tools/browser.py", "--output", str(folder / "app")]
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    return folder


@pytest.fixture(scope="module")
def playwright() -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(playwright: object) -> Iterator[object]:
    opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
    yield opened
    opened.close()


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/app/"
    server.shutdown()
    server.server_close()


class Visit:
    """One visitor: the page, and what it complained of."""

    def __init__(self, browser: object, address: str, **options: object) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda said: self.faults.append(said.text) if said.type == "error" else None)
        self.page.on("request", lambda request: self.requests.append(f"{request.method} {request.url}"))
        self.page.goto(address + "index.html")
        self.page.locator("html[data-ready]").wait_for(timeout=60_000)

    def give(self, data: bytes, name: str = "picture.png") -> str:
        """Choose a file, and what the page says when it is done with it."""
        status = self.page.locator("#status")
        self.page.evaluate("Object.assign(document.getElementById('status'), {textContent: '', className: ''})")
        self.page.set_input_files("#file", {"name": name, "mimeType": "", "buffer": data})
        self.page.locator("#status", has_text="%").or_(self.page.locator("#status.refusal")).wait_for(timeout=120_000)
        return status.text_content()

    def probabilities(self, column: int = 0) -> dict[str, float]:
        items = self.page.locator("#lists > div").nth(column).locator("li").all()
        return {item.get_attribute("data-label"): float(item.get_attribute("data-probability")) for item in items}


@pytest.fixture
def visit(browser: object, address: str) -> Iterator[Visit]:
    visit = Visit(browser, address)
    yield visit
    visit.context.close()


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def waves(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A picture with fine and coarse structure, where resizing by another rule would show."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    planes = [np.sin(x / 3 + i) * np.cos(y / (2 + i)) + np.sin((x + y) / 40 + i) for i in range(len(mode))]
    values = np.stack(planes, -1)
    return Image.fromarray(np.uint8(255 * (values - values.min()) / np.ptp(values)).squeeze(), mode)


PICTURES = {
    "cat.jpg": lambda: (ROOT / "docs" / "cat.jpg").read_bytes(),
    "frog.png": lambda: (ROOT / "samples" / "frog.png").read_bytes(),
    "wide.png": lambda: encoded(waves(701, 203)),
    "tall.png": lambda: encoded(waves(90, 600)),
    "tiny.png": lambda: encoded(waves(5, 7)),
    "transparent.png": lambda: encoded(waves(300, 260, "RGBA")),
    "grey.png": lambda: encoded(waves(200, 300, "L")),
    "turned.jpg": lambda: encoded(waves(300, 180), "JPEG", quality=95, exif=_turned()),
    "animated.gif": lambda: encoded(
        waves(160, 120), "GIF", save_all=True, append_images=[waves(160, 120).rotate(180)], duration=40
    ),
    "odd name <img src=x onerror=alert(1)> 猫.png": lambda: encoded(waves(40, 50)),
    "cmyk.jpg": lambda: encoded(waves(200, 150).convert("CMYK"), "JPEG"),
    "progressive, 4:2:0.jpg": lambda: encoded(waves(333, 277), "JPEG", progressive=True, subsampling=2),
    "profile.jpg": lambda: encoded(
        waves(200, 150), "JPEG", icc_profile=ImageCmsProfile(createProfile("LAB")).tobytes()
    ),
    "sixteen bits.png": lambda: encoded(Image.fromarray(np.arange(60000, dtype=np.uint16).reshape(200, 300))),
    "see-through.gif": lambda: encoded(waves(120, 90).quantize(32), "GIF", transparency=3),
    "animated.png": lambda: encoded(waves(90, 120), "PNG", save_all=True, append_images=[waves(90, 120).rotate(180)]),
    "lossless.webp": lambda: encoded(waves(320, 200), "WEBP", lossless=True),
    "two frames.webp": lambda: encoded(
        waves(160, 120), "WEBP", lossless=True, save_all=True, append_images=[waves(160, 120).rotate(180)]
    ),
    "photo.avif": lambda: encoded(waves(160, 120), "AVIF", quality=90),
    "bitmap.bmp": lambda: encoded(waves(50, 70), "BMP"),
    "palette.png": lambda: encoded(waves(120, 90).quantize(64), "PNG", transparency=3),
    "one bit.png": lambda: encoded(waves(120, 90, "L").convert("1")),
}


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize("network", NETWORKS)
def test_it_answers_as_python_does(visit: Visit, network: str, tmp_path: Path) -> None:
    predictor = senet_zoo.Predictor(network)
    visit.page.select_option("#network", network)
    for name, data in PICTURES.items():
        path = tmp_path / name
        path.write_bytes(data())
        said = visit.give(path.read_bytes(), name)
        (expected,) = predictor.predict([path], top=5)
        assert said.startswith(f"{name}: {expected.label}, "), name
        found = visit.probabilities()
        for label, probability in expected.top:
            assert found.get(label, 0.0) == pytest.approx(probability, abs=1e-3), (name, label)
    assert visit.faults == []


def test_a_plain_twin_and_held_gates_stand_beside_it(visit: Visit, tmp_path: Path) -> None:
    cat = ROOT / "docs" / "cat.jpg"
    visit.page.select_option("#network", "se_resnet20")
    visit.give(cat.read_bytes(), "cat.jpg")
    (expected,) = senet_zoo.Predictor("resnet20").predict([cat])
    assert visit.probabilities(1)[expected.label] == pytest.approx(expected.probability, abs=1e-3)
    visit.page.check("#held")
    visit.page.locator("#lists > div").nth(2).wait_for()
    assert visit.probabilities(1) != visit.probabilities(0)
    model = senet_zoo.create_model("se_resnet20", pretrained=True)
    picture = senet_zoo.get_weights("se_resnet20").transforms()(cat)[None]
    lines = visit.page.locator(".gate p").all_text_contents()
    for line, (name, values) in zip(lines, model.excitations(picture).items(), strict=True):
        assert line.startswith(f"{name}: {values.numel()} channels, mean {values.mean():.2f}, "), line


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"these are words", "no picture"),
        (b"", "empty"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 64, "HEIC"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "no picture"),
        (encoded(waves(64, 64))[:200], "no picture"),
        (encoded(waves(64, 64), "TIFF"), "TIFF"),
        (encoded(Image.new("1", (30_000, 30_000))), "30000 x 30000 pixels"),
        (encoded(Image.new("RGB", (1, 60_000))), "too thin"),
        (b"GIF89a\xff\xff\xff\xff\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\xff\xff\xff\xff\0\2\2D\1\0;", "no picture"),
        (b"\0\0\0\x18ftypmp42" + b"\1" * 1000, "no picture"),
        (bytes(20_000_000), "no picture"),
    ],
    ids=["text", "empty", "heic", "svg", "cut short", "tiff", "bomb", "thin", "GIF bomb", "film", "zeros"],
)
def test_what_is_no_picture_gets_a_sentence(visit: Visit, data: bytes, sentence: str) -> None:
    said = visit.give(data, "odd.jpg")
    assert sentence in said
    assert said.endswith(".")
    assert not visit.page.locator("#answer").is_visible()
    assert "%" in visit.give((ROOT / "samples" / "frog.png").read_bytes())  # and the page goes on


def test_a_photograph_of_a_hundred_megapixels(visit: Visit, tmp_path: Path) -> None:
    path = tmp_path / "large.jpg"
    Image.effect_noise((1000, 1000), 60).convert("RGB").resize((11600, 8700), 0).save(path, quality=70)
    visit.page.select_option("#network", "se_resnet20")
    visit.page.set_input_files("#file", path)
    status = visit.page.locator("#status", has_text="large.jpg:").or_(visit.page.locator("#status.refusal"))
    status.wait_for(timeout=300_000)
    with pytest.warns(Image.DecompressionBombWarning):
        (expected,) = senet_zoo.Predictor("se_resnet20").predict([path])
    assert visit.probabilities()[expected.label] == pytest.approx(expected.probability, abs=1e-3)


def test_it_works_without_a_network_once_loaded(browser: object, address: str) -> None:
    visit = Visit(browser, address)
    frog = (ROOT / "samples" / "frog.png").read_bytes()
    visit.page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    visit.page.reload()  # from now on the worker answers
    visit.page.locator("html[data-ready]").wait_for()
    visit.page.select_option("#network", "se_resnet20")
    first = visit.give(frog, "frog.png")
    visit.context.set_offline(True)
    visit.page.reload()
    visit.page.locator("html[data-ready]").wait_for()
    visit.page.select_option("#network", "se_resnet20")
    assert visit.give(frog, "frog.png") == first
    visit.page.select_option("#network", "se_shufflenet")  # which was not opened
    visit.page.locator("#status.refusal").wait_for()
    assert "could not be fetched" in visit.page.text_content("#status")
    visit.context.close()


def test_a_camera_s_picture_and_no_camera(playwright: object, address: str) -> None:
    pretended = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    for arguments, sentence in ((pretended, "the camera's picture: "), (["--no-sandbox"], "cannot be used")):
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        visit = Visit(opened, address)
        visit.page.select_option("#network", "se_resnet20")
        visit.page.click("#camera")
        if arguments is pretended:
            visit.page.locator("#camera", has_text="Take the picture").click()
        visit.page.locator("#status", has_text=sentence).wait_for(timeout=60_000)
        if arguments is pretended:
            visit.page.locator("#status", has_text="%").wait_for(timeout=60_000)
        assert visit.faults == []
        opened.close()


def test_nothing_leaves_the_device(visit: Visit, address: str) -> None:
    visit.give((ROOT / "docs" / "cat.jpg").read_bytes())
    assert all(request.startswith((f"GET {address}", "GET blob:")) for request in visit.requests), visit.requests


@pytest.mark.parametrize(
    "flags",
    ["--no-enable-sse4-1 --no-enable-sse4-2 --no-enable-avx --no-enable-avx2", "--jitless"],
    ids=["no SIMD", "no WebAssembly"],
)
def test_a_browser_without_simd_is_told(playwright: object, address: str, flags: str) -> None:
    arguments = ["--no-sandbox", f"--js-flags={flags}"]
    opened = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
    page = opened.new_page()
    page.goto(address + "index.html")
    page.locator("#status.refusal").wait_for()
    assert "WebAssembly with SIMD" in page.text_content("#status")
    opened.close()


def test_a_page_that_cannot_start_says_why(browser: object, address: str, folder: Path) -> None:
    page = browser.new_page()
    page.goto((folder / "app" / "index.html").as_uri())
    assert "python -m http.server" in page.text_content("#status")
    page.route("**/networks.json", lambda route: route.abort())
    page.goto(address + "index.html")
    page.locator("#status.refusal", has_text="list of networks").wait_for()
    page.close()


def test_a_photograph_in_heic(visit: Visit) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    pillow_heif.from_pillow(waves(64, 48)).save(file)
    assert "HEIC" in visit.give(file.getvalue(), "IMG_0001.HEIC")


def test_what_a_screen_reader_hears(visit: Visit) -> None:
    visit.page.get_by_role("button", name="frog").click()
    visit.page.locator("#status", has_text="frog.png: frog").wait_for(timeout=60_000)
    said = visit.page.locator("body").aria_snapshot()
    for part in (
        'combobox "Network"',
        'button "Choose a picture"',
        'button "Camera"',
        'list "Sample pictures"',
        'status: "frog.png: frog',
        'img "The picture as the network sees it"',
        'checkbox "Hold every gate',
    ):
        assert part in said, part


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_telephone(browser: object, address: str, scheme: str) -> None:
    visit = Visit(browser, address, viewport={"width": 320, "height": 640}, color_scheme=scheme)
    visit.page.select_option("#network", "se_resnet20")
    visit.give((ROOT / "docs" / "cat.jpg").read_bytes())
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 320
    visit.context.close()


def test_it_is_used_by_keyboard_alone(visit: Visit) -> None:
    visit.page.keyboard.press("Tab")  # the link to the site
    seen = []
    for _ in range(6):
        visit.page.keyboard.press("Tab")
        seen.append(visit.page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert seen[:3] == ["network", "file", "camera"], seen
    visit.page.keyboard.press("Enter")  # the sample that has the focus
    visit.page.locator("#status", has_text="%").wait_for(timeout=60_000)


def test_networks_and_pictures_of_the_page_are_the_packages(folder: Path) -> None:
    page = json.loads((folder / "app" / "networks.json").read_text())
    assert [network["name"] for network in page["networks"]] == list(NETWORKS)
    for network in page["networks"]:
        assert len(network["gates"]) == senet_zoo.model_info(network["name"]).gates
    assert sum(path.stat().st_size for path in (folder / "app").rglob("*")) < 30_000_000
