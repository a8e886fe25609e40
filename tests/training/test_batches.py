"""Which pictures a step shows, and that each is the same whoever prepares it."""

import dataclasses
import os
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from senet_zoo.data.datasets import open_data
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import TrainingError
from senet_zoo.training.batches import Share, StepSampler, TrainingPictures, describe_share, training_batches
from senet_zoo.training.randomness import order_of_epoch, seed_of, seeded
from senet_zoo.training.recipes import MODERN


@given(
    st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), st.integers(0, 20), st.integers(1, 3), st.integers(0, 9)
)
def test_processes_and_pieces_share_out_the_very_steps_of_one(
    ranks: int, pieces: int, size: int, more: int, epochs: int, seed: int
) -> None:
    batch = ranks * pieces * size
    count = batch + more
    alone = list(StepSampler(count, batch, epochs, seed, Share(0, 1, 1)))
    shared = [list(StepSampler(count, batch, epochs, seed, Share(rank, ranks, pieces))) for rank in range(ranks)]
    assert all(len(keys) == size for each in shared for keys in each)
    for step, keys in enumerate(alone):
        together = [key for each in shared for piece in each[step * pieces : (step + 1) * pieces] for key in piece]
        assert sorted(together) == sorted(keys)
    for epoch in range(epochs):
        shown = [index for keys in alone for of, index in keys if of == epoch]
        assert len(shown) == len(set(shown)) == count // batch * batch


@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 12))
def test_going_on_from_a_step_shows_what_was_left(count: int, batch: int, start: int) -> None:
    batch = min(batch, count)
    whole = list(StepSampler(count, batch, 3, 0, Share(0, 1, 1)))
    assert list(StepSampler(count, batch, 3, 0, Share(0, 1, 1), start)) == whole[start:]


def test_every_epoch_has_an_order_of_its_own() -> None:
    orders = {tuple(order_of_epoch(20, seed, epoch).tolist()) for seed in (0, 1) for epoch in range(5)}
    assert len(orders) == 10
    assert all(sorted(order) == list(range(20)) for order in orders)


def test_chance_depends_on_its_purpose_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with seeded(1, "augment", 2, 3):
        first = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(7)
    with seeded(1, "augment", 2, 3):
        assert torch.equal(torch.rand(3), first)
    assert len({seed_of(1, 23), seed_of(12, 3), seed_of("1", "2", 3), seed_of(1, 2, 3)}) == 3


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_is_the_same_in_any_process_and_order(workers: int, colours: Path) -> None:
    data = open_data(str(colours), "train")
    pictures = TrainingPictures(data, MODERN, Preprocessing(16, 16), seed=4)
    batch = next(training_batches(pictures, StepSampler(len(data), 6, 300, 4, Share(0, 1, 1), start=5), workers))
    keys = next(iter(StepSampler(len(data), 6, 300, 4, Share(0, 1, 1), start=5)))
    alone = [pictures[key] for key in reversed(keys)]
    assert torch.equal(batch.images, torch.stack([image for image, _, _ in reversed(alone)]))
    assert batch.labels.tolist() == [data.labels[index] for _, index in keys]
    epoch, index = keys[0]
    assert not torch.equal(pictures[epoch + 1, index][0], pictures[epoch, index][0])


def test_the_next_readable_picture_stands_for_an_unreadable_one(colours: Path) -> None:
    for name in ("3.png", "4.png"):
        (colours / "train/cold" / name).write_bytes(b"no picture")
    data = open_data(str(colours), "train")
    pictures = TrainingPictures(data, MODERN, Preprocessing(16, 16), seed=4)
    index = data.names.index("train/cold/3.png")
    image, label, unreadable = pictures[0, index]
    assert [data.names[each] for each in unreadable] == ["train/cold/3.png", "train/cold/4.png"]
    assert torch.equal(image, pictures[0, index + 2][0])
    assert label == data.labels[index + 2]


@dataclasses.dataclass(frozen=True)
class Fatal:
    """A reader under which its process ends, as one does that runs out of shared memory."""

    def __call__(self, index: int) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_ends_is_an_error_of_the_run(colours: Path) -> None:
    data = dataclasses.replace(open_data(str(colours), "train"), read=Fatal())
    pictures = TrainingPictures(data, MODERN, Preprocessing(16, 16), seed=4)
    with pytest.raises(TrainingError, match=r"prepares pictures ended .*fewer workers"):
        next(training_batches(pictures, StepSampler(len(data), 6, 1, 4, Share(0, 1, 1)), 1))


@pytest.mark.parametrize(
    ("share", "line"),
    [
        (Share(0, 1), "1 process on cpu sees all 64 pictures of a step"),
        (Share(0, 1, 4), "1 process on cpu sees all 64 pictures of a step, in 4 pieces of 16"),
        (Share(2, 4, 2), "4 processes work, cpu is one's; each sees 16 of the 64 pictures of a step, in 2 pieces of 8"),
    ],
)
def test_a_run_says_how_many_processes_work_and_what_each_sees(share: Share, line: str) -> None:
    assert describe_share(share, 64, "cpu") == line
