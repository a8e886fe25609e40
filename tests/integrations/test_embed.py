"""`senet_zoo.embed` on a local Ray: a row for each picture, whatever is killed on the way."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import senet_zoo
from senet_zoo.cli import main
from senet_zoo.prediction.embed import EmbeddingKind, embed

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
pandas = pytest.importorskip("pandas")
psutil = pytest.importorskip("psutil")
pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray's own


def draw(folder: Path, count: int, first: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(first)
    for number in range(first, first + count):
        picture = Image.fromarray(random.integers(0, 255, (32, 32, 3), dtype=np.uint8))
        picture.save(folder / f"{number:06}.bmp")
    return folder


def rows(output: Path) -> Any:
    table = pandas.read_parquet(output)
    assert table.name.is_unique
    return table.sort_values("name").reset_index(drop=True)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_source_and_output_of_the_folder_at_hand(
    tmp_path: Path, cluster: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    draw(tmp_path / "pictures", 3)
    monkeypatch.chdir(tmp_path)
    assert main(["embed", "pictures", "-o", "out"]) == 0
    assert "3 rows" in capsys.readouterr().out
    assert list(rows(Path("out")).name) == [f"{number:06}.bmp" for number in range(3)]


def test_parquet_without_pictures_is_said_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pandas.DataFrame({"name": ["x"], "value": [1.0]}).to_parquet(tmp_path / "values.parquet")
    assert main(["embed", str(tmp_path / "values.parquet"), "-o", str(tmp_path / "out")]) != 0
    said = capsys.readouterr().err
    assert "column" in said
    assert "fetch it again" not in said


def test_rows_are_what_the_network_says(tmp_path: Path, cluster: None, capsys: pytest.CaptureFixture[str]) -> None:
    pictures, output, saved = draw(tmp_path / "pictures" / "deep", 5).parent, tmp_path / "out", tmp_path / "saved"
    (pictures / "broken.png").write_bytes(b"no picture")
    found = embed(pictures, output, batch=2)
    assert (found.pictures, found.failures, found.model) == (5, 1, "se_resnet20.cifar10")
    table = rows(output)
    assert list(table.name) == ["broken.png", *(f"deep/{number:06}.bmp" for number in range(5))]
    assert list(table.failed.astype(str)) == ["true", *["false"] * 5]
    assert table.features[0] is None
    assert "no such format" in table.error[0] or "must be of a format" in table.error[0]
    assert table.error[1:].isna().all()

    model = senet_zoo.create_model("se_resnet20", pretrained=True)
    senet_zoo.save_pretrained(model, saved)
    assert {found.sha256} == set(table.sha256) == {senet_zoo.from_pretrained(saved).weights.provenance.sha256}
    model.reset_classifier(0)
    transforms = senet_zoo.get_weights("se_resnet20").transforms()
    with torch.no_grad():
        expected = model(torch.stack([transforms(pictures / name) for name in table.name[1:]]))
    torch.testing.assert_close(torch.tensor(np.stack(table.features[1:])), expected)

    draw(pictures / "deep", 2, first=5)  # pictures that are new
    assert main(["embed", str(pictures), "-o", str(output), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["pictures"] == 7
    assert len(rows(output)) == 8


def test_classes_and_gates(tmp_path: Path, cluster: None) -> None:
    pictures = draw(tmp_path / "pictures", 3)
    embed(pictures, tmp_path / "classes", kind="classes")
    table, predicted = rows(tmp_path / "classes"), senet_zoo.predict([*sorted(pictures.iterdir())])
    assert list(table.label) == [each.label for each in predicted]
    assert np.allclose(table.probability, [each.probability for each in predicted], atol=1e-5)
    assert [round(sum(each), 5) for each in table.probabilities] == [1.0] * 3

    embed(pictures, tmp_path / "gates", kind=EmbeddingKind.GATES)
    table, model = rows(tmp_path / "gates"), senet_zoo.create_model("se_resnet20", pretrained=True)
    transforms = senet_zoo.get_weights("se_resnet20").transforms()
    expected = model.excitations(torch.stack([transforms(path) for path in sorted(pictures.iterdir())]))
    for name, values in expected.items():
        torch.testing.assert_close(torch.tensor(np.stack(table[name])), values.flatten(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "logits"}, "one of features, classes, gates, got 'logits'"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"kind": "gates", "model": "resnet20"}, "has no gates"),
        ({"kind": "classes"}, "another kind"),
        ({"model": "resnet20"}, "another model and sha256"),
        ({"output": "pictures/out"}, "among the pictures"),
        ({"output": "other"}, "holds other things"),
        ({"model": senet_zoo.create_model("se_resnet20")}, "eval mode"),
    ],
)
def test_what_cannot_be_done_is_said_before_work_begins(
    tmp_path: Path, cluster: None, options: dict[str, Any], message: str
) -> None:
    pictures = draw(tmp_path / "pictures", 1)
    about = {"model": "se_resnet20.cifar10", "kind": "features", "source": str(pictures)}
    model = senet_zoo.create_model("se_resnet20", pretrained=True)
    about |= {"sha256": senet_zoo.weights.save.sha256_of(model), "categories": list(model.weights.categories)}
    for folder, file in (("out", "_about.json"), ("other", "thesis.tex")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text(json.dumps(about))
    output = tmp_path / str(options.pop("output", "out"))
    with pytest.raises(senet_zoo.UsageError, match=message):
        embed(pictures, output, **options)


def test_without_ray_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(senet_zoo.UsageError, match=r"pip install 'senet-zoo\[ray\]'"):
        embed(tmp_path, tmp_path / "out")


def started(pictures: Path, output: Path) -> "subprocess.Popen[bytes]":
    """The command in a session of its own, with the Ray that it starts."""
    command = [sys.executable, "-m", "senet_zoo", "embed", str(pictures), "-o", str(output)]
    return subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ)
    )


def wait_for(condition: Any, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.2)


def tree(run: "subprocess.Popen[bytes]") -> list[Any]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(run.pid).children(recursive=True)
    return []


def kill(processes: list[Any]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def test_a_run_that_is_killed_goes_on_with_no_row_lost_or_doubled(tmp_path: Path) -> None:
    pictures, output = draw(tmp_path / "pictures", 4000), tmp_path / "out"
    run = started(pictures, output)
    wait_for(lambda: len([*output.glob("failed=false/*.parquet")]) >= 2)
    everything = tree(run)
    os.kill(run.pid, signal.SIGKILL)
    kill(everything)
    run.wait()
    psutil.wait_procs(everything, timeout=10)
    written = len(pandas.read_parquet(output))
    assert 0 < written < 4000, "it was killed in the middle"

    run = started(pictures, output)  # in the second run one worker is killed while it answers
    wait_for(lambda: any("_Network" in " ".join(each.cmdline()) for each in alive(run)))
    kill([next(each for each in alive(run) if "_Network" in " ".join(each.cmdline()))])
    assert run.wait(timeout=400) == 0
    table = rows(output)
    assert list(table.name) == [f"{number:06}.bmp" for number in range(4000)]
    assert not table.failed.astype(str).eq("true").any()


def alive(run: "subprocess.Popen[bytes]") -> list[Any]:
    found = []
    for process in tree(run):
        try:
            process.cmdline()
            found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
def test_memory_is_flat_over_twenty_thousand_pictures(tmp_path: Path) -> None:
    pictures, output = draw(tmp_path / "pictures", 20_000), tmp_path / "out"
    run, used = started(pictures, output), []
    while run.poll() is None:
        files = len([*output.glob("failed=false/*.parquet")])
        own = 0
        for process in tree(run):
            with suppress(psutil.Error):
                own += process.memory_info().rss - process.memory_info().shared
        used.append((files, own))
        time.sleep(0.5)
    assert run.returncode == 0
    assert len(rows(output)) == 20_000
    last = max(files for files, _ in used)
    early = max(own for files, own in used if 0 < files <= last // 4)
    late = max(own for files, own in used if files > 3 * last // 4)
    assert late < 1.25 * early, f"{early / 1e6:.0f} MB became {late / 1e6:.0f} MB"
