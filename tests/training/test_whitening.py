"""A start that is computed from training pictures: what it makes white, what it keeps, and what it refuses."""

import pytest
import torch
from torch import nn

from senet_zoo.errors import UsageError
from senet_zoo.networks.layers import initialise
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS
from senet_zoo.training.optimizers import groups_of
from senet_zoo.training.whitening import WhitenedStart, whitened_layer, whitening_filters


def network(name: str = "se_cifarnet", **options: int) -> ConvNet:
    torch.manual_seed(0)
    made = ConvNet(MODELS[name].spec(), **options)
    initialise(made)
    return made


def pictures(count: int = 60, channels: int = 3) -> torch.Tensor:
    """Smooth noise: neighbours are alike, as in photographs."""
    coarse = torch.randn(count, channels, 8, 8, generator=torch.Generator().manual_seed(2))
    return nn.functional.interpolate(coarse, size=32, mode="bilinear") + 0.3 * coarse.mean((2, 3), keepdim=True)


def test_whitened_patches_have_the_identity_as_second_moments() -> None:
    images = pictures()
    filters = whitening_filters(images, 2, eps=1e-12)
    answers = nn.functional.conv2d(images, filters).movedim(1, -1).reshape(-1, 12).double()
    torch.testing.assert_close(answers.T @ answers / len(answers), torch.eye(12).double(), atol=2e-2, rtol=0)


def test_the_stem_holds_filters_and_their_negatives_and_pairs_copy_channels() -> None:
    made = network()
    WhitenedStart(pictures=60).apply(made, pictures())
    weight = whitened_layer(made).weight
    assert torch.equal(weight[:12], -weight[12:])
    block = made.stages[1][0]
    x = torch.randn(1, 64, 6, 6)
    torch.testing.assert_close(block.conv1(x)[:, :64], x)
    torch.testing.assert_close(block.conv2(torch.cat([x] * 3, 1)), torch.cat([x] * 3, 1))


def test_what_is_whitened_does_not_learn_and_the_rest_does() -> None:
    made = network()
    WhitenedStart().freeze(made)
    learns = {id(p) for group in groups_of(made, made, layer_decay=1.0, weight_decay=0.0, vector_decay=0.0)
              for p in group.parameters}  # fmt: skip
    still = {name for name, parameter in made.named_parameters() if id(parameter) not in learns}
    norms = {f"stages.{stage}.0.bn{number}.weight" for stage in range(3) for number in (1, 2)}
    assert still == {"stem.conv.weight", *norms}


@pytest.mark.parametrize("name", ["resnet20", "se_vgg11", "se_resnet50d"])
def test_other_stems_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"that of {name} is not: train se_cifarnet"):
        WhitenedStart().apply(network(name), pictures(2))


def test_grey_pictures_have_too_few_numbers_for_the_stem() -> None:
    with pytest.raises(UsageError, match="two filters for each number of a patch"):
        WhitenedStart().apply(network(in_channels=1), pictures(2, channels=1))


@pytest.mark.parametrize("value", [{"pictures": 0}, {"eps": 0.0}])
def test_values_out_of_range_are_refused(value: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="must be"):
        WhitenedStart(**value)
