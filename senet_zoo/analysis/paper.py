"""The paper's tables as it prints them, each row beside the network of the zoo that it measures.

Source: Hu et al., Squeeze-and-Excitation Networks, arXiv:1709.01507, the journal version. Errors are percentages of
pictures of the validation or test split, single crop. Rows of networks that the zoo has not are kept, without a model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from senet_zoo.networks.gate import GateFunction, Placement, Squeeze
from senet_zoo.networks.specs import SE


class Reading(Enum):
    """How a printed number of parameters came about; found by trying, the paper does not say."""

    ROUNDED = "with running statistics, rounded"
    """Running means and variances counted along: the tables of ablations."""
    CUT = "without running statistics, cut off"
    """Only what is learnt, and further digits dropped: table 3."""


@dataclass(frozen=True)
class Error:
    """Top-1 and top-5 error in percent, in the digits that are printed; None for a dash or no such column."""

    top1: str
    top5: str | None = None


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Args:
        label: as printed, or nearly.
        model: name in the zoo; None where the zoo has no such network.
        error: of the paper's own training.
        se: variant of the gate; None for the model's own, or none.
        original: error that the table quotes from the network's own paper.
        parameters: millions, in the digits that are printed.
        gflops: billions of multiply-adds, in the digits that are printed.
        size: side of the pictures, where it is not the network's own.
        num_classes: where it is not the network's own.
        reason: why our count cannot agree with the printed one; None where it does.
    """

    label: str
    model: str | None
    error: Error
    se: SE | None = None
    original: Error | None = None
    parameters: str | None = None
    gflops: str | None = None
    size: int | None = None
    num_classes: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Table:
    """One table of the paper, or two that belong together.

    Args:
        source: its number.
        title: what it compares.
        dataset: the pictures, as the weights manifest names them.
        rows: from top to bottom.
        reading: what its parameters are.
    """

    source: str
    title: str
    dataset: str
    rows: tuple[Row, ...]
    reading: Reading = Reading.ROUNDED


_IMAGENET = "imagenet-1k val"


def _ablation(
    label: str,
    error: Error,
    parameters: str | None = None,
    gflops: str | None = None,
    *,
    reduction: int = 16,
    placement: Placement = Placement.STANDARD,
    squeeze: Squeeze = Squeeze.MEAN,
    gate: GateFunction = GateFunction.SIGMOID,
    stages: tuple[int, ...] | None = None,
    reason: str | None = None,
) -> Row:
    """A row of section 6: SE-ResNet-50, whose gates have no biases there."""
    se = SE(reduction, bias=False, placement=placement, squeeze=squeeze, gate=gate, stages=stages)
    return Row(label, "se_resnet50", error, se, parameters=parameters, gflops=gflops, reason=reason)


_PLAIN = Row("ResNet-50", "resnet50", Error("23.30", "6.55"), parameters="25.6", gflops="3.86")
_SE = _ablation("SE", Error("22.28", "6.03"), "28.1", "3.87")

_RATIO = Table(
    "table 10",
    "Reduction ratio of SE-ResNet-50",
    _IMAGENET,
    (
        _ablation("ratio 2", Error("22.29", "6.00"), "45.7", reduction=2),
        _ablation("ratio 4", Error("22.25", "6.09"), "35.7", reduction=4),
        _ablation(
            "ratio 8",
            Error("22.26", "5.99"),
            "30.7",
            reduction=8,
            reason=(
                "no way of counting gives 30.7 M: with running statistics it is 30.64 M, 0.01 M below what rounds to it"
            ),
        ),
        _ablation("ratio 16", Error("22.28", "6.03"), "28.1", reduction=16),
        _ablation("ratio 32", Error("22.72", "6.20"), "26.9", reduction=32),
        Row("original", "resnet50", Error("23.30", "6.55"), parameters="25.6"),
    ),
)  # fmt: skip

_SQUEEZE = Table(
    "table 11",
    "Squeeze operator of SE-ResNet-50",
    _IMAGENET,
    (
        _ablation("Max", Error("22.57", "6.09"), squeeze=Squeeze.MAX),
        _ablation("Avg", Error("22.28", "6.03")),
    ),
)

_GATE = Table(
    "table 12",
    "Last function of the excitation in SE-ResNet-50",
    _IMAGENET,
    (
        _ablation("ReLU", Error("23.47", "6.98"), gate=GateFunction.RELU),
        _ablation("Tanh", Error("23.00", "6.38"), gate=GateFunction.TANH),
        _ablation("Sigmoid", Error("22.28", "6.03")),
    ),
)

_STAGES = Table(
    "table 13",
    "Gates in one stage of ResNet-50, and in all",
    _IMAGENET,
    (
        _PLAIN,
        _ablation("SE, stage 2", Error("23.03", "6.48"), "25.6", "3.86", stages=(2,)),
        _ablation("SE, stage 3", Error("23.04", "6.32"), "25.7", "3.86", stages=(3,)),
        _ablation("SE, stage 4", Error("22.68", "6.22"), "26.4", "3.86", stages=(4,)),
        _ablation("SE, all", Error("22.28", "6.03"), "28.1", "3.87"),
    ),
)

_PLACEMENT = Table(
    "table 14",
    "Place of the gate in SE-ResNet-50, outside the branch",
    _IMAGENET,
    (
        _ablation("SE", Error("22.28", "6.03")),
        _ablation("SE-PRE", Error("22.23", "6.00"), placement=Placement.PRE),
        _ablation("SE-POST", Error("22.78", "6.35"), placement=Placement.POST),
        _ablation("SE-Identity", Error("22.20", "6.15"), placement=Placement.IDENTITY),
    ),
)

_INNER = Table(
    "table 15",
    "The gate of SE-ResNet-50 behind the 3x3 convolution",
    _IMAGENET,
    (_SE, _ablation("SE_3x3", Error("22.48", "6.02"), "25.8", "3.86", placement=Placement.INNER)),
)

_NO_SQUEEZE = Table(
    "table 16",
    "ResNet-50 without squeeze",
    _IMAGENET,
    (
        _PLAIN,
        _ablation("NoSqueeze", Error("22.93", "6.39"), "28.1", "4.27", squeeze=Squeeze.NONE),
        _SE,
    ),
)

_OTHER_TRUNK = (
    "the paper does not define its Inception-ResNet-v2; the public one (TF-slim's, the zoo's) has more multiply-adds, "
    "and no documented definition has so few"
)

_NETWORKS = Table(
    "table 2",
    "Networks and their SE forms on ImageNet",
    _IMAGENET,
    (
        Row("ResNet-50", "resnet50", Error("24.80", "7.48"), original=Error("24.7", "7.8"), gflops="3.86"),
        Row("SE-ResNet-50", "se_resnet50", Error("23.29", "6.62"), gflops="3.87"),
        Row("ResNet-101", "resnet101", Error("23.17", "6.52"), original=Error("23.6", "7.1"), gflops="7.58"),
        Row("SE-ResNet-101", "se_resnet101", Error("22.38", "6.07"), gflops="7.60"),
        Row("ResNet-152", "resnet152", Error("22.42", "6.34"), original=Error("23.0", "6.7"), gflops="11.30"),
        Row("SE-ResNet-152", "se_resnet152", Error("21.57", "5.73"), gflops="11.32"),
        Row("ResNeXt-50", "resnext50_32x4d", Error("22.11", "5.90"), original=Error("22.2"), gflops="4.24"),
        Row("SE-ResNeXt-50", "se_resnext50_32x4d", Error("21.10", "5.49"), gflops="4.25"),
        Row("ResNeXt-101", "resnext101_32x4d", Error("21.18", "5.57"), original=Error("21.2", "5.6"), gflops="7.99"),
        Row("SE-ResNeXt-101", "se_resnext101_32x4d", Error("20.70", "5.01"), gflops="8.00"),
        Row("VGG-16", "vgg16_bn", Error("27.02", "8.81"), gflops="15.47"),
        Row("SE-VGG-16", "se_vgg16", Error("25.22", "7.70"), gflops="15.48"),
        Row("BN-Inception", "bn_inception", Error("25.38", "7.89"), original=Error("25.2", "7.82"), gflops="2.03"),
        Row("SE-BN-Inception", "se_bn_inception", Error("24.23", "7.14"), gflops="2.04"),
        Row(
            "Inception-ResNet-v2", "inception_resnet_v2", Error("20.37", "5.21"), original=Error("19.9", "4.9"),
            gflops="11.75", reason=_OTHER_TRUNK,
        ),
        Row(
            "SE-Inception-ResNet-v2", "se_inception_resnet_v2", Error("19.80", "4.79"), gflops="11.76",
            reason=_OTHER_TRUNK,
        ),
    ),
)  # fmt: skip

_STATE_OF_THE_ART = Table(
    "table 8",
    "Networks on ImageNet at the sizes of the literature",
    _IMAGENET,
    (
        Row("ResNet-152", "resnet152", Error("23.0", "6.7")),
        Row("ResNet-152", "resnet152", Error("21.3", "5.5"), size=320),
        Row("ResNet-200", "preresnet200b", Error("21.7", "5.8")),
        Row("ResNet-200", "preresnet200b", Error("20.1", "4.8"), size=320),
        Row("Inception-v3", "inception_v3", Error("21.2", "5.6")),
        Row("Inception-v4", "inception_v4", Error("20.0", "5.0")),
        Row("Inception-ResNet-v2", "inception_resnet_v2", Error("19.9", "4.9")),
        Row("ResNeXt-101 64x4d", "resnext101_64x4d", Error("20.4", "5.3")),
        Row("ResNeXt-101 64x4d", "resnext101_64x4d", Error("19.1", "4.4"), size=320),
        Row("DenseNet-264", "densenet264", Error("22.15", "6.12")),
        Row("Attention-92", None, Error("19.5", "4.8"), size=320),
        Row("PyramidNet-200", None, Error("20.1", "5.4"), size=224),
        Row("PyramidNet-200", None, Error("19.2", "4.7"), size=320),
        Row("DPN-131", None, Error("19.93", "5.12"), size=224),
        Row("DPN-131", None, Error("18.55", "4.16"), size=320),
        Row("SENet-154", "senet154", Error("18.68", "4.47")),
        Row("SENet-154", "senet154", Error("17.28", "3.79"), size=320),
    ),
)

_MOBILE = Table(
    "table 3",
    "Mobile networks on ImageNet",
    _IMAGENET,
    (
        Row(
            "MobileNet", "mobilenet", Error("28.4", "9.4"), original=Error("29.4"), parameters="4.2", gflops="0.569"
        ),
        Row("SE-MobileNet", "se_mobilenet", Error("25.3", "7.7"), parameters="4.7", gflops="0.572"),
        Row(
            "ShuffleNet", "shufflenet", Error("32.6", "12.5"), original=Error("32.6"), parameters="1.8", gflops="0.140"
        ),
        Row("SE-ShuffleNet", "se_shufflenet", Error("31.0", "11.1"), parameters="2.4", gflops="0.142"),
    ),
    Reading.CUT,
)  # fmt: skip


def _cifar(classes: int, networks: tuple[tuple[str, str, str, str], ...]) -> tuple[Row, ...]:
    """A plain and an SE row for each (label, plain model, its error, the SE form's error)."""
    return tuple(
        Row(f"{start}{label}", f"{prefix}{model}", Error(error), num_classes=classes)
        for label, model, plain, gated in networks
        for start, prefix, error in (("", "", plain), ("SE-", "se_", gated))
    )


_CIFAR10 = Table(
    "table 4",
    "CIFAR-10",
    "cifar10 test",
    _cifar(
        10,
        (
            ("ResNet-110", "preresnet110", "6.37", "5.21"),
            ("ResNet-164", "preresnet164", "5.46", "4.39"),
            ("WRN-16-8", "wrn16_8", "4.27", "3.88"),
            ("Shake-Shake 26 2x96d, Cutout", "shakeshake26_2x96d", "2.56", "2.12"),
        ),
    ),
)

_CIFAR100 = Table(
    "table 5",
    "CIFAR-100",
    "cifar100 test",
    _cifar(
        100,
        (
            ("ResNet-110", "preresnet110", "26.88", "23.85"),
            ("ResNet-164", "preresnet164", "24.33", "21.31"),
            ("WRN-16-8", "wrn16_8", "20.43", "19.14"),
            ("Shake-Even 29 2x4x64d, Cutout", "shakeshake29_2x4x64d", "15.85", "15.41"),
        ),
    ),
)

TABLES: Mapping[str, tuple[Table, ...]] = MappingProxyType(
    {
        "ratio": (_RATIO,),
        "squeeze": (_SQUEEZE,),
        "gate": (_GATE,),
        "stages": (_STAGES,),
        "placement": (_PLACEMENT, _INNER),
        "noSqueeze": (_NO_SQUEEZE,),
        "imagenet": (_NETWORKS, _STATE_OF_THE_ART),
        "mobile": (_MOBILE,),
        "cifar": (_CIFAR10, _CIFAR100),
    }
)
"""Tables of figures by the names of the command line."""
