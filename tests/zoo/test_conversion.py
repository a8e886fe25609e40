"""Checkpoints of other libraries give their own logits here, and what is no checkpoint gives a typed error."""

import os
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from networks import randomise
from pytorchcv.model_provider import get_model
from torch import nn

from senet_zoo import SE
from senet_zoo.errors import (
    UnknownModelError,
    UsageError,
    WeightsCorrupted,
    WeightsMismatch,
    WeightsNotFound,
    WeightsUnsafe,
)
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS
from senet_zoo.weights.convert import convert, load_checkpoint
from senet_zoo.weights.verify import verify_deep


@pytest.fixture
def legacy() -> nn.Module:
    return randomise(timm.create_model("legacy_seresnet18", num_classes=3))


def same(net: nn.Module, theirs: nn.Module) -> bool:
    return torch.equal(net.state_dict()["stages.0.0.se.fc1.weight"], theirs.layer1[0].se_module.fc1.weight[:, :, 0, 0])


WRAPPERS = {
    "plain": lambda tensors: tensors,
    "state_dict": lambda tensors: {"state_dict": tensors, "epoch": 3},
    "model": lambda tensors: {"model": tensors, "optimizer": {"lr": 0.1}},
    "DataParallel": lambda tensors: {f"module.{key}": value for key, value in tensors.items()},
    "compiled": lambda tensors: {f"_orig_mod.{key}": value for key, value in tensors.items()},
    "both": lambda tensors: {"state_dict": {f"module._orig_mod.{key}": value for key, value in tensors.items()}},
    "averaged": lambda tensors: {
        "state_dict": {key: torch.zeros_like(value) for key, value in tensors.items()},
        "state_dict_ema": tensors,
    },
    "ema": lambda tensors: {"ema": {"module": tensors, "decay": 0.9}},
    "AveragedModel": lambda tensors: {
        "n_averaged": torch.tensor(7),
        **{f"module.{key}": value for key, value in tensors.items()},
    },
    "segmenter": lambda tensors: {
        "decoder.x.weight": torch.zeros(1),
        "segmentation_head.0.bias": torch.zeros(1),
        **{f"encoder.{key}": value for key, value in tensors.items()},
    },
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("suffix", [".pth", ".pkl"])
def test_wrapped_files_are_unwrapped(wrapper: str, suffix: str, legacy: nn.Module, tmp_path: Path) -> None:
    torch.save(
        WRAPPERS[wrapper](legacy.state_dict()), tmp_path / f"a{suffix}", _use_new_zipfile_serialization=suffix == ".pth"
    )
    assert same(load_checkpoint("se_resnet18", tmp_path / f"a{suffix}"), legacy)


def test_a_file_inside_a_zip_archive_is_read(legacy: nn.Module, tmp_path: Path) -> None:
    torch.save(legacy.state_dict(), tmp_path / "a.pth")
    with zipfile.ZipFile(tmp_path / "a.pth.zip", "w") as archive:
        archive.write(tmp_path / "a.pth", "a.pth")
    assert same(load_checkpoint("se_resnet18", tmp_path / "a.pth.zip"), legacy)
    with zipfile.ZipFile(tmp_path / "two.pth.zip", "w") as archive:
        archive.write(tmp_path / "a.pth", "a.pth")
        archive.write(tmp_path / "a.pth", "b.pth")
    with pytest.raises(WeightsMismatch, match=r"exactly one file of torch\.save, but .* holds 2"):
        load_checkpoint("se_resnet18", tmp_path / "two.pth.zip")


def test_an_encoder_without_head_gives_features(legacy: nn.Module, tmp_path: Path) -> None:
    tensors = {f"encoder.{k}": v for k, v in legacy.state_dict().items() if "last_linear" not in k}
    torch.save(tensors, tmp_path / "unet.pth")
    net = load_checkpoint("se_resnet18", tmp_path / "unet.pth")
    assert net.num_classes == 0
    assert same(net, legacy)


def test_a_network_is_filled_in_place_and_keeps_a_classifier_of_another_size(
    legacy: nn.Module, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save(legacy.state_dict(), tmp_path / "a.pth")
    net = ConvNet(MODELS["se_resnet18"].spec(), num_classes=3)
    assert load_checkpoint(net, tmp_path / "a.pth") is net
    assert same(net, legacy)
    assert torch.equal(net.classifier.weight, legacy.last_linear.weight)
    ten = ConvNet(MODELS["se_resnet18"].spec(), num_classes=10)
    own = ten.classifier.weight.clone()
    with caplog.at_level("INFO", "senet_zoo"):
        load_checkpoint(ten, tmp_path / "a.pth")
    assert same(ten, legacy)
    assert torch.equal(ten.classifier.weight, own)
    assert "classifier of 10 classes left as it was" in caplog.text


def test_a_network_of_another_form_is_left_as_it_was(legacy: nn.Module, tmp_path: Path) -> None:
    torch.save(legacy.state_dict(), tmp_path / "a.pth")
    net = ConvNet(MODELS["se_resnet18b"].spec(), num_classes=3)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(WeightsMismatch, match=r"are not se_resnet18b \(stride or pool differ\).*Those are se_resnet18"):
        load_checkpoint(net, tmp_path / "a.pth")
    half = dict(list(legacy.state_dict().items())[:50])
    torch.save(half, tmp_path / "half.pth")
    with pytest.raises(WeightsMismatch, match="missing"):
        load_checkpoint(ConvNet(MODELS["se_resnet18"].spec(), num_classes=3), tmp_path / "half.pth")
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_gates_without_biases_load_as_such(tmp_path: Path) -> None:
    """moskomule's file, by its published layer list."""
    theirs = timm.create_model("seresnet50", num_classes=3).state_dict()
    file = {}
    for key, value in theirs.items():
        if ".se." not in key:
            file[key] = value
        elif key.endswith("weight"):
            file[key.replace("fc1", "fc.0").replace("fc2", "fc.2")] = value[:, :, 0, 0]
    torch.save(file, tmp_path / "seresnet50.pkl")
    net = load_checkpoint("se_resnet50b", tmp_path / "seresnet50.pkl")
    assert net.spec.se == SE(bias=False)
    done = convert(tmp_path / "seresnet50.pkl", tmp_path / "a.safetensors")
    assert (done.model, done.variant, done.read_as) == ("se_resnet50b", "bias=false", "moskomule")
    assert verify_deep(done.path).ok
    with pytest.raises(UsageError, match=r"timm has no network .* of se_resnet50b with bias=false"):
        convert(tmp_path / "seresnet50.pkl", tmp_path / "b.safetensors", to="timm")
    assert not (tmp_path / "b.safetensors").exists()


def test_where_nothing_tells_the_candidates_are_listed(tmp_path: Path) -> None:
    net = ConvNet(MODELS["se_resnet18b"].spec(), num_classes=3)
    torch.save(net.state_dict(), tmp_path / "native.pth")
    with pytest.raises(UsageError, match=r"fit se_resnet18, se_resnet18b, but do not say.*model=.se_resnet18"):
        convert(tmp_path / "native.pth", tmp_path / "a.safetensors")
    assert convert(tmp_path / "native.pth", tmp_path / "a.safetensors", model="se_resnet18b").model == "se_resnet18b"
    assert convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors").model == "se_resnet18b"
    with pytest.raises(WeightsMismatch, match="says it holds se_resnet18b, not se_resnet18"):
        load_checkpoint("se_resnet18", tmp_path / "a.safetensors")
    torch.save(get_model("seresnet50", num_classes=3).state_dict(), tmp_path / "pcv.pth")
    with pytest.raises(UsageError, match=r"fit se_resnet50b, se_resnet50a, but.*each is another function"):
        convert(tmp_path / "pcv.pth", tmp_path / "c.safetensors")


@pytest.mark.parametrize("name", ["senet40", "mobilenet_wd2"])
def test_a_network_that_the_zoo_lacks_is_refused(name: str, tmp_path: Path) -> None:
    torch.save(get_model(name).state_dict(), tmp_path / "a.pth")
    with pytest.raises(WeightsMismatch, match="pytorchcv"):
        convert(tmp_path / "a.pth", tmp_path / "a.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]


class Payload:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before PyTorch 1.6"])
@pytest.mark.parametrize("archived", [False, True], ids=["plain", "in an archive"])
def test_a_pickle_that_wants_to_run_code_runs_nothing(old: bool, archived: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"weight": Payload(tmp_path / "ran")}, path, _use_new_zipfile_serialization=not old)
    if archived:
        with zipfile.ZipFile(tmp_path / "a.pth.zip", "w") as archive:
            archive.write(path, "a.pth")
        path = tmp_path / "a.pth.zip"
    with pytest.raises(WeightsUnsafe, match="wants to run code; nothing of it was run"):
        convert(path, tmp_path / "a.safetensors", model="se_resnet18")
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "a.safetensors").exists()
    torch.load(tmp_path / "a.pth", weights_only=False)  # the payload is a real one
    assert (tmp_path / "ran").exists()


def test_pytorchs_own_reader_of_pickles_is_not_used(
    legacy: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its holes (CVE-2025-32434, CVE-2026-24747) are none here, whichever release is installed."""
    torch.save(legacy.state_dict(), tmp_path / "a.pth")
    monkeypatch.setattr(torch, "load", None)
    monkeypatch.setattr(torch, "__version__", "2.5.1")
    assert same(load_checkpoint("se_resnet18", tmp_path / "a.pth"), legacy)


BAD = {
    "cut": (lambda good: good[: len(good) // 2], WeightsCorrupted),
    "a page": (lambda good: b"<html>login</html>", WeightsCorrupted),
    "empty": (lambda good: b"", WeightsCorrupted),
    "nonsense": (lambda good: b"\x80\x02nonsense.", (WeightsCorrupted, WeightsUnsafe)),
}


@pytest.mark.parametrize("fault", BAD)
def test_damaged_files_have_their_errors(fault: str, legacy: nn.Module, tmp_path: Path) -> None:
    torch.save(legacy.state_dict(), tmp_path / "a.pth")
    spoil, error = BAD[fault]
    (tmp_path / "a.pth").write_bytes(spoil((tmp_path / "a.pth").read_bytes()))
    with pytest.raises(error, match=r"a\.pth"):
        load_checkpoint("se_resnet18", tmp_path / "a.pth")


def test_what_holds_no_tensors_by_name_is_refused(tmp_path: Path) -> None:
    torch.save({"lr": 0.1}, tmp_path / "a.pth")
    with pytest.raises(WeightsMismatch, match=r"must hold tensors by name.*it holds \['lr'\]"):
        load_checkpoint("se_resnet18", tmp_path / "a.pth")
    torch.save({"layer0.conv1.weight": torch.zeros(3, dtype=torch.complex64)}, tmp_path / "a.pth")
    with pytest.raises(WeightsMismatch, match="floating-point numbers, but layer0"):
        load_checkpoint("se_resnet18", tmp_path / "a.pth")
    with pytest.raises(WeightsNotFound, match="there is no"):
        load_checkpoint("se_resnet18", tmp_path / "b.pth")
    with pytest.raises(UnknownModelError):
        load_checkpoint("se_resnet1x8", tmp_path / "a.safetensors")


def test_converting_twice_gives_the_same_bytes_and_the_name(legacy: nn.Module, tmp_path: Path) -> None:
    torch.save(legacy.state_dict(), tmp_path / "a.pth")
    first = convert(tmp_path / "a.pth", tmp_path / "1.safetensors")
    again = convert(tmp_path / "1.safetensors", tmp_path / "2.safetensors")
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()
    assert first.sha256 == again.sha256
    with safetensors.safe_open(tmp_path / "1.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata.keys() == {"format", "model", "senet_zoo.fingerprint"}
    assert metadata["model"] == "se_resnet18"
    assert verify_deep(tmp_path / "1.safetensors").ok


@pytest.mark.parametrize(
    ("out", "to", "message"),
    [
        ("a.pth", None, "converted to a .safetensors file"),
        ("a.safetensors", "keras", "takes timm, cadene, monai, insightface, torchvision"),
        ("a.safetensors", "torchvision", "torchvision has no network that is the function of se_resnet18"),
        ("a.safetensors", "cadene", "cadene has no network that is the function of se_resnet18"),
    ],
)
def test_what_cannot_be_written_is_refused(
    out: str, to: str | None, message: str, legacy: nn.Module, tmp_path: Path
) -> None:
    torch.save(legacy.state_dict(), tmp_path / "in.pth")
    with pytest.raises(UsageError, match=message):
        convert(tmp_path / "in.pth", tmp_path / out, to=to)
    assert [path.name for path in tmp_path.iterdir()] == ["in.pth"]


def test_a_file_is_not_converted_onto_itself(legacy: nn.Module, tmp_path: Path) -> None:
    torch.save(legacy.state_dict(), tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="not converted onto itself"):
        convert(tmp_path / "a.safetensors", tmp_path / "a.safetensors")


def test_what_was_written_for_another_library_is_read_back(legacy: nn.Module, tmp_path: Path) -> None:
    torch.save(legacy.state_dict(), tmp_path / "a.pth")
    there = convert(tmp_path / "a.pth", tmp_path / "a.safetensors", to="timm")
    assert (there.written_as, there.foreign_model) == ("cadene", "legacy_seresnet18")
    back = convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert (back.read_as, back.written_as, back.model) == ("cadene", "native", "se_resnet18")
    assert same(load_checkpoint("se_resnet18", tmp_path / "b.safetensors"), legacy)
