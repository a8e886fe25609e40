"""`ConvNet`, the class of every network: it reads a spec from left to right and adds nothing of its own.

`on_meta` and `unfilled` build networks whose tensors will be replaced, without drawing random numbers for them.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import lru_cache, partial
from operator import index
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint, noop_context_fn

from senet_zoo.errors import SpecError, UsageError
from senet_zoo.networks.blocks.heads import NoHead
from senet_zoo.networks.dimensions import PLANE, layers_of
from senet_zoo.networks.excitations import paper_names, recorded_excitations
from senet_zoo.networks.repr import short_repr
from senet_zoo.networks.specs import NetworkSpec
from senet_zoo.networks.squeeze_excite import gates
from senet_zoo.networks.timm_interface import PictureForm, TimmInterface
from senet_zoo.support.memory import uncollected


class LoadedWeights(Protocol):
    """What is known of the weights that a network was loaded with: a `senet_zoo.Weights` or a `FolderConfig`."""

    @property
    def categories(self) -> tuple[str, ...] | None:
        """Class names in the order of the logits, or None where they are not known."""
        ...

    def without_classes(self) -> "LoadedWeights":
        """The record for a network with a fresh classifier, whose classes have no names yet."""
        ...

    @property
    def preprocessing(self) -> PictureForm | None:
        """What pictures go through, or None where it is not known."""
        ...

    def transforms(self) -> Callable[[Any], Tensor]:
        """From a picture, or uint8 tensor (..., 3, H, W), to the network's input.

        Raises:
            UsageError: they do not say what it is.
        """
        ...


class ConvNet(TimmInterface):
    """A convolutional network as its spec describes it: stem, pool, stages, head, classifier.

    Parameters are left as PyTorch's layers create them: `senet_zoo.create_model` initialises or loads them.

    Args:
        spec: the architecture; ``spec.name`` is the name of its model.
        num_classes: logits; None for the spec's own number, 0 for a network that ends in pooled features.
        in_channels: channels of the input pictures.
        dropout: rate of the head's dropout; None for the spec's own.
        drop_path: rate of stochastic depth in the last block; it grows linearly from 0 in the first.

    Shape:
        (N, in_channels, H, W) -> (N, num_classes), or (N, head_hidden_size) without classifier.

    Raises:
        UsageError: an option outside its range.
        SpecError: a block cannot honour the gate or ``drop_path``, or a stage chosen for gates has no unit to gate.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        *,
        num_classes: int | None = None,
        in_channels: int = 3,
        dropout: float | None = None,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        dropout = spec.dropout if dropout is None else dropout
        num_classes = spec.num_classes if num_classes is None else _whole("num_classes", num_classes)
        in_channels = _whole("in_channels", in_channels)
        _require("num_classes", num_classes, num_classes >= 0, "0 (no classifier) or more")
        _require("in_channels", in_channels, in_channels >= 1, "at least 1")
        _require("dropout", dropout, 0.0 <= dropout < 1.0, "at least 0 and below 1")
        _require("drop_path", drop_path, 0.0 <= drop_path < 1.0, "at least 0 and below 1")
        self.in_channels = in_channels
        self.spec = spec
        with layers_of(spec.dimensions):
            width = self._build(spec, in_channels, dropout, drop_path)
        self.head_hidden_size = spec.head.num_features(width)  # what the classifier reads
        self.weights: LoadedWeights | None = None  # the record of the weights, set when they are loaded
        self.reset_classifier(num_classes)
        self._checkpointing = False

    def _build(self, spec: NetworkSpec, in_channels: int, dropout: float, drop_path: float) -> int:
        """Lay the parts; returns the channels of the last map."""
        self.stem = spec.stem.build(in_channels)
        self.pool = spec.pool.build()

        rates = _linear_rates(drop_path, sum(len(stage.blocks) for stage in spec.stages))
        stages, width = [], spec.stem.out_channels(in_channels)
        for number, stage in zip(spec.stage_numbers, spec.stages, strict=True):
            se, blocks = spec.gate_of_stage(number), []
            for position, block in enumerate(stage.blocks, start=1):
                blocks.append(block.build(width, spec.gate_of_block(number, position), next(rates)))
                width = block.out_channels(width)
            stages.append(nn.Sequential(*blocks))
            if se is not None and se.stages is not None and not gates(stages[-1]):
                raise SpecError(f"stage {number} has no unit to gate, got SE(stages={se.stages}); leave it out")
        self.stages = nn.ModuleList(stages)

        self.head = spec.head.build(width, dropout)
        return width

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def forward_features(self, x: Tensor) -> Tensor:
        """The last map. Shape: (N, in_channels, H, W) -> (N, channels, H / 32, W / 32) for most networks."""
        _require_readable(self, x)
        x = self.pool(self.stem(x))
        for stage in self.stages:
            x = self.run(stage, x)
        return x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """From the last map to the logits. Shape: (N, channels, H, W) -> (N, num_classes).

        Args:
            x: the last map.
            pre_logits: whether to stop at the features that a network without classifier gives, (N, head_hidden_size).
        """
        y: Tensor = self.head(x)
        classifier = self._spec.head.build_classifier(self.head_hidden_size, 0) if pre_logits else self.classifier
        logits: Tensor = classifier(y)
        return logits

    @property
    def spec(self) -> NetworkSpec:
        """The architecture."""
        return self._spec

    @spec.setter
    def spec(self, spec: NetworkSpec) -> None:
        self._spec = spec
        self._strides = spec.strides
        self._feature_channels = _feature_channels(spec, self.in_channels)

    def features(self, x: Tensor, strides: Sequence[int]) -> list[Tensor]:
        """The deepest map of each stride that is asked for, for detectors and segmenters.

        Args:
            x: pictures, (N, in_channels, H, W).
            strides: some of `feature_channels`, in ascending order.

        Returns:
            One map for each stride: (N, feature_channels[stride], H / stride, W / stride). Sizes that do not divide are
            rounded up, except by the pools of the authors' and the aa form, which round an odd map down. The maps of
            Inception v3, v4 and Inception-ResNet are up to four pixels smaller, because some of their convolutions are
            not padded: 147, 71, 35, 17 and 8 pixels a side of 299.

        Raises:
            UsageError: the network has no map of such a stride.
        """
        available = self._feature_channels
        if not strides or list(strides) != sorted(set(strides)) or not set(strides) <= set(available):
            raise UsageError(
                f"features(strides=...) takes strides out of {tuple(available)} in ascending order, "
                f"got {tuple(strides)}"
            )
        _require_readable(self, x)
        maps = {}
        for part, stride in zip((self.stem, self.pool, *self.stages), self._strides, strict=True):
            if stride > strides[-1]:
                break
            maps[stride] = x = self.run(part, x)
        return [maps[s] for s in strides]

    @property
    def feature_channels(self) -> dict[int, int]:
        """Channels of the deepest map of each stride: ``{stride: channels}``."""
        return dict(self._feature_channels)

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier by a fresh one of ``num_classes`` logits, on the same device; 0 removes it.

        The names of the old classes go with it: ``weights.categories`` is empty from then on.

        Args:
            num_classes: logits.
            global_pool: "" takes out the head as well, so that the network ends in its last map: a network that no
                name of the zoo builds. None and "avg" leave the head, which pools as the network's family does.

        Raises:
            UsageError: a number below 0, logits of a map, or a pool that the network does not have.
        """
        num_classes = _whole("num_classes", num_classes)
        _require("num_classes", num_classes, num_classes >= 0, "0 (no classifier) or more")
        ends_in_map = global_pool == "" or self._spec.head == NoHead()
        if global_pool not in (None, "avg", "") or (ends_in_map and (num_classes or global_pool == "avg")):
            raise UsageError(
                "a head pools as the network's family does (None, 'avg'), or is taken out with no logits (''); "
                f"got {num_classes} logits with global_pool={global_pool!r}. Create the network anew for another"
            )
        if global_pool == "":
            self.spec = replace(self._spec, head=NoHead())
            self.head = nn.Identity()
            self.head_hidden_size = self.num_features
        like = next(self.stages.parameters())
        self.num_classes = num_classes
        self.classifier = self.spec.head.build_classifier(self.head_hidden_size, num_classes).to(
            like.device, like.dtype
        )
        if self.weights is not None:
            self.weights = self.weights.without_classes()

    def __setattr__(self, name: str, value: Any) -> None:
        # A classifier of one's own has classes of its own: whatever their number, the old names are not theirs.
        record: LoadedWeights | None = self.__dict__.get("weights") if name == "classifier" else None
        if record is not None:
            before, after = (next(each.parameters(), None) for each in (self.classifier, value))
            if after is not None and after is not before:
                self.weights = record.without_classes()
        super().__setattr__(name, value)

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute each block in the backward pass instead of keeping its inner maps: less memory, more time."""
        self._checkpointing = enable

    def excitations(self, images: Tensor) -> dict[str, Tensor]:
        """The excitation of every gate for these pictures, by the paper's names of the gates, first to last.

        The whole network runs once, in the mode it is in and with gradients where they are on. It is as before when
        this returns or fails.

        Args:
            images: (N, in_channels, H, W).

        Returns:
            ``{name: (N, C)}`` in float32 or wider, C being the channels of the map that the gate scales; (N, C, H, W)
            for a gate without squeeze, which has a value for each pixel. ``SE_4_6`` is the gate of block 6 in stage 4;
            `paper_names` has the rule.

        Raises:
            UsageError: the network has no gates.

        Source: the paper, section 7.2.

        Example:
            >>> import senet_zoo
            >>> model = senet_zoo.create_model("se_resnet20", pretrained=True)
            >>> model.excitations(torch.zeros(2, 3, 32, 32))["SE_4_3"].shape
            torch.Size([2, 64])
        """
        if not gates(self):
            raise UsageError(
                "excitations are those of gates, and this network has none: create the model whose name starts with "
                "se_, or add gates by insert_se(model)"
            )
        names = paper_names(self, self.spec.stage_numbers)
        return {names[module]: values for module, values in recorded_excitations(self, images).items()}

    def extra_repr(self) -> str:
        """What it is, behind its class's name."""
        weights = getattr(self.weights, "name", None)
        loaded = f", weights={weights}" if weights else ""
        return f"{self.spec.name}, num_classes={self.num_classes}, in_channels={self.in_channels}{loaded}"

    def __repr__(self) -> str:
        return short_repr(self)

    def run(self, part: nn.Module, x: Tensor) -> Tensor:
        """The output of ``part``: the stem, the pool, a stage or some of its blocks; checkpointed where that is on."""
        if not (self._checkpointing and self.training and isinstance(part, nn.Sequential)):
            y: Tensor = part(x)
            return y
        for block in part:
            # A compiler recomputes without running side effects twice, and cannot trace the contexts.
            contexts = noop_context_fn if torch.compiler.is_compiling() else partial(_recompute_contexts, block)
            x = checkpoint(block, x, use_reentrant=False, context_fn=contexts)
        return x


def _feature_channels(spec: NetworkSpec, in_channels: int) -> dict[int, int]:
    stride, width = spec.stem.stride, spec.stem.out_channels(in_channels)
    channels = {stride: width}
    stride *= spec.pool.stride
    channels[stride] = width
    for stage in spec.stages:
        for block in stage.blocks:
            width = block.out_channels(width)
        stride *= stage.stride
        channels[stride] = width
    return channels


_MOST_SIDE = 64
"""No network of the zoo over volumes or signals has a greater stride."""
_AXES = {1: ("signals (N, C, L)", "samples"), 3: ("volumes (N, C, D, H, W)", "voxels"), 2: ("pictures", "pixels")}


def _require_readable(net: ConvNet, x: Tensor) -> None:
    """Refuse signals and volumes that lack an axis, have another order of axes or are smaller than the strides.

    PyTorch's own errors do so for pictures.

    Raises:
        UsageError: it is so.
    """
    if net.spec.dimensions == PLANE or not isinstance(x, Tensor) or torch.compiler.is_compiling():
        return
    count, shape = net.spec.dimensions.count, tuple(x.shape)
    form, unit = _AXES[count]
    reads = f"this network reads {form} of {net.in_channels} channels, got a tensor of shape {shape}"
    if x.dim() == count + 1 and net.in_channels == 1:
        raise UsageError(f"{reads}; add the axis of channels: x[:, None], or x[None] where it is that of the batch")
    if x.dim() != count + 2:
        raise UsageError(f"{reads}; a network over other axes is created by dims=1, 2 or 3")
    if shape[1] != net.in_channels:
        last = shape[-1] == net.in_channels
        raise UsageError(
            f"{reads}; " + ("channels lie last: x.movedim(-1, 1)" if last else "create it with in_channels=...")
        )
    if min(shape[2:]) >= _MOST_SIDE:
        return
    least = smallest_sides(net.spec)
    if any(side < need for side, need in zip(shape[2:], least, strict=True)):
        thin = count == 3 and shape[2] < least[0]
        turned = count == 3 and shape[-1] < min(shape[2:-1])
        way = "pad or resample them"
        way += ", or read depth finely: dims=senet_zoo.Dimensions(3, depth_stride=1)" if thin else ""
        way += ", or, where the planes lie last, x.movedim(-1, 2)" if turned else ""
        raise UsageError(
            f"this network's strides leave nothing of less than {' x '.join(map(str, least))} {unit}, got "
            f"{' x '.join(map(str, shape[2:]))}; {way}"
        )


@lru_cache
def smallest_sides(spec: NetworkSpec) -> tuple[int, ...]:
    """The least size of an input along each axis, (D, H, W), of which the strides leave something."""
    net = on_meta(spec, num_classes=0, in_channels=1)
    axes = range(spec.dimensions.count)
    return tuple(bisect_left(range(_MOST_SIDE), True, 1, key=partial(_leaves_a_map, net, axis)) for axis in axes)


def _leaves_a_map(net: ConvNet, axis: int, side: int) -> bool:
    sides = [_MOST_SIDE] * net.spec.dimensions.count
    sides[axis] = side
    try:
        x = net.pool(net.stem(torch.empty(1, 1, *sides, device="meta")))
        for stage in net.stages:
            x = stage(x)
        return bool(x.numel() > 0)
    except RuntimeError:
        return False


def _recompute_contexts(block: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    return nullcontext(), _statistics_kept(block)


@contextmanager
def _statistics_kept(block: nn.Module) -> Iterator[None]:
    # Without this a batch norm would count the same batch twice in its running statistics.
    norms = [part for part in block.modules() if isinstance(part, _BatchNorm)]  # converted ones, too
    kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked = norm.num_batches_tracked.clone()
    try:
        yield
    finally:
        for norm, momentum, count in kept:
            norm.momentum, norm.num_batches_tracked = momentum, count


def _linear_rates(last: float, count: int) -> Iterator[float]:
    return iter([last * i / max(count - 1, 1) for i in range(count)])


def _whole(name: str, value: int) -> int:
    """A whole number as Python's own, NumPy's and a tensor's included."""
    try:
        return index(value)
    except TypeError as error:
        raise UsageError(f"{name} must be a whole number, got {value!r}") from error


def _require(name: str, value: float, holds: bool, rule: str) -> None:
    if not holds:
        raise UsageError(f"{name} must be {rule}, got {value}")


def on_meta(
    spec: NetworkSpec,
    *,
    num_classes: int | None = None,
    in_channels: int = 3,
    dropout: float | None = None,
    drop_path: float = 0.0,
) -> ConvNet:
    """The network on the meta device, in eval mode, without memory; arguments and errors are those of `ConvNet`."""
    with unfilled("meta"):
        net = ConvNet(spec, num_classes=num_classes, in_channels=in_channels, dropout=dropout, drop_path=drop_path)
    return net.eval()


@contextmanager
def unfilled(device: str | torch.device) -> Iterator[None]:
    """Layers made in the block lie on that device, and their parameters and statistics are not initialised."""
    with torch.device(device), _Unfilled(), uncollected():
        yield


class _Unfilled(TorchFunctionMode):
    """No function fills a tensor, because that would cost time, on the meta device as well."""

    def __torch_function__(
        self, func: Any, types: Iterable[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _FILLS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


_FILLS = frozenset(
    {
        nn.init.kaiming_uniform_,
        nn.init.uniform_,
        Tensor.uniform_,
        Tensor.normal_,
        Tensor.fill_,
        Tensor.zero_,
    }
)
