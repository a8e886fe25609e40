"""An exported network answers like the original, from pictures to probabilities, without torch."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

import senet_zoo
from senet_zoo import Interpolation, Preprocessing
from senet_zoo.cli import main
from senet_zoo.data.pictures import read_picture
from senet_zoo.inference.export import ExportReport
from senet_zoo.prediction.exported_model import pixels
from senet_zoo.prediction.runtimes import Runtime

SAMPLES = Path(__file__).parents[2] / "samples"
PHOTOGRAPH = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"  # 512 x 600
WITHOUT_TORCH = """
import sys

class Forbidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision"):
            raise ModuleNotFoundError(f"there is no {name} here", name=name)

sys.meta_path.insert(0, Forbidden())
from senet_zoo.cli import main
status = main(sys.argv[1:])
assert not {"torch", "torchvision"} & set(sys.modules)
sys.exit(status)
"""


@pytest.fixture(scope="module")
def onnx_file(exported: Callable[[str], ExportReport]) -> Path:
    return exported(".onnx").path


@pytest.mark.parametrize("cut", [(0, 0, 512, 600), (10, 20, 511, 221), (0, 0, 300, 301), (100, 100, 140, 400)])
@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(224, 256),
        Preprocessing(225, 226, Interpolation.BICUBIC, (0.5, 0.4, 0.3), (0.2, 0.3, 1.0)),
        Preprocessing(32, 32, Interpolation.BICUBIC),
        Preprocessing(301, 337),
    ],
    ids=str,
)
def test_a_photograph_becomes_torchvisions_tensor_to_the_last_bit(
    cut: tuple[int, int, int, int], preprocessing: Preprocessing
) -> None:
    picture = read_picture(PHOTOGRAPH).crop(cut)
    expected = preprocessing.transforms()(picture).numpy()
    found = pixels(picture, preprocessing)
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)


def test_a_picture_of_the_right_size_is_not_resampled() -> None:
    values = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    same = Preprocessing(32, 32, Interpolation.BICUBIC, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    assert np.array_equal(pixels(Image.fromarray(values), same), values.transpose(2, 0, 1) * np.float32(1 / 255))


@pytest.mark.parametrize(
    "words",
    [
        ["x.onnx"],
        pytest.param(["x.onnx", "--runtime", "openvino"], marks=pytest.mark.slow),
        ["x.xml"],
    ],
    ids=" ".join,
)
def test_the_command_answers_as_in_torch_where_there_is_none(
    words: list[str], exported: Callable[[str], ExportReport], capsys: pytest.CaptureFixture[str]
) -> None:
    file = exported(Path(words[0]).suffix).path
    command = ["predict", "--exported", str(file), *words[1:], "--json", "--batch", "3", str(SAMPLES)]
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH, *command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["weights"] == f"se_resnet20 from {file}"
    assert main(["predict", "--device", "cpu", "--json", str(SAMPLES)]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert found["num_classes"] == expected["num_classes"]
    for ours, theirs in zip(found["predictions"], expected["predictions"], strict=True):
        assert ours["path"] == theirs["path"]
        for one, other in zip(ours["classes"], theirs["classes"], strict=True):
            assert one["label"] == other["label"]
            assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)


def test_asking_for_an_exported_network_imports_no_torch() -> None:
    code = "import sys, senet_zoo, senet_zoo.cli; senet_zoo.load_exported; print({'torch', 'PIL'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_the_command_exports_and_prints_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.pt2"
    assert main(["export", "--model", "se_resnet20", "--output", str(path), "--size", "40"]) == 0
    out = capsys.readouterr().out
    assert "se_resnet20, exported" in out
    assert "at most 1e-04" in out
    assert [each.name for each in tmp_path.iterdir()] == ["a.pt2"]


def test_openvino_reports_nobody_to_its_makers(exported: Callable[[str], ExportReport], tmp_path: Path) -> None:
    code = "import sys, senet_zoo; senet_zoo.load_exported(sys.argv[1]); print('openvino_telemetry' in sys.modules)"
    words = [sys.executable, "-c", code, str(exported(".xml").path)]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "HOME": str(tmp_path)})
    assert (done.stdout, done.stderr) == ("False\n", "")
    assert not any(tmp_path.iterdir())  # where it keeps the number that it gives the user


def test_arrays_go_in_and_logits_come_out(onnx_file: Path) -> None:
    network = senet_zoo.load_exported(onnx_file)
    assert network(np.zeros((5, 3, 40, 33), np.float32)).shape == (5, 10)


def test_pictures_that_cannot_be_read_do_not_stop_the_others(onnx_file: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    network = senet_zoo.load_exported(onnx_file, runtime=Runtime.ONNX)
    bad, good = network.predict([tmp_path, SAMPLES / "dog.png"], top=20)
    assert "a.png" in str(bad.error)
    assert good.classes[0][0] == "dog"
    assert len(good.classes) == 10
    assert sum(p for _, p in good.classes) == pytest.approx(1.0, abs=1e-5)
