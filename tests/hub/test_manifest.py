"""The shipped manifest against outside truths, and the rules that a manifest must keep."""

import json
import math
from collections import Counter
from copy import deepcopy

import jsonschema
import pytest
import torch
import torchvision
from hub.places import TREE
from pytorchcv.models.common import model_store
from timm.models import get_pretrained_cfg

from senet_zoo import SE, get_weights
from senet_zoo.errors import ManifestError, UnknownWeightsError
from senet_zoo.networks.registry import ALIASES, MODELS
from senet_zoo.weights.manifest import load_manifest
from senet_zoo.weights.rows import HubFile, Metric, PackageFile, ReleaseFile

SCHEMA = json.loads((TREE / "weights_manifest.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
MANIFEST = load_manifest()
ROWS = [row for model in MANIFEST.models for row in MANIFEST.rows(model)]
PUBLIC = [row for row in ROWS if not any(isinstance(source, PackageFile) for source in row.sources)]


def test_the_shipped_manifest_keeps_its_schema(manifest):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    VALIDATOR.validate(manifest)


def test_every_model_of_the_manifest_exists():
    assert set(MANIFEST.models) <= set(MODELS)


def timm_config(row):
    """What timm says of the same weights: under the repository's name, or the legacy model's of the same file."""
    for source in row.sources:
        if isinstance(source, HubFile) and source.repo.startswith("timm/"):
            return get_pretrained_cfg(source.repo.removeprefix("timm/"))
    if row.model == "xception":
        return get_pretrained_cfg("legacy_xception.tf_in1k")
    legacy = next(name for name, model in ALIASES.items() if model == row.model and name.startswith("legacy_"))
    return get_pretrained_cfg(f"{legacy}.in1k")


TORCHVISIONS = [
    row
    for row in PUBLIC
    if getattr(row.sources[-1], "url", "").startswith("https://download.pytorch.org/")
    and row.model in torchvision.models.list_models()
]
OSMRS = [row for row in PUBLIC if row.origin == "https://github.com/osmr/imgclsmob"]
MMS = [row for row in PUBLIC if row.origin == "https://github.com/open-mmlab/mmpretrain"]
MOSKOMULES = [row for row in PUBLIC if row.origin == "https://github.com/moskomule/senet.pytorch"]
TIMMS = [row for row in PUBLIC if not any(row in others for others in (TORCHVISIONS, OSMRS, MMS, MOSKOMULES))]


def test_moskomules_row_names_its_gate_without_biases():
    (row,) = MOSKOMULES
    assert (row.name, row.se, row.parameters) == ("se_resnet50b.moskomule_in1k", SE(bias=False), 28_071_976)
    (source,) = row.sources
    assert source.url.endswith(f"-{source.sha256_prefix}.pkl")


def test_the_page_counts_the_rows_and_what_they_know_of_their_files():
    page = (TREE / "docs" / "from-other-libraries.md").read_text()
    states = Counter(row.pin_state.value for row in ROWS)
    assert f"prints the rows, {len(ROWS)} of them" in page
    assert f"{states['pinned']} are pinned, {states['hashed']} hashed, {states['unpinned']} unpinned" in page


def test_a_row_of_cub_names_its_birds():
    rows = [row for row in ROWS if row.labels == "cub"]
    assert len(rows) == 13
    names = get_weights("se_resnet18b.osmr_cub").categories
    assert (len(set(names)), names[0], names[199]) == (200, "Black_footed_Albatross", "Common_Yellowthroat")


def test_a_row_of_pytorchcv_says_what_its_package_says():
    lines = {line[0]: line for line in model_store.load_csv(model_store.get_model_metainfos_file_path())[1:]}
    for row in OSMRS:
        (source,) = row.sources
        name, error, digits = source.filename.removesuffix(".pth.zip").rsplit("-", 2)
        _, parameters, published_error, sha1, release, *_, size, scale, _, _ = lines[name]
        assert (source.sha1, error, int(parameters)) == (sha1, published_error, row.parameters), row.name
        assert source.url.startswith(f"{row.origin}/releases/download/{release}/")
        assert digits == sha1[:8]
        (metric,) = row.metrics
        assert metric.name == ("top5" if row.labels == "imagenet-1k" else "top1")
        assert metric.value == round(100 - int(error) / 100, 2)
        if size != "NA":
            assert (row.preprocessing.size, row.preprocessing.resize) == (
                int(size),
                math.ceil(int(size) / float(scale)),
            )


@pytest.mark.parametrize("row", TORCHVISIONS, ids=lambda row: row.name)
def test_a_row_that_has_torchvisions_name_says_what_torchvision_says(row):
    theirs = torchvision.models.get_model_weights(row.model).IMAGENET1K_V1
    transform, accuracy = theirs.transforms(), theirs.meta["_metrics"]["ImageNet-1K"]
    source = row.sources[-1]
    mean, std, parameters = tuple(transform.mean), tuple(transform.std), theirs.meta["num_params"]
    if row.model == "inception_v3":  # counted with its auxiliary classifier, and turns that input into this one
        with torch.device("meta"):
            net = torchvision.models.inception_v3(init_weights=False)
        mean = std = (0.5, 0.5, 0.5)
        parameters -= sum(parameter.numel() for parameter in net.AuxLogits.parameters())
    assert (source.url, row.parameters) == (theirs.url, parameters)
    assert source.url.endswith(f"-{source.sha256_prefix}.pth")
    seen = row.preprocessing
    assert (seen.size, seen.resize) == (*transform.crop_size, *transform.resize_size)
    assert (seen.mean, seen.std) == (mean, std)
    assert seen.interpolation.value == transform.interpolation.value
    assert [metric.value for metric in row.metrics] == [accuracy["acc@1"], accuracy["acc@5"]]
    assert list(get_weights(row.name).categories) == theirs.meta["categories"]


@pytest.mark.parametrize("row", TIMMS, ids=lambda row: row.name)
def test_a_public_row_says_what_timm_says(row):
    config = timm_config(row)
    assert row.num_classes == config.num_classes
    assert (row.in_channels, row.license) == (config.input_size[0], config.license)
    seen = row.preprocessing
    assert (seen.mean, seen.std, seen.interpolation.value) == (config.mean, config.std, config.interpolation)
    assert seen.size == (config.test_input_size or config.input_size)[-1]
    hub = [source for source in row.sources if isinstance(source, HubFile) and source.repo.startswith("timm/")]
    assert [source.repo for source in hub] == ([config.hf_hub_id] if config.hf_hub_id else [])
    releases = [source.url for source in row.sources if isinstance(source, ReleaseFile)]
    assert releases == ([config.url] if config.url else [])
    assert all(f"-{s.sha256_prefix}.pth" in s.url for s in row.sources if isinstance(s, ReleaseFile))


@pytest.mark.parametrize("row", TIMMS, ids=lambda row: row.name)
def test_a_public_row_resizes_as_its_authors_do(row):
    config = timm_config(row)
    if row.tag.startswith("tv"):
        weights = {w.url: w for m in torchvision.models.list_models() for w in torchvision.models.get_model_weights(m)}
        transform = weights[config.url].transforms()
        assert (row.preprocessing.size, row.preprocessing.resize) == (*transform.crop_size, *transform.resize_size)
        accuracy = weights[config.url].meta["_metrics"]["ImageNet-1K"]
        assert [metric.value for metric in row.metrics] == [accuracy["acc@1"], accuracy["acc@5"]]
    else:
        crop = config.test_crop_pct or config.crop_pct
        assert row.preprocessing.resize == math.floor(row.preprocessing.size / crop)


def test_the_authors_weights_come_first_and_the_best_of_others():
    assert MANIFEST.row("se_resnet50").name == "se_resnet50.caffe_in1k"
    assert MANIFEST.row("senet154").name == "senet154.caffe_in1k"
    # What a bare name loads stays as released; better weights of these have a row since later.
    forms = ("18b", "34b", "50b", "101b", "152b", "50d")
    stay = {"densenet121", "inception_v3", "resnet20", "se_resnet20", *(f"resnet{form}" for form in forms)}
    stay |= {f"resnext{form}" for form in ("50b_32x4d", "101b_32x4d", "101b_32x8d", "101b_64x4d")}
    stay |= {"se_resnet101b"}  # of its default the top-5 alone is published, and it is the better one
    for model in sorted(MANIFEST.models.keys() - stay):
        default, *_ = rows = MANIFEST.rows(model)
        best, *others = [
            max((m.value or 0.0 for m in r.metrics if m.name == "top1"), default=0)
            for r in rows
            if r.labels == default.labels
        ]
        assert best >= max(others, default=0.0), model


def test_the_first_metric_was_measured_as_the_row_preprocesses():
    for row in ROWS:
        assert [metric.size for metric in row.metrics[:1]] in ([], [row.preprocessing.size])


def test_the_authors_weights_are_pinned_on_the_hub_before_the_release():
    hub, release = MANIFEST.row("senet154").sources
    assert isinstance(hub, HubFile)
    assert (hub.repo, hub.revision) == ("smp-hub/senet154.imagenet", "249f45efc9881ba560a0c480128edbc34ab87e40")
    assert isinstance(release, ReleaseFile)


def test_a_tag_that_does_not_exist_lists_those_that_do():
    with pytest.raises(
        UnknownWeightsError, match=r"no checkpoint tagged 'ra_in1k'; did you mean ra2_in1k.*se_resnet50b.a3_in1k"
    ):
        MANIFEST.row("se_resnet50b", "ra_in1k")


def test_a_model_without_weights_names_its_neighbours():
    with pytest.raises(UnknownWeightsError, match=r"no public checkpoint of se_resnet34b.*se_resnet34.*weights="):
        MANIFEST.row("se_resnet34b")
    assert MANIFEST.rows("se_resnet34b") == ()


ROW = ("models", "se_resnet50", "weights", "caffe_in1k")
HUB, RELEASE = (*ROW, "sources", 0), (*ROW, "sources", 1)
BAD = {
    "commit is a branch": ((*HUB, "revision"), "main", r"revision must be the 40 hex digits of a commit"),
    "short commit": ((*HUB, "revision"), "e6b4bc2", r"revision must be the 40 hex digits"),
    "traversal": ((*HUB, "filename"), "../../etc/passwd", r"filename must be a relative path.*got '../../etc/passwd'"),
    "traversal inside": ((*HUB, "filename"), "a/../b", r"filename must be a relative path.*got 'a/../b'"),
    "absolute path": ((*HUB, "filename"), "/etc/passwd", r"filename must be a relative path"),
    "backslash": ((*HUB, "filename"), "..\\x", r"filename must be a relative path"),
    "drive": ((*HUB, "filename"), "C:x", r"filename must be a relative path"),
    "device name": ((*HUB, "filename"), "weights/nul.safetensors", r"filename must be a relative path"),
    "hidden file": ((*HUB, "filename"), ".ssh/id", r"filename must be a relative path"),
    "repository without owner": ((*HUB, "repo"), "senet", r"repo must be organisation/name, got 'senet'"),
    "repository that climbs": ((*HUB, "repo"), "../x", r"repo must be organisation/name"),
    "short sha256": ((*HUB, "sha256"), "abc", r"sha256 must be the 64 hex digits of a sha256, or null, got 'abc'"),
    "capital sha256": ((*HUB, "sha256"), "A" * 64, r"sha256 must be the 64 hex digits"),
    "size of 0": ((*HUB, "size"), 0, r"size must be a whole number from 1"),
    "size of 3 GB": ((*HUB, "size"), 3 * 2**30, r"size must be a whole number"),
    "size as text": ((*HUB, "size"), "100", r"size must be a whole number"),
    "unknown dialect": ((*HUB, "dialect"), "klingon", r"dialect must be one of native, cadene, timm_resnet"),
    "unknown kind": ((*HUB, "kind"), "ftp", r"kind must be one of package, hub, release, got 'ftp'"),
    "unknown field": ((*HUB, "pickle"), True, r"sources\[0\] has unknown fields: 'pickle'"),
    "http": ((*RELEASE, "url"), "http://example.org/a-12345678.pth", r"url must be an https address"),
    "user in address": ((*RELEASE, "url"), "https://me:pw@example.org/a.pth", r"url must be an https address"),
    "file address": ((*RELEASE, "url"), "file:///etc/passwd", r"url must be an https address"),
    "short prefix": ((*RELEASE, "sha256_prefix"), "ce0d", r"sha256_prefix must be the first 8 to 64 hex digits"),
    "no prefix": ((*RELEASE, "sha256_prefix"), None, r"sha256_prefix must be the first 8"),
    "no sources": ((*ROW, "sources"), [], r"sources must be a list of 1 or more objects"),
    "class count": (
        (*ROW, "num_classes"),
        999,
        r"num_classes must be 1000, the number of labels of imagenet-1k, got 999",
    ),
    "labels": ((*ROW, "labels"), "imagenet", r"labels must be one of imagenet-1k, imagenet-12k, cifar10, imagenette"),
    "true as number": ((*ROW, "in_channels"), True, r"in_channels must be a whole number from 1 to 1024, got True"),
    "two means": ((*ROW, "preprocessing", "mean"), [0.5, 0.5], r"mean must be a list of three numbers"),
    "mean of 123": (
        (*ROW, "preprocessing", "mean"),
        [123.0, 117.0, 104.0],
        r"mean.R must be a number from 0 to 1, got 123",
    ),
    "std of 0": ((*ROW, "preprocessing", "std"), [0, 0.2, 0.2], r"std.R must be a number from 0.001 to 1, got 0"),
    "interpolation": (
        (*ROW, "preprocessing", "interpolation"),
        "cubic",
        r"interpolation must be one of bilinear, bicubic",
    ),
    "metric over 100": (
        (*ROW, "metrics", 0, "value"),
        101,
        r"metrics\[0\].value must be a number from 0 to 100, got 101",
    ),
    "metric of nobody": ((*ROW, "metrics", 0, "who"), " ", r"who must be a text that is not empty"),
    "metric's name": ((*ROW, "metrics", 0, "name"), "acc", r"name must be one of top1, top5"),
    "origin": ((*ROW, "origin"), "javascript:alert()", r"origin must be an https address, or null"),
    "tag with a path": (
        ("models", "se_resnet50", "weights", "../x"),
        {},
        r"weights must be an object whose keys are tags",
    ),
    "model with a path": (("models", "../x"), {}, r"models must be an object whose keys are names of models"),
    "default with a path": (("models", "se_resnet50", "default"), "../x", r"default must be a tag"),
    "unknown field on top": (("endpoint",), "https://evil.example", r"has unknown fields: 'endpoint'"),
    "training of one word": ((*ROW, "training"), "long", r"training must be a JSON object, got 'long'"),
}


@pytest.mark.parametrize(("place", "value", "message"), BAD.values(), ids=list(BAD))
def test_a_bad_value_is_refused_by_reader_and_schema(manifest, tmp_path, place, value, message):
    item = manifest
    for step in place[:-1]:
        item = item[step]
    item[place[-1]] = value
    file = tmp_path / "weights_manifest.json"
    file.write_text(json.dumps(manifest))
    with pytest.raises(ManifestError, match=message):
        load_manifest(file)
    assert not VALIDATOR.is_valid(manifest)


def fields_of(item, place=()):
    """The place of every field of an object, at any depth."""
    for key, value in item.items() if isinstance(item, dict) else enumerate(item):
        if isinstance(item, dict):
            yield (*place, key)
        if isinstance(value, dict | list):
            yield from fields_of(value, (*place, key))


def test_every_field_is_required_by_reader_and_schema(manifest, tmp_path):
    row = manifest["models"]["se_resnet50"]["weights"]["caffe_in1k"]
    small = {**manifest, "models": {"se_resnet50": {"default": "caffe_in1k", "weights": {"caffe_in1k": row}}}}
    file = tmp_path / "weights_manifest.json"
    places = list(fields_of(small))
    assert len(places) > 40
    for place in places:
        spoilt = deepcopy(small)
        item = spoilt
        for step in place[:-1]:
            item = item[step]
        del item[place[-1]]
        file.write_text(json.dumps(spoilt))
        with pytest.raises(ManifestError, match=r"lacks the field|must be an object that is not empty"):
            load_manifest(file)
        assert not VALIDATOR.is_valid(spoilt), place


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda m: m | {"manifest_version": 2}, r"manifest_version must be 1, got 2.*pip install --upgrade senet-zoo"),
        (lambda m: m["models"]["senet154"].update(default="ra2_in1k") or m, r"default must be one of the model's tags"),
        (
            lambda m: m["models"]["senet154"]["weights"]["caffe_in1k"]["preprocessing"].update(resize=200) or m,
            r"resize must be a whole number from 224",
        ),
        (lambda m: [], r"must be a JSON object, got \[\]"),
    ],
)
def test_rules_across_fields(manifest, tmp_path, spoil, message):
    file = tmp_path / "weights_manifest.json"
    file.write_text(json.dumps(spoil(manifest)))
    with pytest.raises(ManifestError, match=message):
        load_manifest(file)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"manifest_version": 1, "manifest_version": 1}', "'manifest_version' stands twice"),
        ('{"manifest_version": 1', "must be a JSON document"),
        ("[" * 100_000, "must be a JSON document"),
        ('{"manifest_version": ' + "9" * 5000 + "}", "must be a JSON document"),
        ("\ufeff{}", "must be a JSON document"),
    ],
)
def test_a_file_that_is_no_json_is_named(tmp_path, text, message):
    file = tmp_path / "weights_manifest.json"
    file.write_text(text)
    with pytest.raises(ManifestError, match=message) as caught:
        load_manifest(file)
    assert str(file) in str(caught.value)


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(ManifestError, match=r"none.json cannot be read: No such file"):
        load_manifest(tmp_path / "none.json")


def test_what_the_embedded_rows_will_hold_can_be_said(manifest, tmp_path):
    row = deepcopy(manifest["models"]["se_resnet50"]["weights"]["caffe_in1k"])
    row |= {"labels": "cifar10", "num_classes": 10, "license": None}
    row["sources"] = [
        {"kind": "package", "path": "weights/n.safetensors", "sha256": "0" * 64, "size": 9, "dialect": "native"}
    ]
    row["metrics"] = [{**row["metrics"][0], "value": None}]
    row["training"] = {
        "command": "python tools/train_embedded.py se_resnet20",
        "recipe": "CIFAR10_EMBEDDED",
        "seed": 0,
        "selection": "last epoch; 5000 training pictures held out",
        "log": [{"epoch": 1, "loss": 1.5, "validation_top1": 50.0, "seconds": 60.5}],
    }
    data = {"manifest_version": 1, "models": {"se_resnet20": {"default": "cifar10", "weights": {"cifar10": row}}}}
    file = tmp_path / "weights_manifest.json"
    file.write_text(json.dumps(data))
    VALIDATOR.validate(data)
    read = load_manifest(file).row("se_resnet20")
    assert read.name == "se_resnet20.cifar10"
    assert read.sources == (PackageFile("weights/n.safetensors", "0" * 64, 9, "native"),)
    assert read.metrics[0] == Metric(
        "top1", None, "imagenet-1k val", 224, "timm, results-imagenet.csv at aa4b5850", False
    )
    assert read.training.log[0].validation_top1 == 50.0
