"""PaddleClas's networks, from the .pdparams to the logits, against their published layers and plain arithmetic."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hub.paddle_nets import NETS, OTHERS, PaddleNet
from networks import tiny

from senet_zoo.cli import main
from senet_zoo.errors import SenetZooError, WeightsCorrupted, WeightsError, WeightsMismatch, WeightsUnsafe
from senet_zoo.formats.dialects import match, recognise, translate
from senet_zoo.formats.dialects.paddle import PADDLE
from senet_zoo.formats.paddle import read_paddle
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS
from senet_zoo.weights.convert import convert, load_checkpoint


def as_read(net: PaddleNet) -> dict[str, tuple[int, ...]]:
    """Matrices are (out, in) once they are read."""
    return {name: shape[::-1] if len(shape) == 2 else shape for name, shape in net.shapes().items()}


def native_shapes(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in ConvNet(MODELS[name].spec()).state_dict().items()}


def saved(folder: Path, content: object) -> Path:
    file = folder / "net.pdparams"
    file.write_bytes(pickle.dumps(content, 4))
    return file


@pytest.mark.parametrize(("net", "name"), NETS.values(), ids=list(NETS))
def test_the_published_parameters_are_exactly_our_network(net: PaddleNet, name: str) -> None:
    theirs = as_read(net)
    match(theirs, native_shapes(name), PADDLE)
    assert translate(theirs, PADDLE).keys() == native_shapes(name).keys()
    assert recognise(theirs) is PADDLE
    assert "paddle" in MODELS[name].published_as


@pytest.mark.parametrize(("net", "nearest"), OTHERS.values(), ids=list(OTHERS))
def test_other_functions_are_refused(net: PaddleNet, nearest: str) -> None:
    with pytest.raises(WeightsMismatch, match=r"of another shape|unexpected"):
        match(as_read(net), native_shapes(nearest), PADDLE)


@pytest.mark.parametrize(("net", "name"), NETS.values(), ids=list(NETS))
@torch.no_grad()
def test_a_tiny_network_computes_what_paddle_computes(net: PaddleNet, name: str, tmp_path: Path) -> None:
    net = net.tiny()
    arrays = net.random()
    ours = ConvNet(tiny(MODELS[name].spec())).eval()
    ours.load_state_dict(translate(read_paddle(saved(tmp_path, arrays)), PADDLE))
    x = torch.randn(2, 3, 75, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = net.forward(arrays, x)
    assert expected.std() > 0.1
    assert (ours.double()(x) - expected).abs().max() < 1e-5 * expected.abs().max()


@torch.no_grad()
def test_a_file_is_converted_and_loaded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net, name = NETS["SE_ResNet50_vd"]
    arrays = net.random()
    file, out = saved(tmp_path, arrays), tmp_path / "out.safetensors"
    assert main(["convert", str(file), "-o", str(out)]) == 0
    assert f"{file}: se_resnet50d, 1000 classes, names of paddle" in capsys.readouterr().out
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = net.forward(arrays, x)
    for path in (file, out):
        assert (load_checkpoint(name, path).double()(x) - expected).abs().max() < 1e-5 * expected.abs().max()


class Payload:
    """A value whose reading would leave a folder behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.mark),)


def test_a_file_that_wants_to_run_code_runs_nothing(tmp_path: Path) -> None:
    file = saved(tmp_path, {**NETS["SE_ResNet50_vd"][0].tiny().random(), "x": Payload(tmp_path / "ran")})
    assert main(["convert", str(file), "-o", str(tmp_path / "out.safetensors")]) == 1
    with pytest.raises(WeightsUnsafe, match="nothing of it was run"):
        load_checkpoint("se_resnet50d", file)
    assert [path.name for path in tmp_path.iterdir()] == ["net.pdparams"]
    pickle.loads(file.read_bytes())  # the payload is a real one
    assert (tmp_path / "ran").exists()


WHOLE = pickle.dumps(NETS["SE_ResNet50_vd"][0].tiny().random(), 4)
ONE_LAYER = pickle.dumps({"bb_0_0.short._conv.weight": np.ones((64, 64, 1, 1), "float32")}, 4)
BASIC = {f"bb_0_0.conv{place}._conv.weight": np.ones((64, 64, 3, 3), "float32") for place in (0, 1)}
NUMBERS = {name: np.ones((), "float32") for name in ("conv1_1._conv.weight", "out.weight", "out.bias")}
BAD = {
    "half a file": (WHOLE[: len(WHOLE) // 2], WeightsCorrupted, "whole pickle"),
    "half a network": (ONE_LAYER, WeightsMismatch, "no network of the zoo has exactly these names"),
    "units of two convolutions": (
        pickle.dumps(BASIC, 4),
        WeightsMismatch,
        "ResNet18 and ResNet34 project the shortcut",
    ),
    "numbers for matrices": (pickle.dumps(NUMBERS, 4), WeightsMismatch, "no network of the zoo"),
    "an optimiser's state": (pickle.dumps({"LR_Scheduler": {"last_lr": 0.1}}, 4), WeightsCorrupted, "is a dict"),
    "a page": (b"<!DOCTYPE html>", WeightsCorrupted, "protocol 2 to 5"),
}


@pytest.mark.parametrize(("content", "error", "message"), BAD.values(), ids=list(BAD))
def test_a_bad_file_is_refused_and_nothing_is_written(
    content: bytes, error: type[SenetZooError], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "net.pdparams"
    file.write_bytes(content)
    with pytest.raises(error, match=message):
        convert(file, tmp_path / "out.safetensors")
    with pytest.raises(WeightsError):
        load_checkpoint("se_resnet50d", file)
    assert [path.name for path in tmp_path.iterdir()] == ["net.pdparams"]
