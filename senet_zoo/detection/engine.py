"""The loop that trains a detector: Accelerate moves it to devices and processes, checkpoints let it go on.

All that a step draws or schedules is a function of the seed and the step, so that a run that was interrupted ends as
one that was not.
"""

import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from senet_zoo.detection.evaluation import Scores, detect, score
from senet_zoo.detection.job import Job, Row
from senet_zoo.detection.pictures import Sample, Steps, TrainingPictures, batches
from senet_zoo.detection.progress import Progress
from senet_zoo.detection.recipes import DetectionRecipe
from senet_zoo.errors import TrainingError
from senet_zoo.training.checkpoints import Checkpoint, last_good, newest_checkpoint, refuse_other_run, write_checkpoint
from senet_zoo.training.optimizers import load_optimizer, optimizer_tensors
from senet_zoo.training.randomness import seed_of

if TYPE_CHECKING:
    from accelerate import Accelerator


class Engine:
    """One run, from its newest checkpoint to its end.

    Args:
        job: what is to be trained.
        accelerator: where.
        progress: told of every step.

    Raises:
        UsageError: the folder's checkpoints are another run's.
    """

    def __init__(self, job: Job, accelerator: "Accelerator", progress: Progress) -> None:
        self.job, self.accelerator, self.progress = job, accelerator, progress
        self.step = 0
        self.rows: tuple[Row, ...] = ()
        self.loss = 0.0  # sum over the steps since the last row
        self.unreadable: dict[int, str] = {}
        self.scores: Scores | None = None
        self.groups = groups_of(job.detector, job.recipe)
        self.optimizer = torch.optim.SGD(self.groups, lr=0.0, momentum=job.recipe.momentum)
        self._restore(newest_checkpoint(job.folder))
        self.model, self.stepper = accelerator.prepare(job.detector, self.optimizer)

    def run(self) -> Scores:
        """Train to the end and measure.

        Raises:
            TrainingError: the loss is not finite, or a checkpoint could not be written.
            DataError: too many pictures in a row cannot be read.
        """
        job, recipe = self.job, self.job.recipe
        rank, ranks = self.accelerator.process_index, self.accelerator.num_processes
        pictures = TrainingPictures(job.train.pictures, recipe.flip, job.seed)
        keys = Steps(len(job.train.pictures), recipe.batch, recipe.steps, job.seed, rank, ranks, self.step)
        ahead = batches(pictures, keys, job.workers)
        self.progress.begin(recipe.steps, self.step)
        devices = [self.accelerator.device] if self.accelerator.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            while self.step < recipe.steps:
                self._step(ahead)
                last = self.step == recipe.steps
                if last or (job.measure_steps and self.step % job.measure_steps == 0):
                    self._measure()
                if last or self.step % job.checkpoint_steps == 0:
                    self._save()
        if self.scores is None:  # all steps were done before an interruption
            self.scores = self._scores()
        return self.scores

    def _step(self, ahead: Iterator[list[Sample]]) -> None:
        job, device = self.job, self.accelerator.device
        rate = job.recipe.rate_at(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        self.model.train()
        samples = next(ahead)
        self._name_unreadable(samples)
        torch.manual_seed(seed_of(job.seed, "step", self.step, self.accelerator.process_index))
        images = [sample.image.to(device, non_blocking=True) for sample in samples]
        targets = [{name: sample.target[name].to(device) for name in ("boxes", "labels")} for sample in samples]
        loss = torch.stack(list(self.model(images, targets).values())).sum()
        self.accelerator.backward(loss)
        self.stepper.step()
        self.stepper.zero_grad()
        self.step += 1
        value = float(self.accelerator.reduce(loss.detach(), reduction="mean"))
        if not math.isfinite(value):
            raise TrainingError(
                f"a run stays finite, but the loss is {value} at step {self.step}, at a learning rate of {rate:.3g}. "
                f"{last_good(job.folder)} Choose a lower rate, and another output folder"
            )
        self.loss += value
        first = self.rows[-1].step if self.rows else 0
        self.progress.advance(self.step, self.loss / (self.step - first))

    def _measure(self) -> None:
        self.scores = self._scores()
        first = self.rows[-1].step if self.rows else 0
        rate = self.job.recipe.rate_at(self.step - 1)
        row = Row(self.step, rate, self.loss / (self.step - first), self.scores.ap, self.scores.ap50)
        self.rows, self.loss = (*self.rows, row), 0.0
        self.progress.say(
            f"step {row.step} of {self.job.recipe.steps}: loss {row.loss:.4f}, AP {row.ap:.1f}, AP@0.5 {row.ap50:.1f}, "
            f"rate {row.rate:.3g}"
        )

    def _scores(self) -> Scores:
        from accelerate.utils import gather_object

        rank, ranks, job = self.accelerator.process_index, self.accelerator.num_processes, self.job
        mine = range(rank, len(job.val.pictures), ranks)
        size = max(1, job.recipe.batch // ranks)
        found = gather_object(detect(job.detector, job.val, mine, batch=size, workers=job.workers))
        return score(job.val, found)

    def _name_unreadable(self, samples: list[Sample]) -> None:
        for sample in samples:
            for index, reason in sample.unreadable:
                if index not in self.unreadable:
                    self.unreadable[index] = reason
                    self.progress.say(f"skipped: {reason}")

    def _save(self) -> None:
        if not self.accelerator.is_main_process:
            return
        tensors = {f"model.{name}": tensor for name, tensor in self.job.detector.state_dict().items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in optimizer_tensors(self.optimizer).items()}
        scaler = self.accelerator.scaler
        state = {
            "identity": self.job.identity,
            "rows": [asdict(row) for row in self.rows],
            "loss": self.loss,
            "unreadable": [[index, reason] for index, reason in self.unreadable.items()],
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        write_checkpoint(self.job.folder, Checkpoint(self.step, tensors, state))

    def _restore(self, checkpoint: Checkpoint | None) -> None:
        if checkpoint is None:
            return
        state: dict[str, Any] = dict(checkpoint.state)
        refuse_other_run(self.job.folder, state["identity"], self.job.identity)
        self.step, self.loss = checkpoint.step, state["loss"]
        self.rows = tuple(Row(**row) for row in state["rows"])
        self.unreadable = dict(state["unreadable"])
        self.job.detector.load_state_dict(checkpoint.under("model."))
        load_optimizer(self.optimizer, checkpoint.under("optimizer."))
        if self.accelerator.scaler is not None and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.progress.say(f"going on after step {self.step}")


def groups_of(detector: nn.Module, recipe: DetectionRecipe) -> list[dict[str, Any]]:
    """The parameters that learn, for torch's SGD: weights, norms and biases; ``factor`` is of the rate."""
    biases = {
        parameter
        for module in detector.modules()
        if not isinstance(module, nn.BatchNorm2d)
        for name, parameter in module.named_parameters(recurse=False)
        if name == "bias"
    }
    learn = [parameter for parameter in detector.parameters() if parameter.requires_grad]
    weights = [parameter for parameter in learn if parameter.ndim > 1]
    norms = [parameter for parameter in learn if parameter.ndim <= 1 and parameter not in biases]
    chosen = [
        (weights, recipe.weight_decay, 1.0),
        (norms, 0.0, 1.0),
        ([parameter for parameter in learn if parameter in biases], 0.0, recipe.bias_factor),
    ]
    return [
        {"params": parameters, "weight_decay": decay, "factor": factor}
        for parameters, decay, factor in chosen
        if parameters
    ]
