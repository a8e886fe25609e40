"""`UNet`: a label for every pixel, voxel and sample."""

import pytest
import torch
from torch.nn import functional as F

from senet_zoo import Dimensions, UsageError, create_model
from senet_zoo.networks.unet import UNet


@pytest.mark.parametrize(
    ("dims", "sides"), [(Dimensions(1), (101,)), (Dimensions(), (45, 64)), (Dimensions(3, depth_stride=1), (7, 33, 47))]
)
@pytest.mark.parametrize("name", ["se_resnet18", "se_densenet121", "se_mobilenet"])
def test_labels_have_the_sides_of_the_input(name: str, dims: Dimensions, sides: tuple[int, ...]) -> None:
    if name == "se_densenet121" and dims.count == 3:
        sides = (17, 33, 47)
    net = UNet(create_model(name, dims=dims, in_channels=2), 3, (16, 8))
    assert net.eval()(torch.rand(2, 2, *sides)).shape == (2, 3, *sides)


def test_it_learns_a_bright_ball() -> None:
    torch.manual_seed(0)
    net = UNet(create_model("se_resnet20", pretrained=True, dims=3, in_channels=1), 2, (16, 16)).train()
    z, y, x = torch.meshgrid(*(torch.arange(16.0),) * 3, indexing="ij")
    ball = (((z - 6) ** 2 + (y - 9) ** 2 + (x - 8) ** 2) < 20).long()[None]
    volume = ball[:, None].float() + 0.3 * torch.randn(1, 1, 16, 16, 16)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(15):
        optimizer.zero_grad()
        F.cross_entropy(net(volume), ball).backward()
        optimizer.step()
    found = net(volume).argmax(1)
    assert ((found == 1) & (ball == 1)).sum() * 2 / ((found == 1).sum() + ball.sum()) > 0.9


def test_what_it_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="num_classes must be at least 1"):
        UNet(create_model("se_resnet20"), 0)
    with pytest.raises(UsageError, match="1 to 2 on this encoder with maps of stride 1, 2, 4"):
        UNet(create_model("se_resnet20"), 2)
