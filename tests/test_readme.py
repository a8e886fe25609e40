"""README and the pages of docs/ tell the truth: every block is run, every printed output compared."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from senet_zoo import create_model
from senet_zoo.cli import COMMANDS as COMMAND_MODULES
from senet_zoo.cli import main
from senet_zoo.cli.parser import SPELLINGS, SYNONYMS
from senet_zoo.formats import safetensors

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
TEXT = "\n".join(TEXTS.values())
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))
# Each of these pages has a test of its own, which runs every block in a process of its own.
ELSEWHERE = {"docs/clients.md": "tests/integrations/test_clients_page.py"}
PYTHON = [
    pytest.param(block, id=f"{page}:{text[: text.index(block)].count(chr(10)) + 1}")
    for page, text in TEXTS.items()
    if page not in ELSEWHERE
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)
]
COMMANDS = list(dict.fromkeys(re.findall(r"^\$ (.*)$", TEXT, re.MULTILINE)))
FOREIGN = {"docs/clients.md", "docs/from-other-libraries.md"}  # speak of other libraries' functions as well


def inline(pages: Iterable[str]) -> list[str]:
    text = re.sub(r"```.*?```", "", "\n".join(TEXTS[page] for page in pages), flags=re.DOTALL)
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text)]


INLINE = inline(TEXTS)
# Commands for files and networks that are not here; they are read, not run.
SHOWN = re.findall(
    r"^(?:[A-Z_]+=\S+ )?senet-zoo (.*)$", "".join(re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL)), re.M
)
# In a fresh virtual environment these are run by tests/test_package.py and by .ci/run.
INSTALLS = ["pip install . && senet-zoo predict samples/", "pip install '.[test]' && scripts/test"]


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kit of random weights where the README would download: its blocks are run without a network."""
    folder = tmp_path_factory.mktemp("weights")
    sums = []
    for model, tag in (("se_resnet50", "caffe_in1k"),):
        name = f"{model}/{tag}/model.safetensors"
        (folder / name).parent.mkdir(parents=True)
        sums.append(f"{safetensors.write(folder / name, create_model(model).state_dict(), {'model': model})}  {name}\n")
    (folder / "SHA256SUMS").write_text("".join(sums))
    return folder


@pytest.mark.parametrize("block", PYTHON)
def test_python_blocks_run(block: str, stand_ins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("SENET_ZOO_WEIGHTS_DIR", str(stand_ins))
    exec(compile(block, "a page", "exec"), {"__name__": "__main__"})


def test_a_newcomer_gets_exactly_two_commands_that_install() -> None:
    commands = re.findall(r"^\$ (.*)$", TEXTS["README.md"], re.MULTILINE)
    assert [command for command in commands if command.startswith("pip")] == INSTALLS


def test_readme_stays_short() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 150


@pytest.mark.parametrize("page", ELSEWHERE)
def test_a_page_with_a_test_of_its_own_is_run_there(page: str) -> None:
    assert page.rpartition("/")[2] in (ROOT / ELSEWHERE[page]).read_text()


@pytest.mark.parametrize("command", [command for command in COMMANDS if command not in INSTALLS])
def test_commands_succeed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    program, *words = shlex.split(command)
    assert program == "senet-zoo"
    assert main(words) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        ["tools/readme.py"],
        ["tools/manifest_schema.py"],
        ["tools/sbom.py"],
        ["benchmarks/gate.py", "report"],
        ["benchmarks/report.py"],
    ],
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


def test_inline_python_resolves_after_importing_senet_zoo_alone() -> None:
    """A dotted name leads somewhere, and a call takes its arguments, in a process that imported nothing else."""
    found = inline(TEXTS.keys() - FOREIGN)
    calls = [code for code in found if re.fullmatch(r"senet_zoo\.\w[\w.]*(\(.*\))?|(model\.)?[a-z_]+\(.*\)", code)]
    assert len(calls) >= 6
    program = """
import ast, inspect, json, sys
import senet_zoo
for code in json.load(sys.stdin):
    node = ast.parse(code, mode="eval").body
    chain = ast.unparse(node.func if isinstance(node, ast.Call) else node).split(".")
    found = {"senet_zoo": senet_zoo, "model": senet_zoo.ConvNet}.get(chain[0]) or getattr(senet_zoo, chain[0])
    for name in chain[1:]:
        found = getattr(found, name)
    if isinstance(node, ast.Call):
        first = (None,) if chain[0] == "model" else ()
        inspect.signature(found).bind(*first, *node.args, **{each.arg: each for each in node.keywords})
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(calls),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are understood, and do nothing."""
    for command in COMMAND_MODULES.values():
        monkeypatch.setattr(command, "run", lambda arguments: 0)


@pytest.mark.usefixtures("read_only")
def test_commands_that_are_shown_are_understood(capsys: pytest.CaptureFixture[str]) -> None:
    assert SHOWN
    for command in SHOWN:
        assert main(shlex.split(command, comments=True)) == 0, capsys.readouterr().err


@pytest.mark.usefixtures("read_only")
def test_inline_commands_and_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    options = {}
    for command in COMMAND_MODULES:
        assert main([command, "--help"]) == 0
        options[command] = set(re.findall(r"--[a-z][a-z-]*", capsys.readouterr().out))
    for code in INLINE:
        program, *words = shlex.split(code) if re.match(r"(senet-zoo|python) ", code) else ("", code)
        named = {word for word in words if re.match(r"--[a-z]", word)}
        if program == "senet-zoo" and "|" in words:
            assert sorted({*words} - {"|"}) == sorted(COMMAND_MODULES)
        elif program == "senet-zoo":
            assert words[0] in options, code
            assert named <= options[words[0]], code
        elif program == "python":
            source = (ROOT / words[0]).read_text()
            assert all(f'"{option}"' in source for option in named), code
        elif code.startswith("--"):
            option = code.split()[0]
            known = set().union(*options.values(), SPELLINGS, SYNONYMS)  # other libraries' words are answered, too
            assert option in known or any(f'"{option}"' in file.read_text() for file in BENCHMARKS), code


def test_every_model_and_variable_named_exists() -> None:
    from senet_zoo.networks import registry

    names = re.findall(r"`((?:se_|sen|net)[a-z0-9_]*\d[a-z0-9_]*)`", TEXT)
    assert names
    for name in names:
        registry.find(name.partition(".")[0])
    code = "".join(file.read_text() for file in (ROOT / "senet_zoo").rglob("*.py"))
    for variable in re.findall(r"`(SENET_ZOO_[A-Z_]+|HF_[A-Z_]+)", TEXT):
        assert variable in code or variable.startswith("HF_"), variable


@pytest.mark.parametrize("page", PAGES, ids=TEXTS)
def test_every_local_link_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)|src=\"(?!https?:)([^\"]+)\"", text):
        assert (page.parent / (target[0] or target[1])).exists(), target


def test_each_page_stands_once_in_the_order_of_the_site() -> None:
    order = re.findall(r"- (?:[^:\n]+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(order) == sorted(set(order))
    assert {page.removeprefix("docs/") for page in TEXTS if page.startswith("docs/")} <= set(order)
