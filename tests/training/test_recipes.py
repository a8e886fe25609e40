"""Recipes: the papers' values, how they stretch, and what a network is trained with at each moment."""

import dataclasses

import numpy as np
import pytest
import torch
from networks import tiny
from PIL import Image
from torch.optim.lr_scheduler import OneCycleLR

from senet_zoo.data.labelled import Labelled
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import UsageError
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS
from senet_zoo.training.augmentation import AlternatingFlip, PadCrop, blended
from senet_zoo.training.batches import TrainingPictures
from senet_zoo.training.model import TrainedModel, WithAuxiliary
from senet_zoo.training.moving_average import MovingAverage
from senet_zoo.training.optimizers import (
    SGD,
    Cosine,
    Group,
    Linear,
    Muon,
    OneCycle,
    Plateau,
    Steps,
    depths,
    groups_of,
    orthogonal,
)
from senet_zoo.training.recipes import CIFAR_SPEED, FINETUNE, MODERN, PAPER, RECIPES, find_recipe, values_of


@pytest.mark.parametrize(
    ("name", "epochs", "batch", "rate", "decay", "rates"),  # rates: of epochs counted from 0, as the papers print them
    [
        ("paper", 100, 1024, 0.6, 1e-4, {0: 0.6, 29: 0.6, 30: 0.06, 60: 0.006, 99: 0.0006}),
        ("authors-release", 270, 256, 0.1, 1e-4, {124: 0.1, 125: 0.01, 200: 0.001, 269: 0.0001}),
        ("mobile", 400, 256, 0.1, 4e-5, {0: 0.1, 399: 0.1}),
        ("senet154", 100, 2048, 1.0, 1e-4, {0: 1.0, 30: 0.1}),
        ("cifar-resnet", 164, 128, 0.1, 1e-4, {0: 0.01, 1: 0.1, 81: 0.1, 82: 0.01, 123: 0.001}),
        ("cifar-wrn", 200, 128, 0.1, 5e-4, {59: 0.1, 60: 0.02, 120: 0.004, 160: 0.0008}),
        ("cifar-shakeshake", 1800, 128, 0.2, 1e-4, {0: 0.2, 900: 0.1}),
    ],
)
def test_the_papers_values(
    name: str, epochs: int, batch: int, rate: float, decay: float, rates: dict[int, float]
) -> None:
    recipe = find_recipe(name)
    assert (recipe.epochs, recipe.batch, recipe.rate, recipe.weight_decay) == (epochs, batch, rate, decay)
    assert isinstance(recipe.optimizer, SGD)
    assert recipe.optimizer.momentum == 0.9
    assert {epoch: recipe.rate * recipe.factor(epoch, ()) for epoch in rates} == pytest.approx(rates)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_prints_and_stretches(name: str) -> None:
    recipe = RECIPES[name]
    assert set(values_of(recipe)) == {field.name for field in dataclasses.fields(recipe)}
    short = recipe.lasting(10)
    assert short.epochs == 10
    assert all(0.0 <= short.factor(step / 4, ()) <= 1.0 for step in range(40))
    assert max(short.factor(step / 4, ()) for step in range(40)) > 0.9
    assert recipe.lasting(recipe.epochs) == recipe
    assert 0.8 * 224 <= recipe.side(recipe.epochs - 1, 224) <= 224  # the last pictures are nearly those in use


def test_a_misspelt_name_meets_its_neighbours() -> None:
    with pytest.raises(UsageError, match="did you mean cifar-resnet"):
        find_recipe("cifar_resnet")


def test_smaller_pictures_come_first() -> None:
    assert [MODERN.side(epoch, 224) for epoch in (0, 119, 120, 239, 240, 299)] == [128, 128, 176, 176, 224, 224]
    assert MODERN.side(0, 32) == 16
    assert PAPER.side(0, 224) == 224


def test_drops_of_a_stretched_recipe_move_in_proportion() -> None:
    short = PAPER.lasting(20)
    assert [short.factor(epoch, ()) for epoch in (5.9, 6, 12, 18)] == [1.0, 0.1, 0.01, 0.001]


def test_a_plateau_is_what_does_not_fall_for_longer_than_is_borne() -> None:
    schedule = Plateau(patience=2)
    losses = [3.0, 2.0, 2.5, 2.1]
    assert schedule.factor(4, 100, losses) == 1.0
    assert schedule.factor(5, 100, [*losses, 2.0]) == 0.1  # equal is not lower
    assert schedule.factor(6, 100, [*losses, 2.0, 1.0, 1.1, 1.1]) == 0.1
    assert schedule.factor(9, 100, [*losses, 2.0, 1.0, 1.1, 1.1, 1.1]) == pytest.approx(0.01)


def test_one_cycle_is_torchs() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    theirs = OneCycleLR(optimizer, max_lr=1.0, total_steps=101, pct_start=31 / 101, cycle_momentum=False)
    for step in range(100):  # theirs counts from the first step to the last, so that 101 steps are 100 apart
        assert OneCycle(rise=0.3).factor(step, 100, ()) == pytest.approx(theirs.get_last_lr()[0], abs=1e-5)
        optimizer.step()
        theirs.step()


def test_cosine_warms_up_and_ends_at_nothing() -> None:
    schedule = Cosine(warmup=2)
    assert [round(schedule.factor(epoch, 10, ()), 3) for epoch in (0, 1, 2, 6, 10)] == [0.01, 0.505, 1.0, 0.5, 0.0]
    assert Steps(((0, 1.0), (3, 0.5))).factor(3.0, 10, ()) == 0.5


def test_a_triangle_rises_and_falls_straight() -> None:
    schedule = Linear(rise=0.2)
    assert [round(schedule.factor(epoch, 10, ()), 3) for epoch in (0, 1, 2, 6, 10)] == [0.2, 0.6, 1.0, 0.5, 0.0]
    assert Linear().factor(0, 10, ()) == 1.0
    with pytest.raises(UsageError, match="rise must be"):
        Linear(rise=1.0)


@pytest.mark.parametrize("shape", [(16, 64), (64, 16), (24, 24)])
def test_an_orthogonal_step_has_singular_values_near_one(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    step = orthogonal(matrix, steps=8)
    assert step.shape == shape
    values = torch.linalg.svdvals(step)
    assert float(values.min()) > 0.5
    assert float(values.max()) < 1.3
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inner = left.T @ step @ right.T
    torch.testing.assert_close(inner, inner.diagonal().diag(), atol=1e-3, rtol=0)


def test_muon_steps_each_kind_of_parameter_at_its_own_rate() -> None:
    network = ConvNet(MODELS["se_cifarnet"].spec(), num_classes=3)
    spec = Muon(momentum=0.5, others=0.0, vectors=7.0, gates=3.0, classifier=0.1)
    groups = groups_of(network, network, layer_decay=1.0, weight_decay=0.0, vector_decay=0.0)
    optimizer = spec.build(groups)
    scale = {id(p): group["scale"] for group in optimizer.param_groups for p in group["params"]}
    kinds = {"stages.0.0.conv1.weight": 1.0, "stages.0.0.bn1.bias": 7.0, "stages.0.0.se.fc1.weight": 3.0}
    kinds |= {"stages.0.0.se.fc1.bias": 7.0, "classifier.weight": 0.1, "classifier.bias": 7.0}
    named = dict(network.named_parameters())
    assert {name: scale[id(named[name])] for name in kinds} == kinds
    for group in optimizer.param_groups:
        group["lr"] = 0.01 * group["scale"]
    before = {name: parameter.detach().clone() for name, parameter in named.items()}
    for parameter in named.values():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    torch.testing.assert_close(named["classifier.weight"], before["classifier.weight"] - 0.001)
    filters, old = named["stages.0.0.conv2.weight"].detach(), before["stages.0.0.conv2.weight"]
    moved = filters - old * 8 / old.norm()  # 64 filters of a mean length of 1
    assert 0.5 * 0.01 < float(torch.linalg.matrix_norm(moved.flatten(1), 2)) < 1.3 * 0.01


def test_muon_minimises_what_it_is_shown() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Conv2d(3, 4, 3)
    optimizer = Muon().build([Group((layer.weight,), 1.0, 0.0)])
    x = torch.randn(16, 3, 5, 5)
    wanted = torch.nn.functional.conv2d(x, layer.weight.detach().roll(1, 0) * 2 / layer.weight.detach().norm())
    losses = []
    for step in range(60):
        optimizer.param_groups[0]["lr"] = 0.2 * (1 - step / 60)
        loss = (layer(x) - layer.bias[:, None, None] - wanted).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.05 * losses[0]


@pytest.mark.parametrize("value", [{"momentum": 1.0}, {"others": -0.1}, {"vectors": 0.0}, {"classifier": -1.0}])
def test_muon_refuses_values_out_of_range(value: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(value))} must be"):
        Muon(**value)


def test_an_alternating_flip_shows_a_picture_both_ways_in_two_epochs() -> None:
    flip = AlternatingFlip()
    first = [flip.mirrors(5, 0, index) for index in range(200)]
    assert 60 < sum(first) < 140
    assert [flip.mirrors(5, 1, index) for index in range(200)] == [not each for each in first]
    assert [flip.mirrors(5, 2, index) for index in range(200)] == first
    assert [flip.mirrors(6, 0, index) for index in range(200)] != first


def test_training_pictures_alternate() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (21, 32, 32, 3), dtype=np.uint8)
    data = Labelled(("a",), (0,) * 21, [str(index) for index in range(21)], lambda index: Image.fromarray(noise[index]))
    recipe = dataclasses.replace(CIFAR_SPEED, augmentation=(AlternatingFlip(), PadCrop(pad=0)))
    pictures = TrainingPictures(data, recipe, Preprocessing(32, 32), seed=1)
    for index in (0, 7, 20):
        even, odd, again = (pictures[epoch, index][0] for epoch in range(3))
        assert torch.equal(even, again)
        assert torch.equal(even.flip(-1), odd)
        assert not torch.equal(even, odd)


@pytest.mark.parametrize(
    "change",
    [{"epochs": 0}, {"rate": 0.0}, {"ema": 1.0}, {"head_epochs": 12}, {"layer_decay": 0.0}, {"label_smoothing": 1.0}],
)
def test_values_out_of_range_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=f"a recipe's {next(iter(change))} must be"):
        dataclasses.replace(FINETUNE, **change)


def test_rates_fall_towards_the_stem_and_vectors_do_not_decay() -> None:
    network = ConvNet(tiny(MODELS["se_resnet20"].spec()), num_classes=2)
    groups = groups_of(network, network, layer_decay=0.5, weight_decay=1e-4, vector_decay=0.0)
    assert sum(len(group.parameters) for group in groups) == len(list(network.parameters()))
    scale = {id(parameter): group.scale for group in groups for parameter in group.parameters}
    decay = {id(parameter): group.decay for group in groups for parameter in group.parameters}
    assert scale[id(network.classifier.weight)] == 1.0
    assert [scale[id(next(stage.parameters()))] for stage in network.stages] == [0.125, 0.25, 0.5]
    assert {scale[id(parameter)] for parameter in network.stem.parameters()} == {0.0625}
    assert all(decay[id(p)] == (1e-4 if p.ndim > 1 else 0.0) for p in network.parameters())
    assert set(depths(network)) == set(network.parameters())


def test_auxiliary_classifiers_learn_by_their_weights() -> None:
    torch.manual_seed(0)
    trainee = TrainedModel(ConvNet(MODELS["se_googlenet"].spec(), num_classes=3)).eval()
    assert trainee.weights == (1.0, 0.3, 0.3)
    x, labels = torch.randn(2, 3, 96, 96), torch.tensor([0, 2])
    loss = trainee.loss(trainee(x), labels, None, 0.1)
    body = trainee.body
    assert isinstance(body, WithAuxiliary)
    criterion = torch.nn.CrossEntropyLoss(label_smoothing=0.1)
    torch.testing.assert_close(loss, body.loss(x, labels, criterion))


def test_class_weights_weigh_labels_and_blends_alike() -> None:
    trainee = TrainedModel(ConvNet(tiny(MODELS["se_resnet20"].spec()), num_classes=2))
    logits, weights = (torch.randn(4, 2),), torch.tensor([0.5, 2.0])
    labels = torch.tensor([0, 1, 1, 0])
    hard = trainee.loss(logits, labels, weights, 0.0)
    soft = trainee.loss(logits, torch.nn.functional.one_hot(labels, 2).float(), weights, 0.0)
    each = torch.nn.functional.cross_entropy(logits[0], labels, reduction="none")
    torch.testing.assert_close(hard, (each * torch.tensor([0.5, 2.0, 2.0, 0.5])).mean())
    torch.testing.assert_close(soft, hard)


def test_the_average_follows() -> None:
    network = ConvNet(tiny(MODELS["se_resnet20"].spec()), num_classes=2)
    average = MovingAverage(network, 0.75)
    before = network.classifier.weight.detach().clone()
    with torch.no_grad():
        network.classifier.weight += 1.0
    average.follow(network)
    torch.testing.assert_close(average.network.classifier.weight, before + 0.25)


@pytest.mark.parametrize("ways", [{"mixup": 0.2}, {"cutmix": 1.0}, {"mixup": 0.2, "cutmix": 1.0}, {}])
def test_blended_labels_stay_probabilities(ways: dict[str, float]) -> None:
    torch.manual_seed(0)
    images, labels = torch.rand(4, 3, 16, 16), torch.tensor([0, 1, 2, 1])
    mixed, targets = blended(images, labels, 3, **{"mixup": 0.0, "cutmix": 0.0, **ways})
    if not ways:
        assert targets is labels
        return
    assert not torch.equal(mixed, images)
    torch.testing.assert_close(targets.sum(1), torch.ones(4))


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("side", [24, 32])
def test_every_augmentation_gives_a_normalised_square(name: str, side: int) -> None:
    from PIL import Image

    from senet_zoo.training.augmentation import pipeline

    transform = pipeline(RECIPES[name].augmentation, side, Preprocessing(32, 32, mean=(0.5,) * 3, std=(0.5,) * 3))
    torch.manual_seed(0)
    for shape in ((40, 30), (7, 90)):
        out = transform(Image.new("RGB", shape, (255, 0, 128)))
        assert out.shape == (3, side, side)
        assert out.dtype is torch.float32
        assert -1.2 <= float(out.min()) < float(out.max()) <= 1.2


def test_a_padded_crop_only_moves_and_a_flip_only_mirrors() -> None:
    from senet_zoo.training.augmentation import Flip, PadCrop

    images = torch.arange(1, 1 + 3 * 32 * 32, dtype=torch.float32).view(3, 32, 32)
    torch.manual_seed(0)
    mirrored = [Flip().build(32, Preprocessing(32, 32))(images) for _ in range(8)]
    assert {torch.equal(each, images) for each in mirrored} == {True, False}
    assert all(torch.equal(each, images) or torch.equal(each, images.flip(-1)) for each in mirrored)
    moved = PadCrop(pad=4).build(32, Preprocessing(32, 32))(images)
    assert moved.shape == images.shape
    assert set(moved.flatten().tolist()) <= {0.0, *images.flatten().tolist()}
    assert not torch.equal(moved, images)
