"""What people install: the wheel and the source archive hold what they need, and predict from anywhere."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

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
        "senet_zoo/checkpoints/se_resnet20.cifar10.safetensors",
        "senet_zoo/checkpoints/resnet20.cifar10.safetensors",
        "senet_zoo/checkpoints/se_mobilenet.imagenette.safetensors",
        "senet_zoo/checkpoints/se_shufflenet.imagenette.safetensors",
    }
    assert all(name.startswith(("senet_zoo/", "senet_zoo-")) for name in names)
    assert wheel.stat().st_size < 16 * 2**20


def test_the_source_archive_can_build_and_test(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    tracked = {"weights_manifest.json", "weights_manifest.schema.json", "hubconf.py", "samples/cat.png", "scripts/test"}
    assert tracked <= names
    assert "senet_zoo/checkpoints/se_resnet20.cifar10.safetensors" in names
    assert "senet_zoo/weights_manifest.json" not in names  # one copy
