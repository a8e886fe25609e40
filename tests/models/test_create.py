"""create_model without the hub: from random, from files, from wrong files."""

import copy
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import timm
import torch
from networks import randomise
from safetensors.torch import save_file
from torch import nn

import senet_zoo
from senet_zoo import SE
from senet_zoo.errors import (
    SenetZooError,
    SpecError,
    UnknownWeightsError,
    UsageError,
    WeightsCorrupted,
    WeightsMismatch,
    WeightsNotFound,
    WeightsUnsafe,
)
from senet_zoo.formats import safetensors

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a randomised se_resnet20."""
    file = tmp_path_factory.mktemp("weights") / "model.safetensors"
    model = randomise(senet_zoo.create_model("se_resnet20"))
    safetensors.write(file, model.state_dict(), {"model": "se_resnet20"})
    return file


def test_a_random_network_follows_the_seed() -> None:
    torch.manual_seed(5)
    model = senet_zoo.create_model("se_resnet20").eval()
    torch.manual_seed(5)
    again = senet_zoo.create_model("se_resnet20").eval()
    assert model.weights is None
    assert torch.equal(model(X), again(X))
    assert model(X).shape == (2, 10)


def test_a_network_to_train_starts_in_training_mode_and_a_loaded_one_in_eval_mode(saved: Path) -> None:
    fresh = senet_zoo.create_model("se_resnet20")
    assert all(part.training for part in fresh.modules())
    before = copy.deepcopy(fresh.state_dict())
    fresh(X).sum().backward()  # a loop that does not ask for training mode
    assert all(not torch.equal(before[key], t) for key, t in fresh.state_dict().items() if "running" in key)
    for loaded in (
        senet_zoo.create_model("se_resnet20", pretrained=True),
        senet_zoo.create_model("se_resnet20", pretrained=True, num_classes=3, in_channels=1),
        senet_zoo.create_model("se_resnet20", weights=saved),
    ):
        assert not any(part.training for part in loaded.modules())


def test_options_reach_the_network() -> None:
    model = senet_zoo.create_model(
        "se_resnet50", num_classes=7, in_channels=1, dropout=0.3, drop_path=0.2, dtype=torch.bfloat16
    )
    assert (model.classifier.out_features, model.head.dropout.p) == (7, 0.3)
    rates = [part.rate for name, part in model.named_modules() if name.endswith("drop_path")]
    assert rates[0] == 0.0
    assert rates[-1] == pytest.approx(0.2)
    assert rates == sorted(rates)
    assert model(torch.zeros(1, 1, 64, 64, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_no_classifier_gives_pooled_features() -> None:
    model = senet_zoo.create_model("se_resnet20", num_classes=0).eval()
    features = model(X)
    assert features.shape == (2, model.num_features)
    torch.testing.assert_close(features, model.forward_features(X).mean((2, 3)))


def test_reset_classifier_keeps_the_rest() -> None:
    model = senet_zoo.create_model("se_resnet20", dtype=torch.float64).eval()
    before = model.forward_features(X.double())
    model.reset_classifier(3)
    assert model(X.double()).shape == (2, 3)
    assert torch.equal(model.forward_features(X.double()), before)
    with pytest.raises(UsageError, match="num_classes must be 0"):
        model.reset_classifier(-1)


def test_features_of_asked_strides() -> None:
    model = senet_zoo.create_model("se_resnet50", num_classes=0).eval()
    x = torch.zeros(1, 3, 64, 96)
    maps = model.features(x, strides=(8, 16, 32))
    assert [tuple(m.shape) for m in maps] == [(1, 512, 8, 12), (1, 1024, 4, 6), (1, 2048, 2, 3)]
    torch.testing.assert_close(maps[-1], model.forward_features(x))
    for wrong in ((), (3,), (16, 8), (64,)):
        with pytest.raises(UsageError, match=r"strides out of \(2, 4, 8, 16, 32\) in ascending order, got"):
            model.features(x, strides=wrong)


def test_dropout_and_stochastic_depth_act_in_training_only() -> None:
    model = senet_zoo.create_model("se_resnet20", dropout=0.5, drop_path=0.5).eval()
    assert torch.equal(model(X), model(X))
    model.train()
    assert not torch.equal(model(X), model(X))


def test_stochastic_depth_keeps_the_mean_of_its_branch() -> None:
    from senet_zoo.networks.layers import drop_path

    torch.manual_seed(0)
    kept = drop_path(torch.ones(20_000, 1, 1, 1), 0.25)
    assert sorted(set(kept.flatten().tolist())) == pytest.approx([0.0, 4 / 3])
    assert kept.mean().item() == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"num_classes": -1}, UsageError, "num_classes must be 0 .* or more, got -1"),
        ({"in_channels": -3}, UsageError, "in_channels must be at least 1, got -3"),
        ({"dropout": 1.0}, UsageError, "dropout must be at least 0 and below 1, got 1.0"),
        ({"drop_path": -0.1}, UsageError, "drop_path must be at least 0 and below 1, got -0.1"),
        ({"se": SE(reduction=128)}, SpecError, "needs a reduction from 1 to 16, got 128"),
        ({"device": "gpu"}, UsageError, "named like cpu, cuda or cuda:1, got 'gpu'"),
        ({"device": "cuda:99"}, UsageError, "'cuda:99' does not .*device=\"cpu\""),
        ({"dtype": "float16"}, UsageError, "such as torch.float16, got 'float16'"),
        ({"se": "reduction=8"}, UsageError, r"such as senet_zoo.SE\(reduction=8\), got 'reduction=8'"),
        ({"pretrained": True, "weights": "x.safetensors"}, UsageError, "pass one of them"),
        ({"pretrained": True, "se": SE(reduction=8)}, UsageError, "were trained with .*reduction=16"),
    ],
)
def test_arguments_that_cannot_be_honoured(arguments: dict[str, object], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        senet_zoo.create_model("se_resnet20", **arguments)


def test_words_of_other_libraries_for_published_weights() -> None:
    assert senet_zoo.create_model("se_resnet20", weights="DEFAULT").weights.name == "se_resnet20.cifar10"
    assert senet_zoo.create_model("se_resnet20", pretrained=None).weights is None
    for words in ({"pretrained": "imagenet"}, {"weights": "IMAGENET1K_V1"}):
        with pytest.raises(
            SenetZooError, match=r"chosen by pretrained=True and the network's name \(se_resnet20.cifar10"
        ):
            senet_zoo.create_model("se_resnet20", **words)
    with pytest.raises(UnknownWeightsError, match="resnet44"):
        senet_zoo.create_model("resnet44", weights="DEFAULT")


def test_a_misspelt_argument_is_refused() -> None:
    with pytest.raises(TypeError, match="num_clases"):
        senet_zoo.create_model("se_resnet20", num_clases=10)


def test_a_plain_twin_has_no_gate_to_change() -> None:
    with pytest.raises(UsageError, match=r"resnet20 is the plain twin .* goes with se_resnet20"):
        senet_zoo.create_model("resnet20", se=SE(reduction=8))


def test_mobilenet_has_no_branch_to_drop() -> None:
    with pytest.raises(SpecError, match=r"MobileNet v1 has none; drop_path must be 0"):
        senet_zoo.create_model("se_mobilenet", drop_path=0.1)


def test_another_reduction_is_another_network() -> None:
    model = senet_zoo.create_model("se_resnet50", se=SE(reduction=8, bias=False)).eval()
    assert sum(p.numel() for p in model.parameters()) == 30_586_920  # the paper's table 10, r = 8, without biases


def test_pretrained_without_weights_is_an_error_not_a_random_start() -> None:
    with pytest.raises(UnknownWeightsError, match="no public checkpoint of resnet44"):
        senet_zoo.create_model("resnet44", pretrained=True)


def test_an_unknown_tag_names_the_known_ones() -> None:
    with pytest.raises(UnknownWeightsError, match="caffe_in1k"):
        senet_zoo.create_model("se_resnet50.cafe_in1k", pretrained=True)
    with pytest.raises(UsageError, match="add pretrained=True"):
        senet_zoo.create_model("se_resnet50.caffe_in1k")


def test_a_file_or_its_folder_gives_the_same_network(saved: Path) -> None:
    one = senet_zoo.create_model("se_resnet20", weights=saved)
    other = senet_zoo.create_model("se_resnet20", weights=str(saved.parent))
    reference = randomise(senet_zoo.create_model("se_resnet20"))
    for model in (one, other):
        assert all(torch.equal(model.state_dict()[key], tensor) for key, tensor in reference.state_dict().items())
        torch.testing.assert_close(model(X), reference(X))  # where a tensor lies in memory may move the last bit


def test_loaded_weights_can_be_trained_without_touching_the_file(saved: Path) -> None:
    before = saved.read_bytes()
    model = senet_zoo.create_model("se_resnet20", weights=saved).train()
    model(X).sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert saved.read_bytes() == before


def test_another_head_is_fresh_and_said(saved: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "senet_zoo"):
        model = senet_zoo.create_model("se_resnet20", weights=saved, num_classes=4)
    assert "classifier of 10 classes replaced by a fresh one of 4" in caplog.text
    reference = senet_zoo.create_model("se_resnet20", weights=saved)
    assert torch.equal(model.forward_features(X), reference.forward_features(X))
    assert model(X).shape == (2, 4)
    assert senet_zoo.create_model("se_resnet20", weights=saved, num_classes=0)(X).shape == (2, 64)


@pytest.mark.parametrize("channels", [1, 2, 4, 6])
def test_grey_and_wide_pictures_adapt_the_stem(saved: Path, channels: int) -> None:
    model = senet_zoo.create_model("se_resnet20", weights=saved, in_channels=channels)
    reference = senet_zoo.create_model("se_resnet20", weights=saved)
    grey = X[:, :1]
    if channels == 1:  # a grey value in every channel is what the sum stands for
        torch.testing.assert_close(model(grey), reference(grey.repeat(1, 3, 1, 1)))
    assert model(X[:, :1].repeat(1, channels, 1, 1)).shape == (2, 10)
    weight = reference.stem[0].conv.weight
    total = weight.sum() if channels in (1, 6) else weight[:, [i % 3 for i in range(channels)]].sum() * 3 / channels
    torch.testing.assert_close(model.stem[0].conv.weight.sum(), total)


@pytest.mark.parametrize(
    ("name", "oracle"),
    [("se_resnet18", "legacy_seresnet18"), ("se_resnext26d_32x4d", "seresnext26d_32x4d"), ("resnet18b", "resnet18")],
)
@torch.no_grad()
def test_files_of_other_libraries_load_as_they_are(tmp_path: Path, name: str, oracle: str) -> None:
    theirs = randomise(timm.create_model(oracle))
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    logits = senet_zoo.create_model(name, weights=tmp_path)(x)
    assert (logits - theirs(x)).abs().max() <= 1e-5 * theirs(x).abs().max()


@pytest.mark.parametrize(
    ("oracle", "name", "right"),
    [
        ("legacy_seresnet18", "se_resnet18b", "se_resnet18"),
        ("legacy_seresnext26_32x4d", "se_resnext26d_32x4d", None),
        ("resnet18", "resnet18", "resnet18b"),
    ],
)
def test_weights_of_another_form_are_refused(tmp_path: Path, oracle: str, name: str, right: str | None) -> None:
    save_file(timm.create_model(oracle).state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(WeightsMismatch, match=f"Those are {right}" if right else "missing"):
        senet_zoo.create_model(name, weights=tmp_path)


def test_weights_of_another_network_are_refused(saved: Path) -> None:
    with pytest.raises(WeightsMismatch, match=r"36 unexpected: stages\.0\.0\.se\.fc1\.bias"):
        senet_zoo.create_model("resnet20", weights=saved)
    with pytest.raises(WeightsMismatch, match="missing"):
        senet_zoo.create_model("se_resnet56", weights=saved)


def test_a_file_that_says_what_it_holds_is_believed(tmp_path: Path) -> None:
    model = senet_zoo.create_model("se_resnet50b", num_classes=1).eval()
    safetensors.write(tmp_path / "model.safetensors", model.state_dict(), {"model": "se_resnet50b"})
    with pytest.raises(WeightsMismatch, match="says it holds se_resnet50b, not se_resnet50"):
        senet_zoo.create_model("se_resnet50", weights=tmp_path)


def bad_files(folder: Path, good: Path) -> dict[str, Path]:
    contents = {
        "truncated": good.read_bytes()[:-100],
        "html": b"<!DOCTYPE html><html><body>Sign in to the network</body></html>",
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n",
        "empty": b"",
        "long_header": (2**40).to_bytes(8, "little") + b"{}",
    }
    for name, content in contents.items():
        (folder / f"{name}.safetensors").write_bytes(content)
    torch.save({"a": torch.zeros(1)}, folder / "zip.safetensors")
    torch.save({"a": torch.zeros(1)}, folder / "pickle.safetensors", _use_new_zipfile_serialization=False)
    return {file.stem: file for file in folder.glob("*.safetensors")}


@pytest.mark.parametrize(
    ("kind", "error", "words"),
    [
        ("truncated", WeightsCorrupted, "bytes"),
        ("html", WeightsCorrupted, "HTML"),
        ("lfs", WeightsCorrupted, "git.lfs"),
        ("empty", WeightsCorrupted, "is empty"),
        ("long_header", WeightsUnsafe, "header"),
        ("zip", WeightsUnsafe, "pickle"),
        ("pickle", WeightsUnsafe, "pickle"),
    ],
)
def test_files_that_are_no_weights(tmp_path: Path, saved: Path, kind: str, error: type[Exception], words: str) -> None:
    file = bad_files(tmp_path, saved)[kind]
    with pytest.raises(error, match=words) as raised:
        senet_zoo.create_model("se_resnet20", weights=file)
    assert str(file) in str(raised.value)


def test_nothing_is_initialised_when_weights_follow(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("initialised in vain")

    monkeypatch.setattr("senet_zoo.weights.create.initialise", forbidden)
    model = senet_zoo.create_model("se_resnet20", weights=saved)
    assert not any(tensor.is_meta for tensor in model.state_dict().values())
    with pytest.raises(AssertionError, match="in vain"):
        senet_zoo.create_model("se_resnet20")


def test_threads_may_share_a_network(saved: Path) -> None:
    """What DataParallel asks of a forward: it leaves nothing behind in the module."""
    model = senet_zoo.create_model("se_resnet20", weights=saved)
    before = set(vars(model))
    inputs = [torch.randn(2, 3, 32, 32) for _ in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(model, inputs))
    assert set(vars(model)) == before
    for x, logits in zip(inputs, together, strict=True):
        torch.testing.assert_close(logits, model(x))


def test_no_file_and_no_address(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFound, match=r"there is no .*missing\.safetensors"):
        senet_zoo.create_model("se_resnet20", weights=tmp_path / "missing.safetensors")
    with pytest.raises(UsageError, match="takes a file, a folder or hf://org/name@revision, got 'https://x/y'"):
        senet_zoo.create_model("se_resnet20", weights="https://x/y")


def test_verify_finds_a_value_that_is_not_finite(tmp_path: Path) -> None:
    model = senet_zoo.create_model("se_resnet20").eval()
    nn.init.constant_(model.stages[1][0].se.fc1.bias, float("nan"))
    file = tmp_path / "nan.safetensors"
    safetensors.write(file, model.state_dict(), {})
    result = senet_zoo.verify(file, model="se_resnet20")
    assert not result.ok
    assert [(check.name, check.ok) for check in result.checks] == [
        ("file", True), ("header", True), ("tensors", True), ("finite", False),
    ]  # fmt: skip
    assert "stages.1.0.se.fc1.bias" in result.checks[-1].found


def test_verify_stops_where_nothing_more_can_be_checked(tmp_path: Path, saved: Path) -> None:
    (tmp_path / "half.safetensors").write_bytes(saved.read_bytes()[:1000])
    result = senet_zoo.verify(tmp_path / "half.safetensors")
    assert [(check.name, check.ok) for check in result.checks] == [("file", False)]
    assert senet_zoo.verify(saved, model="se_resnet20").ok
    assert not senet_zoo.verify(saved, model="resnet20").ok


def test_a_canonical_file_has_the_same_bytes_every_time(tmp_path: Path, saved: Path) -> None:
    tensors = senet_zoo.create_model("se_resnet20", weights=saved).state_dict()
    for i in range(3):
        safetensors.write(
            tmp_path / f"{i}.safetensors", tensors, {"model": "se_resnet20", "b": "1", "a": "2", "c": "3"}
        )
    assert len({(tmp_path / f"{i}.safetensors").read_bytes() for i in range(3)}) == 1
    header = (tmp_path / "0.safetensors").read_bytes()
    json.loads(header[8 : 8 + int.from_bytes(header[:8], "little")])
