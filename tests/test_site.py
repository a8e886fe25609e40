"""The documentation site builds without a warning, and its notebooks run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import senet_zoo

ROOT = Path(__file__).parents[1]
SHIM = ROOT / "browser" / "node_modules" / "iframe-worker"
pytestmark = pytest.mark.slow


def run(*command: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True)


@pytest.mark.skipif(find_spec("nbclient") is None, reason="nbclient is not installed: pip install '.[docs]'")
def test_notebooks_run() -> None:
    done = run("tools/notebooks.py", "--check")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("mkdocstrings") is None or not SHIM.is_dir():
        pytest.skip(
            "mkdocs or its script is missing: pip install '.[docs]' && npm ci --prefix browser --ignore-scripts"
        )
    folder = tmp_path_factory.mktemp("site")
    done = run("-m", "mkdocs", "build", "--strict", "--site-dir", str(folder))
    assert done.returncode == 0, done.stderr  # a warning is an error, a link that leads nowhere a warning
    return folder


def test_made_pages_are_there_and_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    pages = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    assert {"index.html", "families/resnet.html", "notebooks/gates.html", "api.html", "ko.html", "zh.html"} <= pages
    for page in pages:
        text = (site / page).read_text(encoding="utf-8")
        assert 'src="http' not in text, page
        assert '<link rel="stylesheet" href="http' not in text, page
    assert "](" not in (site / "index.html").read_text(encoding="utf-8").partition("<article")[2]
    assert "- [Start](start.md)" in (site / "llms.txt").read_text(encoding="utf-8")


@pytest.fixture
def page(site: Path) -> Iterator[object]:
    """A page of the site, opened from its file: there is no server."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None or find_spec("playwright") is None:
        pytest.skip("there is no Chromium, or playwright is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page, faults = browser.new_page(), []
        page.on("pageerror", lambda error: faults.append(str(error)))
        yield page
        assert faults == []
        browser.close()


def test_search_works_without_a_server(site: Path, page: object) -> None:
    page.goto((site / "index.html").as_uri())
    page.locator("input.md-search__input").fill("excitations")
    page.locator(".md-search-result__item").first.wait_for(timeout=60_000)


def test_the_table_of_checkpoints_sorts_by_a_click(site: Path, page: object) -> None:
    page.goto((site / "networks.html").as_uri())
    heads, cells = page.locator(".sortable th button"), page.locator(".sortable tbody tr td:nth-child(2)")
    for _ in range(2):  # the second click turns the order round
        heads.nth(1).click()
    found = [float(text.removesuffix(" %")) for text in cells.all_text_contents() if text != "not known"]
    assert found == sorted(found, reverse=True)
    assert len(found) > 60
    assert page.locator(".sortable th[aria-sort=descending]").text_content() == "top-1"


def test_the_gate_of_the_page_is_the_networks(site: Path, page: object) -> None:
    page.goto((site / "gates.html").as_uri())
    model = senet_zoo.create_model("se_mobilenet", pretrained=True)
    picture = senet_zoo.get_weights("se_mobilenet").transforms()(ROOT / "samples" / "frog.png")[None]
    with torch.inference_mode():
        gate = dict(zip(senet_zoo.gates(model), model.excitations(picture).values(), strict=True))["stages.2.0.se"]
    page.locator(".one-gate select").select_option("frog")
    means, gates = page.locator(".one-gate p").first, page.locator(".one-gate p").last
    lowest, highest = map(float, gates.text_content().split(" to "))
    assert (lowest, highest) == pytest.approx((float(gate.min()), float(gate.max())), abs=2e-3)
    before = means.text_content(), gates.text_content()
    page.locator(".one-gate input[type=range]").fill("8")
    assert (means.text_content(), gates.text_content()) != before
