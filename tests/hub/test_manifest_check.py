"""A manifest is checked as a whole: every problem of every row is listed, and the shipped one has none."""

import json
import re
from copy import deepcopy
from types import SimpleNamespace

import pytest
import safetensors.torch
from hub.places import TREE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import senet_zoo
from senet_zoo.errors import ManifestError
from senet_zoo.weights import installed_figures
from senet_zoo.weights.hub_repository import Servers
from senet_zoo.weights.manifest import default_path, document, load_manifest, parse_manifest
from senet_zoo.weights.manifest_check import check_manifest
from senet_zoo.weights.rows import HubFile

CAFFE, CIFAR = ("se_resnet50", "caffe_in1k"), ("se_resnet20", "cifar10")


@pytest.fixture
def problems(tmp_path, manifest):
    """Checks a manifest of a few shipped rows after it was spoilt; gives the problems of each row."""

    def check(spoil, servers=None):
        names = {"se_resnet50": "caffe_in1k", "se_resnet20": "cifar10"}
        data = {"manifest_version": 1, "models": {}}
        for model, tag in names.items():
            row = deepcopy(manifest["models"][model]["weights"][tag])
            data["models"][model] = {"default": "mine", "weights": {"mine": row}}
        spoil({model: each["weights"]["mine"] for model, each in data["models"].items()}, data)
        file = tmp_path / "mine.json"
        file.write_text(json.dumps(data))
        found = check_manifest(file, servers)
        assert found.ok == all(check.ok for check in found.checks)
        return [(check.name, check.found) for check in found.checks if not check.ok]

    return check


def test_the_shipped_manifest_is_sound(cache):
    found = check_manifest(TREE / "weights_manifest.json")
    assert [check for check in found.checks if not check.ok] == []
    assert len(found.checks) == 1 + sum(map(len, load_manifest(default_path()).models.values()))


def test_a_metric_that_names_its_source_without_the_figure_is_a_problem(problems, cache):
    def spoil(rows, data):
        rows["se_resnet50"]["metrics"][0]["value"] = None

    ((name, found),) = problems(spoil)
    assert name == "se_resnet50.mine"
    assert "its top1 at 224 pixels names a source (timm, results-imagenet.csv at aa4b5850) and no figure" in found


RESNET50 = ("resnet50b", "tv2_in1k")


@pytest.fixture
def torchvisions(manifest):
    """A row that torchvision publishes too, as a value to spoil, and what a check then says of it."""
    model, tag = RESNET50
    row = deepcopy(manifest["models"][model]["weights"][tag])

    def check():
        parsed = parse_manifest(
            {"manifest_version": 1, "models": {model: {"default": tag, "weights": {tag: row}}}}, "a"
        )
        return list(installed_figures.problems(parsed.row(model, tag)))

    return row, check


def test_what_an_installed_library_publishes_and_a_row_lacks_is_a_problem(torchvisions):
    row, check = torchvisions
    assert check() == []
    top1, top5 = row["metrics"]
    for spoilt in ([{**top1, "value": None}, top5], [top5], [{**top1, "size": 232}, top5]):
        row["metrics"] = spoilt
        (problem,) = check()
        assert re.fullmatch(
            r"its top1 at 224 pixels is not known, and torchvision \S+ publishes 80\.858; copy .*", problem
        )
    row["metrics"] = []
    assert len(check()) == 2
    row["metrics"] = [{**top1, "value": 80.9}, top5]
    (problem,) = check()
    assert "its top1 at 224 pixels is 80.9 here, and 80.858 in torchvision" in problem
    row["metrics"] = [{**top1, "value": 80.9, "who": "a benchmark of ours"}, top5]
    assert check() == []


def test_an_installed_timm_fills_a_licence_and_its_table_the_accuracies(torchvisions, monkeypatch):
    row, check = torchvisions
    row["license"] = None
    assert [re.sub(r"timm \S+", "timm", each) for each in check()] == [
        "timm says that its licence is bsd-3-clause; copy it"
    ]
    row["license"] = "bsd-3-clause"
    table = {"resnet50.tv2_in1k": {("top1", 288): 81.1}}
    monkeypatch.setattr(installed_figures, "_timm_table", lambda: table)
    (problem,) = check()
    assert "its top1 at 288 pixels is not known, and timm" in problem
    monkeypatch.setattr(installed_figures, "_timm", lambda: None)
    assert check() == []


def test_the_table_beside_a_timm_from_its_repository_is_read(tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "results-imagenet.csv").write_text(
        "model,img_size,top1,top1_err,top5,top5_err,param_count,crop_pct,interpolation\n"
        "resnet50d.ra2_in1k,288,81.354,18.646,95.742,4.258,25.58,0.950,bicubic\n"
    )
    monkeypatch.setattr(
        installed_figures, "_timm", lambda: SimpleNamespace(__file__=str(tmp_path / "timm" / "__init__.py"))
    )
    found = installed_figures._timm_table.__wrapped__()
    assert found == {"resnet50d.ra2_in1k": {("top1", 288): 81.354, ("top5", 288): 95.742}}


def test_rows_of_timms_table_give_top1_and_top5_at_every_published_size():
    published = {  # results-imagenet.csv of huggingface/pytorch-image-models at aa4b5850
        "resnet50d.ra2_in1k": {288: (81.354, 95.742), 224: (80.546, 95.160)},
        "resnet152d.ra2_in1k": {320: (83.684, 96.750), 256: (83.160, 96.370)},
        "inception_v3.tf_adv_in1k": {299: (77.598, 93.726)},
        "se_mnasnet.rmsp_in1k": {224: (75.452, 92.608)},
        "se_resnext26d_32x4d.bt_in1k": {288: (78.816, 94.266), 224: (77.592, 93.614)},
    }
    for name, sizes in published.items():
        found = {(metric.name, metric.size): metric.value for metric in senet_zoo.get_weights(name).metrics}
        expected = {
            (kind, size): value
            for size, pair in sizes.items()
            for kind, value in zip(("top1", "top5"), pair, strict=True)
        }
        assert found == expected


def test_every_broken_rule_of_every_row_is_listed(problems, cache):
    def spoil(rows, data):
        rows["se_resnet50"].update(num_classes=999, licence="mit", license_source=" ")
        rows["se_resnet50"]["sources"][0]["revision"] = "main"
        rows["se_resnet50"]["sources"][1]["sha256_prefix"] = "ce0d"
        rows["se_resnet50"]["metrics"][1]["value"] = 101
        del rows["se_resnet20"]["citation"]
        rows["se_resnet20"]["preprocessing"]["mean"] = [0.5]
        data["models"]["se_resnet20"]["default"] = "other"
        data["endpoint"] = "https://evil.example"

    found = problems(spoil)
    assert {name for name, _ in found} == {"form"}
    expected = [
        "unknown fields: 'endpoint'",
        "se_resnet20.default must be one of the model's tags (mine), got 'other'",
        "num_classes must be 1000",
        "unknown fields: 'licence'",
        "license_source must be a text",
        "sources[0].revision must be the 40 hex digits",
        "sources[1].sha256_prefix must be the first 8",
        "metrics[1].value must be a number from 0 to 100",
        "lacks the field 'citation'",
        "preprocessing.mean must be a list of three",
    ]
    missing = [part for part in expected if not any(part in text for _, text in found)]
    assert missing == []
    assert len(found) == len(expected)


def test_a_row_that_can_be_read_is_checked_beside_one_that_cannot(problems, cache):
    def spoil(rows, data):
        rows["se_resnet50"]["in_channels"] = "3"
        rows["se_resnet20"]["parameters"] += 1

    assert [name for name, _ in problems(spoil)] == ["form", "se_resnet20.mine"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2000) | st.text(max_size=3) | st.sampled_from(["main", "cifar10"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_review_finds_something_exactly_where_reading_refuses(manifest, tmp_path, data):
    """Anything is put anywhere into a manifest of two rows, up to twice."""
    document = {
        "manifest_version": 1,
        "models": {model: deepcopy(manifest["models"][model]) for model in ("se_resnet50", "se_resnet20")},
    }
    document["models"]["se_resnet20"]["weights"]["cifar10"]["training"] = None
    for _ in range(data.draw(st.integers(1, 2))):
        item = document
        while True:
            key = data.draw(st.sampled_from([*(item if isinstance(item, dict) else range(len(item)))] or [None]))
            if key is None:
                break
            if not (isinstance(item[key], dict | list) and item[key] and data.draw(st.integers(0, 3))):
                item[key] = data.draw(JSON)
                break
            item = item[key]
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(document))
    try:
        load_manifest(file)
        refused = None
    except ManifestError as e:
        refused = str(e)
    found = [check.found for check in check_manifest(file).checks if check.name == "form" and not check.ok]
    assert bool(found) == (refused is not None)
    assert refused is None or refused in found


@pytest.mark.parametrize(
    ("text", "message"), [("{", "must be a JSON document"), ("[]", "must be a JSON object"), ("{}", "manifest_version")]
)
def test_a_file_that_cannot_be_read_is_one_problem(tmp_path, text, message):
    (tmp_path / "mine.json").write_text(text)
    (check,) = check_manifest(tmp_path / "mine.json").checks
    assert not check.ok
    assert message in check.found
    (check,) = check_manifest(tmp_path / "none.json").checks
    assert "cannot be read" in check.found


def no_model(rows, data):
    data["models"]["se_resnet21"] = data["models"].pop("se_resnet20")


def an_alias(rows, data):
    data["models"]["legacy_seresnet50"] = data["models"].pop("se_resnet50")


def a_published_name(rows, data):
    row = {**rows["se_resnet20"], "license": "mit"}
    data["models"]["se_resnet20"] = {"default": "cifar10", "weights": {"cifar10": row}}


def twice_in_a_row(rows, data):
    rows["se_resnet50"]["sources"] *= 2


def in_two_rows(rows, data):
    data["models"]["se_resnet50"]["weights"]["copy"] = rows["se_resnet50"]


def the_twins_file(rows, data):
    plain = load_manifest(default_path()).row("resnet20", "cifar10")
    (source,) = document([plain])["models"]["resnet20"]["weights"]["cifar10"]["sources"]
    rows["se_resnet20"]["sources"] = [source]


def altered(rows, data):
    rows["se_resnet20"]["sources"][0]["sha256"] = "0" * 64


SPOILT = {
    "unknown model": (no_model, "se_resnet21.mine", "no model of the zoo is named so"),
    "alias": (an_alias, "legacy_seresnet50.mine", "its name here is se_resnet50"),
    "name of the zoo's own": (a_published_name, "se_resnet20.cifar10", "the zoo publishes other weights of that name"),
    "no licence": (
        lambda rows, _: rows["se_resnet50"].update(license=None),
        "se_resnet50.mine",
        "licence is not known",
    ),
    "parameters": (lambda rows, _: rows["se_resnet50"].update(parameters=1), "se_resnet50.mine", "has 28088024"),
    "dialect of another form": (
        lambda rows, _: rows["se_resnet50"]["sources"][0].update(dialect="timm_resnet"),
        "se_resnet50.mine",
        "nobody publishes se_resnet50 under the names of",
    ),
    "a hash that the file's name denies": (
        lambda rows, _: rows["se_resnet50"]["sources"][-1].update(sha256_prefix="0123abcd"),
        "se_resnet50.mine",
        "must start with the digits that end the file's name",
    ),
    "the model's own gate": (
        lambda rows, _: rows["se_resnet50"].update(se={"reduction": 16}),
        "se_resnet50.mine",
        "its gate is the model's own",
    ),
    "a gate that the model cannot have": (
        lambda rows, _: rows["se_resnet50"].update(se={"stages": [9]}),
        "se_resnet50.mine",
        "its gate is none of se_resnet50: this network has stages 2 to 5",
    ),
    "twice in a row": (twice_in_a_row, "se_resnet50.mine", "stands twice in this row"),
    "in two rows": (in_two_rows, "se_resnet50.copy", "is a file of se_resnet50.mine"),
    "another network's tensors": (the_twins_file, "se_resnet20.mine", "says it holds resnet20|missing"),
    "other bytes": (altered, "se_resnet20.mine", "the sha256 of .* must be 0000"),
    "channels": (lambda rows, _: rows["se_resnet20"].update(in_channels=1), "se_resnet20.mine", "takes 3 channels"),
}


@pytest.mark.parametrize(("spoil", "name", "message"), SPOILT.values(), ids=list(SPOILT))
def test_what_the_zoo_knows_better_is_a_problem_of_its_row(problems, cache, spoil, name, message):
    found = problems(spoil)
    assert {row for row, _ in found} == {name}
    assert any(re.search(message, text) for _, text in found)


def test_offline_nobody_is_asked_and_online_every_file_is(hub, problems):
    model = senet_zoo.create_model("se_resnet20", num_classes=10).eval()
    content = safetensors.torch.save(model.state_dict())
    sha256 = hub.add("org/net", content)
    hub.add("org/twin", safetensors.torch.save(senet_zoo.create_model("resnet20", num_classes=10).state_dict()))

    def sources(*of):
        def spoil(rows, data):
            del data["models"]["se_resnet50"]
            rows["se_resnet20"]["sources"] = [{"kind": "hub", **vars(source)} for source in of]

        return spoil

    size = len(content)

    def file(repo="org/net", revision="c" * 40, sha256=sha256, size=size):
        return HubFile(repo, revision, "model.safetensors", sha256, size, "native")

    unknown = {"revision": None, "sha256": None, "size": None}
    wrong = (file("org/gone"), file("org/net", sha256="0" * 64, size=1), file("org/twin", **unknown))
    assert problems(sources(*wrong)) == []
    assert hub.log == []
    assert problems(sources(file(), file(**unknown)), Servers()) == []
    assert hub.sent < len(content) / 10, "no tensor is fetched"
    texts = [text for _, text in problems(sources(*wrong), Servers())]
    assert len(texts) == 4
    assert "no such repository" in texts[0]
    assert f"its sha256 is {'0' * 64} in the manifest, but {sha256}" in texts[1]
    assert "its size is 1 in the manifest" in texts[2]
    assert "missing: stages.0.0.se.fc1.bias" in texts[3]


def test_a_file_that_was_fetched_before_is_read_here(hub, problems):
    from senet_zoo.weights.download import locate_hub

    content = safetensors.torch.save(senet_zoo.create_model("resnet20", num_classes=10).state_dict())
    sha256 = hub.add("org/twin", content)
    locate_hub("org/twin", "c" * 40)
    hub.log.clear()

    def spoil(rows, data):
        source = HubFile("org/twin", "c" * 40, "model.safetensors", sha256, len(content), "native")
        rows["se_resnet20"]["sources"] = [{"kind": "hub", **vars(source)}]

    ((name, text),) = problems(spoil)
    assert (name, "missing: stages.0.0.se.fc1.bias" in text) == ("se_resnet20.mine", True)
    assert hub.log == []
