"""Tools that work on any network of PyTorch work on these: tracers, quantisers, adapters, pruners, sharding."""

import copy
import pickle
import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
import torchvision
from networks import distinct_tiny, picked, randomise
from torch import Tensor, fx, nn
from torch.nn.utils import parametrizations, prune
from torchvision.models.feature_extraction import create_feature_extractor

import senet_zoo
from senet_zoo import SE, Activation, ConvNet, GateFunction, Squeeze, SqueezeExcite, Start

TINY = distinct_tiny()
X = torch.randn(2, 3, 33, 33, generator=torch.Generator().manual_seed(0))


def network(name: str = "se_resnet20") -> ConvNet:
    return randomise(ConvNet(TINY[name]))


def linears(model: nn.Module) -> dict[str, nn.Linear]:
    """The gates' layers by name."""
    return {
        name: part
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear) and isinstance(model.get_submodule(name.rpartition(".")[0]), SqueezeExcite)
    }


def replace(model: nn.Module, new: Callable[[nn.Linear], nn.Module]) -> list[nn.Module]:
    made = []
    for name, layer in linears(model).items():
        made.append(new(layer))
        model.set_submodule(name, made[-1])
    return made


class Adapter(nn.Module):
    """A path of low rank beside a layer, as LoRA has it."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer
        self.down, self.up = nn.Linear(layer.in_features, 2), nn.Linear(2, layer.out_features)

    def forward(self, z: Tensor) -> Tensor:
        return self.layer(z) + self.up(self.down(z))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_an_adapter_in_a_layers_place_is_run_and_learns(dtype: torch.dtype) -> None:
    model = network()
    before = model(X)
    adapters = replace(model, Adapter)
    model.to(dtype)
    after = model(X.to(dtype))
    after.sum().backward()
    assert after.dtype == dtype
    assert (after.float() - before).abs().max() > 1e-2
    assert all(adapter.up.weight.grad is not None for adapter in adapters)


@pytest.mark.parametrize("change", [lambda layer: prune.l1_unstructured(layer, "weight", 0.3), nn.utils.weight_norm])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
def test_weights_that_a_hook_computes_are_renewed_in_each_step(
    change: Callable[[nn.Linear], object], dtype: torch.dtype
) -> None:
    model = network().to(dtype).train()
    for layer in linears(model).values():
        change(layer)
    for _ in range(2):
        model(X.to(dtype)).float().square().sum().backward()
    assert all(p.grad is not None for layer in linears(model).values() for p in layer.parameters())


def test_a_parametrised_layer_is_the_same_function() -> None:
    model = network()
    before = model(X)
    for layer in linears(model).values():
        parametrizations.weight_norm(layer)
    torch.testing.assert_close(model(X), before)


@pytest.mark.filterwarnings("ignore")  # PyTorch says that its quantisation moves to torchao
def test_dynamic_quantisation_of_linear_layers_reaches_the_gates() -> None:
    model = network()
    with torch.no_grad():
        quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
        before, after = model(X), quantised(X)
    assert not linears(quantised)
    assert 0 < (after - before).abs().max() < 0.1 * before.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_that_arrive_when_a_layer_is_called(dtype: torch.dtype) -> None:
    from accelerate import cpu_offload

    model, x = network().to(dtype), X.to(dtype)
    with torch.no_grad():
        before = model(x)
        after = cpu_offload(copy.deepcopy(model), execution_device=torch.device("cpu"))(x)
    torch.testing.assert_close(after, before, rtol=2e-2, atol=2e-2 * before.abs().max().item())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_watching_a_gate_in_half_precision_changes_no_bit(dtype: torch.dtype) -> None:
    model = network().to(dtype)
    before, seen = model(X.to(dtype)), []
    for layer in linears(model).values():
        layer.register_forward_hook(lambda *given: seen.append(given[-1].dtype))
    assert torch.equal(model(X.to(dtype)), before)
    assert seen == [torch.float32] * len(linears(model))


def test_a_gate_stays_in_float32_under_autocast_and_calls_its_layers() -> None:
    gate, seen = SqueezeExcite(32), []
    for layer in (gate.fc1, gate.fc2):
        layer.register_forward_hook(lambda *given: seen.append(given[-1].dtype))
    x = torch.randn(2, 32, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(gate.excitation(x), gate.float().excitation(x))
    assert seen == [torch.float32] * 4


@pytest.mark.parametrize("squeeze", Squeeze)
@pytest.mark.parametrize(("activation", "function"), [*zip(Activation, GateFunction, strict=True)])
@pytest.mark.parametrize("start", Start)
def test_every_gate_is_traced(squeeze: Squeeze, activation: Activation, function: GateFunction, start: Start) -> None:
    gate = SE(4, squeeze=squeeze, activation=activation, gate=function, start=start).build(16)
    traced, x = fx.symbolic_trace(gate), torch.randn(2, 16, 3, 5)
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        assert torch.equal(traced(x.to(dtype)), gate(x.to(dtype)))
    half = copy.deepcopy(gate).half()
    assert torch.equal(fx.symbolic_trace(half)(x.half()), half(x.half()))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(traced(x.bfloat16()), gate(x.bfloat16()))


@pytest.mark.parametrize("squeeze", list(Squeeze))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
@pytest.mark.filterwarnings("ignore")  # TorchScript is deprecated, and says more about annotations
def test_a_traced_gate_scripts(squeeze: Squeeze, dtype: torch.dtype) -> None:
    gate = SqueezeExcite(16, squeeze=squeeze).to(dtype).eval()
    for x in (torch.randn(2, 16, 3, 5, dtype=dtype), torch.randn(2, 16, 3, 2, 5, dtype=dtype)):
        if x.dim() == 5 and squeeze is Squeeze.NONE:
            continue  # its convolutions are over pictures
        torch.testing.assert_close(torch.jit.script(fx.symbolic_trace(gate))(x), gate(x))


def test_a_replaced_layer_is_traced() -> None:
    model = network()
    replace(model, Adapter)
    assert torch.equal(fx.symbolic_trace(model)(X), model(X))


def test_a_network_of_torchvision_is_traced_with_inserted_gates_as_without() -> None:
    model = senet_zoo.insert_se(torchvision.models.resnet18(), example=X).eval()
    for gate in senet_zoo.gates(model).values():
        nn.init.normal_(gate.fc2.weight)
    assert torch.equal(fx.symbolic_trace(model)(X), model(X))
    found = create_feature_extractor(model, {"layer3": "map"})(X)["map"]
    assert found.shape == (2, 256, 3, 3)


@pytest.mark.parametrize("name", ["se_resnet20", "se_preresnet20", "se_shufflenet"])
@pytest.mark.filterwarnings("ignore")  # PyTorch says that its quantisation moves to torchao
def test_quantisation_in_graph_mode(name: str) -> None:
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    model = network(name)
    with torch.no_grad():
        prepared = prepare_fx(copy.deepcopy(model), get_default_qconfig_mapping("onednn"), (X,))
        before = model(X)
        torch.testing.assert_close(prepared(X), before, rtol=1e-4, atol=1e-4 * before.abs().max().item())
        after = convert_fx(prepared)(X)
    assert (after - before).abs().max() < 0.5 * before.abs().max()


@pytest.mark.parametrize("name", ["se_resnet20", "se_preresnet20", "se_shufflenet", "se_nin"])
def test_the_graph_that_a_converter_gets_has_elementary_operations_only(name: str) -> None:
    program = torch.export.export(network(name), (X,), strict=True).run_decompositions({})
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    assert not [node for node in calls if "shuffle" in str(node.target)]
    assert not [node for node in calls if "mean" in str(node.target) and node.kwargs.get("dtype")]
    torch.testing.assert_close(program.module()(X), network(name)(X))


@pytest.mark.parametrize("name", ["se_resnet20", "se_preresnet20", "se_googlenet", "se_shufflenet"])
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore::torch.jit.TracerWarning")
def test_torch_jit_trace(name: str) -> None:
    model = network(name)
    torch.testing.assert_close(torch.jit.trace(model, X)(X[:1]), model(X[:1]))


class Maps(nn.Module):
    def __init__(self, model: ConvNet) -> None:
        super().__init__()
        self.model, self.strides = model, tuple(model.feature_channels)

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.model.features(x, self.strides)


FEW = ["se_resnet20", "se_googlenet"]


@pytest.mark.parametrize(
    "name", [*FEW, *(pytest.param(name, marks=pytest.mark.slow) for name in picked(TINY) if name not in FEW)]
)
def test_maps_compile_as_one_graph_and_export(name: str) -> None:
    model, x = Maps(network(name)), torch.randn(1, 3, 139, 139)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.no_grad():
        exported = (torch.export.export(model, (x,), strict=strict).module() for strict in (True, False))
        for got in (compiled(x), *(program(x) for program in exported)):
            for one, other in zip(got, model(x), strict=True):
                torch.testing.assert_close(one, other)


def test_a_module_compiled_in_place_is_the_same_network() -> None:
    model = network()
    before = model(X)
    torch._dynamo.reset()
    model.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(model(X), before)


@pytest.mark.parametrize("name", ["se_resnet20", "se_preresnet20", "se_shufflenet"])
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")
def test_function_transforms(name: str) -> None:
    model = network(name)
    params = {key: p.detach() for key, p in model.named_parameters()}

    def loss(params: dict[str, Tensor], picture: Tensor) -> Tensor:
        return torch.func.functional_call(model, params, (picture[None],)).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), (None, 0))(params, X)
    assert each.keys() == params.keys()
    for i, picture in enumerate(X):
        model.zero_grad()
        model(picture[None]).square().sum().backward()
        for key, p in model.named_parameters():
            torch.testing.assert_close(each[key][i], p.grad, rtol=1e-3, atol=1e-4 * p.grad.abs().max().item())
    logits, slope = torch.func.jvp(model, (X,), (torch.randn_like(X),))
    assert torch.isfinite(slope).all()
    torch.testing.assert_close(torch.func.vmap(lambda p: model(p[None])[0])(X), logits)


@pytest.mark.parametrize("name", picked(TINY))
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning", "ignore:`torch.jit:DeprecationWarning")
def test_copies_wrappers_and_parametrised_layers_are_the_same_function(name: str) -> None:
    model, x = network(name), torch.randn(2, 3, 75, 75, generator=torch.Generator().manual_seed(1))
    rounded = {"rtol": 1e-4, "atol": 1e-4}
    with torch.no_grad():
        expected = model(x)
        for other in (
            copy.copy(model),
            copy.deepcopy(model),
            pickle.loads(pickle.dumps(model)),
            nn.DataParallel(model),
        ):
            assert torch.equal(other(x), expected)
        logits, slope = torch.func.jvp(model, (x,), (torch.ones_like(x),))
        torch.testing.assert_close(logits, expected, **rounded)
        assert torch.isfinite(slope).all()
        torch.testing.assert_close(torch.func.vmap(lambda picture: model(picture[None])[0])(x), expected, **rounded)
    for layer in [part for part in model.modules() if isinstance(part, nn.Conv2d | nn.Linear)]:
        parametrizations.weight_norm(layer)
    torch.testing.assert_close(model(x), expected, **rounded)


def test_converted_norms_keep_their_statistics_under_checkpointing() -> None:
    model = nn.SyncBatchNorm.convert_sync_batchnorm(network()).eval()
    model.train()
    model.set_grad_checkpointing()
    for norm in model.modules():
        if isinstance(norm, nn.SyncBatchNorm):
            norm.eval()  # in training mode it runs on accelerators only
    before = copy.deepcopy(model.state_dict())
    model(X).sum().backward()
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


@pytest.fixture
def one_process() -> Iterator[None]:
    import torch.distributed as dist

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        try:
            yield
        finally:
            dist.destroy_process_group()


@pytest.mark.usefixtures("one_process")
def test_sharding_with_a_unit_for_each_layer_trains_as_one_process() -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    alone, sharded = network().train(), network().train()
    mesh = init_device_mesh("cpu", (1,))
    for layer in linears(sharded).values():
        fully_shard(layer, mesh=mesh)
    fully_shard(sharded, mesh=mesh)
    for model in (alone, sharded):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(2):
            optimizer.zero_grad()
            model(X).square().mean().backward()
            optimizer.step()
    for (key, one), other in zip(alone.named_parameters(), sharded.parameters(), strict=True):
        torch.testing.assert_close(other.full_tensor(), one, msg=lambda text, key=key: f"{key}: {text}")
