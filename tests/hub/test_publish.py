"""A model goes to a hub and comes back the same function, through the unmodified client; or one error says why not."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hub.places import TREE, leftovers
from networks import randomise

import senet_zoo
from senet_zoo import SE, Activation, GateFunction, Placement, Preprocessing, Squeeze, Start
from senet_zoo.errors import (
    ManifestError,
    PublishError,
    UsageError,
    WeightsAccessDenied,
    WeightsCorrupted,
    WeightsError,
    WeightsMismatch,
    WeightsNotFound,
    WeightsUnavailable,
    WeightsUnsafe,
)
from senet_zoo.evaluation.tables import plot_confusion
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS
from senet_zoo.tasks import push_to_hub
from senet_zoo.training.metrics import EpochRow, plot_curves
from senet_zoo.weights.manifest import document, load_manifest
from senet_zoo.weights.publish import plan_publication

# The client sends large files in a way that its own HTTP library frowns on.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload:DeprecationWarning")

REPO, TOKEN = "org/net", "hf_secret"
VARIANT = SE(
    8, False, Placement.INNER, Squeeze.BOTH, Activation.GELU, GateFunction.HARD_SIGMOID, Start.IDENTITY, (2, 4)
)


@pytest.fixture
def open_hub(hub, monkeypatch):
    """A hub that takes our token, from a client that is told to do without Xet."""
    import huggingface_hub.constants

    hub.token = TOKEN
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    return hub


@pytest.fixture
def variant():
    torch.manual_seed(0)
    model = senet_zoo.create_model("se_resnet20", se=VARIANT, num_classes=3, in_channels=2).eval()
    randomise(model)
    return model


@pytest.fixture
def folder(variant, tmp_path):
    way = Preprocessing(size=32, resize=40, mean=(0.1, 0.2, 0.3))
    senet_zoo.save_pretrained(
        variant, tmp_path / "run", preprocessing=way, categories=("ant", "bee", "wasp"), license="mit"
    )
    return tmp_path / "run"


def fresh_cache(monkeypatch, tmp_path, name="another machine"):
    monkeypatch.setenv("SENET_ZOO_CACHE", str(tmp_path / name))


def test_a_variant_comes_back_from_a_hub_as_the_same_function_on_another_machine(
    open_hub, folder, variant, tmp_path, monkeypatch
):
    done = push_to_hub(folder, REPO, tag="v1.0")
    assert open_hub.head(REPO) == done.commit == open_hub.tags[REPO]["v1.0"]
    names = {".gitattributes", "README.md", "config.json", "model.safetensors", "preprocessor_config.json"}
    assert set(open_hub.repos[REPO][done.commit]) == names
    assert len(open_hub.repos[REPO]) == 2, "one commit after the first, empty one"
    fresh_cache(monkeypatch, tmp_path)
    x = torch.randn(2, 2, 32, 32)
    for again in (
        senet_zoo.from_pretrained(done.address),
        senet_zoo.create_model("se_resnet20", weights=done.address),
        senet_zoo.from_pretrained(f"hf://{REPO}"),
        senet_zoo.from_pretrained(f"hf://{REPO}@v1.0"),
        senet_zoo.create_model("se_resnet20", weights=f"hf://{REPO}@v1.0"),
    ):
        assert torch.equal(again(x), variant(x))
        assert again.spec == variant.spec
        assert again.weights.categories == ("ant", "bee", "wasp")
        assert again.weights.preprocessing == Preprocessing(size=32, resize=40, mean=(0.1, 0.2, 0.3))
    open_hub.log.clear()
    senet_zoo.from_pretrained(done.address)
    assert open_hub.log == [], "what is pinned and cached needs no request"


def test_the_row_of_published_weights_makes_them_pretrained_elsewhere(open_hub, tmp_path):
    model = senet_zoo.create_model("se_resnet20", pretrained=True)
    done = push_to_hub(model, REPO, tag="v2.0-final")
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps(document([done.row])))
    row = load_manifest(file).row("se_resnet20", "v2_0_final")
    (source,) = row.sources
    content = open_hub.repos[REPO][done.commit]["model.safetensors"]
    assert (source.repo, source.revision, source.sha256) == (REPO, done.commit, done.sha256)
    assert source.size == len(content)
    assert row.fingerprint is not None
    published = senet_zoo.get_weights("se_resnet20")
    assert (row.metrics, row.license, row.labels) == (published.metrics, "apache-2.0", "cifar10")


def test_a_licence_that_stands_in_the_card_alone_comes_into_the_row(open_hub, tmp_path):
    model = senet_zoo.create_model("se_resnet20").eval()
    way, names = senet_zoo.get_weights("se_resnet20").preprocessing, senet_zoo.get_weights("se_resnet20").categories
    senet_zoo.save_pretrained(model, tmp_path / "run", preprocessing=way, categories=names)
    (tmp_path / "run" / "README.md").write_text("---\nlicense: mit\n---\n")
    row = push_to_hub(tmp_path / "run", REPO).row
    assert (row.license, row.license_source) == ("mit", f"the model card of {REPO}")


def test_the_row_of_another_gate_makes_it_pretrained_elsewhere(open_hub, variant, folder, tmp_path, monkeypatch):
    done = push_to_hub(folder, REPO, tag="v1")
    assert done.row.se == VARIANT
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps(document([done.row])))
    monkeypatch.setenv("SENET_ZOO_MANIFEST", str(file))
    x = torch.randn(2, 2, 32, 32)
    for se in (None, VARIANT):
        again = senet_zoo.create_model("se_resnet20.v1", pretrained=True, se=se)
        assert again.spec == variant.spec
        assert torch.equal(again(x), variant(x))
    assert senet_zoo.verify_deep("se_resnet20.v1").ok
    with pytest.raises(UsageError, match=r"se_resnet20.v1 were trained with SE\(reduction=8.*not SE\(reduction=4"):
        senet_zoo.create_model("se_resnet20.v1", pretrained=True, se=SE(reduction=4))


def test_what_a_row_cannot_say_is_said(open_hub, tmp_path):
    narrow = ConvNet(replace(MODELS["se_resnet20"].spec(None, (16, 16, 24, 48)), name=None)).eval()
    senet_zoo.save_pretrained(randomise(narrow), tmp_path / "run", license="mit")
    done = push_to_hub(tmp_path / "run", REPO)
    assert done.row is None
    assert "no place for other widths than those of se_resnet20" in done.no_row


def test_publishing_the_same_again_sends_nothing(open_hub, folder):
    first = push_to_hub(folder, REPO, tag="v1")
    open_hub.log.clear()
    assert push_to_hub(folder, REPO, tag="v1") == first
    assert not any(method == "PUT" or "/commit/" in path for method, path, _ in open_hub.log)
    assert push_to_hub(folder, REPO, tag="v1-again").commit == first.commit


def test_a_tag_never_moves(open_hub, folder, variant):
    first = push_to_hub(folder, REPO, tag="v1")
    senet_zoo.save_pretrained(variant, folder, license="apache-2.0")
    with pytest.raises(PublishError, match=f"'v1' .* stands at commit {first.commit}.*Choose another tag"):
        push_to_hub(folder, REPO, tag="v1")
    assert open_hub.head(REPO) == first.commit
    second = push_to_hub(folder, REPO, tag="v2")
    assert open_hub.tags[REPO] == {"v1": first.commit, "v2": second.commit}


def test_the_card_on_the_hub_says_how_to_load_it_and_a_card_by_hand_is_sent_as_it_is(open_hub, folder):
    done = push_to_hub(folder, REPO)
    card = open_hub.repos[REPO][done.commit]["README.md"].decode()
    assert f'senet_zoo.from_pretrained("hf://{REPO}")' in card
    own = "---\nlicense: mit\n---\n\nMy wasps.\n"
    (folder / "README.md").write_text(own)
    done = push_to_hub(folder, REPO, tag="mine")
    assert open_hub.repos[REPO][done.commit]["README.md"].decode() == own


def figures(folder):
    """What a run draws into its folder."""
    plot_confusion(folder / "confusion.png", torch.eye(3, dtype=torch.long), ("ant", "bee", "wasp"))
    plot_curves(folder / "curves.png", [EpochRow(1, 10, 0.1, 2.0, 30.0, 2.1, 31.0, 100.0, 1.0)], 1)


def test_a_published_card_names_address_and_tag_and_shows_the_figures_of_the_run(open_hub, folder):
    figures(folder)
    done = push_to_hub(folder, REPO, tag="v1.0")
    files = open_hub.repos[REPO][done.commit]
    card = files["README.md"].decode()
    assert f'senet_zoo.from_pretrained("hf://{REPO}")' in card
    assert f"`hf://{REPO}@v1.0` loads this commit" in card
    assert "| class names | ant, bee, wasp |" in card
    for name in ("curves.png", "confusion.png"):
        assert f"]({name})" in card
        assert files[name] == (folder / name).read_bytes()
    assert "PATH/TO" not in card
    own = (folder / "README.md").read_text().replace("## Network", "I trained it.\n\n## Network")
    (folder / "README.md").write_text(own)
    sent = plan_publication(folder, REPO).files["README.md"].decode()
    assert "I trained it." in sent
    assert f'senet_zoo.from_pretrained("hf://{REPO}")' in sent
    assert "PATH/TO" not in sent


def test_pictures_of_others_and_of_other_tensors_do_not_go_along(hub, folder, variant):
    (folder / "curves.png").write_bytes(b"\x89PNG\r\n\x1a\n of another tool")
    assert "curves.png" not in plan_publication(folder, REPO).files
    (folder / "curves.png").unlink()
    figures(folder)
    senet_zoo.save_pretrained(senet_zoo.from_pretrained(folder), folder, license="apache-2.0")
    assert {"curves.png", "confusion.png"} <= plan_publication(folder, REPO).files.keys(), "the same tensors"
    with torch.no_grad():
        variant.classifier.bias.add_(1)
    senet_zoo.save_pretrained(variant, folder, license="mit")
    assert not {"curves.png", "confusion.png"} & plan_publication(folder, REPO).files.keys()


def test_a_private_repository_stays_private(open_hub, folder, monkeypatch, tmp_path):
    done = push_to_hub(folder, REPO, private=True)
    fresh_cache(monkeypatch, tmp_path)
    assert senet_zoo.from_pretrained(done.address).num_classes == 3
    monkeypatch.delenv("HF_TOKEN")
    fresh_cache(monkeypatch, tmp_path, "a stranger's")
    with pytest.raises(WeightsError, match="if it is private, set HF_TOKEN"):
        senet_zoo.from_pretrained(done.address)


def test_private_is_refused_where_the_repository_is_public(open_hub, folder):
    push_to_hub(folder, REPO)
    head = open_hub.head(REPO)
    with pytest.raises(PublishError, match="exists and is public"):
        push_to_hub(folder, REPO, private=True, tag="v2")
    assert open_hub.head(REPO) == head


STATUS = {
    "no right to write": ("commit", 403, WeightsAccessDenied, "may not write there"),
    "parent moved": ("commit", 412, PublishError, "somebody else committed there.*publish again"),
    "another change": ("commit", 409, PublishError, "another change is under way.*publish again"),
    "refused content": ("commit", 400, PublishError, "does not take this .HTTP 400.*correct it"),
    "dead on upload": ("lfs", 500, WeightsUnavailable, "HTTP 500.*publish again later"),
    "refused bytes": ("put", 400, PublishError, "does not take this .HTTP 400"),
    "no such organisation": ("create", 404, PublishError, "check the organisation's name"),
    "limited": ("preupload", 429, WeightsUnavailable, "HTTP 429.*publish again later"),
}


@pytest.mark.parametrize(("route", "status", "error", "message"), STATUS.values(), ids=list(STATUS))
def test_what_a_hub_refuses_is_one_error_and_changes_nothing_there(
    open_hub, folder, no_waiting, route, status, error, message
):
    open_hub.fault(route, status=status)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(error, match=message):
        push_to_hub(folder, REPO)
    assert not any("model.safetensors" in files for files in open_hub.repos.get(REPO, {}).values())
    assert REPO not in open_hub.tags
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    open_hub.faults.clear()
    push_to_hub(folder, REPO)


def test_a_commit_that_came_in_between_is_not_overwritten(open_hub, folder, monkeypatch):
    from huggingface_hub import HfApi

    push_to_hub(folder, REPO)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    send = HfApi.create_commit

    def late(self, *args, **settings):
        open_hub.add(REPO, b"theirs", commit="e" * 40, filename="notes.txt")
        return send(self, *args, **settings)

    monkeypatch.setattr(HfApi, "create_commit", late)
    with pytest.raises(PublishError, match="somebody else committed there"):
        push_to_hub(folder, REPO, tag="v2")
    assert open_hub.head(REPO) == "e" * 40


def test_a_broken_tag_is_mended_by_publishing_again(open_hub, folder, no_waiting):
    open_hub.fault("tag", status=503, times=1)
    with pytest.raises(WeightsUnavailable, match="publish again later"):
        push_to_hub(folder, REPO, tag="v1")
    commit = open_hub.head(REPO)
    assert push_to_hub(folder, REPO, tag="v1").commit == commit
    assert open_hub.tags[REPO] == {"v1": commit}


def test_a_hub_that_holds_other_bytes_is_found_out(open_hub, folder, monkeypatch):
    import hub.loopback

    oid = hub.loopback._oid
    monkeypatch.setattr(hub.loopback, "_oid", lambda name, content: oid(name, content[:-1]))
    with pytest.raises(PublishError, match="do not use that commit"):
        push_to_hub(folder, REPO)


@pytest.mark.parametrize(
    ("token", "message"), [(None, "needs a token with write access"), ("hf_old", "refuses this token")]
)
def test_no_token_or_a_refused_one_is_said_before_anything_is_sent(open_hub, folder, monkeypatch, token, message):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(WeightsAccessDenied, match=message) as caught:
        push_to_hub(folder, REPO, token=token)
    assert "hf_old" not in str(caught.value)
    assert open_hub.repos == {}


def test_a_dead_hub_is_one_error(open_hub, folder, no_waiting):
    with pytest.raises(WeightsUnavailable, match=r"the connection broke off .*publish again"):
        push_to_hub(folder, REPO, hub="http://127.0.0.1:9")


def test_a_hub_without_xet_is_named_with_what_to_set(open_hub, folder):
    # In a process of its own: whether the client uses Xet is settled when it is imported.
    code = f"from senet_zoo.tasks import push_to_hub; push_to_hub({str(folder)!r}, {REPO!r})"
    env = {name: value for name, value in os.environ.items() if name != "HF_HUB_DISABLE_XET"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=TREE, env=env, timeout=100)
    assert "PublishError" in done.stderr
    assert "has no Xet storage" in done.stderr
    assert "HF_HUB_DISABLE_XET=1" in done.stderr
    assert not any("model.safetensors" in files for files in open_hub.repos[REPO].values())


@pytest.mark.parametrize(
    ("repo", "tag", "message"),
    [
        ("net", None, "organisation/name"),
        ("org/a/b", None, "organisation/name"),
        ("org/../x", None, "organisation/name"),
        ("org/x--y", None, "does not take 'org/x--y'"),
        ("org/x.git", None, "does not take 'org/x.git'"),
        ("org/" + "x" * 100, None, "does not take"),
        (REPO, "v 1", "a tag must be one word"),
        (REPO, "v1..2", "a tag must be one word"),
        (REPO, "main", "named like the branch"),
    ],
)
def test_names_that_no_hub_takes_are_refused_here(hub, folder, repo, tag, message):
    with pytest.raises(UsageError, match=message):
        plan_publication(folder, repo, tag=tag)
    assert hub.log == []


def test_a_hub_that_is_no_address_is_refused(hub, folder):
    with pytest.raises(UsageError, match="http"):
        push_to_hub(folder, REPO, hub="hub.example.org", token="t")


def test_a_network_without_a_licence_is_not_published(hub, tmp_path):
    with pytest.raises(PublishError, match=r"names its licence.*license='apache-2.0'"):
        push_to_hub(senet_zoo.create_model("se_resnet20"), REPO, token="t")
    assert hub.log == []


def spoil_config(folder, change):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))


def damage(folder):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


SPOILT = {
    "no config": (lambda f: (f / "config.json").unlink(), WeightsNotFound, "there is no .*config.json"),
    "no tensors": (lambda f: (f / "model.safetensors").unlink(), WeightsNotFound, "there is no .*model.safetensors"),
    "no card": (lambda f: (f / "README.md").unlink(), PublishError, "there is no .*README.md"),
    "card of another licence": (
        lambda f: (f / "README.md").write_text("---\nlicense: gpl-3.0\n---\n"),
        PublishError,
        "one licence, but .*README.md says gpl-3.0 and config.json says mit.*license=",
    ),
    "card of two licences": (
        lambda f: (f / "README.md").write_text("---\nlicense: [mit, gpl-3.0]\n---\n"),
        PublishError,
        "one licence, but",
    ),
    "card of words only": (lambda f: (f / "README.md").write_text("Hello."), PublishError, "names its licence"),
    "broken YAML": (lambda f: (f / "README.md").write_text("---\nlicense: [\n---\n"), PublishError, "valid YAML"),
    "other tensors": (damage, PublishError, "speak of tensors of sha256"),
    "another answer": (
        lambda f: spoil_config(f, {"fingerprint": {"size": 32, "scale": 1.0, "logits": {"0": 0.5}, "sums": [0.5]}}),
        PublishError,
        "must answer what its config.json promises, but",
    ),
    "half a file": (lambda f: (f / "model.safetensors").write_bytes(b"{"), WeightsCorrupted, "model.safetensors"),
    "another network": (
        lambda f: spoil_config(f, {"architecture": "se_resnet32"}),
        WeightsMismatch,
        "80 missing",
    ),
    "another head": (
        lambda f: spoil_config(f, {"num_classes": 4, "categories": None}),
        WeightsMismatch,
        "num_classes is 4 there and 3",
    ),
    "unknown field": (lambda f: spoil_config(f, {"code": "x"}), ManifestError, "unknown fields: 'code'"),
}


@pytest.mark.parametrize(("spoil", "error", "message"), SPOILT.values(), ids=list(SPOILT))
def test_a_folder_that_is_not_whole_is_refused_before_the_hub_is_asked(hub, folder, spoil, error, message):
    spoil(folder)
    with pytest.raises(error, match=message):
        push_to_hub(folder, REPO, token=TOKEN)
    assert hub.log == []


def test_a_network_with_a_value_that_is_not_finite_is_refused(hub, variant, tmp_path):
    variant.classifier.bias.data[1] = torch.nan
    senet_zoo.save_pretrained(variant, tmp_path / "run", license="mit")
    with pytest.raises(PublishError, match="must be finite, but classifier"):
        push_to_hub(tmp_path / "run", REPO, token=TOKEN)
    assert hub.log == []


def test_a_repository_without_our_config_asks_for_the_name(hub, folder, variant):
    hub.add(REPO, (folder / "model.safetensors").read_bytes())
    for content in (None, b'{"architecture": "seresnet50", "num_classes": 3}'):
        if content is not None:
            hub.add(REPO, content, commit="d" * 40, filename="config.json")
            hub.add(REPO, (folder / "model.safetensors").read_bytes(), commit="d" * 40)
        address = f"hf://{REPO}@{'c' * 40 if content is None else 'd' * 40}"
        with pytest.raises(WeightsNotFound, match="none of this zoo; name the model"):
            senet_zoo.from_pretrained(address)
        assert senet_zoo.create_model("se_resnet20", weights=address, se=VARIANT).num_classes == 3


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b'{"se": {"reduction": 4, "bais": true}}', ManifestError, r"hf://org/net@c{40}/config.json lacks the field"),
        (b"{", ManifestError, "must be a JSON document"),
        (b"[" * 2**20 + b"]", WeightsUnsafe, "1048576 bytes at most, but has 1048577; it is not fetched"),
    ],
    ids=["no field", "no JSON", "too long"],
)
def test_a_config_on_a_hub_is_read_as_strictly_as_one_on_disk(hub, folder, cache, content, error, message):
    hub.add(REPO, (folder / "model.safetensors").read_bytes())
    hub.add(REPO, content, filename="config.json")
    with pytest.raises(error, match=message):
        senet_zoo.from_pretrained(f"hf://{REPO}")
    assert leftovers(cache) == []


def test_a_config_altered_on_the_way_is_fetched_again_and_else_refused(hub, folder, variant):
    hub.add(REPO, (folder / "model.safetensors").read_bytes())
    hub.add(REPO, (folder / "config.json").read_bytes(), filename="config.json")
    senet_zoo.create_model("se_resnet20", weights=f"hf://{REPO}", se=VARIANT)
    fresh = next(iter((folder.parent / "cache").rglob("snapshots/*/config.json")))
    fresh.write_bytes(fresh.read_bytes().replace(b"wasp", b"WASP"))
    assert senet_zoo.from_pretrained(f"hf://{REPO}").weights.categories == ("ant", "bee", "wasp")
    fresh.unlink()
    hub.fault("resolve", flip=0.5)
    with pytest.raises(WeightsCorrupted, match="other bytes than were committed, twice"):
        senet_zoo.from_pretrained(f"hf://{REPO}")
