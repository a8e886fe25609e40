"""docs/clients.md tells the truth: every block is a program that runs, each in a process of its own."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "clients.md").read_text(), re.DOTALL)


def modules(block: str) -> list[str]:
    """The libraries that a block imports."""
    return sorted(set(re.findall(r"^(?:import|from) (\w+)", block, re.MULTILINE)) - {"senet_zoo", "torch"})


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=["-".join(modules(block)) for block in BLOCKS])
def test_a_block_runs(block: str, tmp_path: Path) -> None:
    for module in modules(block):
        if find_spec(module) is None:
            pytest.skip(
                f"{module} is not installed: pip install 'senet-zoo[{'ray' if module == 'ray' else 'clients'}]'"
            )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", block], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_each_client_of_the_extra_is_on_the_page() -> None:
    used = {module for block in BLOCKS for module in modules(block)}
    assert {"accelerate", "fastai", "lightning", "segmentation_models_pytorch", "timm", "transformers", "ray"} <= used
