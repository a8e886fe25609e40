"""The documentation site builds without a warning, and its notebooks run."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

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


@pytest.mark.skipif(find_spec("mkdocstrings") is None, reason="mkdocs is not installed: pip install '.[docs]'")
@pytest.mark.skipif(not SHIM.is_dir(), reason="no node_modules: npm ci --prefix browser --ignore-scripts")
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    done = run("-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.html")}
    assert {"index.html", "families/resnet.html", "notebooks/gates.html", "api.html", "ko.html", "zh.html"} <= pages
    for page in pages:
        text = (tmp_path / page).read_text(encoding="utf-8")
        assert 'src="http' not in text, page  # nothing is fetched from elsewhere
        assert '<link rel="stylesheet" href="http' not in text, page
    table = (tmp_path / "networks.html").read_text(encoding="utf-8")
    assert "se_resnet50.caffe_in1k" in table
    assert "](" not in (tmp_path / "index.html").read_text(encoding="utf-8").partition("<article")[2]
    assert "- [Start](start.md)" in (tmp_path / "llms.txt").read_text(encoding="utf-8")
