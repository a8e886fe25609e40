"""Training recipes as frozen values."""

from dataclasses import dataclass
from math import cos, pi


@dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent under a one-cycle schedule.

    Args:
        phases: (epochs, side) in order: how many passes over the training pictures, at what size in pixels. Early
            passes over smaller pictures cost half as much and lose little.
        batch: pictures a step.
        peak_lr: learning rate at the top of the cycle.
        warmup: part of all steps in which the rate climbs from a tenth of its peak.
        momentum: of Nesterov's update.
        weight_decay: on the weights of convolutions and fully connected layers; biases and batch norms have none.
        label_smoothing: probability mass moved from the true class to all classes.
        pad: pixels of zero padding before the random crop back to size.
        seed: of initialisation, order and augmentation.
    """

    phases: tuple[tuple[int, int], ...]
    batch: int
    peak_lr: float
    warmup: float
    momentum: float
    weight_decay: float
    label_smoothing: float
    pad: int
    seed: int

    @property
    def epochs(self) -> int:
        """Passes over the training pictures, all phases together."""
        return sum(epochs for epochs, _ in self.phases)

    def side(self, epoch: int) -> int:
        """Side of the pictures in epoch ``epoch`` (from 0), in pixels."""
        for epochs, side in self.phases:
            if epoch < epochs:
                return side
            epoch -= epochs
        raise IndexError(f"the recipe has {self.epochs} epochs")

    def learning_rate(self, step: int, steps: int) -> float:
        """Rate of step ``step`` (from 0) out of ``steps``: linear up to the peak, then half a cosine down to 0."""
        progress = step / steps
        if progress < self.warmup:
            return self.peak_lr * (0.1 + 0.9 * progress / self.warmup)
        return self.peak_lr * 0.5 * (1.0 + cos(pi * (progress - self.warmup) / (1.0 - self.warmup)))


CIFAR10_EMBEDDED = Recipe(
    phases=((22, 24), (8, 32)),
    batch=128,
    peak_lr=0.2,
    warmup=0.2,
    momentum=0.9,
    weight_decay=5e-4,
    label_smoothing=0.05,
    pad=4,
    seed=0,
)
"""What the embedded checkpoints were trained with."""
