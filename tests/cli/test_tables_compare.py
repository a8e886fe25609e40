"""``tables`` and ``compare`` print for people, pipes and programs; ``info --se`` shows a variant."""

import csv
import dataclasses
import io
import json
import re

import pytest

import senet_zoo
from senet_zoo.analysis.info import compare
from senet_zoo.analysis.tables import compute
from senet_zoo.cli import main
from senet_zoo.networks.squeeze_excite import Activation, GateFunction, Placement, Squeeze, Start


def out_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def on_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))


def test_all_tables_fit_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    on_terminal(monkeypatch, 80)
    out = out_of(capsys, "tables")
    sources = [line.split(":")[0].split(", ")[1] for line in out.splitlines() if ", table " in line.split(":")[0]]
    assert sources == [f"table {number}" for number in (10, 11, 12, 13, 14, 15, 16, 2, 8, 3, 4, 5, 1)]
    assert "None" not in out
    assert max(map(len, out.splitlines())) <= 80
    lines = out.splitlines()
    assert lines[0] == "ratio, table 10: Reduction ratio of SE-ResNet-50"
    assert lines[2].split("  ")[0] == "network"
    assert next(line for line in lines if line.startswith("ratio 8 ")).endswith("no")
    assert "0.01 M below" in out
    assert "layers, table 1: " in out


def test_a_wide_terminal_shows_every_column(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_terminal(monkeypatch, 200)
    head = out_of(capsys, "tables", "mobile").splitlines()[2]
    for column in (
        "original error",
        "M paper",
        "M ours",
        "M diff.",
        "M with stats",
        "G ours",
        "G diff.",
        "G mult-adds",
    ):
        assert column in head


def test_in_a_pipe_it_is_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    piped = out_of(capsys, "tables", "stages", "layers")
    assert piped == out_of(capsys, "tables", "stages", "layers", "--format", "markdown")
    table = [line for line in piped.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table[:7]} == {table[0].count("|")}
    assert len(table) == 7 + 9  # head, rule and rows of both
    assert "### stages, table 13: " in piped
    assert "| SE, stage 4 " in piped
    assert "conv, 1x1, 64<br>conv, 3x3, 64<br>conv, 1x1, 256<br>fc, [16, 256]<br>x 3" in piped


def test_csv_has_the_same_columns_for_all_tables(capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(out_of(capsys, "tables", "ratio", "mobile", "--format", "csv"))))
    figures = [row for name in ("ratio", "mobile") for table in compute(name) for row in table.rows]
    assert [row["label"] for row in rows] == [row.label for row in figures]
    for row, expected in zip(rows, figures, strict=True):
        assert int(row["parameters"]) == expected.parameters
        assert int(row["multiply_adds"]) == expected.multiply_adds
        assert row["printed_parameters"] == expected.printed_parameters
        assert row["agrees"] == str(expected.agrees)
    layers = list(csv.reader(io.StringIO(out_of(capsys, "tables", "layers", "--format", "csv"))))
    assert layers[0] == ["output", "resnet50", "se_resnet50", "se_resnext50_32x4d"]
    assert len(layers) == 8


def test_json_is_the_same_by_either_word(capsys: pytest.CaptureFixture[str]) -> None:
    documents = json.loads(out_of(capsys, "tables", "placement", "layers", "--json"))
    assert documents == json.loads(out_of(capsys, "tables", "placement", "layers", "--format", "json"))
    assert [table["source"] for table in documents] == ["table 14", "table 15", "table 1"]
    row = documents[1]["rows"][1]
    assert (row["label"], row["printed_parameters"], row["parameters"]) == ("SE_3x3", "25.8", 25714216)
    assert row["error"] == {"top1": "22.48", "top5": "6.02"}
    assert documents[2]["rows"][2]["layers"][1][-2:] == ["fc, [16, 256]", "x 3"]


def test_a_table_named_twice_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert out_of(capsys, "tables", "gate", "gate") == out_of(capsys, "tables", "gate")


def test_compare_prints_models_side_by_side(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    on_terminal(monkeypatch, 80)
    out = out_of(capsys, "compare", "se_resnet50", "resnet50", "se_resnext50_32x4d", "se_resnet20")
    assert max(map(len, out.splitlines())) <= 80
    groups = [group.splitlines() for group in out.split("\n\n")]
    assert [group[0].split() for group in groups] == [
        ["se_resnet50", "resnet50"],
        ["se_resnext50_32x4d", "se_resnet20"],
    ]
    facts = {line[:15].strip(): line[15:].split("  ") for line in groups[0][1:7]}
    assert facts["parameters"][0] in ("28,088,024", "2,530,992")
    assert "25,557,032 x0.910" in out
    assert "77.65%" in out
    assert "imagenet-1k val, 224 px" in out
    assert "None" not in out


def test_compare_in_a_pipe_is_one_table(capsys: pytest.CaptureFixture[str]) -> None:
    names = ["se_resnet20", "resnet20", "se_resnet56", "resnet56", "se_mobilenet", "mobilenet"]
    head, *lines = out_of(capsys, "compare", *names, "--size", "64").splitlines()
    assert head.split() == names
    assert lines[0].split() == ["picture", *["64x64"] * 6]
    assert len(lines) == 10


def test_compare_json_holds_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    documents = json.loads(out_of(capsys, "compare", "se_resnet20", "resnet44", "--json"))
    rows = compare(["se_resnet20", "resnet44"])
    assert [document["activation_memory"] for document in documents] == [row.activation_memory for row in rows]
    assert documents[0]["accuracy"]["weights"] == "se_resnet20.osmr_cifar10"
    assert documents[0]["accuracy"]["metric"]["dataset"] == "cifar10 test"
    assert documents[1]["accuracy"] is None


def test_info_shows_a_variant(capsys: pytest.CaptureFixture[str]) -> None:
    words = "reduction=8,placement=pre,stages=2-4"
    out = out_of(capsys, "info", "se_resnet50", "--se", words)
    assert f" {words}\n" in out
    assert "2/8 * (1*64^2 + 3*256^2 + 4*512^2 + 5*1024^2) = 1,623,040 without biases" in out
    assert "27,189,072" in out
    assert "No public weights are known with this gate." in out
    document = json.loads(out_of(capsys, "info", "se_resnet50", "--se", words, "--json"))
    assert document["se"]["stages"] == [2, 3, 4]
    assert (document["gate_weights"], document["formula"]["value"]) == (1623040, 1623040)


def test_info_of_the_standard_gate_shows_its_formula_and_weights(capsys: pytest.CaptureFixture[str]) -> None:
    out = out_of(capsys, "info", "se_resnet50", "--se", "standard")
    assert out == out_of(capsys, "info", "se_resnet50")
    assert "2/16 * (3*256^2 + 4*512^2 + 6*1024^2 + 3*2048^2) = 2,514,944 without biases" in out
    assert "se_resnet50.caffe_in1k (default)" in out
    assert "variant" not in out_of(capsys, "info", "resnet50")
    assert "253,728 without biases" in out_of(capsys, "info", "se_mnasnet")


def test_the_help_of_info_lists_every_word(capsys: pytest.CaptureFixture[str]) -> None:
    out = out_of(capsys, "info", "--help")
    for kind in (Placement, Squeeze, Activation, GateFunction, Start):
        assert all(str(member.value) in out.split() for member in kind)
    assert {field.name for field in dataclasses.fields(senet_zoo.SE)} <= set(out.split())


def test_model_info_is_what_info_prints() -> None:
    assert senet_zoo.model_info("se_resnet50").gate_weights == 2514944


def test_compare_prints_published_pairs_of_one_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    out = out_of(capsys, "compare", "--recipes")
    assert re.search(r"se_resnet50b\.a3_in1k +77\.04 +resnet50b\.a3_in1k +78\.05 +-1\.02 +224 +timm", out)
    pairs = json.loads(out_of(capsys, "compare", "--recipes", "--json"))
    assert len(pairs) == len(out.splitlines()) - 1
    assert main(["compare", "--recipes", "resnet50"]) == 2
    assert "takes neither names nor --size" in capsys.readouterr().err
