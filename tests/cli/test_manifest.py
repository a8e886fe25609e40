"""``manifest`` prints rows that can be read, lists what is wrong, and pins what is null, in words and as JSON."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hub.conftest import cache, hub  # noqa: F401 (fixtures)
from hub.loopback import Loopback

import senet_zoo
from senet_zoo.cli import main
from senet_zoo.weights.manifest import document, load_manifest, text_of

COMMIT = "c" * 40


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    senet_zoo.save_pretrained(senet_zoo.create_model("se_resnet20", pretrained=True), folder)
    return folder


@pytest.fixture
def published(hub: Loopback, saved: Path) -> Loopback:  # noqa: F811
    for path in saved.iterdir():
        hub.add("org/net", path.read_bytes(), filename=path.name)
    return hub


def unpin(file: Path) -> None:
    data = json.loads(file.read_text())
    (row,) = data["models"]["se_resnet20"]["weights"].values()
    row["sources"][0].update(revision=None, sha256=None, size=None)
    file.write_text(json.dumps(data))


def test_a_row_is_printed_written_checked_and_pinned(
    published: Loopback, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.json"
    assert main(["manifest", "add", "org/net", "--tag", "mine", "--to", str(file)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(file.read_text())
    assert out.splitlines()[-2:] == [
        "not known: the address of whoever trained it",
        f"se_resnet20.mine is in {file}",
    ]
    row = load_manifest(file).row("se_resnet20", "mine")
    assert main(["manifest", "check", str(file), "--online"]) == 0
    assert capsys.readouterr().out == f"{file}: 1 row, no problems\n  1 pinned, 0 hashed, 0 unpinned\n"
    unpin(file)
    assert main(["manifest", "pin", str(file)]) == 0
    out = capsys.readouterr().out
    assert f"se_resnet20.mine: revision of org/net is {COMMIT}\n" in out
    assert out.endswith(f"{file}: 3 fields pinned, no files left\n")
    assert load_manifest(file).row("se_resnet20", "mine") == row
    assert main(["manifest", "add", "org/net", "--tag", "mine", "--to", str(file)]) == 1
    assert "must stand once" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["before", "after"])
def test_json(published: Loopback, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str) -> None:
    def answer(*words: str, status: int) -> dict[str, object]:
        asked = ["manifest", "--json", *words] if place == "before" else ["manifest", *words, "--json"]
        assert main(asked) == status
        document: dict[str, object] = json.loads(capsys.readouterr().out)
        return document

    file = tmp_path / "mine.json"
    made = answer("add", "org/net", "--tag", "mine", "--to", str(file), status=0)
    assert made["name"] == "se_resnet20.mine"
    assert made["manifest"] == json.loads(file.read_text())
    assert answer("check", str(file), status=0)["ok"] is True
    unpin(file)
    pinned = answer("pin", str(file), status=0)
    assert pinned["left"] == []
    assert isinstance(pinned["pinned"], list)
    assert {pin["field"] for pin in pinned["pinned"]} == {"revision", "sha256", "size"}
    file.write_text("[]")
    assert answer("check", str(file), status=1)["ok"] is False


def test_what_is_wrong_is_listed_and_status_1(
    published: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.json"
    assert main(["manifest", "add", "org/net", "--tag", "mine", "--to", str(file)]) == 0
    data = json.loads(file.read_text())
    data["models"]["se_resnet20"]["weights"]["mine"].update(license=None, parameters=1)
    data["models"]["se_resnet20"]["weights"]["mine"]["sources"][0]["size"] = None
    file.write_text(json.dumps(data))
    capsys.readouterr()
    monkeypatch.setenv("SENET_ZOO_MANIFEST", str(file))  # what is meant where no file is named
    assert main(["manifest", "check"]) == 1
    head, count, *problems = capsys.readouterr().out.splitlines()
    assert head == f"{file}: 1 row, 2 problems"
    assert count == "  0 pinned, 1 hashed, 0 unpinned"
    assert all(problem.startswith("  se_resnet20.mine: ") for problem in problems)
    del published.repos["org/net"]
    assert main(["manifest", "pin"]) == 1
    out = capsys.readouterr().out
    assert "org/net is not pinned: " in out
    assert out.endswith(f"{file}: no fields pinned, 1 file left\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["manifest"], "required: ACTION"),
        (["manifest", "chek"], "invalid choice: 'chek'"),
        (["manifest", "add"], "required: ORG/NAME"),
        (["manifest", "add", "net"], "organisation/name"),
        (["manifest", "add", "org/net", "--tga", "x"], "did you mean --tag"),
        (["manifest", "add", "org/net", "--tag", "A b"], "lower-case words"),
    ],
)
def test_wrong_usage_is_status_2(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err


def test_rows_are_counted_by_what_they_know_of_their_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    pinned, hashed, other = (
        senet_zoo.get_weights(name).row for name in ("se_resnet20.cifar10", "se_resnet33ts", "se_resnet50b.a1_in1k")
    )
    bare = replace(other, sources=other.sources[:1])
    assert [row.pin_state.value for row in (pinned, hashed, bare)] == ["pinned", "hashed", "unpinned"]
    (tmp_path / "mine.json").write_text(text_of(document([pinned, hashed, bare])))
    assert main(["manifest", "check", str(tmp_path / "mine.json")]) == 1, "bare is not what is published"
    assert "3 rows, 1 problem\n  1 pinned, 1 hashed, 1 unpinned\n" in capsys.readouterr().out
    main(["manifest", "check", str(tmp_path / "mine.json"), "--json"])
    assert json.loads(capsys.readouterr().out)["pin_states"] == {"pinned": 1, "hashed": 1, "unpinned": 1}
