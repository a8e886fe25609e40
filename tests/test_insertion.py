"""Gates put into networks that other people wrote, and taken out again."""

import copy
import pickle
import re
from collections.abc import Callable, Sequence

import pytest
import timm
import torch
import torchvision
from networks import randomise
from torch import Tensor, nn
from torch.nn import functional as F

from senet_zoo import SE, create_model
from senet_zoo.errors import SpecError, UsageError
from senet_zoo.networks.insertion import insert_se, remove_se
from senet_zoo.networks.network import on_meta
from senet_zoo.networks.registry import MODELS
from senet_zoo.networks.squeeze_excite import GateFunction, Placement, Squeeze, SqueezeExcite, Start, gates

# library, network, where the gates go (None: the residual branches), how many there are, the first of them. The counts
# are those of the papers' tables: one for every block with a sum, or for every block that the pattern is meant to name.
NETWORKS = [
    ("torchvision", "resnet18", None, 8, "layer1.0.bn2.se"),
    ("torchvision", "resnext50_32x4d", None, 16, "layer1.0.bn3.se"),
    ("torchvision", "regnet_x_400mf", None, 22, "trunk_output.block1.block1-0.f.c.1.se"),
    ("torchvision", "mnasnet0_5", None, 10, "layers.8.1.layers.7.se"),
    ("torchvision", "mobilenet_v2", None, 10, "features.3.conv.3.se"),
    ("torchvision", "mobilenet_v3_small", None, 1, "features.3.block.2.1.se"),  # its five other sums have a gate
    ("torchvision", "convnext_tiny", None, 18, "features.1.0.block.6.se"),
    ("torchvision", "alexnet", None, 5, "features.1.se"),  # each convolution, behind its ReLU
    ("torchvision", "vgg11_bn", None, 8, "features.2.se"),
    ("torchvision", "densenet121", None, 58, "features.denseblock1.denselayer1.conv2.se"),  # what each layer adds
    ("torchvision", "shufflenet_v2_x0_5", None, 19, "stage2.0.branch1.4.se"),  # two branches where the stride is 2
    ("torchvision", "squeezenet1_1", None, 8, "features.3.se"),
    ("torchvision", "googlenet", None, 9, "inception3a.se"),
    ("torchvision", "efficientnet_b0", "features.[1-7].0", 7, "features.1.0.se"),
    ("torchvision", "densenet121", "*.denselayer*.conv2", 58, "features.denseblock1.denselayer1.conv2.se"),
    ("torchvision", "vgg11_bn", ["features.2", "features.6"], 2, "features.2.se"),
    ("torchvision", "googlenet", "inception??", 9, "inception3a.se"),
    ("torchvision", "shufflenet_v2_x0_5", "stage?.*.branch2", 16, "stage2.0.branch2.se"),
    ("timm", "resnet26d", None, 8, "layer1.0.bn3.se"),
    ("timm", "res2net50d", None, 16, "layer1.0.bn3.se"),  # its inner sums are of equal depth
    ("timm", "resnetv2_50", None, 16, "stages.0.blocks.0.conv3.se"),
    ("timm", "nf_resnet26", None, 8, "stages.0.0.conv3.se"),
    ("timm", "regnetx_002", None, 13, "s1.b1.conv3.bn.se"),
    ("timm", "tf_efficientnet_lite0", None, 9, "blocks.1.1.bn3.se"),
    ("timm", "mobilenetv4_conv_small", None, 10, "blocks.2.1.pw_proj.bn.se"),
    ("timm", "convnext_atto", None, 12, "stages.0.blocks.0.mlp.fc2.se"),
    ("timm", "convnext_tiny", None, 18, "stages.0.blocks.0.drop_path.se"),  # what comes before has its channels last
    ("timm", "dla34", None, 12, "level2.tree1.bn2.se"),
]
SMALL = torch.zeros(1, 3, 64, 64)


def network(library: str, name: str) -> nn.Module:
    if library == "timm":
        return randomise(timm.create_model(name))
    first = {"init_weights": False} if name in ("googlenet", "vgg11_bn") else {}  # randomise() sets the weights
    return randomise(getattr(torchvision.models, name)(weights=None, **first))


def bare() -> nn.Module:
    """torchvision's ResNet with one block a stage."""
    return torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=10).eval()


def resnet() -> nn.Module:
    return randomise(bare())


def pictures() -> Tensor:
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ("library", "name", "where", "count", "first"), NETWORKS, ids=[f"{row[0]}-{row[1]}" for row in NETWORKS]
)
def test_logits_do_not_move_and_removal_leaves_no_trace(
    library: str, name: str, where: str | Sequence[str] | None, count: int, first: str
) -> None:
    model, x = network(library, name), pictures()
    keys, shape, parts = list(model.state_dict()), repr(model), [*model.modules()]
    with torch.no_grad():
        logits = model(x)
        assert insert_se(model, where=where, example=x) is model
        assert torch.equal(model(x), logits)
        assert len(gates(model)) == count
        assert next(iter(gates(model))) == first
        ours = {f"{name}.{key}" for name, gate in gates(model).items() for key in gate.state_dict()}
        assert [key for key in model.state_dict() if key not in ours] == keys

        for gate in gates(model).values():
            nn.init.ones_(gate.fc2.bias)
        assert not torch.equal(model(x), logits)
        assert remove_se(model) is model
        assert torch.equal(model(x), logits)
    assert list(model.state_dict()) == keys
    assert repr(model) == shape
    assert all(one is other for one, other in zip(model.modules(), parts, strict=True))


class Unit(nn.Module):
    """Modules, and code that makes a unit of them."""

    def __init__(self, code: Callable[["Unit", Tensor], Tensor]) -> None:
        super().__init__()
        self.code = code
        self.stem = nn.Conv2d(3, 32, 1)
        self.conv1, self.conv2, self.project = nn.Conv2d(32, 32, 1), nn.Conv2d(32, 32, 1), nn.Conv2d(32, 32, 1)
        self.norm, self.idle, self.elsewhere = nn.BatchNorm2d(32), nn.Dropout(), Elsewhere()
        self.scale = nn.Parameter(torch.ones(32, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.code(self, self.stem(x))


class Elsewhere(nn.Module):
    """Computes where PyTorch sees nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(2 * x.detach().numpy())


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (lambda unit, x: x + unit.norm(unit.conv1(x)), ["norm.se"]),
        (lambda unit, x: torch.add(unit.idle(unit.norm(unit.conv1(x))), x), ["norm.se"]),
        (lambda unit, x: unit.norm(unit.conv1(x)).add_(x), ["norm.se"]),
        (lambda unit, x: x + 0.1 * unit.conv2(unit.conv1(x)), ["conv2.se"]),
        (lambda unit, x: x + unit.idle(unit.conv1(x) * unit.scale) / 2, ["conv1.se"]),
        (lambda unit, x: x + unit.idle(unit.conv1(x).relu() * unit.scale), ["idle.se"]),
        (lambda unit, x: x + unit.elsewhere(unit.conv1(x)), ["elsewhere.se"]),
        (lambda unit, x: unit.norm(unit.project(x)) + unit.conv2(unit.conv1(x)), ["conv2.se"]),
        (lambda unit, x: unit.conv2(unit.conv1(x)) + F.avg_pool2d(unit.project(x), 1), ["conv2.se"]),
        (lambda unit, x: unit.project(x) + unit.norm(unit.conv1(x)), []),  # equal depth
        (lambda unit, x: x + unit.conv1(x).relu(), []),  # ends in code
        (lambda unit, x: x + unit.norm(x), []),  # no convolution
        (lambda unit, x: x + unit.conv1(x).mean((2, 3), keepdim=True), []),  # one number a channel
        (lambda unit, x: x + unit.conv2(unit.conv1(x) * x.mean((2, 3), keepdim=True)), []),  # has a gate
    ],
)
def test_which_sums_are_residual_and_where_their_branches_end(
    code: Callable[[Unit, Tensor], Tensor], found: list[str]
) -> None:
    model = Unit(code).eval()
    if found:
        assert list(gates(insert_se(model, example=SMALL))) == found
    else:
        with pytest.raises(UsageError, match="name modules in where"):
            insert_se(model, example=SMALL)


def test_ten_networks_of_each_library_at_least() -> None:
    assert [sum(row[0] == library for row in NETWORKS) >= 10 for library in ("torchvision", "timm")] == [True, True]


def on_meta_device(name: str) -> nn.Module:
    first = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with torch.device("meta"):
        return torchvision.models.get_model(name, **first)


@pytest.mark.parametrize(
    ("name", "count"),
    [("inception_v3", 11), ("resnet50", 16), ("vgg16", 13), ("squeezenet1_0", 8), ("densenet161", 78)],
)
def test_gates_of_larger_networks(name: str, count: int) -> None:
    assert len(gates(insert_se(on_meta_device(name)))) == count


@pytest.mark.parametrize("name", ["efficientnet_b0", "regnet_y_400mf"])
def test_networks_with_gates_say_so_and_name_a_place_of_their_own(name: str) -> None:
    with pytest.raises(UsageError, match="of them with a gate already") as raised:
        insert_se(torchvision.models.get_model(name))
    place = re.search(r"as in where=\['(.*)'\]", str(raised.value))[1]
    assert list(gates(insert_se(torchvision.models.get_model(name), where=place))) == [f"{place}.se"]


@pytest.mark.parametrize("name", ["resnet18", "resnet20", "shufflenet"])
def test_a_plain_twin_of_the_zoo_takes_gates_where_its_se_twin_has_them(name: str) -> None:
    model, x = randomise(create_model(name)), pictures()
    with torch.no_grad():
        logits = model(x)
        assert torch.equal(insert_se(model, example=x)(x), logits)
    summed = {key for key, _ in create_model(f"se_{name}").named_modules() if key.endswith(".drop_path")}
    assert len(gates(model)) == len(summed)


@pytest.mark.parametrize("se", [SE(), SE(squeeze=Squeeze.NONE, gate=GateFunction.TANH, bias=False), SE(reduction=4)])
def test_any_gate_may_be_put_in(se: SE) -> None:
    model, x = resnet(), pictures()
    with torch.no_grad():
        logits = model(x)
        gated = insert_se(model, se, example=SMALL)(x)
    assert not torch.equal(gated, logits)
    for gate in gates(model).values():
        assert (gate.squeeze, gate.gate, gate.start) == (se.squeeze, se.gate, se.start)
        assert gate.fc1.out_features == gate.fc1.in_features // se.reduction
    with pytest.raises(UsageError, match="4 residual branches, 4 of them with a gate already"):
        insert_se(model, example=SMALL)


def test_gates_train() -> None:
    se = SE(reduction=2, start=Start.IDENTITY)
    model, x = insert_se(resnet().train(), se, example=SMALL), pictures()
    sgd = torch.optim.SGD(model.parameters(), lr=0.01)
    before = model(x)
    for step in range(2):
        sgd.zero_grad()
        loss = F.cross_entropy(model(x), torch.tensor([1, 2]))
        loss.backward()
        for gate in gates(model).values():
            assert gate.fc2.weight.grad.abs().sum() > 0
            assert (gate.fc1.weight.grad.abs().sum() > 0) == (step > 0)  # fc2 is zero at first
        sgd.step()
    assert all(gate.fc2.weight.abs().sum() > 0 for gate in gates(model).values())
    assert not torch.equal(model(x), before)


def trained() -> nn.Module:
    """The small ResNet with gates that are no longer the identity."""
    model = insert_se(resnet(), example=SMALL)
    for gate in gates(model).values():
        nn.init.normal_(gate.fc2.weight, generator=torch.Generator().manual_seed(2))
    return model.eval()


def test_original_weights_load_into_the_gated_network() -> None:
    plain, model, x = resnet(), insert_se(bare()), pictures()
    missing, unexpected = model.load_state_dict(plain.state_dict(), strict=False)
    assert unexpected == []
    assert {key.split(".se.")[1] for key in missing} == {"fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"}
    assert torch.equal(model(x), plain(x))


def test_gated_weights_load_into_the_gated_and_the_plain_network() -> None:
    saved, x = trained(), pictures()
    again = insert_se(bare(), example=SMALL)
    again.load_state_dict(saved.state_dict())
    assert torch.equal(again(x), saved(x))
    plain = bare()
    assert plain.load_state_dict(saved.state_dict(), strict=False).missing_keys == []
    assert torch.equal(plain(x), remove_se(saved)(x))


def test_a_wrong_key_is_reported() -> None:
    model = trained()
    state = model.state_dict()
    state["layer1.0.bn2.wieght"] = state.pop("layer1.0.bn2.weight")
    with pytest.raises(RuntimeError, match=r"Missing.*layer1.0.bn2.module.weight(?s:.)*layer1.0.bn2.module.wieght"):
        model.load_state_dict(state)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_and_pickles_are_the_same_network(again: Callable[[nn.Module], nn.Module]) -> None:
    model, x = trained(), pictures()
    copied = again(model)
    assert torch.equal(copied(x), model(x))
    nn.init.ones_(copied.layer1[0].bn2.se.fc2.bias)
    assert not torch.equal(copied(x), model(x))
    copied.load_state_dict(model.state_dict())
    assert torch.equal(copied(x), model(x))
    assert list(remove_se(copied).state_dict()) == list(resnet().state_dict())


def test_it_compiles_whole() -> None:
    model, x = insert_se(randomise(torchvision.models.resnet18()), SE(), example=SMALL), pictures()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model(x))


def test_it_exports_with_any_batch_and_size() -> None:
    model, dim = trained(), torch.export.Dim
    shapes = {"x": {0: dim("batch", max=64), 2: dim.AUTO, 3: dim.AUTO}}
    program = torch.export.export(model, (pictures(),), dynamic_shapes=shapes)
    x = torch.randn(3, 3, 96, 64)
    torch.testing.assert_close(program.module()(x), model(x))


def test_tools_that_replace_batch_norms_keep_the_gates() -> None:
    model = trained()
    before = gates(model)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert isinstance(converted.layer1[0].bn2.module, nn.SyncBatchNorm)
    assert gates(converted) == before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_gates_follow_the_precision_of_their_place(dtype: torch.dtype) -> None:
    model, x = resnet().to(dtype), pictures().to(dtype)
    with torch.no_grad():
        logits = model(x)
        assert torch.equal(insert_se(model)(x), logits)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}


def test_gates_follow_the_device_of_their_place() -> None:
    with torch.device("meta"):
        model = torchvision.models.resnet18()
    insert_se(model)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gates_follow_the_model_to_cuda() -> None:
    model, state = resnet().cuda(), torch.cuda.get_rng_state()
    insert_se(model)
    assert {parameter.device.type for parameter in model.parameters()} == {"cuda"}
    assert torch.equal(torch.cuda.get_rng_state(), state)


class Restless(nn.Module):
    """Sums a branch that draws random numbers even in eval mode; refuses to be put into eval mode from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 1)
        self.body = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16))
        self.relu = nn.ReLU(inplace=True)

    def train(self, mode: bool = True) -> "Restless":
        raise AssertionError

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv(x))
        shortcut = x
        y = self.body(F.dropout(x, 0.5, training=True))
        y += shortcut
        return self.relu(y)


@pytest.mark.parametrize("training", [True, False])
def test_gates_are_in_the_mode_of_the_model(training: bool) -> None:
    model = insert_se(torchvision.models.resnet18().train(training))
    assert {part.training for part in model.modules()} == {training}


def test_the_run_leaves_modes_statistics_and_random_state_alone() -> None:
    model = Restless()
    model.body[1].training = False
    modes = [part.training for part in model.modules()]
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    torch.manual_seed(3)
    gate = SqueezeExcite(16, start=Start.IDENTITY)
    random = torch.get_rng_state()
    torch.manual_seed(3)
    insert_se(model, example=SMALL)
    assert torch.equal(torch.get_rng_state(), random)  # only the gate has drawn
    assert list(gates(model)) == ["body.1.se"]
    assert torch.equal(model.body[1].se.fc1.weight, gate.fc1.weight)
    assert not model.body[1].training
    remove_se(model)
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(model.state_dict()[key], tensor) for key, tensor in state.items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())


class Peeping(Restless):
    """Looks into its batch norm."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.body[1].running_mean.mean()


class Shared(nn.Module):
    """One convolution under two names, run once; one activation run twice; a part that never runs; a part of two."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 32, 1)
        self.same = self.conv
        self.relu = nn.ReLU()
        self.spare = nn.Conv2d(3, 32, 1)
        self.pair = Pair()
        self.flat = nn.Flatten()
        self.narrow = nn.Conv2d(32, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.flat(self.narrow(self.pair(self.relu(self.relu(self.same(x))))[0]))


class Looped(nn.Module):
    """One convolution that runs twice, and a sum of equal depths."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv2d(3, 32, 1), nn.Conv2d(32, 32, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.conv(x) + self.conv(x.relu())


class Pair(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x, x


@pytest.mark.parametrize(
    ("model", "where", "message"),
    [
        (Shared(), None, "narrow: a gate over 8 channels needs a reduction from 1 to 8"),
        (nn.Sequential(nn.Flatten()), None, r"found 0 residual branches.*name modules in where=\[...\]$"),
        (Looped(), None, r"found 0 residual branches.*as in where=\['stem'\]"),
        (Shared(), [], "names no place"),
        (Shared(), ["conv", "covn"], "'covn' matches no module; did you mean conv"),
        (Shared(), "layer9.*", r"matches no module; model.named_modules\(\) lists"),
        (Shared(), "relu", "relu ran 2 times"),
        (Shared(), "spare", "spare ran 0 times"),
        (Shared(), "pair", "pair returns no tensor"),
        (Shared(), ["conv", "flat"], r"flat returns a tensor of shape \(1, 32768\)"),
        (Shared(), ["conv", "narrow"], "narrow: a gate over 8 channels needs a reduction from 1 to 8"),
        (Peeping(), None, "does not run .* no attribute 'running_mean'"),
        (nn.Sequential(nn.Conv2d(1, 32, 3)), "0", r"shape \(1, 3, 64, 64\): .*Pass an example"),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else "",
)
def test_what_cannot_be_done_is_said_and_leaves_the_model_as_it_was(
    model: nn.Module, where: str | list[str] | None, message: str
) -> None:
    before = [*model.modules()]
    with pytest.raises(UsageError, match=message):
        insert_se(model, where=where, example=SMALL)
    assert [*model.modules()] == before
    assert gates(model) == {}


def test_a_shared_module_is_gated_under_all_its_names() -> None:
    model = insert_se(Shared(), where="conv", example=SMALL)
    assert model.conv is model.same
    assert list(gates(model)) == ["conv.se"]
    remove_se(model)
    assert model.conv is model.same
    assert isinstance(model.conv, nn.Conv2d)


def test_a_place_is_gated_once() -> None:
    model = insert_se(resnet(), where=["layer1.0.bn2", "layer[12].*.bn2"], example=SMALL)
    assert list(gates(model)) == ["layer1.0.bn2.se", "layer2.0.bn2.se"]
    with pytest.raises(UsageError, match=r"layer1.0.bn2 is gated already; remove_se"):
        insert_se(model, where="layer*.*.bn2", example=SMALL)
    assert len(gates(model)) == 2
    insert_se(model, example=SMALL)  # the branches that are left
    assert len(gates(model)) == 4
    insert_se(model, where=["layer4", "layer4.0.conv1"], example=SMALL)  # one within the other
    assert list(gates(model))[3:] == ["layer4.module.0.conv1.se", "layer4.module.0.bn2.se", "layer4.se"]
    again = insert_se(bare(), example=SMALL)
    again = insert_se(again, where=["layer4", "layer4.0.conv1"], example=SMALL)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(pictures()), model(pictures()))
    assert list(remove_se(model).state_dict()) == list(resnet().state_dict())


@pytest.mark.parametrize("name", ["ecaresnet26t", "seresnet18", "skresnet18"])
def test_networks_with_gates_get_more_only_by_name(name: str) -> None:
    model = timm.create_model(name)
    with pytest.raises(UsageError, match="8 residual branches, 8 of them with a gate already"):
        insert_se(model, example=SMALL)
    assert len(gates(insert_se(model, where="layer[34].0.conv2", example=SMALL))) == 2


@pytest.mark.parametrize("se", [SE(placement=Placement.PRE), SE(stages=(2, 3))])
def test_places_are_named_by_where_alone(se: SE) -> None:
    with pytest.raises(SpecError, match="leave placement and stages out"):
        insert_se(nn.Conv2d(3, 3, 1), se)


@pytest.mark.parametrize(
    ("name", "se", "twin"),
    [("se_resnet20", SE(), "resnet20"), ("senet154", SE(reduction=8), "net154"), ("se_mobilenet", SE(), "mobilenet")],
)
def test_gates_of_the_zoo_belong_to_their_networks(name: str, se: SE, twin: str) -> None:
    model = on_meta(MODELS[name].spec(se))
    own = gates(model)
    with pytest.raises(UsageError, match=rf"its gates belong to its definition: .* create_model\('{twin}'\)"):
        remove_se(model)
    assert gates(model) == own


def test_a_networks_own_gates_are_neither_hidden_nor_removed() -> None:
    model = nn.Sequential(nn.Conv2d(3, 32, 1), SqueezeExcite(32))
    with pytest.raises(UsageError, match="its gates belong to its definition"):
        remove_se(model)
    with pytest.raises(UsageError, match=r"no gate was inserted into this Linear, so none is removed$"):
        remove_se(nn.Linear(1, 1))
    assert list(gates(insert_se(model, where="0", example=SMALL))) == ["0.se", "1"]
    assert list(gates(remove_se(model))) == ["1"]
    zoo = create_model("se_resnet20").eval()
    with pytest.raises(UsageError, match=r"stages.0.0 has a gate of its own, stages.0.0.se"):
        insert_se(zoo, where="stages.0.0", example=SMALL)
