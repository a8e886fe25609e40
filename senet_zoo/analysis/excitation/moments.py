"""Mean and spread of every channel in every class, in one pass."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Moments:
    """What is known of the activations of one gate, in float64 on the CPU.

    Args:
        count: pictures of each class, (classes,), whole numbers.
        mean: of each class and channel, (classes, channels); nan where the class has no picture.
        squares: sum of squared distances to that mean, likewise; 0 where the class has no picture.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor

    @property
    def std(self) -> Tensor:
        """Standard deviation of each class and channel over its pictures, dividing by their number."""
        return (self.squares / self.count[:, None]).sqrt()

    @property
    def overall_mean(self) -> Tensor:
        """Mean over all pictures, (channels,)."""
        seen = self.count > 0
        return (self.count[seen, None] * self.mean[seen]).sum(0) / self.count.sum()

    @property
    def within(self) -> Tensor:
        """Within-class sum of squares of each channel, (channels,)."""
        return self.squares.sum(0)

    @property
    def between(self) -> Tensor:
        """Between-class sum of squares of each channel, (channels,); with `within` it makes the total."""
        seen = self.count > 0
        return (self.count[seen, None] * (self.mean[seen] - self.overall_mean) ** 2).sum(0)

    @property
    def overall_std(self) -> Tensor:
        """Standard deviation over all pictures, (channels,)."""
        return ((self.within + self.between) / self.count.sum()).sqrt()


class RunningMoments:
    """`Moments` of rows that come batch by batch; the memory they take does not grow with the number of rows.

    Args:
        classes: how many there are.
        channels: of a row.
        device: where rows are added up, in float64.

    Source: Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979:
        Welford's update for a batch of rows instead of one.
    """

    def __init__(self, classes: int, channels: int, device: torch.device) -> None:
        self._count = torch.zeros(classes, 1, dtype=torch.float64, device=device)
        self._mean = torch.zeros(classes, channels, dtype=torch.float64, device=device)
        self._squares = torch.zeros_like(self._mean)

    def add(self, rows: Tensor, labels: Tensor) -> None:
        """Add (N, channels) rows of these classes, (N,)."""
        rows = rows.double()
        present, place = labels.unique(return_inverse=True)
        zeros = rows.new_zeros(len(present), rows.shape[1])
        count = rows.new_zeros(len(present), 1).index_add(0, place, rows.new_ones(len(rows), 1))
        mean = zeros.index_add(0, place, rows) / count
        squares = zeros.index_add(0, place, (rows - mean[place]) ** 2)

        before, total = self._count[present], self._count[present] + count
        step = mean - self._mean[present]
        self._squares[present] += squares + step**2 * before * count / total
        self._mean[present] += step * count / total
        self._count[present] = total

    def result(self) -> Moments:
        """What is known by now."""
        count = self._count[:, 0].long().cpu()
        mean = torch.where(self._count > 0, self._mean, torch.nan).cpu()
        return Moments(count, mean, self._squares.cpu())
