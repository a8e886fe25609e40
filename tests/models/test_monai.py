"""MONAI's SE networks over signals, pictures and volumes are the same functions, and weights go both ways."""

import pytest
import torch
from networks import others_slow, randomise, scaled_difference

from senet_zoo import create_model
from senet_zoo.formats.dialects import MONAI, translate
from senet_zoo.networks.registry import find
from senet_zoo.weights.libraries import TARGETS, target_of
from senet_zoo.weights.load import shapes_of

nets = pytest.importorskip("monai.networks.nets", reason="needs monai")
SIDES = {1: 97, 2: 49, 3: 33}
PAIRS = TARGETS["monai"]


@pytest.mark.parametrize("dims", SIDES)
@pytest.mark.parametrize("name", others_slow(PAIRS, ["se_resnet50"]))
def test_logits_equal_monais_and_weights_go_both_ways(name: str, dims: int) -> None:
    theirs = getattr(nets, PAIRS[name])(spatial_dims=dims, in_channels=2, num_classes=5).eval()
    randomise(theirs)
    ours = create_model(name, dims=dims, in_channels=2, num_classes=5).eval()
    ours.load_state_dict(translate(theirs.state_dict(), MONAI))
    x = torch.rand(1, 2, *(SIDES[dims],) * dims, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = theirs(x)
        assert scaled_difference(ours(x), expected) < 1e-5
        target = target_of("monai", find(name), ours.spec.se)
        assert target is not None
        back = target.tensors(ours, ours.state_dict())
        theirs.load_state_dict(back, strict=True)
        assert torch.equal(theirs(x), expected)
    assert shapes_of(ours) == {key: tuple(value.shape) for key, value in translate(back, MONAI).items()}
