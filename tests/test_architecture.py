"""ARCHITECTURE.md names what is there: rooms, files, and functions in the files that it names."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "ARCHITECTURE.md").read_text()
PACKAGE = ROOT / "senet_zoo"


def defined(file: Path) -> set[str]:
    nodes = ast.walk(ast.parse(file.read_text()))
    return {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_every_room_has_a_row() -> None:
    rooms = {folder.name for folder in PACKAGE.iterdir() if folder.is_dir() and folder.name != "__pycache__"}
    assert rooms == set(re.findall(r"^\| `(\w+)/` \|", TEXT, re.MULTILINE))


def test_every_room_names_a_file_to_begin_with() -> None:
    for room, first in re.findall(r"^\| `(\w+)/` \|.*\| `(\w+\.py)` \|$", TEXT, re.MULTILINE):
        assert (PACKAGE / room / first).is_file(), (room, first)


@pytest.mark.parametrize(("path", "name"), re.findall(r"`([\w/]+/\w+\.py)`\s+`(\w+)`", TEXT))
def test_functions_stand_where_the_walks_say(path: str, name: str) -> None:
    assert name in defined(PACKAGE / path)


@pytest.mark.parametrize("path", re.findall(r"`((?:senet_zoo/)?[\w/]+\.py)`", TEXT))
def test_files_are_there(path: str) -> None:
    beginnings = re.findall(r"\| `(\w+\.py)` \|$", TEXT, re.MULTILINE)
    assert (
        path in beginnings or (PACKAGE / path).is_file() or (ROOT / path).is_file() or (ROOT / "tools" / path).is_file()
    )
