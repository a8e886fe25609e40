"""Training recipes as frozen values."""

from dataclasses import dataclass
from math import cos, pi
from typing import Protocol


class Schedule(Protocol):
    """The learning rate over a phase."""

    def rate(self, epoch: float) -> float:
        """Rate at ``epoch``, counted from the phase's start; fractions lie between two epochs."""
        ...


@dataclass(frozen=True)
class OneCycle:
    """Linear from a tenth of the peak up to it, then half a cosine towards 0.

    Args:
        peak: highest rate.
        warmup: epochs until the peak.
        length: epochs until the cosine would reach 0; a phase may be shorter.
    """

    peak: float
    warmup: float
    length: float

    def rate(self, epoch: float) -> float:
        """Rate at ``epoch``."""
        if epoch < self.warmup:
            return self.peak * (0.1 + 0.9 * epoch / self.warmup)
        return self.peak * 0.5 * (1.0 + cos(pi * (epoch - self.warmup) / (self.length - self.warmup)))


@dataclass(frozen=True)
class Linear:
    """From ``start`` in a straight line to 0 after ``length`` epochs."""

    start: float
    length: float

    def rate(self, epoch: float) -> float:
        """Rate at ``epoch``."""
        return self.start * (1.0 - epoch / self.length)


@dataclass(frozen=True)
class Phase:
    """A part of the training with pictures of one size.

    Args:
        epochs: passes over the training pictures.
        side: of the pictures, in pixels; smaller ones cost less and teach most of the same.
        schedule: of the learning rate.
    """

    epochs: int
    side: int
    schedule: Schedule


@dataclass(frozen=True)
class Recipe:
    """Stochastic gradient descent with Nesterov momentum.

    Args:
        phases: in order.
        batch: pictures a step.
        momentum: of Nesterov's update.
        weight_decay: on the weights of convolutions and fully connected layers; biases and batch norms have none.
        label_smoothing: probability mass moved from the true class to all classes.
        pad: pixels of zero padding before the random crop back to size.
        seed: of initialisation, order and augmentation.
    """

    phases: tuple[Phase, ...]
    batch: int
    momentum: float
    weight_decay: float
    label_smoothing: float
    pad: int
    seed: int

    @property
    def epochs(self) -> int:
        """Passes over the training pictures, all phases together."""
        return sum(phase.epochs for phase in self.phases)

    def at(self, epoch: int) -> tuple[Phase, int]:
        """The phase of ``epoch`` (from 0), and how many of its own epochs are over."""
        for phase in self.phases:
            if epoch < phase.epochs:
                return phase, epoch
            epoch -= phase.epochs
        raise IndexError(f"the recipe has {self.epochs} epochs")


CIFAR10_EMBEDDED = Recipe(
    phases=(
        Phase(epochs=22, side=24, schedule=OneCycle(peak=0.2, warmup=6, length=30)),
        Phase(epochs=3, side=32, schedule=Linear(start=0.1, length=11)),
        Phase(epochs=12, side=32, schedule=Linear(start=0.08, length=12)),
        # A warm restart (Loshchilov and Hutter, arXiv:1608.03983).
        Phase(epochs=8, side=24, schedule=OneCycle(peak=0.15, warmup=1, length=30)),
        Phase(epochs=18, side=32, schedule=Linear(start=0.12, length=18)),
    ),
    batch=128,
    momentum=0.9,
    weight_decay=5e-4,
    label_smoothing=0.05,
    pad=4,
    seed=0,
)
"""What the embedded checkpoints were trained with."""
