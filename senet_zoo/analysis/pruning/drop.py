"""Networks of the zoo that lose some of their gates."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace

from torch import Tensor, nn

from senet_zoo.analysis.pruning.activity import Block, GateActivity, observe
from senet_zoo.analysis.pruning.fold import Folder, Scaling, apply
from senet_zoo.blueprint import on_meta
from senet_zoo.errors import SpecError, UsageError
from senet_zoo.network import ConvNet
from senet_zoo.specs import NetworkSpec


def drop_gates(model: ConvNet, batches: Tensor | Iterable[Tensor], names: Sequence[str]) -> ConvNet:
    """The network without some of its gates, each replaced by its mean over pictures.

    Where a gate is constant the logits stay as they are, up to rounding.

    Args:
        model: in eval mode; it is left as it is.
        batches: one batch of pictures, (N, in_channels, H, W), or several.
        names: gates by the paper's names, as `ConvNet.excitations` has them; those of a block with several together.

    Returns:
        A network of the zoo whose spec says which blocks carry gates: `save_pretrained` writes it, and ``create_model(
        ..., weights=folder)`` reads it.

    Raises:
        UsageError: no such gate, all of them, a part of a block's, or one that no layer beside it can stand in for.
        DataError: there is no picture.
        WeightsError: a gate says what is no finite number.

    Source: the paper, section 4: without the gates of the last stage SE-ResNet-50 has 4 % more parameters than its
        twin, and not 10 %, for less than 0.1 % of accuracy.

    Example:
        >>> import torch
        >>> import senet_zoo
        >>> model = senet_zoo.create_model("se_resnet20", pretrained=True)
        >>> drop_gates(model, torch.rand(8, 3, 32, 32), ["SE_3_1", "SE_4_2"]).spec.se.without
        ((3, 1), (4, 2))
    """
    return fold_gates(model, observe(model, batches), names)


def fold_gates(model: ConvNet, activity: Sequence[GateActivity], names: Sequence[str]) -> ConvNet:
    """`drop_gates` where the gates were observed before.

    Args:
        model: likewise.
        activity: of all its gates, by `observe`.
        names: likewise.
    """
    chosen = _chosen(activity, names)
    spec = spec_without(model.spec, activity, {gate.block for gate in chosen if gate.block})
    folder = Folder(model)
    scalings: list[Scaling] = []
    for gate in chosen:
        try:
            scalings += folder.scalings(gate.module, gate.mean)
        except UsageError as error:
            raise UsageError(
                f"a gate can go where a linear layer beside it takes its mean, and {gate.name} cannot: {error}. Leave "
                "it out"
            ) from error
    pruned = copy.deepcopy(model, {id(model.weights): model.weights})
    for gate in chosen:
        parent, _, child = gate.module.rpartition(".")
        setattr(pruned.get_submodule(parent), child, nn.Identity())
    pruned.spec = spec
    _require_rebuilt(pruned, chosen)
    apply(pruned, scalings)
    return pruned


def spec_without(spec: NetworkSpec, activity: Sequence[GateActivity], blocks: set[Block]) -> NetworkSpec:
    """The architecture without the gates of these blocks; a stage that loses them all is no longer among its stages.

    Raises:
        UsageError: no gate would be left.
    """
    gated = {gate.block for gate in activity if gate.block}
    left, se = gated - blocks, spec.se
    if not left or se is None:
        raise UsageError(
            f"pruning leaves at least one gate, and all {len(gated)} would go: choose fewer, or take the plain twin "
            "(the model's name without se_)"
        )
    stages = tuple(sorted({stage for stage, _ in left}))
    all_stay = se.stages is None and {stage for stage, _ in gated} == set(stages)
    without = tuple(sorted(block for block in {*se.without, *blocks} if block[0] in stages))
    return replace(spec, se=replace(se, stages=None if all_stay else stages, without=without))


def _chosen(activity: Sequence[GateActivity], names: Sequence[str]) -> list[GateActivity]:
    known = [gate.name for gate in activity]
    for name in names:
        if name not in known:
            raise UsageError(f"the gates of this network are {', '.join(known)}; there is no {name}")
    chosen = [gate for gate in activity if gate.name in names]
    if not chosen:
        raise UsageError(f"pruning takes the name of at least one gate out of {', '.join(known)}, got none")
    for gate in chosen:
        if gate.block is None:
            raise UsageError(
                f"pruning takes gates that the network is defined with, and {gate.name} was inserted: "
                "remove_se(model) takes it out"
            )
        alone = [other.name for other in activity if other.block == gate.block and other not in chosen]
        if alone:
            raise UsageError(f"the gates of a block go together: {gate.name} with {', '.join(alone)}")
    return chosen


def _require_rebuilt(pruned: ConvNet, dropped: Sequence[GateActivity]) -> None:
    """Refuse a network that `create_model` would build otherwise from its spec."""
    rebuilt = on_meta(pruned.spec, num_classes=pruned.num_classes, in_channels=pruned.in_channels)
    theirs = {name: type(part) for name, part in rebuilt.named_modules()}
    for name, part in pruned.named_modules():
        if theirs.get(name) is not type(part):
            gate = next((gate.name for gate in dropped if name.startswith(_block_path(gate))), "a gate")
            raise SpecError(
                f"a block that loses its gate must otherwise stay as it is, and {gate} cannot go: {name} "
                f"({type(part).__name__}), which stands before it, belongs to the gate in this form of the network. "
                "Prune the network's B form, or leave the gate"
            )


def _block_path(gate: GateActivity) -> str:
    """``stages.i.j.``, what the names of all parts of its block begin with."""
    return "".join(f"{word}." for word in gate.module.split(".")[:3])
