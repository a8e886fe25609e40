"""What a user's type checker sees, and what is reachable after ``import senet_zoo`` alone."""

import ast
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import senet_zoo
from senet_zoo.weights.create import ModelOptions

PACKAGE = Path(senet_zoo.__file__).parent
PROGRAM = """
import senet_zoo

model = senet_zoo.create_model("se_resnet20")
reveal_type(model)
reveal_type(senet_zoo.create_model("se_resnet20", features_only=True, out_indices=(1,), in_chans=1))
assert model.weights is not None
reveal_type(model.weights.transforms())
reveal_type(senet_zoo.get_weights("se_resnet20"))
reveal_type(senet_zoo.insert_se)
reveal_type(senet_zoo.training.TrainConfig("flowers/", "se_resnet50", "run7", pretrained=True))
reveal_type(senet_zoo.detection.faster_rcnn)
try:
    senet_zoo.load_checkpoint("se_resnet50", "a.pth")
except senet_zoo.WeightsUnsafe as error:
    reveal_type(error)
senet_zoo.create_model("se_resnet20", pretraned=True)
"""


def in_a_process_of_its_own(*command: str | Path, cwd: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}  # this package, not what else is installed
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, cwd=cwd, env=environment
    ).stdout


def test_a_users_strict_mypy_sees_the_types(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    said = in_a_process_of_its_own("-m", "mypy", "--strict", "program.py", cwd=tmp_path)
    model, maps, transform, weights, insert_se, config, faster_rcnn, error = re.findall(
        r'Revealed type is "(.*)"', said
    )
    assert model == "senet_zoo.networks.network.ConvNet"
    assert maps == "senet_zoo.networks.feature_maps.FeatureListNet"
    assert transform.endswith("-> torch._tensor.Tensor")
    assert weights.endswith(".Weights")
    assert insert_se.startswith("def ")
    assert config.endswith(".TrainConfig")
    assert faster_rcnn.startswith("def ")
    assert error == "senet_zoo.errors.WeightsUnsafe"
    errors = [line for line in said.splitlines() if ": error:" in line]
    misspelt = len(PROGRAM.strip().splitlines()) + 1
    assert all(line.startswith(f"program.py:{misspelt}:") for line in errors), said  # that option, and nothing else
    assert "pretraned" in errors[0]


def test_every_option_of_create_model_is_in_its_overloads() -> None:
    options = inspect.signature(senet_zoo.create_model).parameters.keys() - {"name", "features_only", "out_indices"}
    assert get_type_hints(ModelOptions).keys() == options


def test_type_checkers_see_what_is_imported() -> None:
    """The block for type checkers names what `__getattr__` finds, at the same place."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    said = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name  # an import that is meant to be seen
    }
    rooms = dict.fromkeys(senet_zoo._ROOMS, "senet_zoo")
    assert said == senet_zoo._HOME_OF | rooms


def test_rooms_and_errors_are_reachable_and_cost_nothing_before(tmp_path: Path) -> None:
    code = """
import sys
import senet_zoo
assert issubclass(senet_zoo.WeightsUnsafe, senet_zoo.SenetZooError)
print(*(name for name in sys.modules if name.partition(".")[0] in ("senet_zoo", "torch", "numpy")))
senet_zoo.training.fit, senet_zoo.detection.faster_rcnn, senet_zoo.segmentation.fcn, senet_zoo.errors.DataError
print("all there")
"""
    loaded, there = in_a_process_of_its_own("-c", code, cwd=tmp_path).splitlines()
    assert set(loaded.split()) == {"senet_zoo", "senet_zoo.errors", "senet_zoo.version"}
    assert there == "all there"


def test_every_error_is_in_the_public_face() -> None:
    def below(error: type[BaseException]) -> set[str]:
        return {error.__name__}.union(*map(below, error.__subclasses__()))

    tree = below(senet_zoo.SenetZooError)
    public = {name for name in tree if getattr(senet_zoo.errors, name, None)}
    assert public
    assert public <= set(senet_zoo.__all__)
