"""``senet-zoo excite`` writes numbers, figures and a page, whole or not at all, and answers bad words."""

import base64
import csv
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from senet_zoo.analysis.excitation import choose_classes, excite, measures, name_classes, report_files
from senet_zoo.analysis.excitation.report import evenly_spaced, figure_gates
from senet_zoo.analysis.excitation.report_files import ALL
from senet_zoo.cli import main
from senet_zoo.data.datasets import open_data
from senet_zoo.data.labels import categories
from senet_zoo.errors import UsageError
from senet_zoo.evaluation import logits_of
from senet_zoo.prediction.predictor import Predictor

SAMPLES = Path(__file__).parents[2] / "samples"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FILES = ["classes.png", "classes.svg", "excitations.csv", "index.html", "spread.png", "spread.svg", "summary.json"]
SHOWN = ["airplane", "cat", "frog"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The samples, a folder a class, each picture and its mirror image."""
    root = tmp_path_factory.mktemp("data")
    for path in SAMPLES.glob("*.png"):
        (root / path.stem).mkdir()
        shutil.copy(path, root / path.stem / "0.png")
        with Image.open(path) as picture:
            picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / path.stem / "1.png")
    return root


@pytest.fixture(scope="module")
def written(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the command over them."""
    folder = tmp_path_factory.mktemp("report") / "gates"
    words = ["excite", str(data), "-o", str(folder), "--device", "cpu", "--workers", "1", "--classes", ",".join(SHOWN)]
    assert main(words) == 0
    return folder


@pytest.fixture
def words(data: Path, tmp_path: Path) -> list[str]:
    return ["excite", str(data), "-o", str(tmp_path / "gates"), "--device", "cpu", "--workers", "0"]


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty figures, where a test is about something else: drawing takes seconds."""
    for name in ("draw_classes", "draw_spread"):
        monkeypatch.setattr(report_files, name, lambda files, *_: [file.touch() for file in files])


def page_data(written: Path) -> dict:
    text = (written / "index.html").read_text(encoding="utf-8")
    (found,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    return json.loads(found)


def test_the_table_holds_what_was_found(data: Path, written: Path) -> None:
    assert sorted(path.name for path in written.iterdir()) == FILES
    assert [path.name for path in written.parent.iterdir()] == ["gates"]
    predictor = Predictor(device="cpu")
    found = excite(predictor.model, open_data(str(data)), predictor.preprocessing)
    rows = list(csv.DictReader((written / "excitations.csv").read_text().splitlines()))
    assert list(rows[0]) == ["gate", "class", "channel", "mean", "std", "count"]
    assert len(rows) == (3 * 16 + 3 * 32 + 3 * 50) * 11
    at = {(row["gate"], row["class"], int(row["channel"])): row for row in rows}
    for gate in found.gates:
        for channel in (0, gate.channels - 1):
            for label, name in enumerate(found.classes):
                row = at[gate.name, name, channel]
                assert float(row["mean"]) == pytest.approx(float(gate.moments.mean[label, channel]), abs=1e-5)
                assert float(row["std"]) == pytest.approx(float(gate.moments.std[label, channel]), abs=1e-5)
                assert row["count"] == "2"
            assert at[gate.name, ALL, channel]["count"] == "20"


def test_the_summary_holds_the_measures(data: Path, written: Path) -> None:
    document = json.loads((written / "summary.json").read_text())
    assert document["weights"] == "se_resnet20.cifar10"
    assert document["pictures"] == 20
    assert document["classes"][3] == {"name": "cat", "pictures": 2}
    predictor = Predictor(device="cpu")
    found = excite(predictor.model, open_data(str(data)), predictor.preprocessing)
    for row, gate in zip(document["gates"], found.gates, strict=True):
        own = measures(gate)
        assert row["gate"] == gate.name
        assert row["entropy"] == pytest.approx(own.entropy, abs=0.1)  # a value at a bin's edge may fall to either side
        if own.separability is not None:
            assert row["separability"] == pytest.approx(own.separability, abs=1e-4)
        assert row["separability_by_chance"] == pytest.approx(9 / 19)
        assert row["in_words"].startswith(f"{gate.name} ")


def test_the_figures_show_the_papers_panels_and_the_chosen_classes(written: Path) -> None:
    for name in ("classes", "spread"):
        with Image.open(written / f"{name}.png") as picture:
            picture.load()
            assert picture.width > 1000
        svg = (written / f"{name}.svg").read_text()
        for panel in ("SE_2_3", "SE_3_3", "SE_4_1", "SE_4_2", "SE_4_3"):
            assert f">{panel}</text>" in svg
        assert ">SE_2_1</text>" not in svg
        assert (">frog</text>" in svg) == (name == "classes")  # of the spread, the first two
        assert ">cat</text>" in svg
        assert ">dog</text>" not in svg


def test_the_page_holds_the_same_numbers_and_asks_nobody(written: Path) -> None:
    document = page_data(written)
    rows = list(csv.DictReader((written / "excitations.csv").read_text().splitlines()))
    assert [each["name"] for each in document["classes"]] == SHOWN
    for gate in document["gates"]:
        values = np.frombuffer(base64.b64decode(gate["values"]), "<f4").reshape(4, 2, -1)
        for name, own in zip([*SHOWN, ALL], values, strict=True):
            table = [row for row in rows if row["gate"] == gate["name"] and row["class"] == name]
            np.testing.assert_allclose(own[0], [float(row["mean"]) for row in table], atol=2e-6)
            np.testing.assert_allclose(own[1], [float(row["std"]) for row in table], atol=2e-6)
    text = (written / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)\s*=|url\(|@import|fetch\(|XMLHttpRequest|import\(""", text)
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert "default-src 'none'" in text


@pytest.mark.usefixtures("undrawn")
def test_a_class_name_cannot_break_the_page(written: Path, data: Path, tmp_path: Path) -> None:
    evil = "<script>alert(1)<!--{{rows}}"
    root = tmp_path / "data"
    shutil.copytree(data / "cat", root / "cat")
    shutil.copytree(data / "dog", root / evil)
    assert main(["excite", str(root), "-o", str(tmp_path / "out"), "--device", "cpu", "--workers", "1"]) == 0
    text = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    scripts: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list) -> None:
            if tag == "script":
                scripts.append(str(attrs))

    Reader().feed(text)
    assert len(scripts) == 2
    assert {each["name"] for each in page_data(tmp_path / "out")["classes"]} == {evil, "cat"}


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium to open the page with")
def test_the_page_draws_and_answers_in_a_browser(written: Path, tmp_path: Path) -> None:
    text = (written / "index.html").read_text(encoding="utf-8")
    act = """<script>
      document.querySelectorAll("#classes input")[1].click();
      const box = document.getElementById("plot").getBoundingClientRect();
      document.getElementById("plot").dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + 1}));
    </script></body>"""
    (tmp_path / "page.html").write_text(text.replace("</body>", act), encoding="utf-8")
    run = subprocess.run(
        [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}",
         "--dump-dom", f"{(tmp_path / 'page.html').as_uri()}#SE_2_3"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    svg = run.stdout.partition('<svg id="plot"')[2].partition("</svg>")[0]
    assert svg.count("<polyline") == 3  # airplane, frog, all; cat was taken off
    tip = run.stdout.partition('<div id="tip"')[2].partition("</div>")[0]
    assert "channel 0" in tip
    (gate,) = (each for each in page_data(written)["gates"] if each["name"] == "SE_2_3")
    mean, std = np.frombuffer(base64.b64decode(gate["values"]), "<f4").reshape(4, 2, -1)[0, :, 0]
    assert f"{mean:.3f} ± {std:.3f}" in tip
    assert "cat" not in tip


@pytest.mark.usefixtures("undrawn")
def test_json_names_the_files(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--json", "--limit", "1", "--channels", "all"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["pictures"] == 10
    assert [Path(each).name for each in document["files"]] == FILES
    assert err == ""


@pytest.mark.usefixtures("undrawn")
def test_unreadable_pictures_end_in_status_1(
    words: list[str], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "copy"
    shutil.copytree(data, root)
    (root / "cat" / "0.png").write_bytes(b"no picture")
    (tmp_path / "gates").mkdir()
    (tmp_path / "gates" / "mine.txt").write_text("kept")
    (tmp_path / "gates" / "summary.json").write_text('{"weights": 1, "pictures": 1, "in_words": [], "gates": []}')
    assert main(["excite", str(root), *words[2:]]) == 1
    out, err = capsys.readouterr()
    assert "cat/0.png" in err
    assert "19 pictures" in out
    assert "Classes are told apart best by SE_" in out
    assert (tmp_path / "gates" / "mine.txt").read_text() == "kept"
    assert len(json.loads((tmp_path / "gates" / "summary.json").read_text())["unreadable"]) == 1


@pytest.mark.usefixtures("undrawn")
def test_nothing_half_written_is_left(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(report_files, "draw_spread", fail)
    assert main([*words, "--limit", "1"]) == 2
    assert "the disk is full" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("more", "status", "message"),
    [
        (["--classes", "zebra"], 2, "one of the data's 10, by name or number, and 'zebra' is none"),
        (["--classes", "froog"], 2, "did you mean frog?"),
        (["--classes", "r"], 2, "'r' means 6: airplane (0); bird (2); "),
        (["--classes", "cat,3"], 2, "'cat' and '3' all mean cat"),
        (["--classes", ""], 2, "'' is none"),
        (["--model", "resnet20"], 2, "this network has none"),
        (["--channels", "0"], 2, "at least 1"),
        (["--weights", "x.safetensors"], 1, "must be one safetensors file, but there is no x.safetensors"),
        (["--labels", "x.txt"], 1, "x.txt"),
    ],
)
def test_bad_words(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], status: int, message: str
) -> None:
    assert main([*words, *more]) == status
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_too_few_classes(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(data / "cat", tmp_path / "one" / "cat")
    (tmp_path / "none").mkdir()
    for name, message in (("one", "only cat has"), ("none", "holds none")):
        assert main(["excite", str(tmp_path / name), "-o", str(tmp_path / "out"), "--device", "cpu"]) == 1
        assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["none", "one"]


@pytest.mark.parametrize("name", ["index.html", "summary.json", "classes.png"])
def test_files_that_no_report_wrote_are_left_alone(
    words: list[str], tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gates").mkdir()
    (tmp_path / "gates" / name).write_text("{}")
    assert main(words) == 2
    assert f"{name} in {tmp_path / 'gates'} is not of one" in capsys.readouterr().err
    assert (tmp_path / "gates" / name).read_text() == "{}"
    assert len(list((tmp_path / "gates").iterdir())) == 1


@pytest.mark.parametrize("source", ["photo.png", "flat", "photo without a suffix"])
def test_pictures_without_labels_are_a_source(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "flat").mkdir()
    for path in (tmp_path / "photo.png", tmp_path / "photo without a suffix", tmp_path / "flat" / "a.png"):
        shutil.copy(SAMPLES / "cat.png", path)
    shutil.copy(SAMPLES / "frog.png", tmp_path / "flat" / "b.png")
    words = ["excite", str(tmp_path / source), "--device", "cpu", "--workers", "0"]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert ("2 pictures" if source == "flat" else "1 picture\n") in out
    assert "SE_4_3" in out
    assert "apart" not in out
    assert "index.html" not in out
    assert err == ""
    for _ in range(2):  # a second report replaces the first
        assert main([*words, "-o", str(tmp_path / "out"), "--json"]) == 0
    document = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert document["classes"] == []
    assert all(gate["separability"] is None for gate in document["gates"])
    assert all((gate["still"] is None) == (source != "flat") for gate in document["gates"])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    with (tmp_path / "out" / "excitations.csv").open(encoding="utf-8", newline="") as file:
        assert {row["class"] for row in csv.DictReader(file)} == {ALL}
    shown = page_data(tmp_path / "out")
    assert shown["classes"] == []
    assert shown["of_all"] == ("all pictures" if source == "flat" else "the picture")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--classes", "cat"], "no classes to choose from"),
        (["--split", "val"], "--split is for labelled pictures"),
        (["--labels", "x.txt"], "one picture"),
        (["--class-names", "x.txt"], "a file of classes is for labelled pictures"),
    ],
)
def test_words_about_classes_need_some(more: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["excite", str(SAMPLES / "cat.png"), "--device", "cpu", "--workers", "0", *more]) in (1, 2)
    assert message in capsys.readouterr().err


def test_one_picture_says_what_its_gates_open(capsys: pytest.CaptureFixture[str]) -> None:
    """The first channels of the table are those of the network's own answer."""
    assert main(["excite", str(SAMPLES / "cat.png"), "--device", "cpu", "--workers", "0"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[2:11]}
    predictor = Predictor("se_resnet20.cifar10", device="cpu")
    x = predictor.preprocessing.transforms()(SAMPLES / "cat.png")[None]
    with torch.no_grad():
        said = predictor.model.excitations(x)
    for name, values in said.items():
        assert f"(channel {int(values[0].argmax())})" in rows[name]
        assert f"(channel {int(values[0].argmin())})" in rows[name]


def test_the_report_cannot_replace_a_file(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "gates").write_text("mine")
    assert main(words) == 2
    assert "a folder that can be written" in capsys.readouterr().err
    assert (tmp_path / "gates").read_text() == "mine"


def test_without_matplotlib_the_extra_is_named(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(words) == 2
    assert "senet-zoo[train]" in capsys.readouterr().err


def test_imagenets_classes_by_name_synonym_number_and_synset() -> None:
    names = categories("imagenet-1k", 1000)
    logits = logits_of(names)
    known = name_classes(logits.synsets, logits)  # a folder a synset
    assert [known[i].shown for i in choose_classes(["goldfish", "PUG", "plane", "cliff"], known)] == [
        "goldfish",
        "pug",
        "plane",
        "cliff",
    ]
    assert choose_classes(["1", "254", "726", "972"], known) == (1, 254, 726, 972)  # as ImageNet counts
    assert choose_classes(["n01443537", "golden_retriever", "great white"], known) == (1, 207, 2)
    with pytest.raises(UsageError, match=r"'shark' means 2: great white shark, n01484850 \(2\); tiger shark, "):
        choose_classes(["shark"], known)
    with pytest.raises(UsageError, match=r"at most 10 classes, and the data has 1000"):
        choose_classes(None, known)
    with pytest.raises(UsageError, match="got 11"):
        choose_classes([str(i) for i in range(11)], known)


def test_some_of_the_networks_classes_have_its_numbers() -> None:
    logits = logits_of(categories("cifar10", 10))
    known = name_classes(["truck", "cat"], logits)
    assert [(each.shown, each.number) for each in known] == [("truck", 9), ("cat", 3)]
    assert choose_classes(["3", "truck"], known) == (1, 0)


def test_classes_that_the_network_does_not_know_have_their_own_numbers_and_synonyms() -> None:
    known = name_classes(["goldfish, Carassius auratus", "pug, pug-dog"], logits_of(categories("cifar10", 10)))
    assert [each.shown for each in known] == ["goldfish", "pug"]
    assert choose_classes(["carassius", "Pug-Dog"], known) == (0, 1)
    assert choose_classes(["1"], known) == (1,)
    assert choose_classes(None, known) == (0, 1)
    cranes = name_classes(["crane, bird", "crane, machine"], logits_of(categories("cifar10", 10)))
    with pytest.raises(UsageError, match=r"'crane' means 2: .*bird \(0\); .*machine \(1\). Write the whole name or"):
        choose_classes(["crane"], cranes)


def test_the_papers_six_panels() -> None:
    counts = {2: 3, 3: 4, 4: 6, 5: 3}
    names = [f"SE_{stage}_{block}" for stage, count in counts.items() for block in range(1, count + 1)]
    assert figure_gates(names) == ("SE_2_3", "SE_3_4", "SE_4_6", "SE_5_1", "SE_5_2", "SE_5_3")
    assert figure_gates(["SE_3_1"]) == ("SE_3_1",)
    inserted = [f"layer{i}.bn2.se" for i in range(11)]
    assert figure_gates(inserted) == tuple(inserted[i] for i in (0, 2, 4, 6, 8, 10))


@pytest.mark.parametrize("channels", [1, 7, 50, 256, 2048])
def test_sampled_channels_are_evenly_spaced(channels: int) -> None:
    chosen = torch.tensor(evenly_spaced(channels, 50))
    assert len(chosen) == min(50, channels)
    assert chosen[0] == 0
    assert chosen[-1] == channels - 1
    steps = chosen.diff()
    assert len(steps) == 0 or int(steps.max() - steps.min()) <= 1
    assert evenly_spaced(channels, None) == list(range(channels))
