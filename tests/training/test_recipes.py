"""Recipes: the papers' values, how they stretch, and what a network is trained with at each moment."""

import dataclasses

import pytest
import torch
from networks import tiny
from torch.optim.lr_scheduler import OneCycleLR

from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import UsageError
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS
from senet_zoo.training.augmentation import blended
from senet_zoo.training.model import TrainedModel, WithAuxiliary
from senet_zoo.training.moving_average import MovingAverage
from senet_zoo.training.optimizers import SGD, Cosine, OneCycle, Plateau, Steps, depths, groups_of
from senet_zoo.training.recipes import FINETUNE, MODERN, PAPER, RECIPES, find_recipe, values_of


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
