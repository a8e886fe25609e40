"""Networks of other libraries that share a name with one of the zoo's and are another function, refused by name."""

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class OtherFunction:
    """A network that no model of the zoo is.

    Args:
        network: whose, and what they call it.
        telltales: tensors that it alone has, all of them.
        reason: how the zoo's differs.
    """

    network: str
    telltales: frozenset[str]
    reason: str


_OTHERS = (
    OtherFunction(
        "torchvision's googlenet",
        frozenset({"inception3a.branch3.1.conv.weight", "inception5b.branch4.1.bn.weight"}),
        "it has batch norms, and 3x3 convolutions where the zoo's googlenet, the original of 2014, has 5x5",
    ),
    OtherFunction(
        "timm's resnet*c",
        frozenset({"conv1.0.weight", "layer1.0.downsample.0.weight"}),
        "it has a deep stem and shortcuts without an average, the C form; the zoo has the B form and the D form",
    ),
    OtherFunction(
        "pytorchcv's inceptionresnetv1",
        frozenset({"output.fc1.weight", "output.bn.weight"}),
        "it was made for faces and has a layer of 512 features before its classifier; the zoo's has the paper's head",
    ),
    OtherFunction(
        "pytorchcv's bninception",
        frozenset({"features.init_block.conv1.conv.bias", "features.stage3.unit3.branches.branch1.bn.weight"}),
        "its convolutions have a bias before each batch norm; the zoo's bn_inception, the one of the SENet paper's "
        "authors, has none",
    ),
)


def other_function(keys: Collection[str]) -> OtherFunction | None:
    """The network that a file with these names holds, where it is one of those that the zoo is known not to have."""
    return next((other for other in _OTHERS if other.telltales <= set(keys)), None)
