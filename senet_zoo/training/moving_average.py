"""The moving average (EMA) of a network's tensors over training."""

import copy

import torch

from senet_zoo.networks.network import ConvNet
from senet_zoo.training.distributed import local_part


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
