"""What other libraries call the functions of the zoo, where they have the same ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor, nn

from senet_zoo.formats.dialects import DIALECTS, INSIGHTFACE, MONAI, Dialect, translate_back
from senet_zoo.networks import registry
from senet_zoo.networks.families.family import Model
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.specs import SE

_SHARED = {
    "resnet18b": "resnet18",
    "resnet34b": "resnet34",
    "resnet50b": "resnet50",
    "resnet101b": "resnet101",
    "resnet152b": "resnet152",
    "resnext50b_32x4d": "resnext50_32x4d",
    "resnext101b_32x8d": "resnext101_32x8d",
    "resnext101b_64x4d": "resnext101_64x4d",
    **{name: name for name in ("densenet121", "densenet169", "densenet201", "inception_v3")},
}
_CADENE = ("se_resnet50", "se_resnet101", "se_resnet152", "se_resnext50_32x4d", "se_resnext101_32x4d", "senet154")
_MONAI = ("SEResNet50", "SEResNet101", "SEResNet152", "SEResNext50", "SEResNext101", "SENet154")

TARGETS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "timm": {
            **{ours: theirs for theirs, ours in registry.ALIASES.items()},
            **_SHARED,
            "resnext101b_32x4d": "resnext101_32x4d",
            "senet154b": "senet154",
            **{name: name for name in ("resnet50d", "resnet50t", "resnet101d", "resnet152d", "resnet200d")},
            "resnext50d_32x4d": "resnext50d_32x4d",
            **{name: name for name in ("inception_v4", "inception_resnet_v2")},
            "xception": "legacy_xception",
            **{name: name for name in ("resnext26ts", "resnet33ts", "cs3darknet_l", "cs3darknet_x", "cs3edgenet_x")},
        },
        "cadene": {name: name for name in _CADENE},
        "monai": dict(zip(_CADENE, _MONAI, strict=True)),
        INSIGHTFACE.name: {f"ir{se}{depth}": f"ir{se} {depth}" for se in ("", "_se") for depth in (50, 100, 152)},
        "torchvision": {
            **_SHARED,
            **{name: name for name in ("vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn", "alexnet")},
        },
    }
)
"""Libraries whose names can be written: of each of our functions that they have, what they call it."""


@dataclass(frozen=True)
class Target:
    """A network of the zoo in another library: what it is called there, and how its tensors are named."""

    name: str
    dialect: Dialect

    def tensors(self, net: ConvNet, native: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The network's tensors, or as many others under its names, as the other library names and shapes them."""
        pools = [name for name, part in net.named_modules() if isinstance(part, nn.AvgPool2d)]
        return translate_back(native, self.dialect, pools)


def target_of(library: str, entry: Model, se: SE | None) -> Target | None:
    """The network with that gate in another library; None where it has no such function, or its names are not known.

    Args:
        library: one of TARGETS.
        entry: the network.
        se: the gate that it carries; None for a plain twin.
    """
    theirs = TARGETS[library].get(entry.name)
    writable = [DIALECTS[name] for name in entry.published_as if DIALECTS[name].foreign is not None]
    dialects = [each for each in writable if each.name == library] or [each for each in writable if each is not MONAI]
    return Target(theirs, dialects[0]) if theirs is not None and se == entry.se and dialects else None


def named_by(library: str, theirs: str) -> Model | None:
    """The function that another library means by a name; None where the zoo lacks it.

    Ours are not always alike: timm's ``resnet50`` is `resnet50b`.
    """
    ours = next((ours for ours, name in TARGETS[library].items() if name == theirs), None)
    return None if ours is None else registry.find(ours)
