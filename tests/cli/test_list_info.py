"""``list`` and ``info`` print what the zoo knows."""

import json

import pytest

import senet_zoo
from senet_zoo.cli import main


def out_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_list_prints_plain_names_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert out_of(capsys, "list").splitlines() == senet_zoo.list_models()
    assert out_of(capsys, "list", "se_*").splitlines() == senet_zoo.list_models("se_*")
    assert out_of(capsys, "list", "--pretrained").splitlines() == senet_zoo.list_models(pretrained=True)
    assert out_of(capsys, "list", "--weights", "se_resnet50*").splitlines() == senet_zoo.list_weights("se_resnet50*")
    assert json.loads(out_of(capsys, "list", "--json")) == senet_zoo.list_models()


def test_list_on_a_terminal_shows_which_weights_there_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    head, *rows = out_of(capsys, "list", "se_resnet50").splitlines()
    assert head.split() == ["model", "weights"]
    assert [row.split()[0] for row in rows] == ["se_resnet50"]
    assert "caffe_in1k" in rows[0]
    head, *rows = out_of(capsys, "list", "--weights", "se_resnet20").splitlines()
    assert head.split() == ["weights", "labels", "picture", "licence"]
    assert rows[0].split()[:2] == ["se_resnet20.cifar10", "cifar10"]


def test_no_match_is_status_1_with_near_misses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "se_resnt50"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "'se_resnt50'; did you mean se_resnet50" in err
    assert main(["list", "--json", "zzz*"]) == 1
    assert json.loads(capsys.readouterr().out) == []


def test_info_prints_the_facts(capsys: pytest.CaptureFixture[str]) -> None:
    info = senet_zoo.model_info("se_resnet50")
    out = out_of(capsys, "info", "se_resnet50")
    facts = [f"{info.parameters:,}", f"{info.multiply_adds:,}", f"{info.gates}, with {info.gate_parameters:,}"]
    for fact in [*facts, info.defined_in, "legacy_seresnet50", "se_resnet50.caffe_in1k (default)"]:
        assert fact in out


def test_info_of_weights_prints_that_checkpoint_only(capsys: pytest.CaptureFixture[str]) -> None:
    out = out_of(capsys, "info", "se_resnet20.cifar10")
    row = senet_zoo.get_weights("se_resnet20.cifar10").row
    assert out.count("\nweights ") == 1
    for source in row.sources:
        assert source.sha256 in out
    for metric in row.metrics:
        assert f"{metric.value:.2f}% on {metric.dataset}" in out
        assert metric.who in out


@pytest.mark.parametrize("name", ["se_resnet18.timm_in1k", "se_resnet50.caffe_in1k", "se_resnet50b.ra2_in1k"])
def test_info_says_plainly_what_is_not_known(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    row = senet_zoo.get_weights(name).row
    out = out_of(capsys, "info", name)
    assert row.license_source in out
    assert "None" not in out
    unknown = [source for source in row.sources if getattr(source, "sha256", "") is None]
    assert out.count("not known; the bytes are checked against the sha256 that the hub itself reports") == len(unknown)


def test_info_json_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(out_of(capsys, "info", "se_resnet20", "--json"))
    info = senet_zoo.model_info("se_resnet20")
    assert document["parameters"] == info.parameters
    assert document["weights"][0]["preprocessing"]["size"] == 32
    assert document["weights"][0]["license"] == info.weights[0].license
