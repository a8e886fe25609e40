"""``list`` and ``info`` print what the zoo knows."""

import json
import re
from pathlib import Path

import pytest

import senet_zoo
from senet_zoo.cli import main
from senet_zoo.weights.rows import Metric


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
    assert [row["name"] for row in json.loads(out_of(capsys, "list", "--json"))] == senet_zoo.list_models()


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("SE-ResNet50", ["se_resnet50", "se_resnet50a", "se_resnet50b", "se_resnet50d", "se_resnet50t"]),
        ("se_resnet5?", ["se_resnet50", "se_resnet56"]),
        ("SE_ResNet5?", ["se_resnet50", "se_resnet56"]),
        ("legacy_senet154", ["senet154"]),
        ("legacy_se*50", ["se_resnet50"]),
    ],
)
def test_a_bare_word_is_a_part_of_a_name(pattern: str, names: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert out_of(capsys, "list", pattern).splitlines() == names


def test_columns_and_orders(capsys: pytest.CaptureFixture[str]) -> None:
    lines = out_of(capsys, "list", "--weights", "--sort", "top1", "--columns", "name,top1,labels").splitlines()
    rows = [line.split("\t") for line in lines]
    assert {row[0] for row in rows} == set(senet_zoo.list_weights())
    known = [float(row[1]) for row in rows if row[1] != "-"]
    assert known == sorted(known, reverse=True)
    assert [row[1] for row in rows[len(known) :]] == ["-"] * (len(rows) - len(known))
    parameters = [row["parameters"] for row in json.loads(out_of(capsys, "list", "--sort", "parameters", "--json"))]
    assert parameters == sorted(parameters)
    for words in (["--sort", "spede"], ["--columns", "name,to1"]):
        assert main(["list", *words]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_mean_of_several_views_is_not_listed_beside_single_ones(capsys: pytest.CaptureFixture[str]) -> None:
    row = senet_zoo.get_weights("se_cifarnet").row
    one, six = (metric.value for metric in row.metrics if metric.name == "top1")
    assert one is not None
    assert six is not None
    assert six > one
    for arguments in (["list", "se_cifarnet"], ["list", "--weights", "se_cifarnet"]):
        assert main([*arguments, "--json"]) == 0
        (found,) = json.loads(capsys.readouterr().out)
        assert found["top1"] == one
    assert main(["compare", "se_cifarnet", "se_resnet20", "--json"]) == 0
    assert str(six) not in capsys.readouterr().out


def test_json_has_what_is_known_of_each(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = json.loads(out_of(capsys, "list", "--weights", "se_resnet20.cifar10", "--json"))
    info = senet_zoo.model_info("se_resnet20")
    assert (row["parameters"], row["multiply_adds"]) == (info.parameters, info.multiply_adds)
    assert row["top1"] == max(metric.value for metric in info.weights[0].metrics if metric.name == "top1")
    assert (row["picture"], row["license"], row["labels"]) == (32, "apache-2.0", "cifar10")
    assert row["file_size"] == info.weights[0].sources[0].size


def test_the_widest_table_fits_100_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    for words in (["list"], ["list", "--weights"]):
        assert max(map(len, out_of(capsys, *words).splitlines())) <= 100


def test_info_and_compare_of_a_saved_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "run1"
    senet_zoo.save_pretrained(
        senet_zoo.create_model("se_mobilenet", num_classes=2),
        folder,
        categories=("left", "ri\x1bght"),
        preprocessing=senet_zoo.Preprocessing(size=128, resize=146),
        license="mit",
        metrics=(Metric("top1", 91.5, "photographs val", 128, "me", measured_by_us=True),),
    )
    out = out_of(capsys, "info", str(folder))
    for fact in ("128x128 pixels", r"2: left, ri\x1bght", "91.50% on photographs val", "mit", "centre 128x128"):
        assert fact in out
    document = json.loads(out_of(capsys, "info", str(folder), "--json"))
    assert document["config"]["num_classes"] == 2
    assert document["input_size"] == 128
    rows = json.loads(out_of(capsys, "compare", str(folder), "se_mobilenet", "--json"))
    assert [row["size"] for row in rows] == [128, 224]
    assert rows[0]["accuracy"]["metric"]["value"] == 91.5
    assert rows[0]["multiply_adds"] == document["multiply_adds"]
    assert "91.50%" in out_of(capsys, "compare", str(folder), "se_mobilenet")


def test_layers_add_up_to_the_network(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    info = senet_zoo.model_info("se_resnet20")
    head, first, *_, total = out_of(capsys, "info", "se_resnet20", "--layers").splitlines()
    assert head.split() == ["layer", "kind", "output", "parameters", "multiply-adds"]
    assert first.split() == ["stem.0.conv", "Conv2d", "16x32x32", "432", "442,368"]
    assert total.split() == ["total", "32x32", "px", f"{info.parameters:,}", f"{info.multiply_adds:,}"]
    words = ["info", "se_resnet20", "--layers", "--json", "--se", "reduction=4", "--size", "64"]
    document = json.loads(out_of(capsys, *words))
    assert document["layers"][0]["shape"] == [1, 16, 64, 64]
    variant = senet_zoo.model_info("se_resnet20", senet_zoo.SE(reduction=4))
    assert sum(layer["parameters"] for layer in document["layers"]) == variant.parameters
    senet_zoo.save_pretrained(senet_zoo.create_model("se_resnet20", num_classes=2), tmp_path / "run1")
    assert out_of(capsys, "info", str(tmp_path / "run1"), "--layers").splitlines()[-1].split()[3] == "274,327"
    assert main(["info", "se_resnet20", "--size", "64"]) == 2
    assert "add --layers" in capsys.readouterr().err


def test_info_of_a_folder_that_is_none_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["info", "./nowhere"], ["compare", "./nowhere", "se_resnet20"]):
        assert main(words) == 1
        out, err = capsys.readouterr()
        assert (out, len(err.splitlines())) == ("", 1)
        assert "there is no nowhere/config.json" in err


def test_list_on_a_terminal_shows_which_weights_there_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    head, *rows = out_of(capsys, "list", "se_resnet50").splitlines()
    assert head.split() == ["name", "top-1", "params", "MACs", "file", "px", "weights"]
    assert [row.split()[0] for row in rows] == [
        "se_resnet50",
        "se_resnet50a",
        "se_resnet50b",
        "se_resnet50d",
        "se_resnet50t",
    ]
    assert "77.65" in rows[0]
    assert "caffe_in1k" in rows[0]
    assert f"ra2_in1k +{len(senet_zoo.list_weights('se_resnet50b')) - 1}" in rows[2]
    head, *rows = out_of(capsys, "list", "--weights", "se_resnet20").splitlines()
    assert head.split() == ["name", "top-1", "params", "MACs", "file", "px", "licence"]
    assert rows[0].split()[:3] == ["se_resnet20.cifar10", "92.14", "0.27M"]


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


def test_info_of_weights_with_a_gate_of_their_own_is_of_that_network(capsys: pytest.CaptureFixture[str]) -> None:
    out = out_of(capsys, "info", "se_resnet50b.moskomule_in1k")
    assert re.search(r"variant +bias=false\n", out)
    assert re.search(r"parameters +28,071,976\n", out)
    assert re.search(r"gate +bias=false\n", out)
    assert re.search(r"files +hashed\n", out)


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
