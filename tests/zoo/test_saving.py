"""What is saved can be read again and answers the same, replaces no file of others, and survives what goes wrong."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from networks import randomise
from torch import nn

import senet_zoo
from senet_zoo.errors import UsageError
from senet_zoo.support.files import LOCK, folder_lock, remove_abandoned
from senet_zoo.weights.foreign_files import refuse_foreign

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
PNG = b"\x89PNG\r\n\x1a\n"


def network(classes: int = 10) -> senet_zoo.ConvNet:
    return randomise(senet_zoo.create_model("se_resnet20", num_classes=classes)).eval()


def own_classifier() -> nn.Module:
    model = network()
    model.classifier = nn.Linear(64, 7)
    return model


WRAPPED = {
    "a classifier of one's own": own_classifier,
    "torch.compile": lambda: torch.compile(network()),
    "DataParallel": lambda: nn.DataParallel(network()),
    "AveragedModel": lambda: torch.optim.swa_utils.AveragedModel(network()),
    "compiled, in DataParallel": lambda: nn.DataParallel(torch.compile(network())),
    "synchronised": lambda: nn.SyncBatchNorm.convert_sync_batchnorm(network()),
    "in training mode": lambda: network().train(),
}


@pytest.mark.parametrize("make", WRAPPED.values(), ids=list(WRAPPED))
def test_a_wrapped_network_or_one_with_another_classifier_comes_back(make, tmp_path: Path) -> None:
    model = make()
    senet_zoo.save_pretrained(model, tmp_path / "run")
    inner = model
    while not isinstance(inner, senet_zoo.ConvNet):
        inner = getattr(inner, "_orig_mod", None) or inner.module
    again = senet_zoo.from_pretrained(tmp_path / "run")
    with torch.inference_mode():
        assert torch.allclose(again(X), inner.eval()(X), atol=1e-4)


def with_head(head: nn.Module):
    def make() -> nn.Module:
        model = network()
        model.classifier = head
        return model

    return make


def another_activation() -> nn.Module:
    model = network()
    for block in model.stages[1]:
        for name, layer in list(block.named_modules()):
            if isinstance(layer, nn.ReLU):
                parent = block.get_submodule(name.rpartition(".")[0])
                setattr(parent, name.rpartition(".")[2], nn.GELU())
    return model


def another_stride() -> nn.Module:
    model = network()
    model.stages[1][0].branch.conv1.conv.dilation = (2, 2)
    model.stages[1][0].branch.conv1.conv.padding = (2, 2)
    return model


OTHER_FUNCTIONS = {
    "two layers": (with_head(nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 5))), "classifier"),
    "no bias": (with_head(nn.Linear(64, 5, bias=False)), "classifier"),
    "other features": (with_head(nn.Linear(32, 5)), "classifier"),
    "another activation": (another_activation, "another function"),
    "a dilated layer": (another_stride, "another function"),
    "no network of the zoo": (lambda: nn.Linear(2, 2), "got Linear"),
}


@pytest.mark.parametrize(("make", "word"), OTHER_FUNCTIONS.values(), ids=list(OTHER_FUNCTIONS))
def test_what_no_name_rebuilds_is_refused_and_an_earlier_save_survives(make, word: str, tmp_path: Path) -> None:
    good = network()
    senet_zoo.save_pretrained(good, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UsageError, match=word):
        senet_zoo.save_pretrained(make(), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


FOREIGN = {
    "README.md": b"# My project\nlibrary_name: senet_zoo\n",
    "config.json": b'{"debug": true}',
    "preprocessor_config.json": b'{"image_processor_type": "ViTImageProcessor"}',
    "model.safetensors": b"not ours",
    "curves.png": PNG + b"my drawing",
    "confusion.png": PNG,
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_of_others_in_the_way_is_named_and_left(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FOREIGN[name])
    with pytest.raises(UsageError, match=f"replaces only files that senet_zoo wrote, and {name} in"):
        senet_zoo.save_pretrained(network(), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {name: FOREIGN[name]}


def test_all_files_of_others_are_named_at_once(tmp_path: Path) -> None:
    for name, content in FOREIGN.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=" and ".join(sorted(FOREIGN, key=list(FOREIGN).index))):
        refuse_foreign(tmp_path)


def test_what_lies_beside_a_save_and_is_not_in_its_way_stays(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for _ in range(2):
        senet_zoo.save_pretrained(network(), tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".")) == []


def hold(folder: str, seconds: float) -> subprocess.Popen:
    code = (
        "import sys, time; from pathlib import Path; from senet_zoo.support.files import folder_lock\n"
        f"with folder_lock(Path({folder!r})): print('held', flush=True); time.sleep({seconds})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
def test_a_folder_that_another_process_fills_is_refused_until_it_ends_or_is_killed(tmp_path: Path) -> None:
    with hold(str(tmp_path), 60) as process:
        with pytest.raises(UsageError, match="another process is writing to"), folder_lock(tmp_path):
            pass
        process.kill()
    with folder_lock(tmp_path):
        assert (tmp_path / LOCK).exists()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no such locks")
def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    with hold(str(tmp_path), 0.3), folder_lock(tmp_path, wait=20):
        pass


def test_a_folder_of_parts_that_a_killed_save_left_goes_a_day_later(tmp_path: Path) -> None:
    old, new = (tmp_path / f".save.{digit * 32}.part" for digit in "01")
    for folder in (old, new):
        folder.mkdir()
        (folder / "model.safetensors").write_text("half")
    day = time.time() - 2 * 86400
    os.utime(old, (day, day))
    remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == [new]


@pytest.mark.parametrize(
    ("stated", "saved"), [("MIT", "mit"), ("Apache-2.0", "apache-2.0"), ("Apache 2.0", None), ("mit\nx: y", None)]
)
def test_a_licence_is_inherited_as_spdx_spells_it_or_not_at_all(stated, saved, tmp_path: Path, monkeypatch, caplog):
    row = json.loads((Path(senet_zoo.__file__).parents[1] / "weights_manifest.json").read_text())
    row = row["models"]["se_resnet20"]["weights"]["cifar10"] | {"license": stated, "license_source": "its owner"}
    row["origin"] = "https://x/<img/src=x/onerror=alert(1)>![t](http://x)"
    manifest = {"manifest_version": 1, "models": {"se_resnet20": {"default": "mine", "weights": {"mine": row}}}}
    (tmp_path / "m.json").write_text(json.dumps(manifest))
    monkeypatch.setenv("SENET_ZOO_MANIFEST", str(tmp_path / "m.json"))
    senet_zoo.save_pretrained(senet_zoo.create_model("se_resnet20.mine", pretrained=True), tmp_path / "run")
    assert senet_zoo.from_pretrained(tmp_path / "run").weights.provenance.license == saved
    card = (tmp_path / "run" / "README.md").read_text()
    assert ("who says so of the licence: its owner" in card) == (saved is not None)
    assert ("is no SPDX name" in caplog.text) == (saved is None)
    assert "<img" not in card
    assert re.search(r"(?<!\\)\]\(", card) is None


def test_a_folder_that_transformers_trained_on_is_read_with_its_tensors(tmp_path: Path) -> None:
    model = randomise(senet_zoo.create_model("se_resnet18", num_classes=5)).eval()
    senet_zoo.save_pretrained(model, tmp_path)
    from safetensors.torch import load_file, save_file

    tensors = load_file(tmp_path / "model.safetensors")
    (bias,) = (tensor for tensor in tensors.values() if tensor.shape == (5,))
    bias += 1
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"transformers_version": "5.5.4", "do_pooling": True}))
    again = senet_zoo.from_pretrained(tmp_path)
    assert torch.allclose(again(X), model(X) + 1, atol=1e-5)
    assert again.weights.provenance is None
    senet_zoo.save_pretrained(again, tmp_path)
    assert senet_zoo.from_pretrained(tmp_path).weights.provenance is not None


def test_a_release_that_eight_digits_vouch_for_says_so() -> None:
    release = senet_zoo.get_weights("se_resnet18.timm_in1k").row.sources[0]
    assert release.proof == "starts with 4bb0ce65: 8 of 64 hex digits, which tell damage but not a forgery"


def test_a_network_without_values_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="on the meta device and have none"):
        senet_zoo.save_pretrained(senet_zoo.create_model("se_resnet20").to("meta"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_nan_is_said_when_it_is_saved(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = senet_zoo.create_model("se_resnet20")
    torch.nn.init.constant_(model.classifier.bias, float("nan"))
    senet_zoo.save_pretrained(model, tmp_path)
    assert "1 tensors that are saved hold NaN or infinity, such as classifier.bias" in caplog.messages
