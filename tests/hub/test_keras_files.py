"""qubvel's Keras networks from ``.h5``: layers found by the order of their making; damaged files are refused."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import senet_zoo
from senet_zoo.errors import SenetZooError, WeightsCorrupted, WeightsError, WeightsMismatch, WeightsUnsafe
from senet_zoo.formats.dialects import CADENE, translate_back
from senet_zoo.formats.keras import read_keras
from senet_zoo.networks.network import ConvNet
from senet_zoo.weights.convert import convert, load_checkpoint

h5py = pytest.importorskip("h5py")
NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def made(model: ConvNet) -> list[tuple[str, dict[str, Tensor]]]:
    """The layers of that code with their values, in the order in which it makes them: the layer list."""
    tensors = translate_back(model.state_dict(), CADENE)
    layers: list[tuple[str, dict[str, Tensor]]] = []

    def conv(name: str, groups: int = 1, bias: bool = False) -> None:
        for part in tensors[f"{name}.weight"].chunk(groups):
            values = {"kernel": part.permute(2, 3, 1, 0)}
            layers.append(("conv2d", values | ({"bias": tensors[f"{name}.bias"]} if bias else {})))

    def norm(name: str) -> None:
        layers.append(("batch_normalization", {leaf: tensors[f"{name}.{ours}"] for leaf, ours in NORM.items()}))

    n = 1
    while f"layer0.conv{n}.weight" in tensors:
        conv(f"layer0.conv{n}")
        norm(f"layer0.bn{n}")
        n += 1
    for stage in range(1, 5):
        unit = 0
        while f"layer{stage}.{unit}.conv1.weight" in tensors:
            name = f"layer{stage}.{unit}"
            wide = tensors[f"{name}.conv2.weight"]
            for n, groups in ((1, 1), (2, tensors[f"{name}.conv1.weight"].shape[0] // wide.shape[1]), (3, 1)):
                conv(f"{name}.conv{n}", groups)
                norm(f"{name}.bn{n}")
            if f"{name}.downsample.0.weight" in tensors:
                conv(f"{name}.downsample.0")
                norm(f"{name}.downsample.1")
            conv(f"{name}.se_module.fc1", bias=True)
            conv(f"{name}.se_module.fc2", bias=True)
            unit += 1
    return [*layers, ("dense", {"kernel": tensors["last_linear.weight"].t(), "bias": tensors["last_linear.bias"]})]


def write_h5(path: Path, model: ConvNet, first: int = 0, *, whole: bool = False) -> None:
    """As ``save_weights`` of Keras 2 in a session that made ``first`` layers of each kind before."""
    counts: dict[str, int] = {}
    with h5py.File(path, "w") as file:
        root = file.create_group("model_weights") if whole else file
        root.attrs["backend"] = "tensorflow"
        for kind, values in made(model):
            number = counts[kind] = counts.get(kind, first - 1) + 1
            layer = f"{kind}_{number}" if number else kind
            for leaf, value in values.items():
                root.create_dataset(f"{layer}/{layer}/{leaf}:0", data=value.numpy())
        root.create_group("activation_1")  # a layer without values


@pytest.mark.parametrize(("name", "first", "whole"), [("se_resnet50a", 0, False), ("se_resnext50b_32x4d", 1234, True)])
def test_a_network_of_qubvel_comes_back(name: str, first: int, whole: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = senet_zoo.create_model(name, num_classes=7)
    write_h5(tmp_path / "net.h5", model, first, whole=whole)
    done = convert(tmp_path / "net.h5", tmp_path / "out.safetensors")
    assert (done.model, done.num_classes) == (name, 7)
    assert done.preprocessing == senet_zoo.Preprocessing(size=224, resize=256)
    again = load_checkpoint(name, tmp_path / "out.safetensors").state_dict()
    assert all(torch.equal(value, again[key]) for key, value in model.state_dict().items())
    if name == "se_resnet50a":  # the stride is in the first 1x1, so that it is not the B form
        with pytest.raises(WeightsMismatch, match="Those are se_resnet50a"):
            load_checkpoint("se_resnet50b", tmp_path / "net.h5")


def small(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_dataset("conv2d/conv2d/kernel:0", data=torch.zeros(7, 7, 3, 4).numpy())
        for leaf in NORM:
            file.create_dataset(f"batch_normalization/batch_normalization/{leaf}:0", data=torch.zeros(4).numpy())


def test_other_files_of_hdf5_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"

    def refused(error: type[WeightsError], match: str) -> None:
        with pytest.raises(error, match=match):
            read_keras(path)

    small(path)
    refused(WeightsMismatch, "follow in another order")
    with h5py.File(path, "a") as file:
        file.create_dataset("vgg/kernel:0", data=torch.zeros(3).numpy())
    refused(WeightsMismatch, "it has a layer 'vgg/kernel:0'")
    for link in (h5py.SoftLink("/conv2d"), h5py.ExternalLink("/etc/passwd", "/")):
        small(path)
        with h5py.File(path, "a") as file:
            file["conv2d_1"] = link
        refused(WeightsUnsafe, "links 'conv2d_1' to elsewhere")
    small(path)
    with h5py.File(path, "a") as file:  # a bomb: four gigabytes of zeros in a few bytes
        file.create_dataset("conv2d_1/kernel:0", shape=(2**15, 2**15), dtype="f4", compression="gzip")
    refused(WeightsUnsafe, "is compressed")
    small(path)
    with h5py.File(path, "a") as file:
        file.create_dataset("conv2d_1/kernel:0", shape=(2**15, 2**15), dtype="f4")
    refused(WeightsUnsafe, "more bytes of values than it has")
    small(path)
    with h5py.File(path, "a") as file:
        file["conv2d/again"] = file["/"]  # a circle
    refused(WeightsUnsafe, "more groups than a network has layers")
    small(path)
    with h5py.File(path, "a") as file:
        file.create_dataset("conv2d_1/kernel:0", data="text")
    refused(WeightsCorrupted, "floating-point")
    with h5py.File(path, "w"):
        pass
    refused(WeightsCorrupted, "holds no weights")
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
    refused(WeightsCorrupted, "must be a whole HDF5 file")
    path.unlink()
    refused(WeightsError, "there is no")


@given(at=st.integers(0, 100_000), byte=st.integers(0, 255), cut=st.booleans())
@settings(max_examples=150, deadline=None)
def test_damaged_files_are_typed_errors(
    at: int, byte: int, cut: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.h5"
    small(path)
    content = bytearray(path.read_bytes())
    content[at % len(content)] = byte
    path.write_bytes(content[: at % len(content)] if cut else content)
    with pytest.raises(SenetZooError):  # whole or not, it is no network
        read_keras(path)
