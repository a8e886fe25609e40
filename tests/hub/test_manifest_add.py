"""A row is made of what a hub says, without downloading tensors; it is the publisher's own row, and it loads."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from networks import randomise
from timm.models._hub import save_config_for_hf

import senet_zoo
from senet_zoo import SE
from senet_zoo.errors import (
    ManifestError,
    UnknownModelError,
    UsageError,
    WeightsMismatch,
    WeightsNotFound,
    WeightsUnavailable,
    WeightsUnsafe,
)
from senet_zoo.formats import safetensors as tensor_files
from senet_zoo.formats.metadata import FileMetadata
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS
from senet_zoo.weights.manifest import load_manifest
from senet_zoo.weights.manifest_edit import add_row, row_of_repository
from senet_zoo.weights.publish import plan_publication

REPO, COMMIT = "org/net", "c" * 40


def publish(hub, folder):
    """The files of a folder as one commit of REPO."""
    for path in sorted(folder.iterdir()):
        hub.add(REPO, path.read_bytes(), filename=path.name)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    senet_zoo.save_pretrained(senet_zoo.create_model("se_resnet20", pretrained=True), folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    """Published weights, saved again; to be spoilt."""
    return Path(shutil.copytree(saved, tmp_path / "run"))


def spoil_config(folder, **change):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))


def assert_no_tensor_was_fetched(hub):
    assert {status for _, path, status in hub.log if path.startswith("/cdn")} == {206}
    assert hub.sent < 150_000


def test_the_row_is_the_publishers_own_and_pinned(hub, folder):
    publish(hub, folder)
    hub.tags[REPO] = {"v1.0": COMMIT}
    made = row_of_repository(f"hf://{REPO}@v1.0")
    published = plan_publication(folder, REPO, tag="v1.0").row
    (source,) = published.sources
    assert made.row == replace(published, sources=(replace(source, revision=COMMIT),))
    assert made.row.metrics == senet_zoo.get_weights("se_resnet20").metrics
    assert made.unknown == ("the address of whoever trained it",)
    assert_no_tensor_was_fetched(hub)


def test_a_row_that_was_added_is_pretrained_weights_on_this_machine(hub, folder, tmp_path, monkeypatch):
    publish(hub, folder)
    add_row(tmp_path / "mine.json", row_of_repository(REPO, tag="again").row)
    monkeypatch.setenv("SENET_ZOO_MANIFEST", str(tmp_path / "mine.json"))
    ours, again = (senet_zoo.create_model(f"se_resnet20.{tag}", pretrained=True) for tag in ("cifar10", "again"))
    assert all(torch.equal(tensor, again.state_dict()[key]) for key, tensor in ours.state_dict().items())


def test_a_network_with_classes_of_its_own_gets_a_row_that_names_them(hub, folder, tmp_path, monkeypatch):
    names = [f"flower {n}" for n in range(10)]
    spoil_config(folder, categories=names, provenance=None, fingerprint=None)
    publish(hub, folder)
    made = row_of_repository(REPO).row
    assert (made.labels, made.categories, made.tag) == ("own", tuple(names), "net")
    add_row(tmp_path / "mine.json", made)
    monkeypatch.setenv("SENET_ZOO_MANIFEST", str(tmp_path / "mine.json"))
    assert senet_zoo.create_model("se_resnet20.net", pretrained=True).weights.categories == tuple(names)
    assert senet_zoo.get_weights("se_resnet20").name == "se_resnet20.cifar10", "the default stays"


def test_a_second_row_of_a_file_is_refused_at_once(hub, folder, tmp_path):
    spoil_config(folder, provenance=None, fingerprint=None)
    publish(hub, folder)
    add_row(tmp_path / "mine.json", row_of_repository(REPO).row)
    before = (tmp_path / "mine.json").read_text()
    with pytest.raises(ManifestError, match=r"a file has one row, and .*mine\.json has se_resnet20\.net for that"):
        add_row(tmp_path / "mine.json", row_of_repository(REPO, tag="again").row)
    assert (tmp_path / "mine.json").read_text() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"categories": None}, "a name for each of num_classes where labels is 'own'"),
        ({"categories": ["one"]}, "a name for each of num_classes"),
        ({"labels": "cifar10"}, "null elsewhere"),
    ],
)
def test_class_names_belong_to_labels_of_ones_own(hub, folder, tmp_path, change, said):
    spoil_config(folder, categories=[f"flower {n}" for n in range(10)], provenance=None, fingerprint=None)
    publish(hub, folder)
    add_row(tmp_path / "mine.json", row_of_repository(REPO).row)
    content = json.loads((tmp_path / "mine.json").read_text())
    content["models"]["se_resnet20"]["weights"]["net"] |= change
    (tmp_path / "mine.json").write_text(json.dumps(content))
    with pytest.raises(ManifestError, match=said):
        load_manifest(tmp_path / "mine.json")


def test_a_repository_of_timm_gives_the_row_that_was_written_by_hand(hub, tmp_path):
    name = "seresnext26d_32x4d.bt_in1k"
    model = timm.create_model(name)
    save_config_for_hf(model, tmp_path / "config.json")
    hub.add(REPO, (tmp_path / "config.json").read_bytes(), filename="config.json")
    sha256 = hub.add(REPO, safetensors.torch.save(model.state_dict()))
    made = row_of_repository(REPO)
    by_hand = senet_zoo.get_weights("se_resnext26d_32x4d.bt_in1k").row
    same = ("name", "num_classes", "labels", "in_channels", "parameters", "preprocessing", "license", "origin")
    for field in same:
        assert getattr(made.row, field) == getattr(by_hand, field), field
    (source,) = made.row.sources
    assert (source.revision, source.sha256, source.dialect) == (COMMIT, sha256, by_hand.sources[0].dialect)
    assert made.row.license_source == f"config.json of {REPO}"
    assert made.row.metrics == ()
    assert [said.split(":")[0].split(",")[0] for said in made.unknown] == ["its accuracy", "its fingerprint"]
    assert_no_tensor_was_fetched(hub)


def test_a_file_that_convert_wrote_speaks_for_itself(hub, folder, tmp_path):
    weights = senet_zoo.get_weights("se_resnet20")
    tensors = tensor_files.read(folder / "model.safetensors", tensor_files.check(folder / "model.safetensors"))
    said = FileMetadata(weights.preprocessing, "cifar10", weights.row.fingerprint).texts()
    for metadata, model in (({"model": "se_resnet20"}, None), ({}, "se_resnet20")):
        tensor_files.write(tmp_path / "converted.safetensors", tensors, {**said, **metadata})
        hub.add(REPO, (tmp_path / "converted.safetensors").read_bytes())
        row = row_of_repository(REPO, model=model).row
        assert (row.model, row.preprocessing, row.labels) == ("se_resnet20", weights.preprocessing, "cifar10")
        assert row.fingerprint == weights.row.fingerprint
    with pytest.raises(WeightsNotFound, match=r"neither config.json nor model.safetensors says which.*--model"):
        row_of_repository(REPO)


def test_a_licence_that_only_the_card_names_is_the_cards(hub, folder):
    spoil_config(folder, provenance=None)
    (folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    publish(hub, folder)
    row = row_of_repository(REPO).row
    assert (row.license, row.license_source) == ("cc-by-4.0", f"the model card of {REPO}")
    assert row.tag == "net"


@pytest.mark.parametrize("card", [None, "no metadata", "---\nlicense: [\n---\n", "---\nlicense: [mit]\n---\n"])
def test_what_nobody_says_is_null_and_named(hub, folder, card):
    spoil_config(folder, provenance=None, fingerprint=None)
    (folder / "README.md").unlink()
    if card is not None:
        (folder / "README.md").write_text(card)
    publish(hub, folder)
    made = row_of_repository(REPO)
    assert (made.row.license, made.row.origin, made.row.metrics, made.row.fingerprint) == (None, None, (), None)
    assert [said.split()[1] for said in made.unknown] == ["licence:", "address", "accuracy:", "fingerprint,"]


def test_a_network_with_another_gate_has_a_row_that_names_the_gate(hub, folder):
    save(senet_zoo.create_model("se_resnet20", se=SE(reduction=4, bias=False), num_classes=10).eval(), folder)
    publish(hub, folder)
    row = row_of_repository(REPO).row
    assert row.se == SE(reduction=4, bias=False)
    assert row.parameters == sum(each.numel() for each in senet_zoo.from_pretrained(folder).parameters())


def no_config(hub, folder):
    (folder / "config.json").unlink()


def save(model, folder):
    weights = senet_zoo.get_weights("se_resnet20")
    randomise(model)
    senet_zoo.save_pretrained(model, folder, preprocessing=weights.preprocessing, categories=weights.categories)


def fewer_channels(hub, folder):
    save(ConvNet(replace(MODELS["se_resnet20"].spec(None, (16, 16, 24, 48)), name=None)).eval(), folder)


def other_tensors(hub, folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def other_network(hub, folder):
    spoil_config(folder, architecture="se_resnet32", provenance=None)


def pickle_inside(hub, folder):
    spoil_config(folder, provenance=None)
    (folder / "model.safetensors").write_bytes(b"PK\x03\x04" + b"\0" * 100)


def long_header(hub, folder):
    (folder / "model.safetensors").write_bytes((2**21).to_bytes(8, "little") + b"{" + b" " * 2**21)


REFUSED = {
    "other widths": (fewer_channels, {}, ManifestError, "no place for other widths"),
    "no config": (no_config, {}, ManifestError, "needs preprocessing and class names"),
    "other tensors than the config's": (other_tensors, {}, WeightsMismatch, "speaks of tensors of sha256"),
    "another network's tensors": (other_network, {}, WeightsMismatch, "must be exactly the network's"),
    "another model": (lambda *_: None, {"model": "se_resnet32"}, UsageError, "holds se_resnet20, not se_resnet32"),
    "no such model": (lambda *_: None, {"model": "se_resnet21"}, UnknownModelError, "se_resnet20"),
    "a tag of two words": (lambda *_: None, {"tag": "my tag"}, UsageError, "lower-case words"),
    "a pickle": (pickle_inside, {}, WeightsUnsafe, "is a pickle"),
    "a header to exhaust memory": (long_header, {}, WeightsUnsafe, "claims 2097152"),
    "no tensors": (lambda _, folder: (folder / "model.safetensors").unlink(), {}, WeightsNotFound, "no such file"),
}


@pytest.mark.parametrize(("spoil", "settings", "error", "message"), REFUSED.values(), ids=list(REFUSED))
def test_what_no_row_can_say_is_refused_with_the_reason(hub, folder, spoil, settings, error, message):
    spoil(hub, folder)
    publish(hub, folder)
    with pytest.raises(error, match=message):
        row_of_repository(REPO, **settings)
    assert hub.sent < 150_000


FAULTS = {
    "dead": ("api", {"status": 503}, "failed .HTTP 503"),
    "dead storage": ("cdn", {"status": 503}, "failed .HTTP 503"),
    "another service": ("api", {"status": 200, "body": b"[]"}, "does not answer like a hub"),
    "odd fields": ("api", {"status": 200, "body": b'{"id": "org/net", "siblings": [5]}'}, "does not answer like a hub"),
    "a login page": ("api", {"status": 200, "body": b"<html>"}, "from .* broke off"),
    "no hash": (
        "api",
        {"status": 200, "body": b'{"id": "org/net", "sha": "c", "siblings": [{"rfilename": "model.safetensors"}]}'},
        "must name a commit, a sha256 and a size",
    ),
    "half a header": ("cdn", {"cut": 100, "times": 2}, "broke off|came"),
}


@pytest.mark.parametrize(("route", "what", "message"), FAULTS.values(), ids=list(FAULTS))
def test_a_hub_that_fails_is_named(hub, folder, no_waiting, route, what, message):
    publish(hub, folder)
    hub.fault(route, **what)
    with pytest.raises(WeightsUnavailable, match=message):
        row_of_repository(REPO)


@pytest.mark.parametrize("route", ["api", "cdn"])
def test_a_hub_that_falls_silent_is_not_waited_for(hub, folder, no_waiting, monkeypatch, route):
    from huggingface_hub import constants

    publish(hub, folder)
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.05)
    hub.fault(route, stall=0.5)
    with pytest.raises(WeightsUnavailable, match=r"did not answer in time.*HF_HUB_DOWNLOAD_TIMEOUT"):
        row_of_repository(REPO)


def test_a_hub_without_ranges_is_not_drained(hub, folder, monkeypatch):
    publish(hub, folder)
    handler = hub._server.RequestHandlerClass
    send = handler._send

    def whole(self, *args, **settings):
        del self.headers["Range"]
        send(self, *args, **settings)

    monkeypatch.setattr(handler, "_send", whole)
    with pytest.raises(WeightsUnavailable, match="without HTTP ranges"):
        row_of_repository(REPO)


@pytest.mark.parametrize("address", ["net", "hf://org/net@", "org/net@../x"])
def test_a_malformed_address_is_refused_before_any_request(hub, address):
    with pytest.raises(UsageError, match="of a hub file must be"):
        row_of_repository(address)
    assert hub.log == []
