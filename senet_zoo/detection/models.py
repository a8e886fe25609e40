"""torchvision's detectors on any network of the zoo that has four stages, and their sizes as frozen values."""

from collections import OrderedDict
from copy import deepcopy
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Self

from torch import Tensor, nn

from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import UsageError
from senet_zoo.networks.network import ConvNet
from senet_zoo.support.json_fields import Items, Number, Whole
from senet_zoo.weights.catalogue import Weights
from senet_zoo.weights.config import FolderConfig
from senet_zoo.weights.create import create_model

if TYPE_CHECKING:
    from torchvision.models.detection import FasterRCNN, MaskRCNN, RetinaNet
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

STRIDES = (4, 8, 16, 32)
Triple = tuple[float, float, float]
Anchors = tuple[float, float, float, float, float]
_SIDE, _COUNT = Whole(1, 10**5), Whole(1, 10**6)
_TRIPLE = Items(Number(-1e9, 1e9), 3, 3, "a list of 3 numbers")
RATIOS = (0.5, 1.0, 2.0)  # height to width of the anchors
OCTAVE = (1.0, 2.0 ** (1 / 3), 2.0 ** (2 / 3))  # of a RetinaNet's three anchors a level


class Pyramid(nn.Module):
    """Maps of a network at several strides, made alike by a feature pyramid (torchvision's).

    The network's head and classifier are left out. A frozen stage learns nothing, and its batch norms use and keep
    their running statistics.

    Args:
        network: copied, so that the one given stays as it is.
        strides: of the maps that go into the pyramid.
        channels: of its maps.
        extra: what makes coarser maps of the last ones; by default one more, of every second pixel.
        trainable_stages: stages that learn, counted from the last one; the stem counts as a stage. None for all.
        frozen_norm: freeze all batch norms, their scale and shift included, as detectors do whose batches are small.

    Shape:
        (N, C, H, W) -> maps ``"0"``, ``"1"``, ... of (N, channels, H / stride, W / stride), and those of ``extra``.

    Raises:
        UsageError: the network lacks one of the strides, or has not so many stages.

    Source: Lin et al., arXiv:1612.03144.
    """

    def __init__(
        self,
        network: ConvNet,
        *,
        strides: tuple[int, ...] = STRIDES,
        channels: int = 256,
        extra: "ExtraFPNBlock | None" = None,
        trainable_stages: int | None = None,
        frozen_norm: bool = False,
    ) -> None:
        from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

        super().__init__()
        found = network.feature_channels
        if not set(strides) <= set(found):
            raise UsageError(
                f"a pyramid needs a network whose four stages give maps of stride {_listed(strides)}, and this one's "
                f"are of stride {_listed(tuple(found))}; choose one such as se_resnet50"
            )
        self.body = deepcopy(network)
        self.body.reset_classifier(0)
        self.body.head = nn.Identity()
        self.fpn = FeaturePyramidNetwork([found[stride] for stride in strides], channels, extra or LastLevelMaxPool())
        self.strides = strides
        self.out_channels = channels  # torchvision's detectors read it
        self._frozen = _freeze(self.body, trainable_stages, frozen_norm)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The pyramid's maps by name, from fine to coarse."""
        maps = self.body.features(x, self.strides)
        pyramid: dict[str, Tensor] = self.fpn(OrderedDict((str(i), each) for i, each in enumerate(maps)))
        return pyramid

    def train(self, mode: bool = True) -> Self:
        """Training mode for all but the frozen batch norms."""
        super().train(mode)
        for norm in self._frozen:
            norm.eval()
        return self


def network_of(backbone: ConvNet | str, *, pretrained: bool) -> ConvNet:
    """The network itself, or that of a name.

    Raises:
        UsageError: ``pretrained`` with a network, which has its weights already.
    """
    if isinstance(backbone, str):
        return create_model(backbone, pretrained=pretrained)
    if pretrained:
        raise UsageError("pretrained=True fetches the weights of a name, and a network was given, which has its own")
    return backbone


def _freeze(body: ConvNet, trainable_stages: int | None, frozen_norm: bool) -> list[nn.BatchNorm2d]:
    """Take what is frozen out of training, and return the batch norms among it."""
    parts = [body.stem, *body.stages]
    trainable = len(parts) if trainable_stages is None else trainable_stages
    if not 0 <= trainable <= len(parts):
        raise UsageError(f"this network has {len(parts)} stages to train, the stem included; got {trainable}")
    frozen = parts[: len(parts) - trainable]
    for part in frozen:
        part.requires_grad_(False)
    norms = [
        module
        for part in (parts if frozen_norm else frozen)
        for module in part.modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    for norm in norms:
        norm.requires_grad_(False)
    return norms


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))


@dataclass(frozen=True)
class Design:
    """Sizes of a detector; by default those of torchvision's, which are Detectron's. Its folder's config.json has them.

    Args:
        side: of a picture's shorter side when it is looked at, in pixels.
        longest: of its longer side at most, in pixels; a long picture is made smaller.
        anchors: side of the anchors of each of the pyramid's five maps, in pixels of the resized picture.
        channels: of the pyramid's maps.
        proposals: regions a picture that the second stage is offered in training, half of them in use; Faster R-CNN.
        samples: regions a picture whose loss is measured; Faster R-CNN.
        mean: of each channel (R, G, B), pixels in [0, 1]; None for that of the backbone's weights.
        std: of each channel, as ``mean``.

    Raises:
        UsageError: a value outside its range.

    Source: Ren et al., arXiv:1506.01497; Lin et al., Feature Pyramid Networks, arXiv:1612.03144, section 5.
    """

    side: Annotated[int, _SIDE] = 800
    longest: Annotated[int, _SIDE] = 1333
    anchors: Annotated[Anchors, Items(Number(-1e9, 1e9), 5, 5, "a list of 5 numbers")] = (
        32.0,
        64.0,
        128.0,
        256.0,
        512.0,
    )
    channels: Annotated[int, _SIDE] = 256
    proposals: Annotated[int, _COUNT] = 2000
    samples: Annotated[int, _COUNT] = 512
    mean: Annotated[Triple | None, _TRIPLE] = None
    std: Annotated[Triple | None, _TRIPLE] = None

    def __post_init__(self) -> None:
        for name, holds, rule in (
            ("side", self.side >= 32, "at least 32 pixels"),
            ("longest", self.longest >= self.side, f"at least side ({self.side})"),
            ("anchors", len(self.anchors) == 5 and min(self.anchors) > 0, "five sides above 0"),
            ("channels", self.channels >= 1, "at least 1"),
            ("proposals", self.proposals >= 2, "at least 2"),
            ("samples", self.samples >= 1, "at least 1"),
            ("std", self.std is None or min(self.std) > 0, "above 0"),
        ):
            if not holds:
                raise UsageError(f"a detector's {name} must be {rule}, got {getattr(self, name)}")

    def at(self, side: int) -> "Design":
        """The same detector for pictures of another size: what is counted in pixels moves in proportion.

        Example:
            >>> Design().at(400).anchors
            (16.0, 32.0, 64.0, 128.0, 256.0)
        """
        by = side / self.side
        a, b, c, d, e = (anchor * by for anchor in self.anchors)
        return replace(self, side=side, longest=max(side, round(self.longest * by)), anchors=(a, b, c, d, e))


STANDARD = Design()


class Kind(Enum):
    """The detectors that are trained, saved and read back here. The values stand in config.json."""

    FASTER_RCNN = "faster_rcnn"
    RETINANET = "retinanet"


def faster_rcnn(
    backbone: ConvNet | str,
    num_classes: int,
    *,
    pretrained: bool = False,
    design: Design = STANDARD,
    trainable_stages: int | None = None,
    frozen_norm: bool = False,
) -> "FasterRCNN":
    """Faster R-CNN with a feature pyramid, torchvision's.

    Args:
        backbone: a network of the zoo, which is copied, or a model's name.
        num_classes: as torchvision counts: the classes of things and one for the background, which is number 0.
        pretrained: load the published classification weights of the name.
        design: sizes of pictures, anchors and maps.
        trainable_stages: stages that learn, counted from the last one; the stem counts as a stage. None for all.
        frozen_norm: freeze all batch norms of the backbone.

    Returns:
        A detector in eval mode; it takes a list of pictures (3, H, W) with pixels in [0, 1].

    Raises:
        UsageError: the network lacks a stride of 4, 8, 16 or 32, or a number is outside its range.
        WeightsError: the published weights could not be had.

    Source: Ren et al., arXiv:1506.01497; Lin et al., arXiv:1612.03144; the paper, section 5.3.

    Example:
        >>> import torch
        >>> detector = faster_rcnn("se_resnet18", num_classes=3, design=Design(side=64, longest=64, channels=8))
        >>> [found] = detector([torch.rand(3, 48, 64)])
        >>> sorted(found)
        ['boxes', 'labels', 'scores']
    """
    from torchvision.models.detection import FasterRCNN

    network = network_of(backbone, pretrained=pretrained)
    pyramid = _pyramid(network, design, trainable_stages, frozen_norm)
    return FasterRCNN(pyramid, _counted(num_classes), **_regions(network, design)).eval()


def mask_rcnn(
    backbone: ConvNet | str,
    num_classes: int,
    *,
    pretrained: bool = False,
    design: Design = STANDARD,
    trainable_stages: int | None = None,
    frozen_norm: bool = False,
) -> "MaskRCNN":
    """Mask R-CNN with a feature pyramid, torchvision's; `fit_detector` does not train it, because it reads no masks.

    Args, Returns and Raises: as `faster_rcnn`.

    Source: He et al., arXiv:1703.06870.
    """
    from torchvision.models.detection import MaskRCNN

    network = network_of(backbone, pretrained=pretrained)
    pyramid = _pyramid(network, design, trainable_stages, frozen_norm)
    return MaskRCNN(pyramid, _counted(num_classes), **_regions(network, design)).eval()


def retinanet(
    backbone: ConvNet | str,
    num_classes: int,
    *,
    pretrained: bool = False,
    design: Design = STANDARD,
    trainable_stages: int | None = None,
    frozen_norm: bool = False,
) -> "RetinaNet":
    """RetinaNet, torchvision's: a pyramid over strides 8, 16 and 32, and two coarser maps of its last one.

    Args, Returns and Raises: as `faster_rcnn`.

    Source: Lin et al., arXiv:1708.02002.
    """
    from torchvision.models.detection import RetinaNet
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.ops.feature_pyramid_network import LastLevelP6P7

    network = network_of(backbone, pretrained=pretrained)
    mean, std = _normalisation(network, design)
    sizes = tuple(tuple(side * by for by in OCTAVE) for side in design.anchors)
    pyramid = Pyramid(
        network,
        strides=STRIDES[1:],
        channels=design.channels,
        extra=LastLevelP6P7(design.channels, design.channels),
        trainable_stages=trainable_stages,
        frozen_norm=frozen_norm,
    )
    return RetinaNet(
        pyramid,
        _counted(num_classes),
        min_size=design.side,
        max_size=design.longest,
        image_mean=mean,
        image_std=std,
        anchor_generator=AnchorGenerator(sizes, (RATIOS,) * len(sizes)),
    ).eval()


def build(
    kind: Kind,
    backbone: ConvNet,
    num_classes: int,
    *,
    design: Design,
    trainable_stages: int | None = None,
    frozen_norm: bool = False,
) -> nn.Module:
    """The detector of that kind; arguments as `faster_rcnn`."""
    make = {Kind.FASTER_RCNN: faster_rcnn, Kind.RETINANET: retinanet}[kind]
    detector: nn.Module = make(
        backbone, num_classes, design=design, trainable_stages=trainable_stages, frozen_norm=frozen_norm
    )
    return detector


def _regions(network: ConvNet, design: Design) -> dict[str, Any]:
    """What torchvision's two-stage detectors are told of pictures, anchors and proposals."""
    mean, std = _normalisation(network, design)
    return {
        "min_size": design.side,
        "max_size": design.longest,
        "image_mean": mean,
        "image_std": std,
        "rpn_anchor_generator": _one_a_level(design),
        "rpn_pre_nms_top_n_train": design.proposals,
        "rpn_post_nms_top_n_train": design.proposals,
        "rpn_pre_nms_top_n_test": design.proposals // 2,
        "rpn_post_nms_top_n_test": design.proposals // 2,
        "box_batch_size_per_image": design.samples,
    }


def _pyramid(network: ConvNet, design: Design, trainable_stages: int | None, frozen_norm: bool) -> Pyramid:
    return Pyramid(network, channels=design.channels, trainable_stages=trainable_stages, frozen_norm=frozen_norm)


def _one_a_level(design: Design) -> "AnchorGenerator":
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    return AnchorGenerator(tuple((side,) for side in design.anchors), (RATIOS,) * len(design.anchors))


def _normalisation(network: ConvNet, design: Design) -> tuple[list[float], list[float]]:
    record = network.weights
    known = record.preprocessing if isinstance(record, Weights | FolderConfig) else None
    usual = known or Preprocessing(size=224, resize=256)
    return list(design.mean or usual.mean), list(design.std or usual.std)


def _counted(num_classes: int) -> int:
    if num_classes < 2:
        raise UsageError(
            f"a detector's num_classes counts the background too and must be at least 2, got {num_classes}"
        )
    return num_classes
