"""The paper's tables as it prints them, each row beside the network of the zoo that it measures.

Source: Hu et al., Squeeze-and-Excitation Networks, arXiv:1709.01507, the journal version. Errors are percentages of
pictures of the validation or test split, single crop.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from senet_zoo.networks.specs import SE
from senet_zoo.networks.squeeze_excite import GateFunction, Placement, Squeeze


class Reading(Enum):
    """How a printed number of parameters came about; found by trying, the paper does not say."""

    ROUNDED = "with running statistics, rounded"
    """Running means and variances counted along: the tables of ablations."""
    CUT = "without running statistics, cut off"
    """Only what is learnt, and further digits dropped: table 3."""


@dataclass(frozen=True)
class PaperRow:
    """One line of a table.

    Args:
        label: as printed, or nearly.
        model: name in the zoo.
        error: of the paper's own training, top-1 or top-1/top-5 in percent, in the digits that are printed.
        se: variant of the gate; None for the model's own, or none.
        original: error that the table quotes from the network's own paper.
        parameters: millions, in the digits that are printed.
        gflops: billions of multiply-adds, in the digits that are printed.
        size: side of the pictures, where it is not the network's own.
        num_classes: where it is not the network's own.
        reason: why our count cannot agree with the printed one; None where it does.
    """

    label: str
    model: str
    error: str
    se: SE | None = None
    original: str | None = None
    parameters: str | None = None
    gflops: str | None = None
    size: int | None = None
    num_classes: int | None = None
    reason: str | None = None


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper.

    Args:
        name: on the command line; tables that belong together share it.
        source: its number.
        title: what it compares.
        rows: from top to bottom.
        dataset: the pictures, as the manifest of weights names them.
        reading: how its numbers of parameters came about.
    """

    name: str
    source: str
    title: str
    rows: tuple[PaperRow, ...]
    dataset: str = "imagenet-1k val"
    reading: Reading = Reading.ROUNDED


def _ablation(
    label: str,
    error: str,
    parameters: str | None = None,
    gflops: str | None = None,
    *,
    reduction: int = 16,
    placement: Placement = Placement.STANDARD,
    squeeze: Squeeze = Squeeze.MEAN,
    gate: GateFunction = GateFunction.SIGMOID,
    stages: tuple[int, ...] | None = None,
    reason: str | None = None,
) -> PaperRow:
    """A row of section 6: SE-ResNet-50, whose gates have no biases there."""
    se = SE(reduction, bias=False, placement=placement, squeeze=squeeze, gate=gate, stages=stages)
    return PaperRow(label, "se_resnet50", error, se, parameters=parameters, gflops=gflops, reason=reason)


def _cifar(classes: int, *networks: tuple[str, str, str, str]) -> tuple[PaperRow, ...]:
    """A plain and an SE row for each (label, plain model, its error, the SE form's error)."""
    return tuple(
        PaperRow(f"{start}{label}", f"{prefix}{model}", error, num_classes=classes)
        for label, model, plain, gated in networks
        for start, prefix, error in (("", "", plain), ("SE-", "se_", gated))
    )


_PLAIN = PaperRow("ResNet-50", "resnet50", "23.30/6.55", parameters="25.6", gflops="3.86")
_SE = _ablation("SE", "22.28/6.03", "28.1", "3.87")
_NOT_ROUNDED = "no way of counting gives 30.7 M: with running statistics it is 30.64 M, 0.01 M below what rounds to it"
_OTHER_TRUNK = (
    "the paper does not define its Inception-ResNet-v2; the public one (TF-slim's, the zoo's) has more multiply-adds, "
    "and no documented definition has so few"
)
_TABLES = (
    PaperTable(
        "ratio", "table 10", "Reduction ratio of SE-ResNet-50",
        (
            _ablation("ratio 2", "22.29/6.00", "45.7", reduction=2),
            _ablation("ratio 4", "22.25/6.09", "35.7", reduction=4),
            _ablation("ratio 8", "22.26/5.99", "30.7", reduction=8, reason=_NOT_ROUNDED),
            _ablation("ratio 16", "22.28/6.03", "28.1", reduction=16),
            _ablation("ratio 32", "22.72/6.20", "26.9", reduction=32),
            PaperRow("original", "resnet50", "23.30/6.55", parameters="25.6"),
        ),
    ),
    PaperTable(
        "squeeze", "table 11", "Squeeze operator of SE-ResNet-50",
        (
            _ablation("Max", "22.57/6.09", squeeze=Squeeze.MAX),
            _ablation("Avg", "22.28/6.03"),
        ),
    ),
    PaperTable(
        "gate", "table 12", "Last function of the excitation in SE-ResNet-50",
        (
            _ablation("ReLU", "23.47/6.98", gate=GateFunction.RELU),
            _ablation("Tanh", "23.00/6.38", gate=GateFunction.TANH),
            _ablation("Sigmoid", "22.28/6.03"),
        ),
    ),
    PaperTable(
        "stages", "table 13", "Gates in one stage of ResNet-50, and in all",
        (
            _PLAIN,
            _ablation("SE, stage 2", "23.03/6.48", "25.6", "3.86", stages=(2,)),
            _ablation("SE, stage 3", "23.04/6.32", "25.7", "3.86", stages=(3,)),
            _ablation("SE, stage 4", "22.68/6.22", "26.4", "3.86", stages=(4,)),
            _ablation("SE, all", "22.28/6.03", "28.1", "3.87"),
        ),
    ),
    PaperTable(
        "placement", "table 14", "Place of the gate in SE-ResNet-50, outside the branch",
        (
            _ablation("SE", "22.28/6.03"),
            _ablation("SE-PRE", "22.23/6.00", placement=Placement.PRE),
            _ablation("SE-POST", "22.78/6.35", placement=Placement.POST),
            _ablation("SE-Identity", "22.20/6.15", placement=Placement.IDENTITY),
        ),
    ),
    PaperTable(
        "placement", "table 15", "The gate of SE-ResNet-50 behind the 3x3 convolution",
        (
            _SE,
            _ablation("SE_3x3", "22.48/6.02", "25.8", "3.86", placement=Placement.INNER),
        ),
    ),
    PaperTable(
        "noSqueeze", "table 16", "ResNet-50 without squeeze",
        (
            _PLAIN,
            _ablation("NoSqueeze", "22.93/6.39", "28.1", "4.27", squeeze=Squeeze.NONE),
            _SE,
        ),
    ),
    PaperTable(
        "imagenet", "table 2", "Networks and their SE forms on ImageNet",
        (
            PaperRow("ResNet-50", "resnet50", "24.80/7.48", original="24.7/7.8", gflops="3.86"),
            PaperRow("SE-ResNet-50", "se_resnet50", "23.29/6.62", gflops="3.87"),
            PaperRow("ResNet-101", "resnet101", "23.17/6.52", original="23.6/7.1", gflops="7.58"),
            PaperRow("SE-ResNet-101", "se_resnet101", "22.38/6.07", gflops="7.60"),
            PaperRow("ResNet-152", "resnet152", "22.42/6.34", original="23.0/6.7", gflops="11.30"),
            PaperRow("SE-ResNet-152", "se_resnet152", "21.57/5.73", gflops="11.32"),
            PaperRow("ResNeXt-50", "resnext50_32x4d", "22.11/5.90", original="22.2", gflops="4.24"),
            PaperRow("SE-ResNeXt-50", "se_resnext50_32x4d", "21.10/5.49", gflops="4.25"),
            PaperRow("ResNeXt-101", "resnext101_32x4d", "21.18/5.57", original="21.2/5.6", gflops="7.99"),
            PaperRow("SE-ResNeXt-101", "se_resnext101_32x4d", "20.70/5.01", gflops="8.00"),
            PaperRow("VGG-16", "vgg16_bn", "27.02/8.81", gflops="15.47"),
            PaperRow("SE-VGG-16", "se_vgg16", "25.22/7.70", gflops="15.48"),
            PaperRow("BN-Inception", "bn_inception", "25.38/7.89", original="25.2/7.82", gflops="2.03"),
            PaperRow("SE-BN-Inception", "se_bn_inception", "24.23/7.14", gflops="2.04"),
            PaperRow("Inception-ResNet-v2", "inception_resnet_v2", "20.37/5.21", original="19.9/4.9", gflops="11.75",
                     reason=_OTHER_TRUNK),
            PaperRow("SE-Inception-ResNet-v2", "se_inception_resnet_v2", "19.80/4.79", gflops="11.76",
                     reason=_OTHER_TRUNK),
        ),
    ),
    PaperTable(
        "imagenet", "table 8", "Networks on ImageNet at the sizes of the literature",
        (
            PaperRow("ResNet-152", "resnet152", "23.0/6.7"),
            PaperRow("ResNet-152", "resnet152", "21.3/5.5", size=320),
            PaperRow("ResNet-200", "preresnet200_torch", "21.7/5.8"),
            PaperRow("ResNet-200", "preresnet200_torch", "20.1/4.8", size=320),
            PaperRow("Inception-v3", "inception_v3", "21.2/5.6"),
            PaperRow("Inception-v4", "inception_v4", "20.0/5.0"),
            PaperRow("Inception-ResNet-v2", "inception_resnet_v2", "19.9/4.9"),
            PaperRow("ResNeXt-101 64x4d", "resnext101_64x4d", "20.4/5.3"),
            PaperRow("ResNeXt-101 64x4d", "resnext101_64x4d", "19.1/4.4", size=320),
            PaperRow("DenseNet-264", "densenet264", "22.15/6.12"),
            PaperRow("Attention-92", "attention92", "19.5/4.8", size=320),
            PaperRow("PyramidNet-200", "pyramidnet200_a450", "20.1/5.4"),
            PaperRow("PyramidNet-200", "pyramidnet200_a450", "19.2/4.7", size=320),
            PaperRow("DPN-131", "dpn131", "19.93/5.12"),
            PaperRow("DPN-131", "dpn131", "18.55/4.16", size=320),
            PaperRow("SENet-154", "senet154", "18.68/4.47"),
            PaperRow("SENet-154", "senet154", "17.28/3.79", size=320),
        ),
    ),
    PaperTable(
        "mobile", "table 3", "Mobile networks on ImageNet",
        (
            PaperRow("MobileNet", "mobilenet", "28.4/9.4", original="29.4", parameters="4.2", gflops="0.569"),
            PaperRow("SE-MobileNet", "se_mobilenet", "25.3/7.7", parameters="4.7", gflops="0.572"),
            PaperRow("ShuffleNet", "shufflenet", "32.6/12.5", original="32.6", parameters="1.8", gflops="0.140"),
            PaperRow("SE-ShuffleNet", "se_shufflenet", "31.0/11.1", parameters="2.4", gflops="0.142"),
        ),
        reading=Reading.CUT,
    ),
    PaperTable(
        "cifar", "table 4", "CIFAR-10",
        _cifar(10,
            ("ResNet-110", "preresnet110", "6.37", "5.21"),
            ("ResNet-164", "preresnet164", "5.46", "4.39"),
            ("WRN-16-8", "wrn16_8", "4.27", "3.88"),
            ("Shake-Shake 26 2x96d, Cutout", "shakeshake26_2x96d", "2.56", "2.12"),
        ),
        dataset="cifar10 test",
    ),
    PaperTable(
        "cifar", "table 5", "CIFAR-100",
        _cifar(100,
            ("ResNet-110", "preresnet110", "26.88", "23.85"),
            ("ResNet-164", "preresnet164", "24.33", "21.31"),
            ("WRN-16-8", "wrn16_8", "20.43", "19.14"),
            ("Shake-Even 29 2x4x64d, Cutout", "shakeshake29_2x4x64d", "15.85", "15.41"),
        ),
        dataset="cifar100 test",
    ),
)  # fmt: skip

TABLES: Mapping[str, tuple[PaperTable, ...]] = MappingProxyType(
    {name: tuple(table for table in _TABLES if table.name == name) for name in dict.fromkeys(t.name for t in _TABLES)}
)
"""The tables by their names on the command line."""
