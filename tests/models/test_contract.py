"""The contract that every model of the registry passes; a new model adds a row to golden.csv, and no code."""

import copy
import csv
import dataclasses
import pickle
import re
from collections.abc import Iterable
from functools import cache, lru_cache

import pytest
import torch
from networks import (
    SIZES,
    distinct_tiny,
    each_kind_once,
    key_list,
    others_slow,
    picked,
    randomise,
    thin,
    tiny,
    traits_of,
)
from torch import fx, nn

from senet_zoo.analysis import cost
from senet_zoo.analysis.listing import GOLDEN as GOLDEN_FILE
from senet_zoo.networks.blocks.residual import ResidualBlock
from senet_zoo.networks.layers import initialise
from senet_zoo.networks.network import ConvNet, on_meta
from senet_zoo.networks.registry import MODELS
from senet_zoo.networks.specs import AuxiliarySpec, NetworkSpec, StageSpec
from senet_zoo.networks.squeeze_excite import SqueezeExcite

# parameters, multiply_adds: reference counts of the authors' files, torchvision, timm and pytorchcv.
# keys: a digest of names and shapes; no outside truth, it guards published weights against renaming.
GOLDEN = {row["name"]: row for row in csv.DictReader(GOLDEN_FILE.read_text().splitlines())}
GATED = [name for name, model in MODELS.items() if model.se is not None]
TINY = distinct_tiny()
every_model = pytest.mark.parametrize("name", MODELS, scope="module")
# Few networks have every kind of block and every value of its fields; the others run under --all. Counts and keys are
# checked of each model, always.
every_function = pytest.mark.parametrize("name", others_slow(TINY, picked(TINY)))
# Tracing costs by the block: each kind once, and whole networks under --all.
THIN = each_kind_once()
SPECS = {**TINY, **THIN, "se_resnet20, thin": thin(TINY["se_resnet20"])}
every_kind_of_block = pytest.mark.parametrize("name", others_slow([*THIN, *TINY], THIN))


def network(name: str) -> ConvNet:
    """The tiny or thin network of that name, randomised."""
    model = ConvNet(SPECS[name])
    randomise(model)
    return model


def pictures(name: str, count: int = 2, *, more: tuple[int, int] = (0, 0)) -> torch.Tensor:
    """Pictures that leave a last map of a few pixels, or ``more`` rows and columns; unpadded convolutions eat some."""
    side = 139 if unpadded(SPECS[name]) else 65
    return torch.randn(count, 3, side + more[0], side + more[1], generator=torch.Generator().manual_seed(1))


def constant_bias(layer: nn.Linear, value: float) -> nn.Parameter:
    """A bias for a layer of a gate, also for one that has none."""
    return nn.Parameter(torch.full((layer.out_features,), value))


@cache
def unpadded(spec: NetworkSpec) -> bool:
    """Whether layers without padding shrink its maps: Inception v3, v4, Inception-ResNet, Xception, AlexNet
    and CifarNet."""
    model = on_meta(spec)
    strides = tuple(model.feature_channels)
    maps = model.features(torch.empty(1, 3, spec.input_size, spec.input_size, device="meta"), strides)
    return any(found.shape[-1] < spec.input_size // stride for found, stride in zip(maps, strides, strict=True))


@lru_cache(maxsize=8)
def meta(name: str) -> ConvNet:
    """The whole network, without memory; tests of one name follow each other."""
    return on_meta(MODELS[name].spec())


def test_golden_rows_and_registry_name_the_same_models() -> None:
    assert sorted(GOLDEN) == sorted(MODELS)


def test_the_picked_networks_have_every_block_and_every_value_of_its_fields() -> None:
    def printed(names: Iterable[str]) -> set[str]:
        """Class names, and ``field=value`` of plain values, as specs print them."""
        text = "".join(str(TINY[name]) for name in names)
        kinds = re.findall(r"\b[A-Z]\w*(?=\()", text)
        values = [
            (kind, *each)
            for kind, fields in re.findall(r"\b([A-Z]\w*)\(([^()]*)\)", text)
            for each in re.findall(r"(\w+)=([^,]+)", fields)
            if each[0] not in SIZES
        ]
        return {*kinds, *values}

    assert printed(picked(TINY)) == printed(TINY)
    assert len(picked(TINY)) < len(TINY) / 2
    untraced = {AuxiliarySpec, *(type(each.head) for spec in TINY.values() for each in spec.auxiliary)}
    traced = {trait for spec in TINY.values() for trait in traits_of(spec) if trait[0] not in untraced}
    assert traced <= set().union(*map(traits_of, THIN.values()))


def test_a_new_block_and_a_new_value_are_picked_up() -> None:
    @dataclasses.dataclass(frozen=True)
    class Novel:
        kernel: int

    old = TINY["se_resnet18"]
    new = dataclasses.replace(old, stages=(StageSpec((*old.stages[0].blocks, Novel(1))), *old.stages[1:]))
    newer = dataclasses.replace(old, stages=(StageSpec((*old.stages[0].blocks, Novel(2))), *old.stages[1:]))
    assert {"new", "newer"} <= set(picked({**TINY, "new": new, "newer": newer}))


@every_model
def test_counts_and_keys(name: str) -> None:
    model, row = meta(name), GOLDEN[name]
    assert cost.parameters(model) == int(row["parameters"])
    assert cost.multiply_adds(model.spec) == int(row["multiply_adds"])
    assert len(cost.gates(model)) == int(row["gates"])
    assert key_list(model) == row["keys"]


@pytest.mark.parametrize("name", GATED, scope="module")
def test_gates_add_one_multiply_add_for_each_of_their_weights(name: str) -> None:
    golden, twin = GOLDEN[name], GOLDEN[MODELS[name].twin]
    added = int(golden["multiply_adds"]) - int(twin["multiply_adds"])
    assert added == cost.se_parameters(meta(name))


@every_function
def test_shapes_at_native_and_odd_sizes(name: str) -> None:
    model = on_meta(TINY[name])
    least = 75 if unpadded(model.spec) else 8 if model.spec.input_size == 32 else 33
    for height, width in [(model.spec.input_size,) * 2, (least, least), (least + 2, least + 37)]:
        x = torch.empty(2, 3, height, width, device="meta")
        maps = model.features(x, tuple(model.feature_channels))
        for (stride, channels), found in zip(model.feature_channels.items(), maps, strict=True):
            assert found.shape[:2] == (2, channels)
            for side, got in ((height, found.shape[2]), (width, found.shape[3])):
                if unpadded(model.spec):
                    assert side // stride - 4 <= got <= -(-side // stride)  # what is padded rounds up
                    continue
                # Caffe's pool and the aa form's round an odd map down, everything else rounds up.
                assert got in ({side // stride} if side % stride == 0 else {side // stride, side // stride + 1})
        assert model.forward_head(maps[-1]).shape == (2, model.spec.num_classes)


@every_model
def test_plain_twin_is_the_network_without_its_gates(name: str) -> None:
    model, twin = meta(name), meta(MODELS[name].twin)
    ours = {key: tensor.shape for key, tensor in model.state_dict().items() if ".se." not in key}
    theirs = {key: tensor.shape for key, tensor in twin.state_dict().items() if ".se." not in key}
    assert ours == theirs
    assert bool(cost.gates(model)) != bool(cost.gates(twin))


@pytest.mark.parametrize("name", others_slow([n for n in TINY if n in GATED], picked(TINY)))
def test_open_gates_leave_the_plain_twin(name: str) -> None:
    model = network(name)
    for gate in cost.gates(model).values():
        nn.init.zeros_(gate.fc2.weight)
        gate.fc2.bias = constant_bias(gate.fc2, 40.0)  # sigmoid(40) is 1 in float32
    for block in model.modules():  # the ReLU of timm's legacy 18 and 34 belongs to the gate, and goes with it
        legacy = (
            isinstance(block, ResidualBlock) and hasattr(block.branch, "conv2") and not hasattr(block.branch, "conv3")
        )
        if legacy and isinstance(getattr(block.branch.conv2, "act", None), nn.ReLU):
            block.branch.conv2.act = nn.Identity()
    twin = ConvNet(tiny(MODELS[MODELS[name].twin].spec())).eval()
    twin.load_state_dict({key: tensor for key, tensor in model.state_dict().items() if ".se." not in key})
    torch.testing.assert_close(model(pictures(name)), twin(pictures(name)), rtol=0, atol=0)


@every_model
def test_every_gate_is_the_shared_one(name: str) -> None:
    model = meta(name)
    suspicious = [part for part in model.modules() if isinstance(part, nn.Linear | nn.Sigmoid | nn.AdaptiveAvgPool2d)]
    in_gates = [layer for gate in cost.gates(model).values() for layer in (gate.fc1, gate.fc2)]
    assert {id(part) for part in suspicious} <= {
        id(part) for part in [*in_gates, *model.head.modules(), model.classifier]
    }
    gated_blocks = [part for part in model.modules() if isinstance(getattr(part, "se", None), SqueezeExcite)]
    assert len(gated_blocks) == len(cost.gates(model))


@every_function
def test_gradients_reach_every_parameter(name: str) -> None:
    model = network(name).train()
    for gate in cost.gates(model).values():
        gate.fc1.bias = constant_bias(
            gate.fc1, 3.0
        )  # a gate of 16 channels has one hidden unit; its ReLU must not be shut
    model(pictures(name, count=3)).square().mean().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        assert parameter.grad.abs().sum() > 0, key


@every_function
def test_a_picture_does_not_depend_on_its_batch(name: str) -> None:
    model, x = network(name), pictures(name, count=3)
    alone = torch.cat([model(picture[None]) for picture in x])
    torch.testing.assert_close(model(x), alone, rtol=1e-4, atol=1e-4 * alone.abs().max().item())


@every_function
def test_no_module_changes_what_a_layer_of_pytorch_does(name: str) -> None:
    """Tools replace layers by their kind; what a subclass adds to one would go without a word."""
    for kind in {type(part) for part in on_meta(TINY[name]).modules()}:
        bases = [base for base in kind.__mro__[1:] if base.__module__.startswith("torch.")]
        assert kind.__module__.startswith("torch.nn.") or bases == [nn.Module], kind


@every_function
def test_converted_batch_norms_leave_the_function(name: str) -> None:
    model, x = network(name), pictures(name)
    with torch.no_grad():
        converted = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model))
        assert torch.equal(converted(x), model(x))
    assert not [part for part in converted.modules() if isinstance(part, nn.BatchNorm2d)]


@every_function
def test_each_layer_with_weights_is_called_once(name: str) -> None:
    model, x = network(name), pictures(name)
    layers, seen = [key for key, part in model.named_modules() if list(part.parameters(recurse=False))], list[str]()
    with torch.no_grad():
        before = model(x)
        for key in layers:
            model.get_submodule(key).register_forward_hook(lambda *_, key=key: seen.append(key))
        assert torch.equal(model(x), before)
    assert sorted(seen) == sorted(layers)


@every_function
def test_torch_fx_traces_the_same_function(name: str) -> None:
    model, x = network(name), pictures(name)
    with torch.no_grad():
        traced = fx.symbolic_trace(model)
        assert torch.equal(traced(x), model(x))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(traced(x), model(x))
        traced, logits = fx.symbolic_trace(model.train()), []
        for net in (traced, model):
            torch.manual_seed(0)  # of dropout and shake
            logits.append(net(x))
    assert torch.equal(*logits)


@every_kind_of_block
def test_compiles_without_a_graph_break(name: str) -> None:
    model, x = network(name), pictures(name)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), model(x))


@pytest.mark.parametrize("name", others_slow(("se_resnet20, thin", "se_resnet20"), ["se_resnet20, thin"]))
def test_the_default_compiler_gives_the_same_function_and_gradients(name: str) -> None:
    model = network(name)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True)
    x, y = (pictures(name).requires_grad_() for _ in range(2))
    compiled(x).square().sum().backward()
    model(y).square().sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-3, atol=1e-3 * y.grad.abs().max().item())


@pytest.mark.slow  # between commits tests/inference/test_export.py does so, and writes files as well
@every_kind_of_block
def test_exports_with_any_batch_and_size(name: str) -> None:
    model = network(name)
    dim = torch.export.Dim
    shapes = {"x": {0: dim("batch", max=64), 2: dim.AUTO, 3: dim.AUTO}}
    program = torch.export.export(model, (pictures(name),), dynamic_shapes=shapes)
    x = pictures(name, count=3, more=(-1, 31))
    torch.testing.assert_close(program.module()(x), model(x))


@every_function
def test_half_precisions_stay_close_and_finite(name: str) -> None:
    model, x = network(name), pictures(name)
    with torch.no_grad():
        logits = model(x)
        for dtype, tolerance in [(torch.bfloat16, 0.1), (torch.float16, 0.02)]:
            half = copy.deepcopy(model).to(dtype)(x.to(dtype))
            assert half.dtype == dtype
            error = (half.float() - logits).abs().max() / logits.abs().max()
            assert error < tolerance


@every_function
def test_memory_format_does_not_change_the_function(name: str) -> None:
    model, x = network(name), pictures(name)
    with torch.no_grad():
        logits = model(x)
        model.to(memory_format=torch.channels_last)
        again = model(x.to(memory_format=torch.channels_last))
    torch.testing.assert_close(again, logits, rtol=1e-4, atol=1e-4 * logits.abs().max().item())


@every_function
def test_gradient_checkpointing_gives_the_same_gradients_and_statistics(name: str) -> None:
    model = network(name).train()
    again = copy.deepcopy(model)
    again.set_grad_checkpointing()
    for net in (model, again):
        torch.manual_seed(0)  # of the dropout
        net(pictures(name)).square().mean().backward()
    for (key, one), other in zip(model.named_parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad, msg=lambda text, key=key: f"{key}: {text}")
    for one, other in zip(model.buffers(), again.buffers(), strict=True):
        torch.testing.assert_close(other, one)


@every_function
def test_copies_and_pickles_are_the_same_network(name: str) -> None:
    model, x = network(name), pictures(name)
    with torch.no_grad():
        for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
            assert torch.equal(again(x), model(x))


@every_function
def test_initialisation_covers_every_tensor(name: str) -> None:
    with torch.device("meta"):
        model = ConvNet(TINY[name])
    model.to_empty(device="cpu")
    for tensor in model.state_dict().values():
        tensor.fill_(99)
    initialise(model)
    assert not [key for key, tensor in model.state_dict().items() if (tensor == 99).any()]
    assert torch.isfinite(model.eval()(pictures(name))).all()
