"""Auxiliary classifiers: what they count, where their losses go, and that the network inside stays what it is."""

import copy

import pytest
import torch
from networks import randomise
from torch import nn
from torchvision.models.inception import InceptionAux

from senet_zoo.analysis import cost
from senet_zoo.errors import UsageError
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS
from senet_zoo.training.model import WithAuxiliary


def training(name: str, **options: int) -> WithAuxiliary:
    torch.manual_seed(0)
    return WithAuxiliary(randomise(ConvNet(MODELS[name].spec(), **options)))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("googlenet", 13_378_280),  # with both heads, counted from the paper's text
        ("inception_v3", 27_161_264),  # torchvision's, its one head included
    ],
)
def test_counts_are_the_published_ones(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = WithAuxiliary(ConvNet(MODELS[name].spec()))
    assert cost.parameters(model) == parameters


def test_the_network_inside_knows_nothing_of_it() -> None:
    network = ConvNet(MODELS["se_googlenet"].spec())
    keys, x = list(network.state_dict()), torch.randn(1, 3, 96, 96)
    logits = network.eval()(x)
    model = WithAuxiliary(network)
    assert list(model.network.state_dict()) == keys
    assert torch.equal(model.network(x), logits)


def test_logits_are_the_networks_and_branch_off_where_the_paper_says() -> None:
    model = training("googlenet", num_classes=7).eval()
    x = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        logits, auxiliary = model(x)
        network = model.network
        after_4a = network.stages[2][0](network.stages[1](network.stages[0](network.pool(network.stem(x)))))
        after_4d = network.stages[2][1:4](after_4a)
        torch.testing.assert_close(logits, network(x))
        torch.testing.assert_close(auxiliary, (model.heads[0](after_4a), model.heads[1](after_4d)))
    assert after_4a.shape[1:] == (512, 14, 14)
    assert after_4d.shape[1:] == (528, 14, 14)
    assert [tuple(part.shape) for part in auxiliary] == [(2, 7), (2, 7)]


def test_loss_adds_the_weighted_losses_and_reaches_everything() -> None:
    model = training("googlenet", num_classes=5).eval()  # without dropout, so that both passes are one
    x, labels = torch.randn(2, 3, 224, 224), torch.tensor([1, 3])
    criterion = nn.functional.cross_entropy
    logits, (first, second) = model(x)
    expected = criterion(logits, labels) + 0.3 * (criterion(first, labels) + criterion(second, labels))
    loss = model.loss(x, labels, criterion)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.abs().sum() > 0, key


def test_checkpointing_gives_the_same_gradients() -> None:
    model = training("googlenet", num_classes=5).train()
    again = copy.deepcopy(model)
    again.network.set_grad_checkpointing()
    x, labels = torch.randn(2, 3, 96, 96), torch.tensor([1, 3])
    for net in (model, again):
        torch.manual_seed(0)  # of the dropout
        net.loss(x, labels, nn.functional.cross_entropy).backward()
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(other.grad, one.grad)


@torch.no_grad()
def test_inception_v3_head_equals_torchvisions() -> None:
    head = randomise(training("inception_v3").heads[0])
    oracle = InceptionAux(768, 1000).eval()
    ours = [part for part in head.modules() if isinstance(part, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]
    theirs = [part for part in oracle.modules() if isinstance(part, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]
    for one, other in zip(ours, theirs, strict=True):
        other.load_state_dict(one.state_dict())
    x = torch.randn(2, 768, 17, 17)
    torch.testing.assert_close(head(x), oracle(x))


@pytest.mark.parametrize("name", ["se_resnet20", "inception_v4"])
def test_networks_without_auxiliary_classifiers_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="no auxiliary"), torch.device("meta"):
        WithAuxiliary(ConvNet(MODELS[name].spec()))


def test_a_network_without_classifier_is_refused() -> None:
    with pytest.raises(UsageError, match="num_classes"):
        WithAuxiliary(ConvNet(MODELS["googlenet"].spec(), num_classes=0))
