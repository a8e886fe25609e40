"""The network as it is trained: its start, auxiliary classifiers and loss, fused residual units."""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from senet_zoo.data.labelled import Labelled
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import UsageError
from senet_zoo.networks import registry
from senet_zoo.networks.dimensions import PLANE
from senet_zoo.networks.fused.set_fused import auto_fusion, set_fused
from senet_zoo.networks.layers import initialise
from senet_zoo.networks.network import ConvNet, on_meta
from senet_zoo.training.config import TrainConfig
from senet_zoo.training.progress import Progress
from senet_zoo.training.randomness import seeded
from senet_zoo.training.recipes import TrainRecipe
from senet_zoo.weights.catalogue import Weights, default_preprocessing, split_name
from senet_zoo.weights.config import FolderConfig, config_beside
from senet_zoo.weights.create import create_model
from senet_zoo.weights.manifest import load_manifest
from senet_zoo.weights.variant import parse

if TYPE_CHECKING:
    from accelerate import Accelerator

Criterion = Callable[[Tensor, Tensor], Tensor]
"""From logits (N, num_classes) and labels to a loss."""
DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}  # by Accelerate's names


def start(
    config: TrainConfig, recipe: TrainRecipe, classes: tuple[str, ...], in_channels: int | None = None
) -> ConvNet:
    """The network before its first step, with a classifier of its own unless the weights know these very classes."""
    beside = None if config.weights is None else config_beside(config.weights)
    as_saved = beside is not None and beside.spec.dimensions.count == config.dims
    with seeded(config.seed, "start"):
        network = create_model(
            config.model,
            pretrained=config.pretrained,
            weights=config.weights,
            num_classes=len(classes),
            drop_path=recipe.drop_path,
            in_channels=in_channels,
            dims=None if as_saved else config.dimensions,
            se=None if config.se is None else parse(config.se),
        )
        known = network.weights.categories if isinstance(network.weights, Weights | FolderConfig) else None
        if known != classes:
            network.reset_classifier(len(classes))
            initialise(network.classifier)
    return network


def published_start(name: str, size: int | None) -> str | None:
    """The published weights that a network may start from, ``model.tag``; None where there are none.

    Args:
        name: of the model, whose default is preferred, or ``model.tag``.
        size: of the pictures in pixels, for which the weights must be made; None for any.

    Raises:
        UnknownModelError: no such model.
    """
    model, tag = split_name(name)
    rows = load_manifest().rows(registry.find(model).name)
    fitting = [row.name for row in rows if size in (None, row.preprocessing.size)]
    return next((row for row in fitting if tag is None or row.endswith(f".{tag}")), None)


def preprocessing_of(config: TrainConfig, network: ConvNet) -> Preprocessing:
    """That of the weights, or the model's usual one; at the size that was asked for, with the same margin."""
    record = network.weights
    known = record.preprocessing if isinstance(record, Weights | FolderConfig) else None
    usual = known or default_preprocessing(registry.find(split_name(config.model)[0]).name)
    if config.size is None or config.size == usual.size:
        return usual
    return replace(usual, size=config.size, resize=round(usual.resize * config.size / usual.size))


class WithAuxiliary(nn.Module):
    """A network and the auxiliary classifiers that its spec names, for training.

    The classifiers belong to this module alone: the network inside, its state dict and its logits stay what they are
    without it. Save and run ``network``; throw the rest away.

    Args:
        network: with a classifier; it is trained in place.

    Shape:
        (N, in_channels, H, W) -> logits (N, num_classes), and a tuple of auxiliary logits of the same shape, in the
        order of ``network.spec.auxiliary``.

    Raises:
        UsageError: the network has no auxiliary classifiers, or no classifier of its own.

    Source: Szegedy et al., Going Deeper with Convolutions, arXiv:1409.4842, section 5.

    Example:
        >>> import torch
        >>> from senet_zoo import create_model
        >>> training = WithAuxiliary(create_model("se_googlenet", num_classes=10).train())
        >>> loss = training.loss(torch.zeros(2, 3, 224, 224), torch.tensor([0, 1]), nn.functional.cross_entropy)
        >>> loss.shape
        torch.Size([])
    """

    def __init__(self, network: ConvNet) -> None:
        super().__init__()
        spec = network.spec
        if not spec.auxiliary:
            raise UsageError("this network has no auxiliary classifiers: its spec names none; train it as it is")
        if not network.num_classes:
            raise UsageError("auxiliary classifiers learn what the network's own learns; num_classes must not be 0")
        self.network = network
        like = next(network.parameters())
        widths = _widths(network)
        self.heads = nn.ModuleList(
            auxiliary.head.build(widths[auxiliary.stage, auxiliary.block], network.num_classes)
            for auxiliary in spec.auxiliary
        ).to(like.device, like.dtype)
        initialise(self.heads)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The network's logits, and the auxiliary ones."""
        network, spec = self.network, self.network.spec
        x, logits = network.pool(network.stem(x)), []
        for number, stage in zip(spec.stage_numbers, network.stages, strict=True):
            blocks, start = list(stage.children()), 0
            for auxiliary, head in zip(spec.auxiliary, self.heads, strict=True):
                if auxiliary.stage == number:
                    x, start = network.run(nn.Sequential(*blocks[start : auxiliary.block]), x), auxiliary.block
                    logits.append(head(x))
            x = network.run(nn.Sequential(*blocks[start:]), x)
        return network.forward_head(x), tuple(logits)

    def loss(self, x: Tensor, labels: Tensor, criterion: Criterion) -> Tensor:
        """The network's loss, and each auxiliary one by its weight: ``main + sum of weight * auxiliary``."""
        logits, auxiliary = self(x)
        total = criterion(logits, labels)
        for spec, inner in zip(self.network.spec.auxiliary, auxiliary, strict=True):
            total = total + spec.weight * criterion(inner, labels)
        return total


def _widths(network: ConvNet) -> dict[tuple[int, int], int]:
    """Channels behind every block by the number of its stage and its own, which counts from 1."""
    spec, widths = network.spec, {}
    width = spec.stem.out_channels(network.in_channels)
    for number, stage in zip(spec.stage_numbers, spec.stages, strict=True):
        for position, block in enumerate(stage.blocks, start=1):
            widths[number, position] = width = block.out_channels(width)
    return widths


class TrainedModel(nn.Module):
    """A network and the auxiliary classifiers that its spec names, behind one forward pass.

    Args:
        network: with a classifier; it is trained in place.

    Shape:
        (N, 3, H, W) -> a tuple of logits (N, num_classes): the network's, then each auxiliary classifier's.
    """

    def __init__(self, network: ConvNet) -> None:
        super().__init__()
        self.body = WithAuxiliary(network) if network.spec.auxiliary else network
        self.weights = (1.0, *(auxiliary.weight for auxiliary in network.spec.auxiliary))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """All logits."""
        if isinstance(self.body, WithAuxiliary):
            logits, auxiliary = self.body(x)
            return (logits, *auxiliary)
        return (self.body(x),)

    @property
    def network(self) -> ConvNet:
        """The network without its auxiliary classifiers."""
        return self.body.network if isinstance(self.body, WithAuxiliary) else self.body

    def set_modes(self, *, head_only: bool, frozen_norm: bool) -> None:
        """Choose train or eval mode for an epoch.

        With ``head_only`` the classifier alone learns, on features as in use. With ``frozen_norm`` batch norms use
        their running statistics, and keep them.
        """
        self.train()
        if head_only:
            self.network.eval()
        if frozen_norm:
            for module in self.network.modules():
                if isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm):
                    module.eval()

    def loss(
        self, outputs: tuple[Tensor, ...], targets: Tensor, class_weights: Tensor | None, label_smoothing: float
    ) -> Tensor:
        """Cross-entropy, auxiliary classifiers included by their weights: the mean over the pictures.

        Args:
            outputs: of the forward pass.
            targets: labels (N,), or probabilities (N, num_classes) of blended pictures.
            class_weights: of each class in the mean, (num_classes,), 1 on average over the training pictures; or None.
            label_smoothing: probability moved to all classes.
        """
        pairs = zip(self.weights, outputs, strict=True)
        each = sum(
            weight * F.cross_entropy(logits, targets, reduction="none", label_smoothing=label_smoothing)
            for weight, logits in pairs
        )
        assert isinstance(each, Tensor)
        if class_weights is not None:
            each = each * (class_weights[targets] if targets.ndim == 1 else targets @ class_weights)
        return each.mean()


def fuse_units(
    model: TrainedModel,
    asked: bool | Literal["auto"],
    before: bool | None,
    accelerator: "Accelerator",
    progress: Progress,
) -> bool:
    """Fuse the ends of the residual units or leave them be, and return whether they are fused.

    Both round differently, so that a run that goes on does as it did before, whatever a new measurement would say:
    ``before`` is what it did, and None at a start. "auto" is measured in the first process, for all of them.

    Raises:
        UsageError: no unit can be fused, and it was not left to a measurement.
    """
    if asked != "auto":
        return bool(set_fused(model, asked).fused)
    wanted, because = _measure_fusion(model, accelerator) if before is None else (before, "as at the start of this run")
    progress.say(f"residual units are {'' if wanted else 'not '}fused{because and f': {because}'}")
    return bool(set_fused(model, wanted).fused)


def _measure_fusion(model: TrainedModel, accelerator: "Accelerator") -> tuple[bool, str]:
    from accelerate.utils import broadcast

    chosen = torch.zeros(1, device=accelerator.device)
    because = ""
    if accelerator.is_main_process:
        found = auto_fusion(model, DTYPES[accelerator.mixed_precision])
        chosen, because = chosen + found.fuse, found.because
    return bool(broadcast(chosen).item()), because


def require_learnable(network: ConvNet, shapes: Collection[tuple[int, ...]], pictures: int) -> None:
    """Refuse, before work begins, pictures that are too small, or too few at once, for a network to learn from.

    Args:
        network: the network to train.
        shapes: of the pictures, (H, W), or of volumes or signals, in pixels.
        pictures: that one process shows it at once.

    Raises:
        UsageError: a layer cannot take them.
    """
    meta = on_meta(network.spec, num_classes=network.num_classes, in_channels=network.in_channels).train()
    for sides in shapes:
        try:
            meta(torch.empty(pictures, network.in_channels, *sides, device="meta"))
        except torch.OutOfMemoryError:
            return  # of a step, which is cut where it happens
        except UsageError:
            raise  # of volumes, in their own words
        except (RuntimeError, ValueError) as error:
            side = sides[0] if network.spec.dimensions == PLANE else " x ".join(map(str, sides))
            raise UsageError(
                f"{network.spec.name} must be able to learn from {pictures} pictures of {side} pixels at once, and "
                f"cannot ({str(error).splitlines()[0]}): take larger pictures (--size), or more at once (a larger "
                "--batch, fewer --pieces)"
            ) from error


def balanced_weights(data: Labelled) -> Tensor:
    """Weights under which every class counts alike, and 1 on average over the pictures. Shape: (classes,)."""
    counts = torch.bincount(torch.tensor(data.labels), minlength=len(data.classes))
    present = int((counts > 0).sum())
    weights = len(data) / (present * counts.clamp(min=1))
    return torch.where(counts > 0, weights, 0.0)
