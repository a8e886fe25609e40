"""Face networks of others, by the layer lists of their public code, computed here by hand: InsightFace and VGGFace2."""

import logging
from pathlib import Path

import pytest
import torch
from networks import randomise
from torch import Tensor
from torch.nn import functional as F

import senet_zoo
from senet_zoo import Preprocessing
from senet_zoo.errors import WeightsMismatch
from senet_zoo.formats.dialects import DIALECTS, recognise
from senet_zoo.networks.network import ConvNet, on_meta
from senet_zoo.networks.registry import MODELS
from senet_zoo.weights.convert import convert, load_checkpoint

BN = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
DEPTHS = {"50": (3, 4, 14, 3), "100": (3, 13, 30, 3), "152": (3, 8, 36, 3)}
WIDTHS = (64, 128, 256, 512)


def insightface(depths: tuple[int, ...], gated: bool) -> list[str]:
    """Backbone(num_layers, drop_ratio, mode) in its order of definition."""

    def norm(name: str) -> list[str]:
        return [f"{name}.{leaf}" for leaf in BN]

    names = ["input_layer.0.weight", *norm("input_layer.1"), "input_layer.2.weight", *norm("output_layer.0")]
    names += ["output_layer.3.weight", "output_layer.3.bias", *norm("output_layer.4")]
    starts = [sum(depths[:stage]) for stage in range(4)]
    for unit in range(sum(depths)):
        body = f"body.{unit}"
        if unit in starts[1:]:
            names += [f"{body}.shortcut_layer.0.weight", *norm(f"{body}.shortcut_layer.1")]
        names += [*norm(f"{body}.res_layer.0"), *(f"{body}.res_layer.{n}.weight" for n in (1, 2, 3))]
        names += norm(f"{body}.res_layer.4")
        names += [f"{body}.res_layer.5.fc{n}.weight" for n in (1, 2)] if gated else []
    return names


def answer(tensors: dict[str, Tensor], x: Tensor, depths: tuple[int, ...]) -> Tensor:
    """What that code computes, before the division by the length."""

    def norm(name: str, x: Tensor) -> Tensor:
        weight, bias, mean, var = (tensors[f"{name}.{leaf}"] for leaf in BN[:4])
        return F.batch_norm(x, mean, var, weight, bias)

    x = norm("input_layer.1", F.conv2d(x, tensors["input_layer.0.weight"], padding=1))
    x = F.prelu(x, tensors["input_layer.2.weight"])
    starts = [sum(depths[:stage]) for stage in range(4)]
    for unit in range(sum(depths)):
        layer, stride = f"body.{unit}.res_layer", 2 if unit in starts else 1
        y = F.conv2d(norm(f"{layer}.0", x), tensors[f"{layer}.1.weight"], padding=1)
        y = F.conv2d(F.prelu(y, tensors[f"{layer}.2.weight"]), tensors[f"{layer}.3.weight"], stride=stride, padding=1)
        y = norm(f"{layer}.4", y)
        if f"{layer}.5.fc1.weight" in tensors:
            z = F.conv2d(y.mean((2, 3), keepdim=True), tensors[f"{layer}.5.fc1.weight"]).relu()
            y = y * F.conv2d(z, tensors[f"{layer}.5.fc2.weight"]).sigmoid()
        shortcut = f"body.{unit}.shortcut_layer"
        if f"{shortcut}.0.weight" in tensors:
            x = norm(f"{shortcut}.1", F.conv2d(x, tensors[f"{shortcut}.0.weight"], stride=stride))
        else:
            x = x[:, :, ::stride, ::stride]
        x = x + y
    x = norm("output_layer.0", x).flatten(1)
    return norm("output_layer.4", F.linear(x, tensors["output_layer.3.weight"], tensors["output_layer.3.bias"]))


@pytest.mark.parametrize("name", ["ir_se50", "ir50", "ir_se100", "ir100", "ir_se152", "ir152"])
def test_the_layer_list_of_insightface_is_the_networks_both_ways(name: str) -> None:
    theirs = insightface(DEPTHS[name.removeprefix("ir_se").removeprefix("ir")], "se" in name)
    dialect = DIALECTS["insightface"]
    assert recognise(theirs) is dialect
    native = dialect.names(theirs)
    ours = on_meta(MODELS[name].spec()).state_dict()
    assert sorted(native.values()) == sorted(ours)
    assert dialect.foreign is not None
    assert dialect.foreign(ours, ()) == {ours: theirs for theirs, ours in native.items()}


@pytest.fixture(scope="module")
def face() -> ConvNet:
    torch.manual_seed(0)
    model = senet_zoo.create_model("ir_se50").eval()
    randomise(model)
    return model


def test_ir_se50_converts_and_answers_as_its_own_code_does(
    face: ConvNet, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written = convert_there(face, tmp_path)
    torch.save(written, tmp_path / "model_ir_se50.pth")
    with caplog.at_level(logging.WARNING, "senet_zoo"):
        done = convert(tmp_path / "model_ir_se50.pth", tmp_path / "out.safetensors")
    assert "BGR" in caplog.text
    assert (done.model, done.num_classes, done.read_as) == ("ir_se50", 0, "insightface")
    assert done.preprocessing == Preprocessing(size=112, resize=112, mean=(0.5,) * 3, std=(0.5,) * 3)
    again = load_checkpoint("ir_se50", tmp_path / "out.safetensors")
    assert again.weights.preprocessing.size == 112
    assert senet_zoo.verify(tmp_path / "out.safetensors").ok
    x = torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours, theirs = again(x), answer(written, x, DEPTHS["50"])
    assert ours.shape == (2, 512)
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()


def convert_there(face: ConvNet, folder: Path) -> dict[str, Tensor]:
    """The network under InsightFace's names, as ``convert --to insightface`` writes it."""
    from safetensors.torch import load_file, save_file

    save_file({name: each.contiguous() for name, each in face.state_dict().items()}, folder / "ours.safetensors")
    done = convert(folder / "ours.safetensors", folder / "theirs.safetensors", model="ir_se50", to="insightface")
    assert done.foreign_model == "ir_se 50"
    written = load_file(folder / "theirs.safetensors")
    assert set(written) == set(insightface(DEPTHS["50"], gated=True))
    return written


def test_a_unit_with_a_batch_norm_more_is_another_network() -> None:
    theirs = [name.replace("res_layer.5.fc", "res_layer.6.fc") for name in insightface(DEPTHS["50"], gated=True)]
    with pytest.raises(WeightsMismatch, match=r"insightface does not know body\.0\.res_layer\.6"):
        recognise(theirs)


def vggface2(depths: tuple[int, ...], gated: bool) -> list[str]:
    """The layers of senet50_ft_dag and resnet50_ft_dag."""

    def pair(name: str) -> list[str]:
        return [f"{name}.weight", *(f"{name}_bn.{leaf}" for leaf in BN)]

    names = pair("conv1_7x7_s2")
    for stage, depth in enumerate(depths, 2):
        for unit in range(1, depth + 1):
            place = f"conv{stage}_{unit}"
            names += pair(f"{place}_1x1_reduce") + pair(f"{place}_3x3") + pair(f"{place}_1x1_increase")
            names += pair(f"{place}_1x1_proj") if unit == 1 else []
            gate = [f"{place}_1x1_{layer}.{leaf}" for layer in ("down", "up") for leaf in ("weight", "bias")]
            names += gate if gated else []
    return [*names, "classifier.weight", "classifier.bias"]


@pytest.mark.parametrize("name", ["se_resnet50", "resnet50"])
def test_vggface2_s_layers_are_the_authors_networks(name: str, tmp_path: Path) -> None:
    theirs = vggface2((3, 4, 6, 3), gated=name != "resnet50")
    dialect = DIALECTS["vggface2"]
    assert recognise(theirs) is dialect
    assert "vggface2" in MODELS[name].published_as
    back = {ours: theirs for theirs, ours in dialect.names(theirs).items()}
    torch.manual_seed(0)
    model = senet_zoo.create_model(name, num_classes=8631)
    assert sorted(back) == sorted(model.state_dict())
    # its gates and its classifier are 1x1 convolutions
    squeezed = [key for key in back if ".se." in key or key.startswith("classifier")]
    tensors = {
        back[key]: value[:, :, None, None] if key in squeezed and value.ndim == 2 else value
        for key, value in model.state_dict().items()
    }
    torch.save(tensors, tmp_path / "faces.pth")
    done = convert(tmp_path / "faces.pth", tmp_path / "out.safetensors")
    assert (done.model, done.num_classes) == (name, 8631)
    assert done.preprocessing is not None
    assert [round(255 * value, 4) for value in done.preprocessing.mean] == [131.0912, 103.8827, 91.4953]
    again = load_checkpoint(name, tmp_path / "out.safetensors")
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in again.state_dict().items())
