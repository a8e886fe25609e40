"""What ``optimize`` refuses, and what an optimised network refuses: typed, and the original as it was."""

import copy
import json
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

import senet_zoo
from senet_zoo.cli import main
from senet_zoo.errors import OptimizationError, UsageError
from senet_zoo.inference import backends
from senet_zoo.inference.backends import COMPILED, TORCH, Built
from senet_zoo.inference.rewriting import rewrite

QUICK = {"sizes": (16, 11), "rounds": 0}


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return senet_zoo.create_model("se_resnet20").eval()


@pytest.fixture
def fast(model: nn.Module) -> nn.Module:
    return senet_zoo.optimize(model, **QUICK)


def test_a_network_that_trains(model: nn.Module) -> None:
    model.stages[0][0].train()
    with pytest.raises(OptimizationError, match=r"stages\.0\.0 .*call model\.eval"):
        senet_zoo.optimize(model, **QUICK)


def test_a_network_that_is_optimised_already(fast: nn.Module) -> None:
    with pytest.raises(OptimizationError, match="optimised already"):
        senet_zoo.optimize(fast, **QUICK)


def test_a_scripted_network(model: nn.Module) -> None:
    scripted = torch.jit.ScriptModule.__new__(torch.jit.ScriptModule)
    with pytest.raises(OptimizationError, match="scripted"):
        senet_zoo.optimize(scripted, **QUICK)


def test_a_compiled_network(model: nn.Module) -> None:
    with pytest.raises(OptimizationError, match="_orig_mod"):
        senet_zoo.optimize(torch.compile(model, backend="eager"), **QUICK)


def test_a_wrapper_for_several_devices(model: nn.Module) -> None:
    with pytest.raises(OptimizationError, match=r"model\.module"):
        senet_zoo.optimize(nn.DataParallel(model).eval(), **QUICK)


def test_a_quantised_network(model: nn.Module) -> None:
    model.register_buffer("scales", torch.zeros(4).to(torch.float8_e4m3fn))
    with pytest.raises(OptimizationError, match=r"scales .*quantised"):
        senet_zoo.optimize(model, **QUICK)


def test_hooks(model: nn.Module) -> None:
    model.stem.register_forward_hook(lambda *_: None)
    with pytest.raises(OptimizationError, match=r"stem .*has one"):
        senet_zoo.optimize(model, **QUICK)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(model: nn.Module, bad: float) -> None:
    model.classifier.weight.data[0, 0] = bad
    with pytest.raises(OptimizationError, match=r"classifier\.weight"):
        senet_zoo.optimize(model, **QUICK)


def test_a_network_without_tensors_of_its_own() -> None:
    with pytest.raises(OptimizationError, match="no tensor at all"):
        senet_zoo.optimize(nn.Identity().eval(), **QUICK)
    with torch.device("meta"), pytest.raises(OptimizationError, match="meta"):
        senet_zoo.optimize(nn.Conv2d(3, 8, 1).eval(), **QUICK)


def test_more_than_one_output() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 1)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.conv(x), x

    with pytest.raises(OptimizationError, match="gives tuple"):
        senet_zoo.optimize(Two().eval(), **QUICK)


def test_a_size_that_the_network_does_not_take() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Flatten(), nn.Linear(8 * 16 * 16, 5)).eval()
    with pytest.raises(OptimizationError, match="Pass sizes"):
        senet_zoo.optimize(model, **QUICK)


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": torch.float16},
        {"dtype": torch.int8},
        {"backend": "tensorrt"},
        {"backend": "auto", "compile": True},
        {"backend": "openvino", "compile": True},
        {"kernels": True},
        {"sizes": (16,)},
        {"sizes": (16, 0)},
        {"batch": 0},
        {"rounds": -1},
    ],
    ids=str,
)
def test_options_that_cannot_be_honoured(model: nn.Module, options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        senet_zoo.optimize(model, **QUICK | options)


def test_a_rewrite_that_moves_the_logits_is_refused(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(network: torch.fx.GraphModule, _: torch.Tensor) -> Built:
        return Built(lambda x: network(x) + 1e-3, "")

    monkeypatch.setattr("senet_zoo.inference.optimize.BACKENDS", {TORCH: wrong})
    x, before = torch.randn(1, 3, 16, 16), copy.deepcopy(model.state_dict())
    expected = model(x)
    said = r"within 1e-05 of scale.*The original is as it was; .*float64: use it, and please report the network"
    with pytest.raises(OptimizationError, match=said):
        senet_zoo.optimize(model, **QUICK)
    assert torch.equal(model(x), expected)
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def test_a_network_whose_logits_are_rounding_is_refused_with_the_reason() -> None:
    conv, norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
    for large in (conv.bias, norm.running_mean):  # one is taken from the other
        nn.init.constant_(large, 1e5)
    model = nn.Sequential(conv, norm, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)).eval()
    with pytest.raises(OptimizationError, match=r"its own logits deviate by .* from those in float64.*trained weights"):
        senet_zoo.optimize(model, **QUICK)


def test_it_does_not_train_and_gives_no_gradients(fast: nn.Module) -> None:
    assert fast.eval() is fast
    for refused in (fast.train, fast.requires_grad_, lambda: fast(torch.zeros(1, 3, 16, 16, requires_grad=True))):
        with pytest.raises(OptimizationError, match=r"gradients|cannot train"):
            refused()
    assert not fast(torch.zeros(1, 3, 16, 16)).requires_grad
    with torch.no_grad():
        fast(torch.zeros(1, 3, 16, 16, requires_grad=True))


@pytest.mark.parametrize("move", [copy.deepcopy, pickle.dumps, lambda net: net.half(), lambda net: net.to("meta")])
def test_it_stays_where_it_was_made(fast: nn.Module, move) -> None:
    with pytest.raises(OptimizationError):
        move(fast)


@pytest.mark.parametrize("shape", [(1, 4, 16, 16), (3, 16, 16)])
def test_pictures_of_another_shape(fast: nn.Module, shape: tuple[int, ...]) -> None:
    with pytest.raises(OptimizationError, match=r"\(N, 3, H, W\)"):
        fast(torch.zeros(shape))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_picture_that_is_not_finite_spoils_its_own_logits_only(model: nn.Module, bad: float) -> None:
    fast = senet_zoo.optimize(model, **QUICK)
    x = torch.randn(3, 3, 16, 16)
    expected = fast(x)
    x[1, 0, 5, 5] = bad
    found = fast(x)
    assert found[1].isnan().all()
    torch.testing.assert_close(found[[0, 2]], expected[[0, 2]])


def test_a_picture_of_huge_values_is_no_broken_one(model: nn.Module) -> None:
    fast = senet_zoo.optimize(model, **QUICK)
    x = torch.full((2, 3, 32, 32), 3e35)  # whose sum is more than float32 holds
    assert torch.equal(fast(x).isnan(), model(x).isnan())


def test_pictures_that_could_have_a_gradient_are_answered_without_one(model: nn.Module) -> None:
    fast = senet_zoo.optimize(model, **QUICK)
    x = torch.zeros(1, 3, 32, 32, requires_grad=True)
    with torch.no_grad():
        assert not fast(x).requires_grad


def only_torch(calls: list[str], fails: bool):
    def run(name: str):
        def build(network: torch.fx.GraphModule, x: torch.Tensor) -> Built:
            calls.append(name)
            if fails and name == COMPILED:
                raise RuntimeError("no compiler here")
            return backends.in_torch(network, x)

        return build

    return {name: run(name) for name in (TORCH, COMPILED)}


def test_auto_measures_once_and_remembers(model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SENET_ZOO_CACHE", str(tmp_path))
    calls: list[str] = []
    monkeypatch.setattr("senet_zoo.inference.optimize.BACKENDS", only_torch(calls, fails=True))
    fast = senet_zoo.optimize(model, backend="auto", **QUICK)
    assert fast.report.backend == TORCH
    assert any("no compiler here" in note for note in fast.report.notes)
    assert COMPILED in calls
    (kept,) = (tmp_path / "backends").iterdir()
    assert json.loads(kept.read_text())["fastest"] == TORCH
    calls.clear()
    assert "measured before" in senet_zoo.optimize(model, backend="auto", **QUICK).report.notes[0]
    assert calls == [TORCH]
    kept.write_text("{ not json")
    calls.clear()
    senet_zoo.optimize(model, backend="auto", **QUICK)
    assert COMPILED in calls


def test_auto_without_a_cache_that_can_be_written(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SENET_ZOO_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr("senet_zoo.inference.optimize.BACKENDS", only_torch([], fails=False))
    report = senet_zoo.optimize(model, backend="auto", **QUICK).report
    assert any("not remembered" in note for note in report.notes)


def test_answers_are_kept_for_each_size_and_dtype(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    network = rewrite(model).network
    x = torch.zeros(1, 3, 16, 16)
    inputs = (x, x.clone(), x[:, :, :8], x.expand(2, -1, -1, -1), x.bfloat16())
    assert len({backends.result_file(network, y) for y in inputs}) == 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_on_cuda_single_pictures_are_replayed(dtype: torch.dtype) -> None:
    model = senet_zoo.create_model("se_resnet50", device="cuda").eval()
    fast = senet_zoo.optimize(model, dtype=dtype, sizes=(64, 49), rounds=3)
    with torch.no_grad():
        for shape in ((1, 3, 64, 64), (1, 3, 64, 64), (1, 3, 50, 70), (4, 3, 64, 64)):
            x = torch.randn(shape, device="cuda")
            expected = model(x)
            assert (fast(x) - expected).abs().max() <= fast.report.bound * expected.abs().max()


def test_command_prints_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["optimize", "--model", "se_resnet20", "--size", "16", "--rounds", "3"]) == 0
    out = capsys.readouterr().out
    assert "19 folded" in out or "21 folded" in out
    call = "model = senet_zoo.create_model('se_resnet20').eval(); fast = senet_zoo.optimize(model, sizes=(16, 13))"
    assert call in " ".join(out.split())


def test_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["optimize", "--model", "se_resnet20.cifar10", "--size", "16", "--rounds", "3", "--json"]
    assert main(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["report"]["gain"]["median"] > 0
    assert document["report"]["deviation"] <= document["report"]["bound"]
    assert document["machine"]["torch"] == torch.__version__


def test_command_refuses_a_tag_beside_weights() -> None:
    assert main(["optimize", "--model", "se_resnet20.cifar10", "--weights", "x.safetensors"]) == 2
