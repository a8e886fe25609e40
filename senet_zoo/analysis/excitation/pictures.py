"""Labelled pictures as batches that a network takes."""

from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from senet_zoo.errors import PictureError
from senet_zoo.preprocessing import Preprocessing
from senet_zoo.training.data import Labelled, subset

Loaded = tuple[int, Tensor | str]
"""A picture's index, and its (3, size, size) or why it could not be read."""


def first_of_each(data: Labelled, limit: int) -> Labelled:
    """At most ``limit`` pictures of each class, the first ones, in the order they have."""
    seen = Counter[int]()
    chosen = []
    for index, label in enumerate(data.labels):
        seen[label] += 1
        if seen[label] <= limit:
            chosen.append(index)
    return subset(data, chosen)


def batches(data: Labelled, preprocessing: Preprocessing, size: int, workers: int) -> Iterator[list[Loaded]]:
    """All pictures in their order, ``size`` at once, decoded by ``workers`` processes (0: this one)."""
    pictures = _Pictures(data, preprocessing)
    workers = min(workers, -(-len(data) // size))
    return iter(DataLoader(pictures, batch_size=size, num_workers=workers, collate_fn=list))


class _Pictures(Dataset[Loaded]):
    def __init__(self, data: Labelled, preprocessing: Preprocessing) -> None:
        self.data, self.transforms = data, preprocessing.transforms()

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Loaded:
        try:
            picture: torch.Tensor = self.transforms(self.data.read(index))
        except PictureError as error:
            return index, str(error)
        return index, picture
