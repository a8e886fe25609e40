"""What a detector's or a segmenter's run would do and need, found by one forward pass of its largest picture."""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import nn

from senet_zoo.errors import DataError
from senet_zoo.training.config import RunConfig
from senet_zoo.training.step_task import StepTask

Config = TypeVar("Config", bound=RunConfig)
WEIGHT = 4  # bytes of a weight, of its gradient, and of its momentum


@dataclass(frozen=True)
class DryRun:
    """What a run would do and need; nothing was trained or written.

    Args:
        network: such as ``faster_rcnn on se_resnet50``.
        classes: their number.
        training_pictures: to learn from.
        validation_pictures: to measure on.
        steps: of the run.
        batch: pictures a step, all processes together.
        processes: that train.
        passes: over the training pictures.
        parameters: of the network.
        learnt: of them, those that learn.
        weights_bytes: of weights, gradients and momentum.
        picture_bytes: of what the forward pass of one picture, the largest, keeps for the backward pass.
    """

    network: str
    classes: int
    training_pictures: int
    validation_pictures: int
    steps: int
    batch: int
    processes: int
    passes: float
    parameters: int
    learnt: int
    weights_bytes: int
    picture_bytes: int

    @property
    def memory_bytes(self) -> int:
        """Of one process in a step, at least: gradients of maps and CUDA's libraries take more for moments."""
        return self.weights_bytes + self.batch // self.processes * self.picture_bytes


def without_published(config: Config) -> Config:
    """The same run from random weights, which take as much memory, where it would fetch published ones."""
    return replace(config, pretrained=False, model=config.model.partition(".")[0]) if config.pretrained else config


def dry_run(task: StepTask[Any, Any], copies: int = 1) -> DryRun:
    """What a task's run would do and need.

    Args:
        task: before its first step; its network learns nothing.
        copies: of the picture, where the network takes no fewer.

    Raises:
        DataError: the picture cannot be read, and those beside it neither.
    """
    model, recipe = task.model, task.recipe
    sample = task.training_pictures()[0, task.choose_largest()]
    if isinstance(sample, DataError):
        raise sample
    model.train()
    sizes = [parameter.numel() for parameter in model.parameters()]
    learnt = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    ranks = task.share.ranks
    kept = _kept_bytes(task, model, [sample] * copies) // copies
    return DryRun(
        network=task.saved.description,
        classes=len(task.train.classes),
        training_pictures=len(task.train.pictures),
        validation_pictures=len(task.val.pictures),
        steps=recipe.steps,
        batch=recipe.batch,
        processes=ranks,
        passes=recipe.steps * recipe.batch / len(task.train.pictures),
        parameters=sum(sizes),
        learnt=learnt,
        weights_bytes=WEIGHT * (sum(sizes) + 2 * learnt),
        picture_bytes=kept,
    )


def _kept_bytes(task: StepTask[Any, Any], model: nn.Module, batch: list[Any]) -> int:
    """Bytes of all that a forward pass keeps for the backward pass, weights and buffers left out."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    found: dict[int, torch.UntypedStorage] = {}  # they stay alive, so that no address occurs twice

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage
        return tensor

    model.to(task.accelerator.device)
    with (
        torch.random.fork_rng([]),
        task.accelerator.autocast(),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        loss = task.batch_loss(model, batch)
    assert loss.requires_grad
    return sum(storage.nbytes() for storage in found.values())
