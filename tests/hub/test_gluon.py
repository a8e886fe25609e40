"""GluonCV's ``.params``: read without MXNet, bounded, and refused with a typed error where they are damaged."""

import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import randomise
from torch import Tensor

import senet_zoo
from senet_zoo.errors import SenetZooError, WeightsCorrupted, WeightsMismatch, WeightsUnsafe
from senet_zoo.formats.dialects import DIALECTS, TIMM_RESNET, recognise
from senet_zoo.formats.mxnet import read_params
from senet_zoo.networks.network import on_meta
from senet_zoo.networks.registry import MODELS
from senet_zoo.weights.convert import convert, load_checkpoint
from senet_zoo.weights.libraries import Target

KINDS = {torch.float32: 0, torch.float64: 1, torch.float16: 2, torch.int64: 6}
LEAVES = {"weight": "gamma", "bias": "beta", "running_mean": "running_mean", "running_var": "running_var"}


def array(tensor: Tensor, version: int = 2) -> bytes:
    """An array as ``NDArray::Save`` writes it; version 0 is the one before there were numbers."""
    shape = tuple(tensor.shape)
    head = {
        0: struct.pack(f"<I{len(shape)}I", len(shape), *shape),
        1: struct.pack(f"<Ii{len(shape)}q", 0xF993FAC8, len(shape), *shape),
        2: struct.pack(f"<Iii{len(shape)}q", 0xF993FAC9, 0, len(shape), *shape),
        3: struct.pack(f"<Iii{len(shape)}q", 0xF993FACA, 0, len(shape), *shape),
    }[version]
    return head + struct.pack("<iii", 1, 0, KINDS[tensor.dtype]) + tensor.contiguous().numpy().tobytes()


def params(tensors: dict[str, Tensor], version: int = 2) -> bytes:
    names = b"".join(struct.pack("<Q", len(name)) + name.encode() for name in tensors)
    arrays = b"".join(array(tensor, version) for tensor in tensors.values())
    count = struct.pack("<Q", len(tensors))
    return struct.pack("<QQ", 0x112, 0) + count + arrays + count + names


def gluon_name(native: str, deep: bool) -> str:
    """What GluonCV's se_resnext and senet call one of our tensors; this is its layer list, read from its own file."""
    place, _, leaf = native.rpartition(".")
    first = 10 if deep else 4
    if place == "classifier":
        return f"output.{leaf}"
    if place.startswith("stem."):
        _, layer, part = place.split(".")
        at = 3 * int(layer) + (part == "bn")
        return f"features.{at}.{LEAVES[leaf] if part == 'bn' else leaf}"
    _, stage, block, kind, *rest = place.split(".")
    unit = f"features.{first + int(stage)}.{block}"
    if kind == "se":
        return f"{unit}.se.{0 if rest == ['fc1'] else 2}.{leaf}"
    part = rest[-1]
    at = 3 * (int(rest[0][-1]) - 1) if kind == "branch" else 0
    where = "body" if kind == "branch" else "downsample"
    return f"{unit}.{where}.{at + (part == 'bn')}.{LEAVES[leaf] if part == 'bn' else leaf}"


def test_a_network_of_gluoncv_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = senet_zoo.create_model("se_resnext50b_32x4d")
    tensors = {
        gluon_name(key, deep=False): value[:, :, None, None] if ".se." in key and value.ndim == 2 else value
        for key, value in model.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    (tmp_path / "net.params").write_bytes(params(tensors))
    done = convert(tmp_path / "net.params", tmp_path / "out.safetensors")
    assert (done.model, done.read_as) == ("se_resnext50b_32x4d", "gluon")
    assert done.preprocessing == senet_zoo.Preprocessing(size=224, resize=256)
    again = load_checkpoint("se_resnext50b_32x4d", tmp_path / "out.safetensors").state_dict()
    assert all(torch.equal(value, again[key]) for key, value in model.state_dict().items())


def test_the_layers_of_senet_154_are_ours() -> None:
    ours = [key for key in on_meta(MODELS["senet154"].spec()).state_dict() if not key.endswith("num_batches_tracked")]
    theirs = {gluon_name(key, deep=True): key for key in ours}
    assert recognise(theirs) is DIALECTS["gluon_senet"]
    assert DIALECTS["gluon_senet"].names(theirs) == theirs
    # Its pool has no padding, unlike that of its ResNeXts.
    assert [name for name in ("senet154", "senet154b") if "gluon_senet" in MODELS[name].published_as] == ["senet154"]


def test_resnets_that_name_their_layers(tmp_path: Path) -> None:
    for name, deep in (("resnet18b", False), ("resnet50d", True)):
        model = randomise(senet_zoo.create_model(name))
        named = Target(name, TIMM_RESNET).tensors(model, model.state_dict())
        norms = {key.rpartition(".")[0] for key in named if key.endswith("running_mean")}
        tensors = {
            f"{place}.{LEAVES[leaf]}" if (place := key.rpartition(".")[0]) in norms else key: value
            for key, value in named.items()
            if (leaf := key.rpartition(".")[2]) != "num_batches_tracked"
        }
        (tmp_path / "net.params").write_bytes(params(tensors))
        assert convert(tmp_path / "net.params", tmp_path / "out.safetensors").model == name
        if deep:  # the C form has no pool before the projection, and is no network of the zoo
            c_form = {key.replace("downsample.1", "downsample.0").replace("downsample.2", "downsample.1"): value
                      for key, value in tensors.items()}  # fmt: skip
            (tmp_path / "net.params").write_bytes(params(c_form))
            with pytest.raises(WeightsMismatch):
                convert(tmp_path / "net.params", tmp_path / "c.safetensors")


SMALL = {
    "arg:a": torch.arange(6.0).reshape(2, 3),
    "aux:b": torch.ones(2, dtype=torch.float64),
    "c": torch.ones(1, 1, 2),
}


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_every_version_is_read(version: int, tmp_path: Path) -> None:
    path = tmp_path / "x.params"
    path.write_bytes(params(SMALL, version))
    found = read_params(path)
    assert list(found) == ["a", "b", "c"]
    assert all(torch.equal(found[name.rpartition(":")[2]], value) for name, value in SMALL.items())


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.params"
    huge = struct.pack("<QQQ", 0x112, 0, 2**40)
    sparse = struct.pack("<QQQIi", 0x112, 0, 1, 0xF993FAC9, 1)
    axes = struct.pack("<QQQIii", 0x112, 0, 1, 0xF993FAC9, 0, 2**20)
    side = struct.pack("<QQQIiiqiii", 0x112, 0, 1, 0xF993FAC9, 0, 1, 2**62, 1, 0, 0)
    kind = struct.pack("<QQQIiiqiii", 0x112, 0, 1, 0xF993FAC9, 0, 1, 1, 1, 0, 99)
    long = params({"a": torch.ones(1)})[:-9] + struct.pack("<Q", 2**30)
    for content, error in (
        (huge, WeightsUnsafe), (long, WeightsUnsafe), (sparse, WeightsCorrupted), (axes, WeightsCorrupted),
        (side, WeightsCorrupted), (kind, WeightsCorrupted), (b"x" * 40, WeightsCorrupted), (b"", WeightsCorrupted),
        (params(SMALL) + b"x", WeightsCorrupted), (params({}), WeightsCorrupted),
    ):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(error):
            read_params(path)
    path.write_bytes(params(SMALL))
    with pytest.raises(WeightsMismatch, match="tensor names"):
        convert(path, tmp_path / "out.safetensors")


@given(at=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.booleans())
@settings(max_examples=300, deadline=None)
def test_damaged_files_are_typed_errors(
    at: int, byte: int, cut: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray(params(SMALL))
    content[at % len(content)] = byte
    path = tmp_path_factory.getbasetemp() / "fuzzed.params"
    path.write_bytes(content[: at % len(content)] if cut else content)
    try:
        found = read_params(path)
    except SenetZooError:
        return
    assert sum(tensor.numel() * tensor.element_size() for tensor in found.values()) < len(content)
