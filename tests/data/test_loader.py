"""Batches from worker processes, and what is said where one of them cannot hand them over."""

import os
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from senet_zoo.data.labelled import Labelled
from senet_zoo.data.loader import WorkerError, load_batches

FULL = "unable to allocate shared memory(shm) for file </torch_1_2_3>: No space left on device (28)"


def pictures(count: int = 6) -> Labelled:
    names = tuple(str(index) for index in range(count))
    return Labelled(("cat", "dog"), (0, 1) * (count // 2), names, lambda index: Image.new("RGB", (8, 8), (index, 0, 0)))


def tensor(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_their_order(workers: int) -> None:
    batches = list(load_batches(pictures(), tensor, 4, workers))
    assert [batch.indices for batch in batches] == [(0, 1, 2, 3), (4, 5)]
    assert [int(each[0, 0, 0]) for batch in batches for each in batch.tensors] == [0, 1, 2, 3, 4, 5]


def test_full_shared_memory_is_an_error_that_names_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(FULL)

    monkeypatch.setattr(torch.Tensor, "share_memory_", refuse)
    with pytest.raises(WorkerError, match=r"found no room in shared memory .*--workers 0.*--shm-size"):
        list(load_batches(pictures(), tensor, 4, 1))
    assert len(list(load_batches(pictures(), tensor, 4, 0))) == 2


def test_a_worker_that_is_killed_is_an_error_that_names_the_way_out() -> None:
    with pytest.raises(WorkerError, match=r"prepares pictures ended .*fewer workers"):
        list(load_batches(pictures(), lambda _: os.kill(os.getpid(), signal.SIGKILL), 4, 1))


def test_a_mistake_in_a_transform_stays_what_it_is() -> None:
    def wrong(_: Image.Image) -> torch.Tensor:
        raise RuntimeError("a mistake")

    with pytest.raises(RuntimeError, match="a mistake") as raised:
        list(load_batches(pictures(), wrong, 4, 1))
    assert not isinstance(raised.value, WorkerError)
