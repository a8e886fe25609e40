"""A run's values, everything looked up and scaled: what the loop is given."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from senet_zoo.data.labelled import Labelled
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.networks.network import ConvNet
from senet_zoo.training.recipes import TrainRecipe


@dataclass(frozen=True, eq=False)
class Job:
    """What is to be trained, and how.

    Args:
        network: trained in place.
        recipe: its batch and rate are those of this run.
        train: pictures to learn from.
        val: pictures to measure on.
        preprocessing: of the saved network; its size is that of the last training pictures too.
        class_weights: of each class in the loss; None for equal ones.
        patience: epochs without a better validation accuracy after which the run ends, with the best network kept;
            None to train to the end and keep the last.
        seed: of everything random.
        pieces: batches in which a process goes through its share of a step.
        workers: processes that prepare pictures, for each process that trains.
        checkpoint_steps: steps between two checkpoints, besides the one after each epoch; None for no others.
        folder: of the checkpoints.
        sharded: every process keeps a part of each tensor only.
        sync_norm: batch norms measure the whole step, not each process's share.
        compile: run the network through `torch.compile`.
        fused: run the ends of residual units as one operation each; "auto" where that is measured faster.
        identity: what must be the same for a checkpoint to be gone on from, as JSON values.
    """

    network: ConvNet
    recipe: TrainRecipe
    train: Labelled
    val: Labelled
    preprocessing: Preprocessing
    class_weights: Tensor | None
    patience: int | None
    seed: int
    pieces: int
    workers: int
    checkpoint_steps: int | None
    folder: Path
    sharded: bool
    sync_norm: bool
    compile: bool
    fused: bool | Literal["auto"]
    identity: Mapping[str, object]
