"""The rules of the house: who imports whom, what is public, what never stands in the code."""

import ast
import subprocess
import sys
import types
from pathlib import Path

import pytest

import senet_zoo

PACKAGE = Path(senet_zoo.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {file: ast.parse(file.read_text()) for file in FILES}
MOST_LINES = 450
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
# room: the rooms it may import; `errors` and `version` are open to all, and import none
ARROWS = {
    "errors": set(),
    "version": set(),
    "support": set(),
    "networks": {"support"},
    "data": {"support"},
    "formats": {"support", "data"},
    "weights": {"support", "data", "formats", "networks"},
    "prediction": {"support", "data", "weights", "networks", "detection", "segmentation"},
    "evaluation": {"support", "data", "formats", "weights", "networks"},
    "training": {"support", "data", "formats", "weights", "networks", "evaluation"},
    "detection": {"support", "data", "formats", "weights", "networks", "training"},
    "segmentation": {"support", "data", "weights", "networks", "training"},
    "tasks": {"support", "data", "weights", "networks", "detection", "segmentation"},
    "integrations": {"support", "data", "weights", "networks", "analysis"},
    "demo": {"data", "networks", "prediction"},
    "inference": {"support", "data", "weights", "networks", "evaluation", "prediction", "detection"} | {"segmentation"},
    "analysis": {"support", "data", "formats", "weights", "networks", "evaluation"},
    "cli": {
        "__init__",
        "analysis",
        "data",
        "demo",
        "detection",
        "evaluation",
        "inference",
        "networks",
        "prediction",
        "support",
    }
    | {"training", "weights", "formats", "tasks", "segmentation"},
    "__main__": {"cli"},
}
ARROWS["__init__"] = ARROWS["cli"] | {"integrations"}  # the public face


def room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(file: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(TREES[file]):
        if isinstance(node, ast.ImportFrom):
            parts = (node.module or "").split(".")
            if node.level:
                rooms.add("relative import")
            elif parts == ["senet_zoo"]:
                rooms |= {alias.name if (alias.name in ARROWS) else "__init__" for alias in node.names}
            elif parts[0] == "senet_zoo":
                rooms.add(parts[1])
        elif isinstance(node, ast.Import):
            rooms |= {"__init__" for alias in node.names if alias.name.split(".")[0] == "senet_zoo"}
    return rooms


def test_rooms_import_only_what_lies_below_them() -> None:
    wrong = []
    for file in FILES:
        forbidden = imported_rooms(file) - ARROWS[room(file)] - {room(file), "errors", "version"}
        if forbidden:
            wrong.append(f"{file.relative_to(PACKAGE)} imports {', '.join(sorted(forbidden))}")
    assert not wrong, "\n".join(wrong)


def test_no_file_is_longer_than_one_idea() -> None:
    lines = {str(file.relative_to(PACKAGE)): len(file.read_text().splitlines()) for file in FILES}
    long = [f"{file} has {count}" for file, count in lines.items() if count > MOST_LINES]
    assert not long, f"a file has at most {MOST_LINES} lines: {', '.join(long)}"


def test_a_class_name_means_one_thing() -> None:
    homes: dict[str, list[str]] = {}
    for file in FILES:
        for node in TREES[file].body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(str(file.relative_to(PACKAGE)))
    twice = [f"{name} stands in {' and '.join(files)}" for name, files in homes.items() if len(files) > 1]
    assert not twice, "\n".join(twice)


def test_the_public_face_is_exactly_what_can_be_imported() -> None:
    public = {
        name
        for name in dir(senet_zoo)
        if not name.startswith("_") and not isinstance(getattr(senet_zoo, name), types.ModuleType)
    }
    assert set(senet_zoo.__all__) == public - {"TYPE_CHECKING", "import_module"}
    assert senet_zoo.__all__ == sorted(senet_zoo.__all__)
    with pytest.raises(AttributeError, match="no attribute 'no_such_name'"):
        senet_zoo.no_such_name  # noqa: B018


def test_everything_public_is_explained() -> None:
    silent = [name for name in senet_zoo.__all__ if not (getattr(senet_zoo, name).__doc__ or "").strip()]
    assert not silent, ", ".join(silent)


def test_importing_costs_little_more_than_torch() -> None:
    code = "import torch, sys; before = set(sys.modules); import senet_zoo; print(*(set(sys.modules) - before))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    heavy = {"torchvision", "huggingface_hub", "httpx", "httpx2", "PIL", "requests", "torch._dynamo", "numpy", "timm"}
    assert not heavy & set(output.split())


def test_no_argument_is_swallowed_and_no_pickle_is_trusted() -> None:
    wrong = []
    for file in FILES:
        for node in ast.walk(TREES[file]):
            where = f"{file.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, FUNCTIONS) and node.args.kwarg is not None and not _is_a_type_only(node):
                wrong.append(f"{where} takes **{node.args.kwarg.arg}")
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("torch.load"):
                options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                if options.get("weights_only") != "True":
                    wrong.append(f"{where} loads without weights_only=True")
    assert not wrong, "\n".join(wrong)


def _is_a_type_only(node: FUNCTIONS) -> bool:
    """Whether a function is an overload, which is never run, whose options a `TypedDict` names one by one."""
    if isinstance(node, ast.Lambda) or node.args.kwarg.annotation is None:
        return False
    overload = [ast.unparse(each) for each in node.decorator_list] == ["overload"]
    return overload and ast.unparse(node.args.kwarg.annotation).startswith("Unpack[")


def test_every_test_file_has_tests() -> None:
    empty = []
    for file in Path(__file__).parent.rglob("test_*.py"):
        names = [node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)]
        if not any(name.startswith("test_") for name in names):
            empty.append(str(file))
    assert not empty, ", ".join(empty)
