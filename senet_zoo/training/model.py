"""The network as it is trained: auxiliary classifiers and loss, a running average, fused residual units."""

import copy
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from senet_zoo.networks.fused.set_fused import auto_fusion, set_fused
from senet_zoo.networks.network import ConvNet
from senet_zoo.training.auxiliary import WithAuxiliary
from senet_zoo.training.progress import Progress
from senet_zoo.training.sharding import local_part

if TYPE_CHECKING:
    from accelerate import Accelerator

DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}  # by Accelerate's names


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
        """Choose train or eval mode for the parts, for an epoch.

        Args:
            head_only: the network's classifier alone learns, on features as in use.
            frozen_norm: its batch norms use their running statistics and keep them.
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


class MovingAverage:
    """A network whose tensors follow another's: ``average = decay * average + (1 - decay) * network`` at every step.

    Running statistics are averaged too; counters are copied.

    Args:
        network: what is followed; the average starts as it.
        decay: share that a step keeps.
    """

    def __init__(self, network: ConvNet, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def follow(self, network: ConvNet) -> None:
        """Take a step."""
        pairs = zip(self.network.state_dict().values(), network.state_dict().values(), strict=True)
        for mean, value in ((local_part(mean), local_part(value)) for mean, value in pairs):
            if mean.is_floating_point():
                mean.lerp_(value, 1.0 - self.decay)
            else:
                mean.copy_(value)


def fuse_units(
    model: TrainedModel,
    asked: bool | Literal["auto"],
    before: bool | None,
    accelerator: "Accelerator",
    progress: Progress,
) -> bool:
    """Fuse the ends of the residual units or leave them be, and return whether they are fused.

    Both round differently, so that a run that goes on does as it did before, whatever a new measurement would say.

    Args:
        model: where it will be trained; changed in place.
        asked: whether to, or "auto" to measure: in the first process, for all of them.
        before: whether the run that goes on fused them; None at the start of a run.
        accelerator: of this run.
        progress: told of a choice.

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
