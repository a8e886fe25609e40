"""`fit`: what comes out of a run, and what it refuses."""

import dataclasses
import io
import json
import os
import re
import resource
import shutil
import sys
from pathlib import Path

import pytest
import torch
from painted import paint

import senet_zoo
from senet_zoo.data.datasets import open_data
from senet_zoo.errors import DataError, SenetZooError, TrainingError, UsageError
from senet_zoo.networks.specs import SE
from senet_zoo.networks.squeeze_excite import Placement
from senet_zoo.training import TrainConfig, TrainResult, classification, fit
from senet_zoo.training.checkpoints import newest_checkpoint
from senet_zoo.training.config_file import load_config
from senet_zoo.training.metrics import best
from senet_zoo.training.progress import Progress
from senet_zoo.training.recipes import FINETUNE, TrainRecipe

pytestmark = pytest.mark.usefixtures("without_plots")
SHORT = dataclasses.replace(FINETUNE, epochs=2, batch=8, rate=0.02, head_epochs=0)


def config(data: Path, output: Path, recipe: TrainRecipe = SHORT, **options) -> TrainConfig:
    options = {"model": "se_resnet20", "size": 16, "workers": 0, "device": "cpu", **options}
    return TrainConfig(str(data), output=output, recipe=recipe, **options)


def run(data: Path, output: Path, recipe: TrainRecipe = SHORT, **options) -> tuple[TrainResult, str]:
    """The result, and what was said."""
    stream = io.StringIO()
    return fit(config(data, output, recipe, **options), Progress(stream)), stream.getvalue()


def test_the_saved_network_scores_what_the_run_says(colours: Path, tmp_path: Path) -> None:
    result, _ = run(colours, tmp_path / "run")
    model = senet_zoo.from_pretrained(tmp_path / "run")
    val, transform = open_data(str(colours), "val"), model.weights.transforms()
    with torch.inference_mode():
        logits = model(torch.stack([transform(val.read(index)) for index in range(len(val))]))
    labels = torch.tensor(val.labels)
    assert 100.0 * float((logits.argmax(1) == labels).float().mean()) == result.val_top1
    assert float(torch.nn.functional.cross_entropy(logits, labels)) == pytest.approx(result.val_loss, rel=1e-5)


def test_pretrained_weights_are_the_start_and_the_stem_learns_least(colours: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(SHORT, head_epochs=1, layer_decay=0.1, frozen_norm_epochs=2, weight_decay=0.0)
    run(colours, tmp_path / "run", recipe, pretrained=True, size=None)
    before = senet_zoo.create_model("se_resnet20", pretrained=True)
    after = senet_zoo.from_pretrained(tmp_path / "run")
    assert after.weights.provenance.base == "se_resnet20.cifar10"
    assert after.weights.preprocessing == before.weights.preprocessing
    moved = [
        float((one.stem.state_dict()[key] - other.stem.state_dict()[key]).norm() / one.stem.state_dict()[key].norm())
        for one, other in [(before, after)]
        for key in before.stem.state_dict()
        if key.endswith("weight")
    ]
    last = [(before.stages[-1].state_dict()[key], value) for key, value in after.stages[-1].state_dict().items()]
    most = max(float((one - other).norm() / one.norm()) for one, other in last if one.ndim > 1)
    assert 0.0 < max(moved) < 0.2 * most


def test_in_the_first_epochs_the_classifier_alone_learns(colours: Path, tmp_path: Path) -> None:
    class Stop(Progress):
        def end(self, row) -> None:
            super().end(row)
            if row.epoch == 2:
                raise KeyboardInterrupt

    recipe = dataclasses.replace(SHORT, epochs=3, head_epochs=1)
    with pytest.raises(KeyboardInterrupt):
        fit(config(colours, tmp_path / "run", recipe, pretrained=True), Stop(io.StringIO()))
    after_one = newest_checkpoint(tmp_path / "run" / "checkpoints").under("model.body.")
    before = senet_zoo.create_model("se_resnet20", pretrained=True).state_dict()
    changed = {key for key, tensor in after_one.items() if not torch.equal(tensor, before[key])}
    assert changed == {"classifier.weight", "classifier.bias"}


def test_a_batch_in_pieces_is_the_same_step(colours: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(SHORT, frozen_norm_epochs=2)
    whole, _ = run(colours, tmp_path / "whole", recipe)
    pieces, _ = run(colours, tmp_path / "pieces", recipe, pieces=4)
    assert [row.loss for row in pieces.history] == pytest.approx([row.loss for row in whole.history], rel=1e-5)


def test_workers_change_nothing(colours: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        run(colours, tmp_path / str(workers), workers=workers)
    assert (tmp_path / "0/model.safetensors").read_bytes() == (tmp_path / "2/model.safetensors").read_bytes()


def test_where_memory_runs_out_the_steps_are_cut(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = senet_zoo.ConvNet.forward

    def small(self: senet_zoo.ConvNet, x: torch.Tensor) -> torch.Tensor:
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate more than there is.")
        return forward(self, x)

    monkeypatch.setattr(senet_zoo.ConvNet, "forward", small)
    recipe = dataclasses.replace(SHORT, frozen_norm_epochs=2)
    cut, said = run(colours, tmp_path / "cut", recipe)
    assert re.findall(r"memory ran out: every step now goes in (\d) pieces", said) == ["2", "4"]
    monkeypatch.undo()
    whole, _ = run(colours, tmp_path / "whole", recipe)
    assert [row.loss for row in cut.history] == pytest.approx([row.loss for row in whole.history], rel=1e-5)


def test_where_no_cut_helps_the_run_says_so(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(self: senet_zoo.ConvNet, x: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate more than there is.")

    monkeypatch.setattr(senet_zoo.ConvNet, "forward", none)
    with pytest.raises(TrainingError, match="memory ran out, and a step in 8 pieces"):
        run(colours, tmp_path / "run")


def test_without_progress_it_ends_early_and_keeps_the_best(colours: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(SHORT, epochs=40, rate=1e-9)
    result, _ = run(colours, tmp_path / "run", recipe, patience=2)
    assert len(result.history) < 40
    assert result.epoch == best(result.history).epoch == len(result.history) - 2
    assert result.val_loss == pytest.approx(best(result.history).val_loss, rel=1e-6)


def test_a_variant_of_the_gate_is_trained_and_saved(colours: Path, tmp_path: Path) -> None:
    words = "reduction=4,placement=pre"
    run(colours, tmp_path / "run", dataclasses.replace(SHORT, epochs=1), se=words)
    assert senet_zoo.from_pretrained(tmp_path / "run").spec.se == SE(reduction=4, placement=Placement.PRE)
    assert load_config(tmp_path / "run" / "run.yaml").se == words
    with pytest.raises(UsageError, match="weights have the gate that they were trained with"):
        config(colours, tmp_path, pretrained=True, se="reduction=4")
    with pytest.raises(UsageError, match="did you mean reduction"):
        config(colours, tmp_path, se="reductoin=4")


def test_a_recipe_with_stochastic_depth_trains_a_network_without_branches(colours: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(SHORT, epochs=1, drop_path=0.1)
    with pytest.raises(SenetZooError, match="drop_path must be 0"):
        run(colours, tmp_path / "run", recipe, model="mobilenet", size=32)
    result, _ = run(colours, tmp_path / "run", recipe, model="mobilenet", size=32, drop_path=0.0)
    assert result.model == "mobilenet"


def test_half_precision_trains_float32_weights(colours: Path, tmp_path: Path) -> None:
    result, _ = run(colours, tmp_path / "run", precision="bf16")
    exact, _ = run(colours, tmp_path / "exact")
    assert senet_zoo.from_pretrained(result.folder).classifier.weight.dtype is torch.float32
    assert result.history[0].loss == pytest.approx(exact.history[0].loss, rel=0.05)
    assert result.history[0].loss != exact.history[0].loss


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # of the compiler itself
def test_a_compiled_network_walks_down_the_same_curve_over_phases_and_sizes(colours: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(
        SHORT, epochs=3, batch=24, head_epochs=1, ema=0.3, sizes=((0.0, 0.5), (0.7, 1.0)), frozen_norm_epochs=1
    )
    plain, _ = run(colours, tmp_path / "plain", recipe)
    compiled, _ = run(colours, tmp_path / "compiled", recipe, compile=True)
    assert [row.loss for row in compiled.history] == pytest.approx([row.loss for row in plain.history], rel=1e-3)
    one, two = (senet_zoo.from_pretrained(result.folder).state_dict() for result in (plain, compiled))
    assert list(one) == list(two)


def test_fused_units_walk_down_the_same_curve(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from senet_zoo.networks.fused import implementations as choice

    monkeypatch.setattr(
        choice, "_on_cpu", lambda: choice.Chosen(choice.PLAIN, "the compiler takes too long for a test")
    )
    recipe = dataclasses.replace(SHORT, rate=SHORT.rate / 10)  # at a high one rounding grows from step to step
    plain, _ = run(colours, tmp_path / "plain", recipe)
    fused, _ = run(colours, tmp_path / "fused", recipe, fused=True)
    assert [row.loss for row in fused.history] == pytest.approx([row.loss for row in plain.history], rel=1e-4)
    assert json.loads((fused.folder / "run.json").read_text())["fused units"] is True
    _, said = run(colours, tmp_path / "auto", recipe, fused="auto")
    assert "residual units are not fused: the compiler takes too long for a test" in said


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_synchronised_norms_are_saved_as_plain_ones(colours: Path, tmp_path: Path) -> None:
    result, _ = run(colours, tmp_path / "run", device="cuda", sync_norm=True)
    assert senet_zoo.from_pretrained(result.folder).num_classes == 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_walks_down_the_same_curve(precision: str, colours: Path, tmp_path: Path) -> None:
    recipe = dataclasses.replace(SHORT, frozen_norm_epochs=2)
    there, _ = run(colours, tmp_path / "gpu", recipe, device="cuda", precision=precision, checkpoint_steps=2)
    here, _ = run(colours, tmp_path / "cpu", recipe)
    assert [row.loss for row in there.history] == pytest.approx([row.loss for row in here.history], rel=0.05)


def test_a_rare_class_counts_as_much_as_a_common_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = paint(tmp_path / "data", 9)
    for number in range(3, 9):
        (data / "warm" / f"{number}.png").unlink()
    from senet_zoo.training.model import balanced_weights

    weights = balanced_weights(open_data(str(data)))
    assert weights.tolist() == pytest.approx([12 / 18, 12 / 6])
    assert 9 * weights[0] == 3 * weights[1]
    run(data, tmp_path / "run", dataclasses.replace(SHORT, epochs=1), class_weights=True, val_share=0.3)


def test_an_unreadable_picture_is_named_once_and_another_takes_its_place(colours: Path, tmp_path: Path) -> None:
    (colours / "train/cold/3.png").write_bytes(b"no picture")
    (colours / "val/warm/0.png").write_bytes(b"none either")
    result, said = run(colours, tmp_path / "run")
    assert result.unreadable == ("train/cold/3.png", "val/warm/0.png")
    assert said.count("train/cold/3.png") == said.count("val/warm/0.png") == 1
    assert result.val_pictures == 7


@pytest.mark.parametrize("workers", [0, 1])
def test_a_folder_without_any_readable_picture_is_refused(workers: int, tmp_path: Path) -> None:
    data = paint(tmp_path / "data", 6)
    for path in data.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match=r"^of 10 training pictures in a row none can be read"):
        run(data, tmp_path / "run", dataclasses.replace(SHORT, batch=4), workers=workers)


def test_a_loss_that_is_not_finite_ends_the_run(colours: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as caught:
        run(colours, tmp_path / "run", rate=1e20, checkpoint_steps=1)
    step = re.search(r"(?:the loss is|a weight is) .*step (\d)", str(caught.value))
    assert step is not None
    assert re.search(r"learning rate of [\d.e+]+\. ", str(caught.value))
    good = newest_checkpoint(tmp_path / "run" / "checkpoints")
    assert good is None or all(tensor.isfinite().all() for tensor in good.tensors.values())
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_disk_that_does_not_take_a_checkpoint_ends_the_run_and_keeps_the_last(colours: Path, tmp_path: Path) -> None:
    class Full(Progress):
        steps = 0

        def advance(self, pictures: int, loss: float, top1: float | None = None) -> None:
            self.steps += 1
            if self.steps == 2:  # the first is written, and nothing larger than a page afterwards
                resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(TrainingError, match=r"after step 2 could not be written.*last good .*00000001") as caught:
            fit(config(colours, tmp_path / "run", checkpoint_steps=1), Full(io.StringIO()))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "run the same command again" in str(caught.value)
    folder = tmp_path / "run" / "checkpoints"
    names = ["00000001.json", "00000001.safetensors", "run.yaml"]
    assert sorted(path.name for path in folder.iterdir()) == names
    run(colours, tmp_path / "run", checkpoint_steps=1)


def test_a_run_that_cannot_be_finished_is_no_model_and_finishes_later(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(classification, "plot_confusion", full)
        with pytest.raises(TrainingError, match=r"No space left .*run the same command again"):
            run(colours, tmp_path / "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["checkpoints"]
    _, said = run(colours, tmp_path / "run")
    assert "going on after step 6, 2 epochs done" in said
    assert "epoch 2/2" not in said
    assert {"model.safetensors", "config.json"} < {path.name for path in (tmp_path / "run").iterdir()}


def test_a_finished_folder_is_not_trained_into_again(colours: Path, tmp_path: Path) -> None:
    run(colours, tmp_path / "run")
    with pytest.raises(UsageError, match=r"holds a finished run .*another output folder"):
        run(colours, tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "cuda"}, "torch sees no CUDA device"),
        ({"sync_norm": True}, "no SyncBatchNorm on the CPU"),
        ({"device": "tpu"}, "must be cpu or cuda, got 'tpu'"),
        ({"precision": "fp16"}, "float16 trains on a CUDA device only"),
        ({"precision": "int8"}, "precision must be one of fp32, bf16, fp16"),
        ({"trackers": ("notebook",)}, "'notebook' is not"),
        ({"batch": 7, "pieces": 2}, r"multiple of processes x pieces \(2\).* choose 6"),
        ({"model": "se_resnet21"}, "did you mean"),
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"rate": 0.0}, "rate must be above 0"),
        ({"workers": -1}, "workers must be at least 0"),
        ({"license": "My Own"}, "a licence is an SPDX name"),
        ({"val_share": 1.0, "data": "flat"}, "share"),
    ],
)
def test_what_no_run_can_honour_is_refused_before_anything_is_written(
    options, message: str, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    options = dict(options)
    data = colours / "train" if options.pop("data", None) else colours
    with pytest.raises(SenetZooError, match=message):
        run(data, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_missing_library_is_named(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(UsageError, match=r"training needs accelerate: pip install 'senet-zoo\[train\]'"):
        run(colours, tmp_path / "run")


def test_a_classifier_is_kept_only_for_the_very_classes_it_knows(colours: Path, tmp_path: Path) -> None:
    from senet_zoo.training.classification import start

    run(colours, tmp_path / "run")
    known = senet_zoo.from_pretrained(tmp_path / "run").classifier.weight
    again = config(colours, tmp_path / "again", weights=tmp_path / "run")
    assert torch.equal(start(again, SHORT, ("cold", "warm")).classifier.weight, known)
    assert not torch.equal(start(again, SHORT, ("dry", "wet")).classifier.weight, known)
    assert torch.equal(
        start(again, SHORT, ("dry", "wet")).classifier.weight, start(again, SHORT, ("dry", "wet")).classifier.weight
    )


@pytest.mark.parametrize(
    ("model", "batch", "size", "rule"),
    [
        ("se_resnet50", 1, 32, "learn from 1 pictures of 32 pixels at once.*more at once"),
        ("se_inception_v3", 2, 32, "learn from 2 pictures of 32 pixels at once.*--size"),
    ],
)
def test_pictures_that_a_network_cannot_learn_from_are_refused_before_work_begins(
    colours: Path, tmp_path: Path, model: str, batch: int, size: int, rule: str
) -> None:
    with pytest.raises(UsageError, match=rule):
        run(colours, tmp_path / "run", model=model, batch=batch, size=size)


def test_names_that_are_not_utf_8_are_trained_on_and_saved(tmp_path: Path) -> None:
    data = tmp_path / os.fsdecode(b"bl\xe4tter")
    try:
        paint(data, 3)
        (data / "cold").rename(data / os.fsdecode(b"eich\xe9"))
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    result, said = run(data, tmp_path / "run", dataclasses.replace(SHORT, epochs=1), batch=1)
    assert result.classes == ("eich\\xe9", "warm")
    assert senet_zoo.from_pretrained(tmp_path / "run").weights.categories == result.classes
    assert "1 process on cpu sees all 1 pictures of a step" in said
    assert json.loads((tmp_path / "run/run.json").read_text())["data"] == str(data)
