"""Accuracy and loss on the validation pictures, each counted once, in float32 on every precision of the run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from senet_zoo.data.labelled import Labelled
from senet_zoo.data.loader import load_batches
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import DataError
from senet_zoo.networks.network import ConvNet
from senet_zoo.training.batches import Share, watched

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True, eq=False)
class ValidationScores:
    """What a network scored.

    Args:
        loss: mean cross-entropy.
        confusion: pictures by true class (row) and first class (column), (classes, classes).
        unreadable: indices of pictures that were left out.
    """

    loss: float
    confusion: Tensor
    unreadable: frozenset[int]

    @property
    def count(self) -> int:
        """Number of pictures measured."""
        return int(self.confusion.sum())

    @property
    def top1(self) -> float:
        """Percentage of pictures whose first class is the right one."""
        return 100.0 * int(self.confusion.trace()) / self.count


@torch.no_grad()
def validate(
    network: ConvNet,
    data: Labelled,
    preprocessing: Preprocessing,
    share: Share,
    batch: int,
    workers: int,
    accelerator: "Accelerator",
) -> ValidationScores:
    """Run the network, in eval mode, over all processes' shares of the pictures.

    Raises:
        DataError: none of them can be read.
    """
    from accelerate.utils import broadcast, gather_object

    network.eval()
    broadcast(list(network.buffers()))  # the first process's statistics are those that are saved
    classes = network.num_classes
    device = accelerator.device
    confusion = torch.zeros(classes * classes, dtype=torch.long, device=device)
    loss = torch.zeros((), device=device)
    unreadable: list[int] = []
    mine = range(share.rank, len(data), share.ranks)
    for each in watched(load_batches(data, preprocessing.transforms(), batch, workers, mine)):
        unreadable += [index for index, _ in each.unreadable]
        if not each.indices:
            continue
        images = torch.stack(each.tensors).to(device, memory_format=torch.channels_last, non_blocking=True)
        labels = torch.tensor([data.labels[index] for index in each.indices], device=device)
        logits = network(images)
        loss += F.cross_entropy(logits, labels, reduction="sum")
        confusion += torch.bincount(labels * classes + logits.argmax(1), minlength=classes * classes)
    confusion, loss = accelerator.reduce(confusion), accelerator.reduce(loss)
    left_out = frozenset(gather_object(unreadable))
    if not confusion.sum():
        raise DataError(f"a validation picture must be readable, and none of {len(data)} is: check the data")
    return ValidationScores(float(loss) / int(confusion.sum()), confusion.view(classes, classes).cpu(), left_out)
