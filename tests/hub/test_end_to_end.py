"""From a name to logits, through a hub on this machine and the unmodified client: timm's files give timm's logits."""

import json

import pytest
import safetensors.torch
import timm
import torch
from hub.places import leftovers

import senet_zoo
from senet_zoo.errors import (
    WeightsAccessDenied,
    WeightsCorrupted,
    WeightsError,
    WeightsMismatch,
    WeightsNotFound,
    WeightsUnavailable,
)
from senet_zoo.weights import file_hashes
from senet_zoo.weights import manifest as manifest_module

COMMIT = "c" * 40


def timm_model(name: str) -> torch.nn.Module:
    """A model of timm with random weights and statistics, so that every tensor has a part in the logits."""
    torch.manual_seed(0)
    model = timm.create_model(name).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.0)
            torch.nn.init.normal_(module.bias, std=0.1)
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


@pytest.fixture
def own_manifest(manifest, tmp_path, monkeypatch):
    """The zoo's manifest with the sources of some rows replaced by a file of the loopback hub."""

    def replace(name: str, repo: str, revision: str | None, sha256: str | None, dialect: str) -> None:
        model, tag = name.split(".")
        source = {"kind": "hub", "repo": repo, "revision": revision, "filename": "model.safetensors"}
        source |= {"sha256": sha256, "size": None, "dialect": dialect}
        row = manifest["models"].get(model, {"weights": {}})["weights"].get(tag)
        if row is None:
            row = dict(manifest["models"]["se_resnet50"]["weights"]["caffe_in1k"])
            row |= {"num_classes": 10, "labels": "cifar10"}
            manifest["models"][model] = {"default": tag, "weights": {tag: row}}
        row["sources"] = [source]
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps(manifest))
        monkeypatch.setattr(manifest_module, "default_path", lambda: file)

    return replace


@pytest.mark.parametrize(
    ("theirs", "ours", "dialect"),
    [
        ("legacy_seresnet18", "se_resnet18.timm_in1k", "cadene"),
        ("seresnext26d_32x4d", "se_resnext26d_32x4d.bt_in1k", "timm_resnet"),
    ],
)
def test_timms_file_gives_timms_logits_and_the_second_load_asks_nobody(hub, own_manifest, theirs, ours, dialect):
    oracle = timm_model(theirs)
    hub.add(f"timm/{theirs}", safetensors.torch.save(oracle.state_dict()))
    own_manifest(ours, f"timm/{theirs}", None, None, dialect)
    model = senet_zoo.create_model(ours, pretrained=True)
    x = torch.randn(2, 3, 96, 96)
    with torch.inference_mode():
        expected = oracle(x)
        torch.testing.assert_close(model(x), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert hub.requests() > 0
    hub.log.clear()
    again = senet_zoo.create_model(ours, pretrained=True)
    assert hub.log == []
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())


@pytest.fixture
def small(hub, own_manifest):
    """``se_resnet20.cifar10`` as a published file of random weights; gives the network."""
    net = senet_zoo.create_model("se_resnet20", num_classes=10).eval()
    sha256 = hub.add("org/net", safetensors.torch.save(net.state_dict()))
    own_manifest("se_resnet20.cifar10", "org/net", COMMIT, sha256, "native")
    return net


FAULTS = {
    "flipped byte": ("cdn", {"flip": 0.5}, WeightsCorrupted, "the sha256 of .* must be"),
    "cut connection": ("cdn", {"cut": 0}, WeightsUnavailable, "broke off"),
    "429": ("resolve", {"status": 429}, WeightsUnavailable, "HTTP 429"),
    "503": ("resolve", {"status": 503}, WeightsUnavailable, "HTTP 503"),
    "404": (
        "resolve",
        {"status": 404, "headers": {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}},
        WeightsNotFound,
        "no such file",
    ),
    "wrong commit": (
        "resolve",
        {"status": 404, "headers": {"X-Error-Code": "RevisionNotFound"}},
        WeightsNotFound,
        "no commit",
    ),
    "gated": (
        "resolve",
        {"status": 403, "headers": {"X-Error-Code": "GatedRepo"}},
        WeightsAccessDenied,
        "request it at",
    ),
}


@pytest.mark.parametrize(("route", "what", "error", "message"), FAULTS.values(), ids=list(FAULTS))
def test_a_failing_hub_never_gives_a_network(hub, small, cache, no_waiting, route, what, error, message):
    hub.fault(route, **what)
    with pytest.raises(error, match=f"(?s)se_resnet20.cifar10 could not be loaded.*{message}"):
        senet_zoo.create_model("se_resnet20", pretrained=True)
    assert leftovers(cache) == []
    assert not list(cache.rglob("snapshots/*/*"))
    hub.faults.clear()
    loaded = senet_zoo.create_model("se_resnet20", pretrained=True).state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in small.state_dict().items())


def test_a_dead_server_never_gives_a_network(small, no_waiting, monkeypatch):
    monkeypatch.setenv("SENET_ZOO_HUB", "http://127.0.0.1:9")
    with pytest.raises(WeightsUnavailable, match=r"(?s)127\.0\.0\.1:9 cannot be reached"):
        senet_zoo.create_model("se_resnet20", pretrained=True)


def test_verified_bytes_of_another_network_are_refused(hub, own_manifest):
    other = senet_zoo.create_model("resnet20", num_classes=10).eval()
    sha256 = hub.add("org/net", safetensors.torch.save(other.state_dict()))
    own_manifest("se_resnet20.cifar10", "org/net", COMMIT, sha256, "native")
    with pytest.raises(WeightsMismatch, match=r"(?s)missing: stages.0.0.se.fc1.bias.*Give weights of this network"):
        senet_zoo.create_model("se_resnet20", pretrained=True)


def test_a_checkpoint_without_the_classifier_that_its_row_promises_is_refused(hub, own_manifest):
    headless = senet_zoo.create_model("se_resnet20", num_classes=0).eval()
    sha256 = hub.add("org/net", safetensors.torch.save(headless.state_dict()))
    own_manifest("se_resnet20.cifar10", "org/net", COMMIT, sha256, "native")
    with pytest.raises(WeightsMismatch):
        senet_zoo.create_model("se_resnet20", pretrained=True)


def test_a_hub_address_loads_by_its_tensors(hub, small):
    loaded = senet_zoo.create_model("se_resnet20", weights="hf://org/net").state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in small.state_dict().items())
    with pytest.raises(WeightsError, match=r"no commit d{40}"):
        senet_zoo.create_model("se_resnet20", weights=f"hf://org/net@{'d' * 40}")


def test_the_loaded_file_is_not_hashed_again(small, monkeypatch):
    senet_zoo.create_model("se_resnet20", pretrained=True)
    monkeypatch.setattr(file_hashes, "digest", lambda path: pytest.fail("hashed again"))
    senet_zoo.create_model("se_resnet20", pretrained=True)
