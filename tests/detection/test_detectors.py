"""Detectors on the zoo's networks: equal to torchvision's where it has the network, and on every other one."""

import copy
from collections.abc import Callable

import pytest
import torch
from networks import distinct_tiny, others_slow, randomise, scaled_difference, shallowest_of_each_kind
from torch import nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from senet_zoo.analysis import cost
from senet_zoo.detection import Design, Pyramid, faster_rcnn, mask_rcnn, retinanet
from senet_zoo.errors import UsageError
from senet_zoo.networks import registry
from senet_zoo.networks.network import ConvNet

TINY = distinct_tiny()
# Gates change no shape, as the contract in tests/models shows: a plain twin stands for both.
PLAIN = [name for name, model in registry.MODELS.items() if model.se is None]
LITTLE = Design(side=64, longest=64, anchors=(4.0, 8.0, 16.0, 32.0, 64.0), channels=8, proposals=40, samples=8)
PICTURE = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
TARGET = {"boxes": torch.tensor([[8.0, 8.0, 40.0, 48.0]]), "labels": torch.tensor([1])}


@pytest.mark.parametrize("name", others_slow(PLAIN, shallowest_of_each_kind(PLAIN)))
def test_features_of_every_model_have_the_strides_and_channels_that_it_tells(name: str) -> None:
    model = cost.on_meta(registry.MODELS[name].spec())
    side = model.spec.input_size
    told = model.feature_channels
    maps = model.features(torch.empty(1, 3, side, side, device="meta"), tuple(told))
    # Pixels that convolutions without padding may take away.
    unpadded = 4 if side == 299 or "alexnet" in name else int("cifarnet" in name)
    for (stride, channels), found in zip(told.items(), maps, strict=True):
        assert found.shape[1] == channels
        assert side // stride - unpadded <= found.shape[2] <= -(-side // stride)
    assert maps[-1].shape == model.forward_features(torch.empty(1, 3, side, side, device="meta")).shape


@pytest.mark.parametrize("name", [name for name in TINY if name in PLAIN])
def test_every_network_with_four_stages_makes_a_pyramid(name: str) -> None:
    network = ConvNet(TINY[name])
    strides = tuple(network.feature_channels)
    if not {4, 8, 16, 32} <= set(strides):
        with pytest.raises(UsageError, match=f"of stride {', '.join(map(str, strides))}; choose one such as se_res"):
            Pyramid(network)
        return
    side = 160 if network.spec.input_size == 299 else 64
    maps = Pyramid(network, channels=4).eval()(torch.zeros(1, 3, side, side))
    assert list(maps) == ["0", "1", "2", "3", "pool"]
    assert all(found.shape[:2] == (1, 4) for found in maps.values())
    if network.spec.input_size == 224 and "alexnet" not in name:
        assert [found.shape[2] for found in maps.values()] == [16, 8, 4, 2, 1]


def theirs_faster_rcnn(design: Design) -> nn.Module:
    backbone = resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, norm_layer=nn.BatchNorm2d, trainable_layers=5
    )
    anchors = AnchorGenerator(tuple((side,) for side in design.anchors), ((0.5, 1.0, 2.0),) * 5)
    return FasterRCNN(backbone, 4, min_size=64, max_size=64, rpn_anchor_generator=anchors)


def theirs_retinanet(design: Design) -> nn.Module:
    backbone = resnet_fpn_backbone(
        backbone_name="resnet18",
        weights=None,
        norm_layer=nn.BatchNorm2d,
        trainable_layers=5,
        returned_layers=[2, 3, 4],
        extra_blocks=LastLevelP6P7(256, 256),
    )
    sizes = tuple((side, side * 2 ** (1 / 3), side * 2 ** (2 / 3)) for side in design.anchors)
    return RetinaNet(
        backbone, 4, min_size=64, max_size=64, anchor_generator=AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * 5)
    )


@pytest.mark.parametrize(("ours", "theirs"), [(faster_rcnn, theirs_faster_rcnn), (retinanet, theirs_retinanet)])
@torch.no_grad()
def test_torchvision_s_detector_finds_the_same(
    ours: Callable[..., nn.Module], theirs: Callable[[Design], nn.Module]
) -> None:
    torch.manual_seed(0)
    network = ConvNet(registry.MODELS["resnet18b"].spec())
    randomise(network)
    design = Design(side=64, longest=64, anchors=LITTLE.anchors)
    model, oracle = ours(network, 4, design=design), theirs(design).eval()
    kinds = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)
    layers = ([part for part in detector.modules() if isinstance(part, kinds)] for detector in (model, oracle))
    for a, b in zip(*layers, strict=True):
        if isinstance(a, nn.Linear) and a.out_features == 4:  # classes: far apart, so that something is found
            a.bias.copy_(torch.tensor([0.0, 2.0, 1.0, 0.5]))
        b.load_state_dict(a.state_dict())
    if ours is retinanet:
        for detector in (model, oracle):
            detector.score_thresh = 0.0
    [found], [expected] = model([PICTURE]), oracle([PICTURE])
    assert len(found["boxes"]) > 10
    assert torch.equal(found["labels"], expected["labels"])
    assert scaled_difference(found["boxes"], expected["boxes"]) <= 1e-4
    assert scaled_difference(found["scores"], expected["scores"]) <= 1e-4


@pytest.mark.parametrize("build", [faster_rcnn, retinanet, mask_rcnn])
def test_every_parameter_learns(build: Callable[..., nn.Module]) -> None:
    torch.manual_seed(0)
    model = build(ConvNet(TINY["se_resnet18"]), 3, design=LITTLE).train()
    target = {**TARGET, "masks": torch.ones(1, 64, 64, dtype=torch.uint8)}
    losses = model([PICTURE, PICTURE], [target, target])
    sum(losses.values()).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize(
    ("stages", "frozen_norm", "learns"),
    [(None, False, {"stem", "stages.0", "stages.3"}), (3, True, {"stages.1", "stages.3"}), (0, False, set())],
)
def test_what_is_frozen_stays_bit_for_bit(stages: int | None, frozen_norm: bool, learns: set[str]) -> None:
    torch.manual_seed(0)
    network = ConvNet(TINY["se_preresnet18"])
    randomise(network)
    model = faster_rcnn(network, 2, design=LITTLE, trainable_stages=stages, frozen_norm=frozen_norm).train()
    before = {name: tensor.clone() for name, tensor in model.backbone.body.state_dict().items()}
    optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=0.1)
    sum(model([PICTURE], [TARGET]).values()).backward()
    optimizer.step()
    changed = {
        name for name, tensor in model.backbone.body.state_dict().items() if not torch.equal(tensor, before[name])
    }
    for part in ("stem", "stages.0", "stages.1", "stages.3"):
        touched = any(name.startswith(part) for name in changed)
        assert touched == (part in learns or (stages is None and part == "stages.1"))
    assert any("running_mean" in name for name in changed) == (stages is None)
    assert network.num_classes == 10  # the network that was given keeps its head
    assert not any("classifier" in name for name in before)


def test_masks_are_found() -> None:
    model = mask_rcnn(ConvNet(TINY["se_resnet18"]), 3, design=LITTLE)
    model.roi_heads.score_thresh = 0.0
    with torch.no_grad():
        [found] = model([PICTURE])
    assert found["masks"].shape[1:] == (1, 64, 64)


def test_a_design_moves_with_the_size_of_its_pictures() -> None:
    assert Design().at(400) == Design(side=400, longest=666, anchors=(16.0, 32.0, 64.0, 128.0, 256.0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: faster_rcnn("se_resnet20", 3), r"strides?.* 1, 2, 4; choose one such as se_resnet50"),
        (lambda: faster_rcnn("se_resnet18", 1), "counts the background too and must be at least 2, got 1"),
        (lambda: retinanet("se_resnet18", 3, trainable_stages=7), "has 5 stages to train, the stem included; got 7"),
        (lambda: faster_rcnn(ConvNet(TINY["se_resnet18"]), 3, pretrained=True), "a network was given"),
        (lambda: Design(side=8), "side must be at least 32 pixels, got 8"),
        (lambda: Design(anchors=(8, 16, 32, 64, 0)), "anchors must be five sides above 0"),
    ],
)
def test_what_cannot_be_built_says_why(call: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()


@pytest.mark.parametrize("make", [faster_rcnn, mask_rcnn])
def test_what_is_found_does_not_depend_on_what_was_seen_first(make) -> None:
    """torchvision guesses strides from its first picture, and of a small one that is padded it guesses wrong."""
    torch.manual_seed(0)
    first = make("se_resnet18", 3, design=Design(side=64, longest=107, channels=8))
    second = copy.deepcopy(first)
    small, whole = torch.rand(3, 66, 65), torch.rand(3, 64, 96)
    with torch.inference_mode():
        second([small])
        one, other = first([whole])[0], second([whole])[0]
    assert first.roi_heads.box_roi_pool.scales == [1 / 4, 1 / 8, 1 / 16, 1 / 32]
    assert torch.equal(one["scores"], other["scores"])
    assert torch.equal(one["boxes"], other["boxes"])
