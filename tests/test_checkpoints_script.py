"""The script and the workflow that verify every published checkpoint."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

TREE = Path(__file__).parents[1]


def test_the_workflow_is_started_by_hand_and_runs_the_script() -> None:
    workflow = yaml.safe_load((TREE / ".github" / "workflows" / "pin.yml").read_text())
    assert list(workflow[True]) == ["workflow_dispatch"], "YAML reads the word on as true"
    steps = [step.get("run", "") for step in workflow["jobs"]["pin"]["steps"]]
    assert any("senet-zoo manifest pin" in step for step in steps)
    assert any(step.startswith("scripts/checkpoints ") for step in steps)
    assert os.access(TREE / "scripts" / "checkpoints", os.X_OK)


@pytest.mark.slow
def test_the_script_verifies_a_checkpoint_of_the_package() -> None:
    done = subprocess.run(
        [TREE / "scripts" / "checkpoints", "se_mobilenet"],
        env={**os.environ, "PYTHON": sys.executable, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "se_mobilenet.imagenette: verified"
