"""``optimize``: the same function, whatever the network, and what was done is said."""

import dataclasses
import linecache
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from networks import distinct_tiny, others_slow, picked, randomise, scaled_difference, tiny
from torch import nn
from torch.fx import graph_module

import senet_zoo
from senet_zoo import SE, Activation, GateFunction, Placement, Squeeze, Start
from senet_zoo.inference.backends import COMPILED
from senet_zoo.inference.passes.gates import MeanGate
from senet_zoo.inference.rewriting import rewrite
from senet_zoo.networks.blocks.residual import Bottleneck
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS

TINY = distinct_tiny()
FAMILIES = (
    "se_resnet18", "se_resnet50", "senet154", "se_resnext50b_32x4d", "se_resnet50d", "se_mobilenet", "se_shufflenet",
    "se_resnet20", "se_vgg11", "se_densenet121", "densenet121", "se_mnasnet", "se_preresnet50", "preresnet50",
    "se_googlenet", "se_bn_inception", "se_inception_resnet_v1", "se_nin", "resnet50",
)  # fmt: skip
UNPADDED = ("inception_v3", "inception_v4", "inception_resnet", "alexnet")


def sizes_of(name: str) -> tuple[int, int]:
    if any(part in name for part in UNPADDED):
        return 107, 139
    return (16, 21) if MODELS[name].spec().input_size == 32 else (48, 65)


def network(name: str, se: SE | None = None) -> ConvNet:
    spec = tiny(MODELS[name].spec())
    model = ConvNet(spec if se is None else dataclasses.replace(spec, se=se))
    randomise(model)
    return model


def same_function(model: nn.Module, fast: nn.Module, sizes: tuple[int, ...], bound: float = 1e-5) -> None:
    generator = torch.Generator().manual_seed(7)
    for batch, size in ((1, sizes[0]), (4, sizes[-1]), (2, sizes[0])):
        x = torch.randn(batch, 3, size, size + 6, generator=generator)
        kept = x.clone()
        with torch.no_grad():
            expected = model(x)
        found = fast(x)
        assert found.shape == expected.shape
        assert scaled_difference(found, expected) < bound
        assert torch.equal(x, kept)
        assert torch.equal(found, fast(x))  # nothing of the first call is left behind


@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_of_every_family_stays_the_same_function(name: str) -> None:
    model = network(name)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    fast = senet_zoo.optimize(model, sizes=sizes_of(name), rounds=0)
    same_function(model, fast, sizes_of(name))
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert set(fast.report.early) | set(fast.report.late) == set(senet_zoo.gates(model))
    assert fast.report.opaque == ()


@pytest.mark.parametrize("name", others_slow(TINY, picked(TINY)))
def test_every_network_of_the_registry_stays_the_same_function(name: str) -> None:
    model = network(name)
    same_function(model, senet_zoo.optimize(model, sizes=sizes_of(name), rounds=0), sizes_of(name))


def test_a_trained_network_keeps_its_answers() -> None:
    model = senet_zoo.create_model("se_resnet20", pretrained=True)
    same_function(model, senet_zoo.optimize(model, rounds=0), (32, 41))


def test_gates_of_bottlenecks_are_early_and_read_a_quarter_of_the_channels() -> None:
    rewriting = rewrite(network("se_resnet50"))
    assert len(rewriting.early) == 8
    assert rewriting.late == {}
    units = [part for stage in network("se_resnet50").stages for part in stage]
    gates = [part for part in rewriting.network.modules() if isinstance(part, MeanGate)]
    assert [gate.w1.shape[1] for gate in gates] == [unit.branch.conv3.conv.in_channels for unit in units]
    assert [gate.w2.shape[0] for gate in gates] == [unit.branch.conv3.conv.out_channels for unit in units]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("se_resnet20", "3x3 convolution stands before"),
        ("se_resnet18", "activation stands between"),
        ("se_mobilenet", "activation stands between"),
        ("se_bn_inception", "gates a concatenation"),
    ],
)
def test_gates_that_stay_behind_their_map_say_why(name: str, reason: str) -> None:
    late = rewrite(network(name)).late
    assert set(late) == set(senet_zoo.gates(network(name)))
    assert all(reason in why for why in late.values())


VARIANTS = [
    *(SE(placement=placement) for placement in Placement),
    *(SE(squeeze=squeeze) for squeeze in Squeeze),
    *(SE(activation=activation) for activation in Activation),
    *(SE(gate=gate, start=start) for gate in GateFunction for start in Start),
    SE(bias=False, reduction=4),
    SE(placement=Placement.IDENTITY, squeeze=Squeeze.BOTH, stages=(2, 4)),
]


@pytest.mark.parametrize("se", VARIANTS, ids=str)
def test_every_variant_of_the_gate_stays_the_same_function(se: SE) -> None:
    model = network("se_resnet50", dataclasses.replace(se, reduction=min(se.reduction, 8)))
    fast = senet_zoo.optimize(model, sizes=(48, 65), rounds=0)
    same_function(model, fast, (48, 65))
    uncovered = [reason for reason in fast.report.late.values() if "squeeze is" in reason]
    assert len(uncovered) == (0 if se.squeeze is Squeeze.MEAN else len(senet_zoo.gates(model)))


def test_a_gate_behind_a_strided_projection_squeezes_only_the_pixels_that_it_sees() -> None:
    spec = dataclasses.replace(tiny(MODELS["se_resnet50"].spec()), se=SE(reduction=8, placement=Placement.IDENTITY))
    assert any(isinstance(block, Bottleneck) and block.stride == 2 for stage in spec.stages for block in stage.blocks)
    model = ConvNet(spec)
    randomise(model)
    rewriting = rewrite(model)
    assert [name for name in rewriting.early if name.endswith("0.se")] == list(rewriting.early) != []
    x = torch.randn(2, 3, 61, 50)
    with torch.no_grad():
        assert scaled_difference(rewriting.network(x), model(x)) < 2e-6


def test_a_batch_norm_that_follows_no_convolution_stays() -> None:
    rewriting = rewrite(network("densenet121"))
    assert rewriting.norms > 0
    assert sum(isinstance(part, nn.BatchNorm2d) for part in rewriting.network.modules()) == rewriting.norms


def test_inserted_gates_are_early_too() -> None:
    from torchvision.models.resnet import Bottleneck, ResNet

    torch.manual_seed(0)
    model = ResNet(Bottleneck, [1, 1, 1, 1], num_classes=10)
    randomise(model)
    senet_zoo.insert_se(model, SE(), example=torch.zeros(1, 3, 64, 64)).eval()
    fast = senet_zoo.optimize(model, sizes=(48, 65), rounds=0)
    assert len(fast.report.early) == 4
    same_function(model, fast, (48, 65))


def test_a_part_that_cannot_be_traced_runs_as_it_is_and_is_named() -> None:
    class Moody(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.mean() > 0 else -x

    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), Moody(), nn.Flatten(2), nn.AdaptiveAvgPool1d(5))
    fast = senet_zoo.optimize(model.eval(), sizes=(16, 11), rounds=0)
    assert fast.report.opaque == ("2",)
    same_function(model, fast, (16, 11))


def test_a_part_may_be_called_whole_and_in_part() -> None:
    class Moody(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(5, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) if x.mean() > 0 else x

    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.moody = Moody()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            z = x.mean((1, 2))[:, :5]
            return self.moody(z) + self.moody.inner(z)

    model = Both().eval()
    fast = senet_zoo.optimize(model, sizes=(16, 11), rounds=0)
    assert fast.report.opaque == ("moody",)
    same_function(model, fast, (16, 11))


def test_maps_that_are_read_again_are_not_written_over() -> None:
    class Reread(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 1)
            self.gate = senet_zoo.SqueezeExcite(8, 2)
            self.act = nn.ReLU(inplace=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.conv(x)
            z = self.gate(y)
            s = z + y
            t = s.flatten(2)  # a view of the sum
            u = s + self.conv(x)
            v = self.act(u)
            return t.sum(2) + (y * z).sum((2, 3)) + u.sum((2, 3)) + 3 * v.mean((2, 3)) + 0.5 * s.amax((2, 3))

    torch.manual_seed(0)
    model = Reread().eval()
    same_function(model, senet_zoo.optimize(model, sizes=(9, 8), rounds=0), (9, 8))


def test_channels_of_the_pictures_are_found() -> None:
    model = senet_zoo.create_model("se_resnet20", in_channels=5).eval()
    fast = senet_zoo.optimize(model, rounds=0)
    x = torch.randn(2, 5, 32, 32)
    with torch.no_grad():
        assert scaled_difference(fast(x), model(x)) < 1e-5


def test_bfloat16_stays_within_its_bound_and_answers_in_float32() -> None:
    model = network("se_resnet50")
    fast = senet_zoo.optimize(model, dtype=torch.bfloat16, sizes=(33, 40), rounds=0)
    assert fast.report.bound == 5e-2
    assert fast(torch.zeros(1, 3, 33, 33)).dtype is torch.float32
    same_function(model, fast, (33, 40), bound=5e-2)


def test_float64_keeps_its_precision() -> None:
    model = network("se_resnet50").double()
    fast = senet_zoo.optimize(model, sizes=(33, 40), rounds=0)
    x = torch.randn(2, 3, 40, 40, dtype=torch.float64)
    with torch.no_grad():
        assert scaled_difference(fast(x), model(x)) < 1e-13


def test_the_report_reads_well_and_the_gain_has_a_spread() -> None:
    fast = senet_zoo.optimize(network("se_resnet50"), sizes=(33, 40), rounds=4)
    gain = fast.report.gain
    assert gain is not None
    assert 0 < gain.lower <= gain.median <= gain.upper
    assert gain.rounds in (3, 4)
    text = str(fast.report)
    assert "8 of 8 before their convolution" in text
    assert "29 folded" in text
    assert max(map(len, text.splitlines())) < 125


def test_the_global_random_state_is_not_touched() -> None:
    model = network("se_resnet20")
    state = torch.get_rng_state()
    senet_zoo.optimize(model, rounds=0)
    assert torch.equal(state, torch.get_rng_state())


RESIDENT = """
import senet_zoo
def resident():
    with open("/proc/self/status") as lines:
        return 1024 * int(dict(line.split(":", 1) for line in lines)["VmRSS"].split()[0])
senet_zoo.optimize(senet_zoo.create_model("se_resnet20").eval(), rounds=0)
model = senet_zoo.create_model("se_resnet50").eval()
before = resident()
fast = senet_zoo.optimize(model, sizes=(64, 49), rounds=0)
print((resident() - before) / sum(4 * parameter.numel() for parameter in model.parameters()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_what_optimising_needed_besides_the_network_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", RESIDENT], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 2  # the weights once more, laid out for this machine, and little else


def test_no_source_text_of_generated_code_is_kept(tmp_path: Path) -> None:
    def generated() -> set[str]:
        return {name for name in (*linecache.cache, *graph_module._loader.eval_cache) if "eval_with_key" in name}

    model, x = network("se_resnet20"), torch.zeros(1, 3, 16, 16)
    own = torch.fx.symbolic_trace(nn.ReLU())  # the program's own graph keeps its text
    before = generated()
    assert own.forward.__code__.co_filename in before
    for _ in range(20):
        fast = senet_zoo.optimize(model, sizes=(16, 11), rounds=0)
    senet_zoo.export(model, tmp_path / "model.pt2")
    assert generated() == before
    with torch.no_grad():
        assert scaled_difference(fast(x), model(x)) < 1e-5


ALLOCATOR = """
import resource, senet_zoo, torch
senet_zoo.optimize(senet_zoo.create_model("se_resnet20").eval(), rounds=0)
def fresh():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(64, 256, 56, 56)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print([fresh() for _ in range(10)][-1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is told, on Linux")
def test_the_allocator_of_the_process_is_left_alone() -> None:
    untuned = {key: value for key, value in os.environ.items() if "MALLOC" not in key and key != "GLIBC_TUNABLES"}
    done = subprocess.run([sys.executable, "-c", ALLOCATOR], env=untuned, capture_output=True, text=True, check=True)
    assert int(done.stdout) > 50  # a large map is fresh pages, as without senet_zoo


@pytest.mark.slow
@pytest.mark.parametrize("name", ["se_resnet20", "se_shufflenet"])
def test_compiled_it_is_one_program_and_the_same_function(name: str) -> None:
    torch._dynamo.reset()
    counters = torch._dynamo.utils.counters
    counters.clear()
    model = network(name)
    fast = senet_zoo.optimize(model, compile=True, sizes=sizes_of(name), rounds=0)
    assert fast.report.backend == COMPILED
    assert (counters["stats"]["unique_graphs"], dict(counters["graph_break"])) == (1, {})
    x = torch.randn(2, 3, 50, 41)
    with torch.no_grad():
        expected = model(x)
    assert scaled_difference(fast(x), expected) < 1e-5
    x[1, 2, 3, 4] = torch.nan
    assert fast(x).isnan().all(1).tolist() == [False, True]


@pytest.mark.slow
def test_what_cannot_be_looked_into_may_change_after_it_was_compiled() -> None:
    class Moody(nn.Module):
        mood = 1

        def __deepcopy__(self, memo: object) -> "Moody":
            return self

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * self.mood if x.mean() < 1000 else x

    moody = Moody()
    model = nn.Sequential(nn.Conv2d(3, 4, 1), moody).eval()
    fast = senet_zoo.optimize(model, compile=True, sizes=(8, 9), rounds=0)
    x = torch.randn(1, 3, 8, 8)
    first = fast(x)
    moody.mood = 5
    assert torch.equal(fast(x), 5 * first)


def test_predict_takes_it(caplog: pytest.LogCaptureFixture) -> None:
    from senet_zoo.prediction.pipeline import Prediction
    from senet_zoo.prediction.predictor import classify

    caplog.set_level(logging.WARNING)
    model = senet_zoo.create_model("se_resnet20", pretrained=True)
    weights = senet_zoo.get_weights("se_resnet20")
    both = [
        list(classify(net, ["samples/"], weights.preprocessing, weights.categories))
        for net in (model, senet_zoo.optimize(model, rounds=0))
    ]
    for slow, quick in zip(*both, strict=True):
        assert isinstance(slow, Prediction)
        assert isinstance(quick, Prediction)
        assert [label for label, _ in slow.classes] == [label for label, _ in quick.classes]
