"""A network is found wherever it stands in a file; what stands beside it is left out and said; two are asked for."""

import json
import logging
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

import senet_zoo
from senet_zoo.errors import SenetZooError, UsageError, WeightsCorrupted, WeightsMismatch, WeightsUnsafe
from senet_zoo.weights.convert import convert, load_checkpoint

NAME = "se_resnet20"
Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def good() -> Tensors:
    return {name: value.clone() for name, value in senet_zoo.create_model(NAME, num_classes=4).state_dict().items()}


def under(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + name: value for name, value in tensors.items()}


def headless(tensors: Tensors) -> Tensors:
    return {name: value for name, value in tensors.items() if not name.startswith("classifier")}


def zeros(tensors: Tensors) -> Tensors:
    return {name: torch.zeros_like(value) for name, value in tensors.items()}


LOSS = {"criterion.weight": torch.ones(4)}
TRAININGS = {
    "PyTorch's tutorial": lambda t: {"epoch": 3, "model_state_dict": t, "optimizer_state_dict": {}, "loss": 0.5},
    "Lightning": lambda t: {"state_dict": {**under("net.", t), **LOSS}, "hyper_parameters": {"lr": 0.1}},
    "a loss in the network": lambda t: {**t, **LOSS},
    "metrics": lambda t: {"state_dict": {**under("model.", t), "val_acc.tp": torch.ones(4)}},
    "mean and deviation": lambda t: {"state_dict": {**under("model.", t), "mean": torch.ones(3), "std": torch.ones(3)}},
    "transformers' TimmWrapper": lambda t: under("timm_model.", t),
    "a module in a module": lambda t: under("module.model.", t),
    "a Sequential behind its normalisation": lambda t: {"1." + name: value for name, value in t.items()},
    "AveragedModel": lambda t: {"model_ema": {"n_averaged": torch.tensor(3), **under("module.", t)}, "model": zeros(t)},
    "timm": lambda t: {"state_dict": zeros(t), "state_dict_ema": t, "optimizer": {"state": {0: {"m": t}}}},
    "a list beside it": lambda t: {"model": t, "history": [torch.ones(2)], "best": (1, 2)},
}


@pytest.mark.parametrize("training", TRAININGS)
def test_the_network_of_a_training_is_found(training: str, good: Tensors, tmp_path: Path) -> None:
    torch.save(TRAININGS[training](good), tmp_path / "last.pth")
    for model in (NAME, senet_zoo.create_model(NAME, num_classes=4)):
        net = load_checkpoint(model, tmp_path / "last.pth")
        assert all(torch.equal(value, good[name]) for name, value in net.state_dict().items())


def moco(good: Tensors) -> dict[str, object]:
    body, head = headless(good), {f"classifier.{i}.weight": torch.ones(2, 2) for i in (0, 2)}
    names = {**under("module.encoder_q.", {**body, **head}), **under("module.encoder_k.", {**zeros(body), **head})}
    return {"state_dict": {**names, "module.queue": torch.ones(2, 2)}}


BACKBONES = {
    "a detector": lambda t: {"state_dict": {**under("backbone.", headless(t)), "neck.0.conv.weight": torch.ones(1)}},
    "SimCLR": lambda t: {**under("backbone.", headless(t)), "projector.0.weight": torch.ones(2, 2)},
    "a segmenter": lambda t: {**under("model.encoder.", headless(t)), "model.decoder.blocks.0.weight": torch.ones(1)},
    "MoCo": moco,
    "a head of two layers": lambda t: {
        **headless(t),
        **{f"classifier.{i}.{leaf}": torch.ones(3) for i in (0, 3) for leaf in ("weight", "bias")},
    },
}


@pytest.mark.parametrize("task", BACKBONES)
def test_a_backbone_gives_features(task: str, good: Tensors, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save(BACKBONES[task](good), tmp_path / "last.pth")
    with caplog.at_level("WARNING", "senet_zoo"):
        net = load_checkpoint(NAME, tmp_path / "last.pth")
    assert net.num_classes == 0
    assert all(torch.equal(value, good[name]) for name, value in net.state_dict().items())
    assert "tensors are left out, which have no part" in caplog.text or "others are left out, such as" in caplog.text


def test_one_layer_in_a_sequential_is_the_classifier(good: Tensors, tmp_path: Path) -> None:
    head = {f"classifier.1.{leaf}": good[f"classifier.{leaf}"] for leaf in ("weight", "bias")}
    torch.save({**headless(good), **head}, tmp_path / "a.pth")
    assert torch.equal(load_checkpoint(NAME, tmp_path / "a.pth").classifier.weight, good["classifier.weight"])


def test_two_networks_of_one_size_are_asked_for(good: Tensors, tmp_path: Path) -> None:
    body = headless(good)
    torch.save({"student": under("backbone.", zeros(body)), "teacher": under("backbone.", body)}, tmp_path / "dino.pth")
    with pytest.raises(UsageError, match=r"student\.backbone\.', 'teacher\.backbone\.'.*choose one: prefix=") as caught:
        load_checkpoint(NAME, tmp_path / "dino.pth")
    assert "--prefix" in caught.value.for_command_line
    for prefix in ("teacher.backbone", "teacher.backbone."):
        net = load_checkpoint(NAME, tmp_path / "dino.pth", prefix=prefix)
        assert torch.equal(net.stem[0].conv.weight, good["stem.0.conv.weight"])
    with pytest.raises(
        UsageError, match=r"no tensor's name starts with 'net\.'; the names start with student, teacher"
    ):
        load_checkpoint(NAME, tmp_path / "dino.pth", prefix="net")
    with pytest.raises(WeightsMismatch):
        load_checkpoint(NAME, tmp_path / "dino.pth", prefix="")


REFUSED = {
    "an unknown part": ({"pool.p": torch.ones(1)}, r"does not know pool\.p"),
    "weight_norm": ({"classifier.weight_g": torch.ones(1)}, r"classifier\.weight_g are of .*weight_norm"),
    "parametrizations": (
        {"classifier.parametrizations.weight.original0": torch.ones(1)},
        "once they are removed",
    ),
    "LoRA": ({"stages.0.0.branch.conv1.conv.lora_A": torch.ones(1)}, "adapters merged"),
    "quantised": ({"classifier.zero_point": torch.ones(1)}, "a quantised network; give the float"),
}


@pytest.mark.parametrize("part", REFUSED)
def test_what_changes_the_function_is_not_left_out(part: str, good: Tensors, tmp_path: Path) -> None:
    more, said = REFUSED[part]
    torch.save(under("model.", {**good, **more}), tmp_path / "a.pth")
    with pytest.raises(WeightsMismatch, match=said) as caught:
        load_checkpoint(NAME, tmp_path / "a.pth")
    assert "stem" not in str(caught.value)


def test_pruned_weights_are_multiplied_by_their_masks(good: Tensors, tmp_path: Path) -> None:
    name = "stages.0.0.branch.conv1.conv.weight"
    mask = (torch.arange(good[name].numel()) % 2).reshape(good[name].shape).float()
    rest = {key: value for key, value in good.items() if key != name}
    torch.save({"state_dict": {**rest, f"{name}_orig": good[name], f"{name}_mask": mask}}, tmp_path / "a.pth")
    net = load_checkpoint(NAME, tmp_path / "a.pth")
    assert torch.equal(net.state_dict()[name], good[name] * mask)


def test_nan_is_said(good: Tensors, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.save({**good, "classifier.bias": torch.full((4,), torch.nan)}, tmp_path / "a.pth")
    with caplog.at_level(logging.WARNING, "senet_zoo"):
        load_checkpoint(NAME, tmp_path / "a.pth")
    assert "1 tensors hold NaN or infinity, such as classifier.bias" in caplog.text


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_an_index_stands_for_its_shards(kind: str, good: Tensors, tmp_path: Path) -> None:
    stem, save = ("model", safetensors.torch.save_file) if kind == "safetensors" else ("pytorch_model", torch.save)
    names = [f"{stem}-0000{number}-of-00002.{kind}" for number in (1, 2)]
    places = {name: names[index % 2] for index, name in enumerate(good)}
    for shard in names:
        save({name: good[name] for name in good if places[name] == shard}, tmp_path / shard)
    index = tmp_path / f"{stem}.{kind}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    net = load_checkpoint(NAME, index)
    assert all(torch.equal(value, good[name]) for name, value in net.state_dict().items())
    assert convert(index, tmp_path / "out.safetensors").model == NAME
    with pytest.raises(WeightsMismatch, match=r"one of several shards.*name their index"):
        load_checkpoint(NAME, tmp_path / names[0])
    index.write_text(json.dumps({"weight_map": {**places, "gone": names[0]}}))
    with pytest.raises(WeightsCorrupted, match="must hold 'gone'"):
        load_checkpoint(NAME, index)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("[", WeightsCorrupted),
        ("[]", WeightsCorrupted),
        ('{"weight_map": {}}', WeightsCorrupted),
        ('{"weight_map": {"a": 1}}', WeightsCorrupted),
        ('{"weight_map": {"a": "../x.safetensors"}}', WeightsUnsafe),
        ('{"weight_map": {"a": "/etc/passwd"}}', WeightsUnsafe),
        ('{"weight_map": {"a": "none.safetensors"}}', SenetZooError),
        (json.dumps({"weight_map": {str(i): f"{i}.safetensors" for i in range(100)}}), WeightsUnsafe),
        (json.dumps({"weight_map": {"x" * 2**22: "a"}}), WeightsUnsafe),
    ],
)
def test_an_index_that_is_none_is_refused(content: str, error: type[SenetZooError], tmp_path: Path) -> None:
    (tmp_path / "a.index.json").write_text(content)
    with pytest.raises(error):
        load_checkpoint(NAME, tmp_path / "a.index.json")


KINDS = {
    "seresnet50.h5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "whole HDF5 file"),
    "renamed.pth": (b"\x89HDF\r\n\x1a\n" + bytes(99), "whole HDF5 file"),
    "net.onnx": (b"\x08\x08\x12\x07pytorch" + bytes(99), "ONNX"),
    "net.params": (b"\x12\x01" + bytes(99), "file of MXNet"),
    "net.tflite": (b"\x1c\0\0\0TFL3" + bytes(99), "TensorFlow Lite"),
    "net.ckpt": (b"\n\x1e\n\x0cconv1.weight" + bytes(99), "MindSpore"),
    "net.pth.gz": (b"\x1f\x8b\x08" + bytes(99), "gzip"),
    "net.npy": (b"\x93NUMPY" + bytes(99), "NumPy"),
    "net.bin": (bytes(99), "none of: safetensors, an index of shards, torch"),
    "net.pth": (b"version https://git-lfs.github.com/spec/v1\n", "git-lfs pointer"),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_that_is_not_read_is_named(name: str, tmp_path: Path) -> None:
    content, said = KINDS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises((WeightsMismatch, WeightsCorrupted), match=said):
        load_checkpoint(NAME, tmp_path / name)


@pytest.mark.parametrize(
    "name", ["a.pth", "a.safetensors", "a.caffemodel", "a.pdparams", "a.params", "a.h5", "a.index.json"]
)
def test_pipes_and_devices_are_not_opened(name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(WeightsUnsafe, match="a pipe or a device; it is not opened"):
        load_checkpoint(NAME, tmp_path / name)
    (tmp_path / f"z{name}").symlink_to("/dev/zero")
    with pytest.raises(WeightsUnsafe, match="a pipe or a device; it is not opened"):
        load_checkpoint(NAME, tmp_path / f"z{name}")


def test_addresses_are_no_files() -> None:
    for address in ("https://example.org/a.pth", "hf://org/name"):
        with pytest.raises(UsageError, match=f"the address {address}; download it first"):
            load_checkpoint(NAME, address)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_a_network_quantised_on_the_fly_is_said(tmp_path: Path) -> None:
    quantised = torch.ao.quantization.quantize_dynamic(senet_zoo.create_model(NAME), {nn.Linear})
    torch.save(quantised.state_dict(), tmp_path / "a.pth")
    with pytest.raises(WeightsMismatch, match="quantised network; give the float"):
        load_checkpoint(NAME, tmp_path / "a.pth")
