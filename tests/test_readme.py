"""The README tells the truth: every block is run, every printed output compared."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from senet_zoo import create_model
from senet_zoo.cli import main
from senet_zoo.formats import safetensors

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = re.findall(r"^\$ (.*)$", TEXT, re.MULTILINE)
# In a fresh virtual environment these are run by tests/test_package.py and by .ci/run.
INSTALLS = ["pip install . && senet-zoo predict samples/", "pip install '.[test]' && scripts/test"]


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights where the README would download: its blocks are run without a network."""
    folder = tmp_path_factory.mktemp("weights")
    for model, tag in (("se_resnet50", "caffe_in1k"),):
        file = folder / model / tag / "model.safetensors"
        file.parent.mkdir(parents=True)
        safetensors.write(file, create_model(model).state_dict(), {"model": model})
    return folder


@pytest.mark.parametrize("block", PYTHON)
def test_python_blocks_run(block: str, stand_ins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("SENET_ZOO_WEIGHTS_DIR", str(stand_ins))
    exec(compile(block, "README.md", "exec"), {})


def test_a_newcomer_gets_exactly_two_commands_that_install() -> None:
    assert [command for command in COMMANDS if command.startswith("pip")] == INSTALLS


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in INSTALLS])
def test_commands_succeed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    program, *words = shlex.split(command)
    assert program == "senet-zoo"
    assert main(words) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [["tools/readme.py"], ["tools/manifest_schema.py"], ["benchmarks/gate.py", "report"], ["benchmarks/report.py"]],
    ids=" ".join,
)
def test_the_parts_that_a_command_makes_are_up_to_date(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, *command, "--check"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},  # this tree, not what is installed
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_every_model_and_variable_named_exists() -> None:
    from senet_zoo.networks import registry

    names = re.findall(r"`((?:se_|sen|net)[a-z0-9_]*\d[a-z0-9_]*)`", TEXT)
    assert names
    for name in names:
        registry.find(name.partition(".")[0])
    code = "".join(file.read_text() for file in (ROOT / "senet_zoo").rglob("*.py"))
    for variable in re.findall(r"`(SENET_ZOO_[A-Z_]+|HF_[A-Z_]+)", TEXT):
        assert variable in code or variable.startswith("HF_"), variable


def test_every_local_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target
