"""`remove_channels`: a network without the channels that its gates let through least.

The blocks of a stage write into one sum, so that a channel goes from all of them together: from the convolutions and
batch norms that write it, from the gates that scale it, and from whatever reads it. torch-pruning finds these layers.

A gate over C channels has C // r hidden units, and keeps them. A share is therefore rounded down to a multiple of
1 / r: of each r channels k stay, and C k // r channels have gates of reduction k.
"""

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from senet_zoo.analysis.pruning.activity import GateActivity, observe
from senet_zoo.errors import SpecError, UsageError
from senet_zoo.networks.excitations import paper_names
from senet_zoo.networks.network import ConvNet, on_meta
from senet_zoo.networks.specs import SE
from senet_zoo.networks.squeeze_excite import Placement, SqueezeExcite, gates
from senet_zoo.networks.widths import Widths, narrowed, require_residual, widths_of

if TYPE_CHECKING:
    from torch_pruning import DependencyGraph

_SIDE = 32  # of the picture by which the layers are found; the smallest that a network of stride 32 takes


def remove_channels(model: ConvNet, batches: Tensor | Iterable[Tensor], share: float) -> ConvNet:
    """The network without a share of the channels of its residual sums: those with the lowest mean excitation.

    A channel's mean excitation is that over the pictures and over all gates of its stage. A sum without gates keeps its
    channels.

    Args:
        model: of residual units, in eval mode; it is left as it is.
        batches: one batch of pictures, (N, in_channels, H, W), or several.
        share: of the channels of each sum, above 0 and below 1.

    Returns:
        A network of the zoo whose spec says how wide its maps are: `save_pretrained` writes it, and ``create_model(...,
        weights=folder)`` reads it. Its function is that of ``model`` with the weights that write these channels at 0.

    Raises:
        UsageError: a share that takes nothing or everything, no gates, or torch-pruning is missing.
        SpecError: units that are not residual, or gates inside their branches.
        DataError: there is no picture.
        WeightsError: a gate says what is no finite number.

    Example:
        >>> import senet_zoo
        >>> model = senet_zoo.create_model("se_resnet20", pretrained=True)
        >>> remove_channels(model, torch.rand(8, 3, 32, 32), share=0.25).feature_channels
        {1: 12, 2: 24, 4: 48}
    """
    check_channels(model, share)
    return cut_channels(model, observe(model, batches), share)


def check_channels(model: ConvNet, share: float) -> None:
    """Refuse a network or a share before its gates are observed.

    Raises:
        UsageError, SpecError: as `remove_channels`.
    """
    own = gates(model)
    if model.spec.se is None or not own:
        raise UsageError("channels are ranked by gates, and this network has none; name a model that starts with se_")
    inserted = [name for name, path in paper_names(model, model.spec.stage_numbers).items() if name == path]
    if inserted:
        raise UsageError(
            f"channels are ranked by gates that the network is defined with, and {inserted[0]} was inserted: "
            "remove_se(model) takes it out"
        )
    if model.spec.se.placement is Placement.INNER:
        raise SpecError(
            "the gates that rank the channels of a sum are on the map that is summed, or on the sum; those of "
            "placement=inner are inside the branch. Choose a network with another placement, or drop gates instead"
        )
    require_residual(model.spec)
    _kept(model.spec.se, share)
    _torch_pruning()


@torch.inference_mode(False)  # torch-pruning follows what autograd records
@torch.enable_grad()
def cut_channels(model: ConvNet, activity: Sequence[GateActivity], share: float) -> ConvNet:
    """`remove_channels` of a network that `check_channels` accepts, by what `observe` found of all its gates."""
    se = model.spec.se
    assert se is not None
    kept = _kept(se, share)
    pruned = copy.deepcopy(model, {id(model.weights): model.weights})
    like = next(pruned.parameters())
    x = torch.zeros(1, pruned.in_channels, _SIDE, _SIDE, dtype=like.dtype, device=like.device)
    _cut(pruned, x, {gate.module: gate.mean for gate in activity}, kept, se.reduction)
    pruned.spec = narrowed(replace(model.spec, se=replace(se, reduction=kept)), _widths(pruned, x))
    pruned.head_hidden_size = pruned.spec.head.num_features(widths_of(pruned.spec)[-1])
    _require_rebuilt(pruned)
    for before, after in zip(model.parameters(), pruned.parameters(), strict=True):
        after.requires_grad_(before.requires_grad)
    return pruned


def _kept(se: SE, share: float) -> int:
    """Channels that stay out of as many as the reduction."""
    r = se.reduction
    if se.hidden is not None:
        raise UsageError(
            f"channels go in multiples of the reduction, and gates with hidden={se.hidden} have none: drop gates"
        )
    if not 0.0 < share < 1.0:
        raise UsageError(f"a share of channels is a number above 0 and below 1, got {share:g}")
    if r == 1:
        raise UsageError("a gate of reduction 1 has a hidden unit for each channel, so that none can go: drop gates")
    gone = math.floor(share * r + 1e-9)
    if gone == 0:
        raise UsageError(
            f"a share of channels is rounded down to a multiple of 1/{r}, because these gates keep a hidden unit for "
            f"each {r} channels, and {share:g} leaves nothing to remove: give at least {1 / r:g}"
        )
    return r - gone


def _cut(model: ConvNet, x: Tensor, means: Mapping[str, Tensor], kept: int, reduction: int) -> None:
    """Remove the channels in place: of each sum those with the lowest mean over its gates."""
    graph = _graph(model, x)
    names, left = {gate: name for name, gate in gates(model).items()}, dict(means)
    while left:
        gate = model.get_submodule(next(iter(left)))
        prune = graph.get_pruner_of_module(gate).prune_out_channels
        count = len(next(iter(left.values())))
        layers = [dependency.target.module for dependency, _ in graph.get_pruning_group(gate, prune, range(count))]
        together = dict.fromkeys(names[layer] for layer in layers if layer in names)
        mean = torch.stack([left.pop(name) for name in together]).mean(0)
        lowest = mean.argsort(stable=True)[: count - count * kept // reduction]
        graph.get_pruning_group(gate, prune, sorted(lowest.tolist())).prune()


def _graph(model: ConvNet, x: Tensor) -> "DependencyGraph":
    """Which layers of the network lose a channel together."""
    tp = _torch_pruning()

    class GatePruner(tp.BasePruningFunc):  # type: ignore[misc, name-defined]
        """A gate loses what its first layer reads and its last one writes; its hidden units stay."""

        def prune_out_channels(self, layer: SqueezeExcite, idxs: Sequence[int]) -> SqueezeExcite:
            tp.prune_linear_in_channels(layer.fc1, idxs)
            tp.prune_linear_out_channels(layer.fc2, idxs)
            return layer

        prune_in_channels = prune_out_channels

        def get_out_channels(self, layer: SqueezeExcite) -> int:
            return layer.fc2.out_features

        get_in_channels = get_out_channels

    x = x.clone().requires_grad_()  # also where no parameter learns
    return tp.DependencyGraph().build_dependency(model, (x,), customized_pruners={SqueezeExcite: GatePruner()})


@torch.no_grad()
def _widths(model: ConvNet, x: Tensor) -> Widths:
    """The channels of the network's maps as they are."""
    widths, x = [], x
    for part in (model.stem, *model.stages):
        x = part(x)
        widths.append(x.shape[1])
    return tuple(widths)


def _require_rebuilt(pruned: ConvNet) -> None:
    """Refuse a network that `create_model` would build otherwise from its spec."""
    rebuilt = on_meta(pruned.spec, num_classes=pruned.num_classes, in_channels=pruned.in_channels)
    theirs = {name: tensor.shape for name, tensor in rebuilt.state_dict().items()}
    other = [name for name, tensor in pruned.state_dict().items() if theirs.get(name) != tensor.shape]
    if other:
        raise SpecError(
            f"a pruned network must be as its spec says, and {other[0]} is not: it was changed after it was made. Save "
            "it, load it again and prune that"
        )


def _torch_pruning() -> ModuleType:
    try:
        import torch_pruning
    except ImportError as error:
        raise UsageError(
            "the layers that lose a channel together are found by torch-pruning, which is missing: pip install "
            "'senet-zoo[prune]'"
        ) from error
    module: ModuleType = torch_pruning
    return module
