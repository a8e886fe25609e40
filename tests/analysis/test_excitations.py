"""`model.excitations` names every gate as the paper does and says what it says, and leaves nothing behind."""

import re
from threading import Thread

import numpy as np
import pytest
import torch
from networks import distinct_tiny, randomise, tiny
from torch import Tensor, nn

import senet_zoo
from senet_zoo import SE, Placement, Squeeze, SqueezeExcite
from senet_zoo.analysis import cost
from senet_zoo.errors import UsageError
from senet_zoo.networks.excitations import paper_names
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS
from senet_zoo.networks.squeeze_excite import gates

GATED = {name: spec for name, spec in distinct_tiny().items() if spec.se is not None}


def names_of(name: str) -> list[str]:
    model = cost.on_meta(MODELS[name].spec())
    return list(paper_names(model, model.spec.stage_numbers).values())


def hooks_of(model: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.modules())


@pytest.fixture(scope="module")
def small() -> ConvNet:
    return senet_zoo.create_model("se_resnet20", pretrained=True)


@pytest.fixture
def pictures() -> Tensor:
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", GATED)
def test_every_gate_of_every_network_is_there_once_and_is_what_scales_its_map(name: str) -> None:
    model = ConvNet(GATED[name])
    randomise(model)
    seen: dict[SqueezeExcite, tuple[Tensor, Tensor]] = {}
    side = 33 if model.spec.input_size == 32 else 139 if model.spec.input_size > 224 or "incep" in name else 75
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    own = [part for part in model.modules() if isinstance(part, SqueezeExcite)]
    handles = [
        gate.register_forward_hook(lambda gate, args, y: seen.__setitem__(gate, (args[0].clone(), y.clone())))
        for gate in own
    ]
    with torch.no_grad():
        found = model.excitations(x)
    for handle in handles:
        handle.remove()
    assert len(found) == len(own) > 0
    assert all(re.fullmatch(r"SE_\d+_\d+(_\d+)?", each) for each in found)
    for (name_of, s), gate in zip(found.items(), own, strict=True):
        taken, given = seen[gate]
        assert s.shape == (2, gate.fc1.in_features), name_of
        assert torch.equal(taken * s[:, :, None, None], given), name_of


def test_the_values_are_those_of_a_plain_numpy_loop(small: ConvNet, pictures: Tensor) -> None:
    maps: dict[str, np.ndarray] = {}
    handles = [
        gate.register_forward_hook(lambda _, args, __, name=name: maps.__setitem__(name, args[0].detach().numpy()))
        for name, gate in gates(small).items()
    ]
    logits = small(pictures)
    for handle in handles:
        handle.remove()
    found = small.excitations(pictures)
    weights = {name: tensor.numpy().astype(np.float64) for name, tensor in small.state_dict().items()}
    for module, name in paper_names(small, small.spec.stage_numbers).items():
        for picture, row in zip(maps[module], found[name].detach().numpy(), strict=True):
            z = np.array([plane.astype(np.float64).mean() for plane in picture])
            hidden = np.maximum(weights[f"{module}.fc1.weight"] @ z + weights[f"{module}.fc1.bias"], 0.0)
            s = 1.0 / (1.0 + np.exp(-(weights[f"{module}.fc2.weight"] @ hidden + weights[f"{module}.fc2.bias"])))
            np.testing.assert_allclose(row, s, rtol=0, atol=2e-6)
    assert torch.equal(small(pictures), logits)


def test_names_are_the_papers() -> None:
    blocks = {2: 3, 3: 4, 4: 6, 5: 3}
    paper = [f"SE_{stage}_{block}" for stage, count in blocks.items() for block in range(1, count + 1)]
    assert names_of("se_resnet50") == paper
    assert [name for name in names_of("se_vgg16") if name.startswith("SE_1")] == ["SE_1_1", "SE_1_2"]
    # Two branches of a unit have a gate each.
    assert names_of("se_shakeshake26_2x96d")[:3] == ["SE_2_1_1", "SE_2_1_2", "SE_2_2_1"]


def test_chosen_stages_keep_their_numbers() -> None:
    model = ConvNet(MODELS["se_resnet20"].spec(SE(stages=(3,)))).eval()
    assert list(model.excitations(torch.zeros(1, 3, 32, 32))) == ["SE_3_1", "SE_3_2", "SE_3_3"]


def test_inserted_gates_keep_the_name_of_their_module() -> None:
    plain = senet_zoo.insert_se(senet_zoo.create_model("resnet20").eval(), example=torch.zeros(1, 3, 32, 32))
    assert list(plain.excitations(torch.zeros(1, 3, 32, 32))) == list(gates(plain))
    both = senet_zoo.create_model("se_resnet20").eval()
    senet_zoo.insert_se(both, where=["stages.0.1.branch", "stages.1"], example=torch.zeros(1, 3, 32, 32))
    found = both.excitations(torch.zeros(1, 3, 32, 32))
    own = names_of("se_resnet20")
    assert [name for name in found if name.startswith("SE_")] == own
    assert {name for name in found if not name.startswith("SE_")} == {"stages.0.1.branch.se", "stages.1.se"}


@pytest.mark.parametrize("placement", list(Placement))
def test_a_gate_that_a_variant_moved_is_found(placement: Placement, pictures: Tensor) -> None:
    model = ConvNet(MODELS["se_resnet20"].spec(SE(reduction=8, placement=placement))).eval()
    before = model(pictures)
    found = model.excitations(pictures)
    assert list(found) == names_of("se_resnet20")
    assert [s.shape[1] for s in found.values()] == [gate.fc1.in_features for gate in gates(model).values()]
    assert torch.equal(model(pictures), before)


def test_without_squeeze_a_gate_has_a_value_a_pixel(pictures: Tensor) -> None:
    model = ConvNet(MODELS["se_resnet20"].spec(SE(squeeze=Squeeze.NONE))).eval()
    assert model.excitations(pictures)["SE_4_3"].shape == (3, 64, 8, 8)


def test_no_hook_is_left_behind_also_after_a_failure(small: ConvNet, pictures: Tensor) -> None:
    assert hooks_of(small) == 0
    small.excitations(pictures)
    assert hooks_of(small) == 0
    with pytest.raises(RuntimeError):
        small.excitations(torch.zeros(2, 5, 32, 32))
    assert hooks_of(small) == 0


def test_gradients_flow_unless_they_are_off(small: ConvNet, pictures: Tensor) -> None:
    x = pictures.requires_grad_()
    small.excitations(x)["SE_2_2"].sum().backward()
    assert x.grad is not None
    assert x.grad.abs().max() > 0
    with torch.inference_mode():
        assert not small.excitations(pictures)["SE_2_2"].requires_grad


def test_the_mode_is_the_models_own() -> None:
    model = senet_zoo.create_model("se_resnet20").train()
    model.excitations(torch.randn(4, 3, 32, 32))
    assert model.training
    assert {int(part.num_batches_tracked) for part in model.modules() if isinstance(part, nn.BatchNorm2d)} == {1}
    model.set_grad_checkpointing()
    assert len(model.excitations(torch.randn(4, 3, 32, 32))) == 9


def test_a_run_in_another_thread_is_not_mixed_in(small: ConvNet, pictures: Tensor) -> None:
    expected = small.excitations(pictures)
    gate = gates(small)["stages.0.0.se"]

    def another(*_: object) -> None:  # while the first run is in its first gate
        handle.remove()
        thread = Thread(target=small, args=(torch.zeros(7, 3, 32, 32),))
        thread.start()
        thread.join()

    handle = gate.register_forward_hook(another)
    found = small.excitations(pictures)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_half_precision_gates_answer_in_float32(pictures: Tensor) -> None:
    model = senet_zoo.create_model("se_resnet20").eval().bfloat16()
    assert {s.dtype for s in model.excitations(pictures.bfloat16()).values()} == {torch.float32}


def test_a_network_without_gates_says_so() -> None:
    with pytest.raises(UsageError, match=r"this network has none.*insert_se"):
        ConvNet(tiny(MODELS["resnet50"].spec())).excitations(torch.zeros(1, 3, 64, 64))
