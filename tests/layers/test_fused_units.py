"""The switch over networks: fused units are the same units, and the others say why they are not fused."""

import copy
import pickle
from collections.abc import Callable
from functools import partial

import pytest
import torch
from networks import randomise, tiny
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from senet_zoo.errors import UsageError
from senet_zoo.networks.blocks.residual import Basic, Bottleneck, ResidualBlock
from senet_zoo.networks.fused import implementations
from senet_zoo.networks.fused import set_fused as switch
from senet_zoo.networks.fused.set_fused import fusion, residual_units, set_fused
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS
from senet_zoo.networks.specs import SE
from senet_zoo.networks.squeeze_excite import GateFunction, Placement, Squeeze, Start, gates


@pytest.fixture(autouse=True)
def _plain_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        implementations, "_on_cpu", lambda: implementations.Chosen(implementations.PLAIN, "")
    )  # no seconds of compilation


def network(name: str) -> ConvNet:
    model = ConvNet(tiny(MODELS[name].spec()))
    randomise(model)
    return model.double().train()


def pictures() -> torch.Tensor:
    return torch.randn(3, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def learn(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model(x)
    logits.double().square().mean().backward()
    return logits.detach()


def assert_same_step(one: nn.Module, other: nn.Module, tolerance: float = 1e-9) -> None:
    for (key, first), second in zip(one.named_parameters(), other.parameters(), strict=True):
        scale = second.grad.abs().max().item() + 1e-6
        difference = (first.grad - second.grad).abs().max().item()
        assert difference <= tolerance * scale, (key, difference / scale)
    for first, second in zip(one.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(first, second, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "name", ["se_resnet20", "resnet20", "se_resnet50", "se_resnet50d", "se_resnext50_32x4d", "resnet18b"]
)
def test_a_fused_network_is_the_same_network(name: str) -> None:
    plain = network(name)
    fused = copy.deepcopy(plain)
    assert set(set_fused(fused).fused) == set(residual_units(fused))
    torch.testing.assert_close(learn(fused, pictures()), learn(plain, pictures()))
    assert_same_step(fused, plain)
    fused.load_state_dict(plain.state_dict())
    assert fused.spec == plain.spec
    assert torch.equal(fused.eval()(pictures()), plain.eval()(pictures()))


def test_copies_and_pickles_stay_fused_and_false_undoes_it() -> None:
    model = network("se_resnet20")
    names = set_fused(model).fused
    assert fusion(copy.deepcopy(model)).fused == fusion(pickle.loads(pickle.dumps(model))).fused == names
    off = set_fused(model, False)
    assert off.fused == ()
    assert set(off.plain.values()) == {"it is not switched on"}


def test_frozen_norms_keep_their_statistics() -> None:
    plain = network("se_resnet20")
    for part in plain.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.eval()
    fused = copy.deepcopy(plain)
    set_fused(fused)
    learn(fused, pictures())
    learn(plain, pictures())
    assert_same_step(fused, plain)
    assert all(int(value) == 0 for key, value in fused.state_dict().items() if key.endswith("num_batches_tracked"))


def test_gradient_checkpointing_counts_a_batch_once() -> None:
    plain = network("se_resnet20")
    fused = copy.deepcopy(plain)
    set_fused(fused)
    fused.set_grad_checkpointing()
    for _ in range(2):
        learn(fused, pictures())
        learn(plain, pictures())
    assert_same_step(fused, plain)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_gives_the_same_precisions_and_nearly_the_same_step(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    unit = Bottleneck(8, 8, 32).build(32, SE(reduction=4), drop_path=0.0).train()
    fused = copy.deepcopy(unit)
    set_fused(fused)
    x = torch.randn(4, 32, 9, 9).to(dtype)
    with torch.autocast("cpu", dtype):
        ours, theirs = learn(fused, x), learn(unit, x)
    assert ours.dtype == theirs.dtype == dtype
    torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.05)
    assert_same_step(fused, unit, tolerance=0.1)


def test_distributed_training_sees_every_gradient(tmp_path) -> None:
    plain = network("se_resnet20")
    fused = copy.deepcopy(plain)
    set_fused(fused)
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        learn(DistributedDataParallel(fused), pictures())
    finally:
        torch.distributed.destroy_process_group()
    learn(plain, pictures())
    assert_same_step(fused, plain)


def test_compilers_and_exporters_see_one_operator_and_no_break() -> None:
    torch.manual_seed(0)
    unit = Basic(8).build(8, SE(reduction=4), drop_path=0.0).train()
    set_fused(unit)
    compiled, x = copy.deepcopy(unit), torch.randn(2, 8, 6, 6)
    torch._dynamo.reset()
    torch.testing.assert_close(learn(torch.compile(compiled, fullgraph=True, backend="aot_eager"), x), learn(unit, x))
    assert_same_step(compiled, unit, tolerance=1e-5)
    program = torch.export.export(unit, (x,))
    assert "senet_zoo.residual_end.default" in str(program.graph)


@pytest.mark.parametrize(
    ("unit", "reason"),
    [
        (
            lambda: Basic(8).build(8, SE(4, placement=Placement.PRE), 0.0),
            "in another place than the branch's output: pre",
        ),
        (lambda: Basic(8).build(8, SE(4, placement=Placement.POST), 0.0), "post"),
        (lambda: Basic(8).build(8, SE(4, placement=Placement.IDENTITY), 0.0), "identity"),
        (lambda: Basic(8).build(8, SE(4, squeeze=Squeeze.MAX), 0.0), "made of max, relu, sigmoid, random"),
        (lambda: Basic(8).build(8, SE(4, gate=GateFunction.TANH), 0.0), "made of mean, relu, tanh, random"),
        (lambda: Basic(8).build(8, SE(4, start=Start.IDENTITY), 0.0), "made of mean, relu, sigmoid, identity"),
        (lambda: Basic(8).build(8, SE(4), 0.1), "dropped or scaled"),
        (lambda: Basic(8, before_gate=nn.ReLU).build(8, SE(4), 0.0), "ReLU stands between its batch norm and its gate"),
        (lambda: nn.SyncBatchNorm.convert_sync_batchnorm(Basic(8).build(8, SE(4), 0.0)), "norm is SyncBatchNorm"),
    ],
)
def test_what_the_operation_does_not_cover_runs_as_before(unit: Callable[[], ResidualBlock], reason: str) -> None:
    block = unit().train()
    assert reason in block.why_plain()
    block.fused = True
    if "SyncBatchNorm" not in reason:  # which needs a GPU to run
        x, seeds = torch.randn(2, 8, 6, 6), []
        for fused in (True, False):
            again = copy.deepcopy(block)
            again.fused = fused
            torch.manual_seed(0)
            seeds.append(again(x))
        assert torch.equal(*seeds)


def test_an_inner_gate_leaves_an_end_to_fuse() -> None:
    unit = Bottleneck(8, 8, 32).build(32, SE(4, placement=Placement.INNER), 0.0)
    assert set_fused(unit).fused == ("",)


def test_hooks_are_called_and_named() -> None:
    fused = network("se_resnet20")
    set_fused(fused)
    plain, seen = copy.deepcopy(fused), []
    set_fused(plain, False)
    name, gate = next(iter(gates(fused).items()))
    handle = gate.register_forward_hook(lambda *_: seen.append(name))
    torch.testing.assert_close(learn(fused, pictures()), learn(plain, pictures()))
    assert seen == [name]
    assert fusion(fused).plain == {name.removesuffix(".se"): "its SqueezeExcite has a hook"}
    handle.remove()
    with_all = nn.modules.module.register_module_forward_hook(lambda *_: None)
    assert set(fusion(fused).plain.values()) == {"a hook over all modules is registered"}
    with_all.remove()
    assert not fusion(fused).plain


@pytest.mark.parametrize("name", ["se_vgg16", "se_preresnet110", "se_resnet18"])
def test_true_needs_a_unit_to_fuse_and_auto_does_not(name: str) -> None:
    model = network(name)
    with pytest.raises(UsageError, match="needs a unit that can be fused"):
        set_fused(model, True)
    assert set_fused(model, "auto").fused == ()


def test_auto_fuses_what_is_measured_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network("se_resnet20")
    for measured, expected in ((1.3, True), (1.01, False)):
        monkeypatch.setattr(switch, "measured_speedup", lambda *_, measured=measured: measured)
        assert bool(set_fused(model, "auto").fused) is expected
    monkeypatch.setattr(switch, "measured_speedup", lambda *_: 9.9)
    monkeypatch.setattr(
        implementations, "_on_cpu", lambda: implementations.Chosen(implementations.PLAIN, "no compiler")
    )
    assert set_fused(model, "auto").fused == ()
    with pytest.raises(UsageError, match='True, False or "auto", got 1'):
        set_fused(model, 1)


def test_the_gain_is_of_times_that_were_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(work: partial[None], device: torch.device) -> float:
        work()
        end, *_ = work.args
        return 2.0 if isinstance(end, partial) else 3.0  # the operation, and the layers

    monkeypatch.setattr(switch, "timed", timed)
    switch.measured_speedup.cache_clear()
    assert switch.measured_speedup(torch.device("cpu"), torch.float32) == 1.5
    switch.measured_speedup.cache_clear()


def test_a_gate_adds_one_percent_of_saved_activations_at_most() -> None:
    x, saved = torch.randn(2, 256, 28, 28), []
    for se in (SE(), None):
        unit = Bottleneck(64, 64, 256).build(256, se, drop_path=0.0).train()
        set_fused(unit)
        weights, sizes = {p.data_ptr() for p in unit.parameters()}, {}

        def keep(tensor, weights=weights, sizes=sizes):
            if tensor.data_ptr() not in weights:
                sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            out = unit(x.clone())
        saved.append(sum(sizes.values()))
        del out
    gated, twin = saved
    assert twin < gated <= 1.01 * twin
