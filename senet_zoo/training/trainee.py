"""The network as it is trained: with its auxiliary classifiers, its loss, and a running average of its tensors."""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from senet_zoo.networks.network import ConvNet
from senet_zoo.training.auxiliary import WithAuxiliary
from senet_zoo.training.sharding import part


class Trainee(nn.Module):
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

    def ready(self, *, head_only: bool, frozen_norm: bool) -> None:
        """Set the modes of an epoch.

        Args:
            head_only: the network's classifier alone learns, on features as in use.
            frozen_norm: its batch norms use their running statistics and keep them.
        """
        self.train()
        if head_only:
            self.network.eval()
        if frozen_norm:
            for part in self.network.modules():
                if isinstance(part, nn.BatchNorm2d | nn.SyncBatchNorm):
                    part.eval()

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


class Average:
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
        for mean, value in ((part(mean), part(value)) for mean, value in pairs):
            if mean.is_floating_point():
                mean.lerp_(value, 1.0 - self.decay)
            else:
                mean.copy_(value)
