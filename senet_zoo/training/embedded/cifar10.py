"""CIFAR-10 as tensors, checked against the sha256 of its pictures, and its augmentation.

Reads the lossless ``npz`` form: ``cifar10_train_0.npz`` to ``_2.npz`` and ``cifar10_test.npz``, each with ``images``
(N, 32, 32, 3) uint8 and ``labels`` (N,).

Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from senet_zoo.errors import UsageError

MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)
VALIDATION = 2_000  # pictures held out of the training set: the recipe and the epoch are chosen on them
_SHA256 = {
    "train": "f882c394ae43b6f45e60de67c70d340eac2b9be32bc57d151a15aa93aeaf638a",
    "test": "5e95d80e3dfe4bb1a000e1cf5ac7b525f879a717183ac9f777f658f0da49b232",
}


@dataclass(frozen=True)
class Pictures:
    """Normalised pictures (N, 3, 32, 32) and their labels (N,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def train_and_validation(folder: Path) -> tuple[Pictures, Pictures]:
    """The training set without its last `VALIDATION` pictures, and those. The files are shuffled already."""
    pictures = _read([folder / f"cifar10_train_{i}.npz" for i in range(3)], _SHA256["train"])
    cut = len(pictures) - VALIDATION
    return (
        Pictures(pictures.images[:cut], pictures.labels[:cut]),
        Pictures(pictures.images[cut:], pictures.labels[cut:]),
    )


def test(folder: Path) -> Pictures:
    """The test set."""
    return _read([folder / "cifar10_test.npz"], _SHA256["test"])


def augment(images: Tensor, mirrored: Tensor, *, pad: int, side: int, generator: torch.Generator) -> Tensor:
    """Mirror the marked pictures, pad with zeros, crop at random back to size, and shrink to ``side``.

    Shape: images (N, 3, H, W), mirrored (N,) bool -> (N, 3, side, side), channels_last in memory.
    """
    n, _, h, w = images.shape
    padded = F.pad(images, (pad, pad, pad, pad)).permute(0, 2, 3, 1)  # (N, H + 2 pad, W + 2 pad, 3)
    top, left = torch.randint(2 * pad + 1, (2, n), generator=generator)
    rows = top[:, None] + torch.arange(h)  # (N, H)
    columns = left[:, None] + torch.arange(w)  # (N, W)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    crops = padded[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    if side == h:
        return crops
    shrunk = F.interpolate(crops, (side, side), mode="bilinear", antialias=True, align_corners=False)
    return shrunk.contiguous(memory_format=torch.channels_last)


def _read(files: list[Path], sha256: str) -> Pictures:
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise UsageError(
            f"CIFAR-10 is read from {', '.join(missing)}, not found in {files[0].parent}; pass their folder"
        )
    parts = [np.load(file) for file in files]
    images = np.concatenate([part["images"] for part in parts])
    found = hashlib.sha256(images.tobytes()).hexdigest()
    if found != sha256:
        raise UsageError(f"the pictures in {files[0].parent} are not CIFAR-10's: sha256 {found}, expected {sha256}")
    labels = np.concatenate([part["labels"] for part in parts])
    scaled = torch.from_numpy(images).permute(0, 3, 1, 2).float().div_(255.0)
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    return Pictures(scaled.sub_(mean).div_(std), torch.from_numpy(labels.astype(np.int64)))
