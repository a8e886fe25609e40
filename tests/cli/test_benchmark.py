"""``benchmark`` prints a table for people and, with ``--json``, a file of results that the speed page reads."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import report
from senet_zoo.cli import main


def page(monkeypatch: pytest.MonkeyPatch, folder: Path, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["report.py", "--results", str(folder), "--docs", str(folder / "docs"), *words])
    return report.main()


def test_what_it_prints_becomes_the_speed_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["se_resnet20", "--size", "16", "--rounds", "2", "--threads", "1", "--device", "cpu"]
    assert main(["benchmark", *words, "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    (sheet,) = json.loads(out)["sheets"]
    assert [row["candidate"] for row in sheet["rows"]] == ["eager", "optimised"]
    assert sheet["machine"]["threads"] == 1
    for row in sheet["rows"]:
        for spread in (row["rate"], row["ratio"], row["gate"]):
            assert 0 < spread["lower"] <= spread["median"] <= spread["upper"]

    assert page(monkeypatch, tmp_path) == 0
    docs = tmp_path / "docs"
    assert "No results are kept yet" in (docs / "speed.md").read_text()
    assert "No results are kept yet" in (docs / "speed-tables.md").read_text()
    (tmp_path / "run.json").write_text(out)
    assert page(monkeypatch, tmp_path, "--check") == 1
    assert "run it" in capsys.readouterr().err
    assert page(monkeypatch, tmp_path) == page(monkeypatch, tmp_path, "--check") == 0
    text = (docs / "speed-tables.md").read_text()
    assert "\n## se_resnet20: " in text
    assert "\nsenet-zoo benchmark se_resnet20 --batch 1 --size 16 --threads 1 --rounds 2 --device cpu" in text
    assert "| se\\_resnet20 | optimised | " in text
    assert [line for line in (docs / "speed.md").read_text().splitlines() if line.startswith("On ")] != []
    (tmp_path / "broken.json").write_text('{"sheets": 1}')
    with pytest.raises(SystemExit, match=r"broken\.json must be what a benchmark wrote"):
        page(monkeypatch, tmp_path)


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        ("timm", "timm's network, as it comes"),
        ("timm folded channels_last, plain", "timm's network, norms folded channels last, without gates"),
        ("optimize", "`senet_zoo.optimize`"),
        ("optimize OpenVINO bf16", "`senet_zoo.optimize`, OpenVINO bfloat16"),
        ("senet_zoo, fused", "senet_zoo, fused"),
    ],
)
def test_candidates_are_named_as_readers_call_them(candidate: str, words: str) -> None:
    assert report.label(candidate) == words


def test_the_speed_page_has_a_figure_for_every_answer() -> None:
    text = (report.ROOT / "docs" / "speed.md").read_text()
    assert all(f"| {answer.need} | `{answer.call}` | " in text for answer in report.ANSWERS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["se_resnt20"], "did you mean se_resnet20"),
        (["zzz*"], "no model matches 'zzz*'"),
        (["se_resnet20", "--batch", "0"], "must be a whole number, at least 1, got '0'"),
        (["se_resnet20", "--dtype", "fp64"], "invalid choice: 'fp64'"),
        (["se_resnet20", "--device", "gpu"], "named like cpu, cuda or cuda:1, got 'gpu'"),
        (["se_resnet20", "--train", "--size", "1", "--device", "cpu"], "se_resnet20 cannot run on 1 x 1 px"),
    ],
)
def test_wrong_words_are_status_2(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_saved_folder_is_measured_and_list_shows_the_speeds_of_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import senet_zoo
    from senet_zoo.analysis import listing

    monkeypatch.setenv("SENET_ZOO_CACHE", str(tmp_path / "cache"))
    model = senet_zoo.create_model("se_resnet20", num_classes=3)
    senet_zoo.save_pretrained(model, tmp_path / "run1", preprocessing=senet_zoo.Preprocessing(size=16, resize=16))
    listing._speeds.cache_clear()
    assert main(["list", "se_resnet20", "--columns", "name,speed"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "se_resnet20\t-"
    assert main(["benchmark", str(tmp_path / "run1"), "se_resnet20", "--rounds", "1"]) == 0
    out = capsys.readouterr().out
    assert f"{tmp_path / 'run1'}  eager" in out
    listing._speeds.cache_clear()
    assert main(["list", "se_resnet20", "--json"]) == 0
    (row,) = [row for row in json.loads(capsys.readouterr().out) if row["name"] == "se_resnet20"]
    assert row["speed"] > 0
    (tmp_path / "cache" / "speeds.json").write_text("[1, {")  # a torn file says nothing
    listing._speeds.cache_clear()
    assert main(["list", "se_resnet20", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["speed"] is None
    listing._speeds.cache_clear()
