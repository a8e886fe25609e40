"""torchvision's detectors on any network of the zoo that has four stages."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from torch import nn

from senet_zoo.data.labels import numbered_classes
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.detection.design import STANDARD, Design, DetectorConfig, Kind
from senet_zoo.detection.pyramid import STRIDES, Pyramid
from senet_zoo.errors import UsageError
from senet_zoo.networks import registry
from senet_zoo.networks.network import ConvNet
from senet_zoo.weights.catalogue import Weights
from senet_zoo.weights.config import FolderConfig
from senet_zoo.weights.create import create_model
from senet_zoo.weights.task_folders import provenance_from

if TYPE_CHECKING:
    from torchvision.models.detection import FasterRCNN, MaskRCNN, RetinaNet
    from torchvision.models.detection.anchor_utils import AnchorGenerator

Detector = TypeVar("Detector", bound=nn.Module)
RATIOS = (0.5, 1.0, 2.0)  # height to width of the anchors
OCTAVE = (1.0, 2.0 ** (1 / 3), 2.0 ** (2 / 3))  # of a RetinaNet's three anchors a level


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
        A detector in eval mode; it takes a list of pictures (3, H, W) with pixels in [0, 1]. Its ``weights`` is the
        `DetectorConfig` that `senet_zoo.save_pretrained` writes.

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
    detector = _with_strides(FasterRCNN(pyramid, _counted(num_classes), **_regions(network, design)).eval())
    return _described(detector, Kind.FASTER_RCNN, network, num_classes, design)


def mask_rcnn(
    backbone: ConvNet | str,
    num_classes: int,
    *,
    pretrained: bool = False,
    design: Design = STANDARD,
    trainable_stages: int | None = None,
    frozen_norm: bool = False,
) -> "MaskRCNN":
    """Mask R-CNN with a feature pyramid, torchvision's.

    Args, Returns and Raises: as `faster_rcnn`.

    Source: He et al., arXiv:1703.06870.
    """
    from torchvision.models.detection import MaskRCNN

    network = network_of(backbone, pretrained=pretrained)
    pyramid = _pyramid(network, design, trainable_stages, frozen_norm)
    detector = _with_strides(MaskRCNN(pyramid, _counted(num_classes), **_regions(network, design)).eval())
    return _described(detector, Kind.MASK_RCNN, network, num_classes, design)


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
    detector = RetinaNet(
        pyramid,
        _counted(num_classes),
        min_size=design.side,
        max_size=design.longest,
        image_mean=mean,
        image_std=std,
        anchor_generator=AnchorGenerator(sizes, (RATIOS,) * len(sizes)),
    ).eval()
    return _described(detector, Kind.RETINANET, network, num_classes, design)


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
    makers: dict[Kind, Callable[..., nn.Module]] = {
        Kind.FASTER_RCNN: faster_rcnn,
        Kind.MASK_RCNN: mask_rcnn,
        Kind.RETINANET: retinanet,
    }
    detector: nn.Module = makers[kind](
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


def _with_strides(detector: Detector) -> Detector:
    """The detector, told the strides of its maps.

    By itself torchvision guesses them from the first pictures that it sees, and of pictures under about 90 pixels,
    which are padded, it may guess others: what is found would depend on what was seen first.
    """
    from torchvision.ops.poolers import initLevelMapper

    heads: Any = detector.roi_heads
    for pool in (heads.box_roi_pool, heads.mask_roi_pool):
        if pool is not None:
            pool.scales = [1.0 / stride for stride in STRIDES]
            finest, coarsest = (stride.bit_length() - 1 for stride in (STRIDES[0], STRIDES[-1]))
            pool.map_levels = initLevelMapper(
                finest, coarsest, canonical_scale=pool.canonical_scale, canonical_level=pool.canonical_level
            )
    return detector


def _pyramid(network: ConvNet, design: Design, trainable_stages: int | None, frozen_norm: bool) -> Pyramid:
    return Pyramid(network, channels=design.channels, trainable_stages=trainable_stages, frozen_norm=frozen_norm)


def _one_a_level(design: Design) -> "AnchorGenerator":
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    return AnchorGenerator(tuple((side,) for side in design.anchors), (RATIOS,) * len(design.anchors))


def _described(detector: Detector, kind: Kind, network: ConvNet, num_classes: int, design: Design) -> Detector:
    """The detector, which knows what rebuilds it where a name of the zoo spells its network."""
    entry = registry.model_of(network.spec)
    made: Any = detector
    mean, std = made.transform.image_mean, made.transform.image_std
    design = replace(design, mean=tuple(mean), std=tuple(std))
    classes = numbered_classes(num_classes - 1)
    made.weights = (
        None
        if entry is None
        else DetectorConfig(
            kind, entry[0].name, network.spec.se, classes, design, widths=entry[1], provenance=provenance_from(network)
        )
    )
    return detector


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
