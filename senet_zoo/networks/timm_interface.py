"""What users of timm type, beside the zoo's own words: methods of a network.

timm's own functions look for these names: `resolve_data_config`, `create_optimizer_v2` with ``layer_decay``, ...
Each gives what the zoo has under another name; no number is computed in another way.
"""

from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from senet_zoo.errors import UsageError
from senet_zoo.networks.specs import NetworkSpec

if TYPE_CHECKING:
    from senet_zoo.networks.network import LoadedWeights

Value = TypeVar("Value")


class PictureForm(Protocol):
    """What a network's pictures go through: a `senet_zoo.Preprocessing`."""

    @property
    def size(self) -> int: ...
    @property
    def resize(self) -> int: ...
    @property
    def interpolation(self) -> Enum: ...
    @property
    def mean(self) -> tuple[float, float, float]: ...
    @property
    def std(self) -> tuple[float, float, float]: ...


class MapInfo(TypedDict):
    """One map of a network: its channels, its stride, the module whose output it is, its number."""

    num_chs: int
    reduction: int
    module: str
    index: int


class TimmInterface(nn.Module):
    """Methods of a network under timm's names; `senet_zoo.ConvNet` has them."""

    stem: nn.Module
    pool: nn.Module
    stages: nn.ModuleList
    classifier: nn.Module
    num_classes: int
    head_hidden_size: int
    in_channels: int
    weights: "LoadedWeights | None"
    _spec: NetworkSpec
    _feature_channels: dict[int, int]
    _pretrained_cfg: dict[str, Any] | None = None

    def features(self, x: Tensor, strides: Sequence[int]) -> list[Tensor]:
        """The deepest map of each stride that is asked for; `senet_zoo.ConvNet` has it."""
        raise NotImplementedError

    @property
    def num_features(self) -> int:
        """Channels of the last map; the classifier reads ``head_hidden_size``, which most heads leave the same."""
        return list(self._feature_channels.values())[-1]

    def get_classifier(self) -> nn.Module:
        """The classifier; the identity, or for Network in Network a mean, where there are no logits."""
        return self.classifier

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Names of parameters in groups by depth, for ``layer_decay``: the stem, each block, and the rest behind them.

        Args:
            coarse: a group for a stage in place of one for a block.
        """
        blocks: object = r"^stages\.(\d+)" if coarse else [(r"^stages\.(\d+)\.(\d+)", None)]
        return {"stem": r"^(?:stem|pool)\.", "blocks": blocks}

    @property
    def feature_info(self) -> list[MapInfo]:
        """The deepest map of each stride, from fine to coarse; `feature_channels` says the same."""
        names = ("stem", "pool", *(f"stages.{i}" for i in range(len(self.stages))))
        deepest = dict(zip(self._spec.strides, names, strict=True))
        return [
            MapInfo(num_chs=channels, reduction=stride, module=deepest[stride], index=i)
            for i, (stride, channels) in enumerate(self._feature_channels.items())
        ]

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The last map and those of `feature_info`; `features` is the zoo's own word for them.

        Args:
            x: pictures, (N, in_channels, H, W).
            indices: numbers of maps, or how many of the last ones; all by default.
            norm: changes nothing, because no norm follows these maps.
            stop_early: whether to stop at the last of the maps, which then stands for the network's last one.
            output_fmt: NCHW.
            intermediates_only: whether to leave out the network's last map.

        Raises:
            UsageError: there is no such map, or another format.
        """
        if output_fmt != "NCHW":
            raise UsageError(f"maps are (N, C, H, W), output_fmt='NCHW'; got {output_fmt!r}")
        strides = tuple(self._feature_channels)
        chosen = [strides[i] for i in numbers_of_maps(indices, len(strides))]
        asked = chosen if stop_early or intermediates_only else sorted({*chosen, strides[-1]})
        maps = dict(zip(asked, self.features(x, asked), strict=True))
        found = [maps[stride] for stride in chosen]
        return found if intermediates_only else (maps[asked[-1]], found)

    @property
    def pretrained_cfg(self) -> dict[str, Any]:
        """How pictures are prepared, and names of the first and the last layer, under timm's keys.

        A network without weights, or with weights of which nothing is known, gives the size that it was made for;
        timm then takes ImageNet's mean and deviation. Another dictionary may be put in its place.
        """
        if self._pretrained_cfg is not None:
            return self._pretrained_cfg
        form = None if self.weights is None else self.weights.preprocessing
        size = self._spec.input_size if form is None else form.size
        last = last_side(self._spec, size, self.in_channels)
        first = next(name for name, part in self.named_modules() if isinstance(part, _ConvNd))
        config = {
            "architecture": self._spec.name,
            "num_classes": self.num_classes,
            "input_size": (self.in_channels, size, size),
            "pool_size": (last, last),
            "first_conv": first,
            "classifier": "classifier",
            "interpolation": "bilinear",
            "crop_pct": 0.875 if size >= 224 else 1.0,
        }
        if form is not None:
            crop = form.size / form.resize
            config |= {"interpolation": form.interpolation.value, "crop_pct": crop, "mean": form.mean, "std": form.std}
        return config

    @pretrained_cfg.setter
    def pretrained_cfg(self, config: dict[str, Any] | None) -> None:
        self._pretrained_cfg = config

    @property
    def default_cfg(self) -> dict[str, Any]:
        """`pretrained_cfg` under timm's older name."""
        return self.pretrained_cfg

    @default_cfg.setter
    def default_cfg(self, config: dict[str, Any] | None) -> None:
        self._pretrained_cfg = config


def one_of(ours: str, value: Value, theirs: str, other: Value) -> Value:
    """The value of an argument that has another library's name as well; None is what was not given.

    Raises:
        UsageError: both are given.
    """
    if value is not None and other is not None:
        raise UsageError(f"{theirs}=... is another word for {ours}=...; pass one of them")
    return other if value is None else value


def numbers_of_maps(indices: int | Sequence[int] | None, count: int) -> tuple[int, ...]:
    """Numbers of maps in ascending order; negative ones count from the last map."""
    if indices is None:
        return tuple(range(count))
    given = range(count - indices, count) if isinstance(indices, int) else indices
    numbers = tuple(i + count if i < 0 else i for i in given)
    if not numbers or list(numbers) != sorted(set(numbers)) or not 0 <= numbers[0] <= numbers[-1] < count:
        raise UsageError(
            f"this network has {count} maps, numbered from 0; ask for some in ascending order, or for the last "
            f"1 to {count} by one number; got {indices}. features(x, strides=...) takes their strides instead"
        )
    return numbers


@lru_cache
def last_side(spec: NetworkSpec, size: int, in_channels: int) -> int:
    """Pixels along a side of the last map."""
    from senet_zoo.networks.network import on_meta

    picture = torch.empty(1, in_channels, *(size,) * spec.dimensions.count, device="meta")
    with torch.no_grad():
        return on_meta(spec, num_classes=0, in_channels=in_channels).forward_features(picture).shape[-1]
