"""What a detector's run and a segmenter's have in common: a task counted in steps, measured every so many of them."""

import json
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from re import Pattern
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from senet_zoo.errors import UsageError
from senet_zoo.networks.network import ConvNet
from senet_zoo.training.batches import ContinuousSampler, Share, Unreadable, batches_by_key, resumable
from senet_zoo.training.checkpoints import TrainingCheckpoint
from senet_zoo.training.config_file import Form, values_of_config
from senet_zoo.training.metrics import LossRow, plot_steps
from senet_zoo.training.optimizers import SGD, Group
from senet_zoo.training.progress import Progress
from senet_zoo.training.randomness import seed_of
from senet_zoo.training.run import Task
from senet_zoo.training.step_config import StepConfig, StepRecipe
from senet_zoo.weights.create import create_model
from senet_zoo.weights.task_card import CURVES
from senet_zoo.weights.task_folders import TaskConfig

if TYPE_CHECKING:
    from accelerate import Accelerator

STRETCHES = 100  # points of a loss curve


class StepSample(Protocol):
    """A training picture."""

    @property
    def unreadable(self) -> Unreadable:
        """Pictures that this one stands for, and why each."""


class StepPictures(Protocol):
    """One part of the data."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names."""

    @property
    def pictures(self) -> Sequence[object]:
        """With what is to be learnt of each."""

    @property
    def skipped(self) -> Mapping[str, int]:
        """How much was left out, by reason."""


Row = TypeVar("Row", bound="StepRow")
Scores = TypeVar("Scores")
Sample = TypeVar("Sample", bound=StepSample)
Result = TypeVar("Result", bound="StepResult[Any, Any]")


@dataclass(frozen=True)
class StepRow:
    """What was measured after some steps.

    Args:
        step: how many.
        rate: learning rate of the last one.
        loss: mean of the steps since the row before.
    """

    step: int
    rate: float
    loss: float


@dataclass(frozen=True)
class StepResult(Generic[Row, Scores]):
    """What came of a run.

    Args:
        folder: what `senet_zoo.from_pretrained` reads.
        model: name of the backbone.
        classes: in the order of the logits or labels.
        rows: every measurement on val.
        scores: of the saved network on val.
        skipped: what of the data was left out, changed or guessed, by part and reason.
        unreadable: why each training picture was skipped that could not be read.
    """

    folder: Path
    model: str
    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    scores: Scores
    skipped: Mapping[str, Mapping[str, int]]
    unreadable: tuple[str, ...]


class StepTask(Task[list[Sample], Result]):
    """A detector or a segmenter that learns.

    Args:
        config: of the run.
        recipe: with the batch, rate and steps of this run.
        model: before its first step.
        saved: what its folder will say, all but what it scores.
        train: pictures to learn from.
        val: pictures to measure on.
        digest: a hash of both.
        own: what must be the same for a checkpoint to be gone on from, besides what every such task has.
        accelerator: where.
        progress: told of every step and measurement.
    """

    FORM: ClassVar[Form[Any]]
    ROW: ClassVar[type[StepRow]]

    def __init__(
        self,
        config: StepConfig[Any],
        recipe: StepRecipe,
        model: nn.Module,
        saved: TaskConfig,
        train: StepPictures,
        val: StepPictures,
        digest: str,
        own: Mapping[str, object],
        accelerator: "Accelerator",
        progress: Progress,
    ) -> None:
        self.config, self.recipe, self.model, self.saved = config, recipe, model, saved
        self.train, self.val, self.digest = train, val, digest
        self.accelerator, self.progress = accelerator, progress
        super().__init__({"model": model}, self._identity(own), recipe.steps, share_of(accelerator))
        self.history: tuple[Any, ...] = ()
        self.loss_sum = 0.0  # over the steps since the last row
        self.losses: tuple[LossRow, ...] = ()  # means of stretches of the run, for the curves
        self.stretch: list[float] = []  # losses of the steps since the last of them
        self.scores: Any = None  # of the last measurement
        if config.data_digest not in (None, digest):
            progress.say(f"{config.data} holds other pictures than those that this configuration was made with")

    def _identity(self, own: Mapping[str, object]) -> Mapping[str, object]:
        config = self.config
        identity = {
            "task": self.FORM.task,
            "model": config.model,
            "pretrained": config.pretrained,
            "weights": None if config.weights is None else str(config.weights),
            "data": str(config.data),
            "classes": self.train.classes,
            "training pictures": len(self.train.pictures),
            "validation pictures": len(self.val.pictures),
            "measure steps": config.measure_steps,
            "precision": config.precision,
            "seed": config.seed,
            **own,
        }
        values: dict[str, object] = json.loads(json.dumps(identity))  # as a checkpoint gives it back
        return values

    @abstractmethod
    def training_pictures(self) -> Dataset[Any]:
        """Pictures by epoch and index, augmented."""

    @abstractmethod
    def choose_largest(self) -> int:
        """Look at pictures at the largest of the recipe's sizes, and return the index of one that takes most memory."""

    @abstractmethod
    def groups(self) -> list[Group]:
        """The parameters that learn."""

    @abstractmethod
    def batch_loss(self, model: nn.Module, batch: list[Sample]) -> Tensor:
        """The loss of a batch."""

    @abstractmethod
    def measure_scores(self) -> Any:
        """What the network scores on val; all processes call it together."""

    @abstractmethod
    def row(self, step: int, rate: float, loss: float) -> StepRow:
        """A row of the history, from the last scores."""

    @abstractmethod
    def write(self, folder: Path, result: Result) -> Mapping[str, Sequence[float]]:
        """Write the network and the picture of what it finds, and return the curves to plot, a value a row."""

    def config_values(self, *, finished: bool) -> dict[str, object]:
        """The configuration by name."""
        chosen = replace(
            self.config, recipe=self.recipe, epochs=None, batch=None, rate=None, size=None, data_digest=self.digest
        )
        return values_of_config(chosen, self.FORM, self.config.recipe)

    def prepare(self, checkpoint: TrainingCheckpoint | None) -> None:
        """Take up a checkpoint's state, if there is one."""
        if checkpoint is None:
            return
        state: dict[str, Any] = dict(checkpoint.state)
        self.history = tuple(self.ROW(**row) for row in state["rows"])
        self.loss_sum, self.unreadable = state["loss"], dict(state["unreadable"])
        self.losses = tuple(LossRow(*row) for row in state.get("losses", ()))
        self.stretch = list(state.get("stretch", ()))
        self.progress.say(f"going on after step {checkpoint.step}")

    def state(self) -> dict[str, object]:
        """What `prepare` takes up."""
        return {
            "rows": [asdict(row) for row in self.history],
            "loss": self.loss_sum,
            "losses": [[row.step, row.loss] for row in self.losses],
            "stretch": self.stretch,
            "unreadable": [[index, reason] for index, reason in self.unreadable.items()],
        }

    def batches(self, start: int, *, pin: bool) -> Iterator[list[Sample]]:
        """The batches of this process from a step on."""
        recipe, seed = self.recipe, self.config.seed
        keys = ContinuousSampler(len(self.train.pictures), recipe.batch, recipe.steps, seed, self.share, start)
        return resumable(batches_by_key(self.training_pictures(), keys, list, self.config.workers))

    def optimizer(self, phase: str) -> torch.optim.Optimizer:
        """SGD over the groups."""
        return SGD(momentum=self.recipe.momentum).build(self.groups())

    def rate(self, step: int) -> float:
        """The recipe's."""
        return self.recipe.rate_at(step)

    def begin(self, step: int) -> None:
        """Train, and start a bar."""
        self.model.train()
        self.progress.begin(self.config.kind.value, self.steps, step, unit="steps")

    def loss(self, model: nn.Module, batch: list[Sample], step: int, piece: int) -> tuple[Tensor, Tensor]:
        """The loss of a batch, and it and 1 to be summed."""
        self.progress.skip(self.unreadable, dict(pair for sample in batch for pair in sample.unreadable))
        torch.manual_seed(seed_of(self.config.seed, "step", step, self.share.rank))
        loss = self.batch_loss(model, batch)
        return loss, torch.stack([loss.detach(), torch.ones_like(loss)])

    def count(self, step: int, sums: list[float]) -> None:
        """Add a step's loss to the mean since the last row, and to the curve."""
        loss = sums[0] / sums[1]
        self.loss_sum += loss
        self.stretch.append(loss)
        if len(self.stretch) == max(1, self.steps // STRETCHES) or step == self.steps:
            self.losses = (*self.losses, LossRow(step, sum(self.stretch) / len(self.stretch)))
            self.stretch = []
        self.progress.advance(1, self._mean_loss(step))

    def is_measured(self, step: int) -> bool:
        """After the last step, and every so many."""
        every = self.config.measure_steps
        return step == self.steps or bool(every and step % every == 0)

    def measure(self, step: int, rate: float) -> StepRow:
        """Measure on val."""
        self.scores = self.measure_scores()
        row = self.row(step, rate, self._mean_loss(step))
        self.history, self.loss_sum = (*self.history, row), 0.0
        return row

    def is_done(self, step: int) -> bool:
        """After the last step."""
        return step == self.steps

    def save(self, folder: Path, result: Result) -> Mapping[str, object]:
        """Write the network, the picture of what it finds, and the curves."""
        curves = self.write(folder, result)
        plot_steps(folder / CURVES, self.losses, [row.step for row in result.rows], curves, self.recipe.rate_at)
        return {"scores": asdict(result.scores), "skipped": result.skipped, "unreadable": result.unreadable}

    def skipped(self) -> Mapping[str, Mapping[str, int]]:
        """What of the data was left out, by part and reason."""
        return {"train": self.train.skipped, "val": self.val.skipped}

    def _mean_loss(self, step: int) -> float:
        return self.loss_sum / (step - (self.history[-1].step if self.history else 0))


def share_of(accelerator: "Accelerator") -> Share:
    """What this process takes of every step."""
    return Share(accelerator.process_index, accelerator.num_processes)


def scaled_recipe(config: StepConfig[Any], pictures: int, ranks: int, progress: Progress) -> Any:
    """The recipe with the batch, the rate and the steps of this run.

    Raises:
        UsageError: a batch that the processes cannot share.
    """
    recipe = config.own_recipe(pictures)
    batch = recipe.batch
    if batch % ranks:
        raise UsageError(f"a batch must be a multiple of the processes ({ranks}), got {batch}")
    of = f", {batch // ranks} in each of {ranks} processes" if ranks > 1 else ""
    progress.say(f"{recipe.steps} steps of {batch} pictures{of}, learning rate {recipe.rate:.4g}")
    return recipe


def starting_backbone(
    config: StepConfig[Any], earlier: nn.Module | None, network_of: Callable[[Any], ConvNet]
) -> ConvNet:
    """The network that a detector or a segmenter stands on at first.

    Args:
        config: of the run.
        earlier: the saved one to go on from, if there is one.
        network_of: its network.

    Raises:
        UsageError: it is of another kind or stands on another network, or the published weights are asked for, too.
        WeightsError: the weights could not be had.
    """
    if earlier is None:
        return create_model(config.model, pretrained=config.pretrained, weights=config.weights)
    known: Any = earlier.weights
    if config.pretrained:
        raise UsageError("weights come from one place, and two were named: use pretrained or weights, not both")
    if (known.kind, known.backbone) != (config.kind, config.model):
        raise UsageError(
            f"{config.weights} holds a {known.kind.value} on {known.backbone}, and a {config.kind.value} on "
            f"{config.model} goes on from one of its own kind"
        )
    return network_of(earlier)


def take_over(
    model: nn.Module,
    earlier: nn.Module,
    classes: tuple[str, ...],
    class_layers: Pattern[str],
    fresh: Pattern[str] | None = None,
) -> None:
    """Give a network the tensors of an earlier one; a layer that tells other classes apart stays as it was drawn.

    Args:
        model: what goes on.
        earlier: what it goes on from.
        classes: that are learnt now.
        class_layers: matches the names of the layers whose outputs are counted by classes.
        fresh: matches other layers that the earlier one may lack.

    Raises:
        UsageError: the earlier one has other tensors.
    """
    known: Any = earlier.weights
    own, theirs = model.state_dict(), earlier.state_dict()
    other = {name for name, tensor in own.items() if name not in theirs or theirs[name].shape != tensor.shape}
    odd = sorted(
        name for name in other if not class_layers.search(name) and not (fresh is not None and fresh.search(name))
    )
    if odd:
        raise UsageError(
            f"the weights hold a {known.kind.value} of another design, and {odd[0]} does not fit: choose the recipe "
            "that it was trained with"
        )
    if known.classes != classes:
        other |= {name for name in own if class_layers.search(name)}
    model.load_state_dict({name: own[name] if name in other else theirs[name] for name in own})
