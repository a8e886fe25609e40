"""`register`: segmentation_models.pytorch's Unet, FPN, DeepLabV3Plus, ... on the zoo's networks."""

from typing import Any

from torch import Tensor, nn

from senet_zoo.errors import UsageError
from senet_zoo.integrations import import_client
from senet_zoo.networks import registry
from senet_zoo.networks.families import inception, xception
from senet_zoo.networks.feature_maps import FeatureListNet
from senet_zoo.networks.network import ConvNet
from senet_zoo.weights.create import create_model
from senet_zoo.weights.manifest import load_manifest

PREFIX = "senet_zoo/"
STRIDES = (2, 4, 8, 16, 32)
_UNPADDED = (inception.INCEPTION_V3, inception.INCEPTION_V4, inception.INCEPTION_RESNET, xception.FAMILY)


def register() -> list[str]:
    """Make segmentation_models.pytorch know every network with maps of strides 2, 4, 8, 16 and 32.

    An encoder is ``senet_zoo/MODEL``, or ``senet_zoo/MODEL.TAG`` with published weights, which the zoo loads;
    ``encoder_weights`` is None for both, because the client itself downloads what it names there. Networks with
    convolutions that are not padded (Inception v3, v4, Inception-ResNet, Xception) are left out: their maps are smaller
    than a decoder expects.

    Returns:
        The encoders' names.

    Raises:
        UsageError: segmentation_models_pytorch is not installed.
    """
    encoders = import_client("segmentation_models_pytorch.encoders", "segmentation-models-pytorch").encoders
    manifest = load_manifest()
    names = [name for model in encoder_models() for name in (model, *(row.name for row in manifest.rows(model)))]
    for name in names:
        params = {"name": name}
        encoders[PREFIX + name] = {"encoder": Encoder, "pretrained_settings": _NoSettings(), "params": params}
    return [PREFIX + name for name in names]


def encoder_models() -> list[str]:
    """The models whose maps of strides 2, 4, 8, 16 and 32 have exactly that share of a picture's side."""
    unpadded = {model.name for family in _UNPADDED for model in family.models}
    names = [name for name in registry.matching_names("*") if name not in unpadded]
    return [name for name in names if set(STRIDES) <= set(registry.find(name).spec().strides)]


class Encoder(nn.Module):
    """A network as an encoder of segmentation_models.pytorch, without head, in training mode as the client's own are.

    Args:
        name: ``model``, or ``model.tag`` for its published weights.
        depth: number of maps behind the picture, 1 to 5.
        output_stride: of the last map; the client calls `make_dilated` where it is not 32.

    Shape:
        (N, in_channels, H, W) -> the picture and ``depth`` maps: (N, out_channels[i], H / 2^i, W / 2^i), as far as the
        output stride.

    Raises:
        UsageError: a depth that the client has no decoder for.
    """

    # What segmentation_models.pytorch asks its encoders: torch.jit.script does not take the networks of the zoo.
    _is_torch_scriptable, _is_torch_exportable, _is_torch_compilable = False, True, True

    def __init__(self, name: str, depth: int = len(STRIDES), output_stride: int = 32) -> None:
        super().__init__()
        if not 1 <= depth <= len(STRIDES):
            raise UsageError(f"an encoder's depth must be from 1 to {len(STRIDES)}, got {depth}")
        self.name, self.strides = name, STRIDES[:depth]
        self.maps = self._build(in_channels=3)

    @property
    def out_channels(self) -> list[int]:
        """Channels of the picture and of each map."""
        return [self.maps.network.in_channels, *self.maps.feature_info.channels()]

    @property
    def output_stride(self) -> int:
        """Of the last map."""
        return self.maps.feature_info.reduction()[-1]

    def forward(self, x: Tensor) -> list[Tensor]:
        """The picture and the maps."""
        return [x, *self.maps(x)]

    def set_in_channels(self, in_channels: int, pretrained: bool = True) -> None:
        """Take pictures of another number of channels; published filters are adapted as `senet_zoo.create_model` does.

        Args:
            in_channels: of the pictures.
            pretrained: passed over, because the name says whether there are weights.
        """
        if in_channels != self.maps.network.in_channels:
            self.maps = self._build(in_channels)

    def make_dilated(self, output_stride: int) -> None:
        """Make the last maps finer.

        Raises:
            SpecError: the family's blocks cannot go without their stride.
        """
        self.maps = self._maps(self.maps.network, output_stride)

    def _build(self, in_channels: int) -> FeatureListNet:
        return self._maps(create_model(self.name, pretrained="." in self.name, in_channels=in_channels))

    def _maps(self, network: ConvNet, output_stride: int = 32) -> FeatureListNet:
        known = list(network.feature_channels)
        return FeatureListNet(network, [known.index(stride) for stride in self.strides], output_stride).train()


class _NoSettings(dict[str, Any]):
    """No weights that segmentation_models.pytorch could download; asked for some, it says where to name them."""

    def __contains__(self, weights: object) -> bool:
        raise UsageError(
            f"published weights of the zoo are named in the encoder's name, such as {PREFIX}se_resnet50.caffe_in1k, "
            f"with encoder_weights=None; got encoder_weights={weights!r}"
        )
