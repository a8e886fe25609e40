"""What people install: the wheel and the source archive hold what they need, and predict from anywhere."""

import hashlib
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import senet_zoo

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)],
        check=True,
        capture_output=True,
    )
    return folder


def test_the_wheel_predicts_from_elsewhere_without_network_or_cache(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    site = tmp_path / "site"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(pip, check=True)
    empty = tmp_path / "home"
    empty.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(site),
        "HOME": str(empty),
        "HF_HUB_OFFLINE": "1",
        "NO_PROXY": "*",
    }
    done = subprocess.run(
        [sys.executable, "-m", "senet_zoo", "predict", "--json", str(ROOT / "samples")],
        check=True,
        capture_output=True,
        text=True,
        cwd=empty,
        env=environment,
    )
    assert len(json.loads(done.stdout)["predictions"]) == 10
    where = subprocess.run(
        [sys.executable, "-c", "import senet_zoo; print(senet_zoo.__file__)"],
        check=True,
        capture_output=True,
        text=True,
        cwd=empty,
        env=environment,
    )
    assert Path(where.stdout.strip()).is_relative_to(site)
    assert (site / "bin" / "senet-zoo").exists()


def test_the_wheel_holds_the_weights_and_nothing_foreign(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"senet_zoo/weights_manifest.json", "senet_zoo/py.typed"} <= set(names)
    assert {name for name in names if name.endswith(".safetensors")} == {
        "senet_zoo/checkpoints/se_cifarnet.cifar10.safetensors",
        "senet_zoo/checkpoints/se_resnet20.cifar10.safetensors",
        "senet_zoo/checkpoints/resnet20.cifar10.safetensors",
        "senet_zoo/checkpoints/se_mobilenet.imagenette.safetensors",
        "senet_zoo/checkpoints/se_shufflenet.imagenette.safetensors",
    }
    assert all(name.startswith(("senet_zoo/", "senet_zoo-")) for name in names)
    assert wheel.stat().st_size < 16 * 2**20


def test_the_same_tree_gives_the_same_bytes(tmp_path: Path) -> None:
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1764500000", "PYTHON": sys.executable}
    command = [str(ROOT / "scripts" / "build"), str(tmp_path / "dist"), "--no-isolation"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(re.findall(r"^[0-9a-f]{64}  ", done.stdout, re.MULTILINE)) == 2


@pytest.mark.parametrize(
    "command", [["scripts/build"], ["scripts/docs"], [sys.executable, "tools/browser.py", "--output"]]
)
def test_a_folder_of_somebody_else_s_is_not_replaced(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("five years")
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, str(tmp_path)], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_the_wheel_lists_what_is_inside(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    archive = zipfile.ZipFile(wheel)
    (name,) = [name for name in archive.namelist() if ".dist-info/sboms/" in name]
    bill = json.loads(archive.read(name))
    inside = {part["properties"][0]["value"]: part for part in bill["components"] if "properties" in part}
    assert {name for name in archive.namelist() if name.endswith(".safetensors")} <= set(inside)
    for path, part in inside.items():
        assert part["hashes"][0]["content"] == hashlib.sha256(archive.read(path)).hexdigest()
    assert bill["metadata"]["component"]["version"] == senet_zoo.__version__
    assert f"\nversion: {senet_zoo.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_the_source_archive_can_build_and_test(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    tracked = {"weights_manifest.json", "weights_manifest.schema.json", "hubconf.py", "samples/cat.png", "scripts/test"}
    assert tracked <= names
    assert "senet_zoo/checkpoints/se_resnet20.cifar10.safetensors" in names
    assert "senet_zoo/weights_manifest.json" not in names  # one copy
