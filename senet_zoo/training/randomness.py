"""Chance as a function of what it is for, not of what was drawn before.

An augmentation depends on the run's seed, the epoch and the picture; a dropped branch on the seed and the step. A run
that goes on after an interruption, or in several processes, then needs no memory of any generator.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def seed_of(*parts: int | str) -> int:
    """A seed from 0 to 2**63 - 1 that differs wherever one of ``parts`` does."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator_of(*parts: int | str) -> torch.Generator:
    """A generator on the CPU that starts from `seed_of`."""
    return torch.Generator().manual_seed(seed_of(*parts))


@contextmanager
def seeded(*parts: int | str) -> Iterator[None]:
    """Draws from torch's own generator on the CPU depend on ``parts`` alone; afterwards it is where it was."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed_of(*parts))
    try:
        yield
    finally:
        torch.set_rng_state(state)


def order_of_epoch(pictures: int, seed: int, epoch: int) -> Tensor:
    """The order in which an epoch shows the pictures: a permutation of their indices, (pictures,)."""
    return torch.randperm(pictures, generator=generator_of(seed, "order", epoch))
