"""One run, whatever it learns: steps, checkpoints, resuming and the finished folder.

`Run` drives a `Task`: classification is one, detection another. Hugging Face Accelerate moves the task to devices and
processes. All that a step draws or schedules is a function of the seed and the step (`senet_zoo.training.randomness`),
so that the state of a run is no more than tensors, the history and sums since the last measurement.
"""

import json
import math
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import asdict, fields
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from senet_zoo.errors import SenetZooError, TrainingError, UsageError, WeightsUnavailable
from senet_zoo.support.json_fields import read_json
from senet_zoo.support.machine import describe_machine
from senet_zoo.training.batches import Share
from senet_zoo.training.checkpoints import (
    TrainingCheckpoint,
    is_checkpoint,
    is_part,
    last_good,
    newest_checkpoint,
    refuse_other_run,
    write_checkpoint,
)
from senet_zoo.training.config import RunConfig
from senet_zoo.training.config_file import CONFIG_FILE, MADE, is_config, write_config
from senet_zoo.training.distributed import gathered, load_optimizer, optimizer_tensors, release, shard, sharding_asked
from senet_zoo.training.metrics import as_csv
from senet_zoo.training.progress import Progress
from senet_zoo.weights.config import TENSORS

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from accelerate import Accelerator

METRICS, RUN = "metrics.csv", "run.json"
BEST, LAST = OTHERS = ("best", "last")  # folders in a run's, for the network that is not the folder's own
STAGING = "finished"  # below the checkpoints: where the files of the finished folder are written first
LOSSES_KEPT = 20  # steps between two looks at the loss on a GPU, which waits for it
Batch = TypeVar("Batch")
Result = TypeVar("Result")


class Task(ABC, Generic[Batch, Result]):
    """What a run learns: its modules and batches, the loss, the measurement, and what is saved.

    Args:
        modules: whose tensors a checkpoint holds; ``model`` is the one that learns, in place.
        identity: what must be the same for a checkpoint to be gone on from, as JSON values.
        steps: of the run, at most.
        share: what this process takes of every step.
    """

    def __init__(
        self, modules: Mapping[str, nn.Module], identity: Mapping[str, object], steps: int, share: Share
    ) -> None:
        self.modules, self.identity, self.steps, self.share = modules, identity, steps, share
        self.history: tuple[Any, ...] = ()  # a dataclass with ``step`` for each measurement
        self.unreadable: dict[int, str] = {}  # training pictures that were skipped, with the reason
        self.kept: dict[str, Tensor] = {}  # more tensors of a checkpoint

    @abstractmethod
    def config_values(self, *, finished: bool) -> dict[str, object]:
        """The configuration by name, with what the run chose; ``finished``: with what it measured, too."""

    @abstractmethod
    def prepare(self, checkpoint: TrainingCheckpoint | None) -> None:
        """Get ready for the first step, or take up a checkpoint's state; its tensors are loaded afterwards."""

    @abstractmethod
    def batches(self, start: int, *, pin: bool) -> Iterator[Batch]:
        """The batches of this process from a step on, piece by piece."""

    def phase(self, step: int) -> str:
        """A name for the parameters that learn in a step; another phase begins with an optimizer at rest."""
        return ""

    @abstractmethod
    def optimizer(self, phase: str) -> torch.optim.Optimizer:
        """The optimizer of a phase; each of its groups has the ``scale`` of its learning rate."""

    @abstractmethod
    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""

    @abstractmethod
    def begin(self, step: int) -> None:
        """Choose the modes of the modules, and start a bar, for the steps until the next measurement."""

    @abstractmethod
    def loss(self, model: nn.Module, batch: Batch, step: int, piece: int) -> tuple[Tensor, Tensor]:
        """The loss of a batch, and sums over it for `count`: of losses first, of what they were summed over last."""

    def after_step(self) -> None:
        """Follow what a step did to the module that learns."""

    @abstractmethod
    def count(self, step: int, sums: list[float]) -> None:
        """Add the sums of a step, all processes together; steps are counted from 1."""

    @abstractmethod
    def is_measured(self, step: int) -> bool:
        """Whether a measurement follows so many steps; one follows the last."""

    @abstractmethod
    def measure(self, step: int, rate: float) -> object:
        """Measure, add a row to the history, set the sums to zero, and return the row."""

    @abstractmethod
    def is_done(self, step: int) -> bool:
        """Whether the run ends after so many steps."""

    @abstractmethod
    def state(self) -> dict[str, object]:
        """What `prepare` takes up, as JSON values."""

    @abstractmethod
    def result(self) -> Result:
        """What came of the run; all processes call it together."""

    @abstractmethod
    def save(self, folder: Path, result: Result) -> Mapping[str, object]:
        """Write what was trained, and return what ``run.json`` says of the result."""


class Run(Generic[Batch, Result]):
    """One run, from its newest checkpoint to its end.

    Args:
        config: what the user asked for.
        task: what is learnt.
        accelerator: where; made for this run.
        progress: told of every step and measurement.

    Raises:
        UsageError: the folder cannot be written, or its checkpoints are another run's.
        TrainingError: the processes see different checkpoints.
    """

    def __init__(
        self, config: RunConfig, task: Task[Batch, Result], accelerator: "Accelerator", progress: Progress
    ) -> None:
        self.config, self.task, self.accelerator, self.progress = config, task, accelerator, progress
        self.folder = config.checkpoints
        self.on_gpu = accelerator.device.type == "cuda"
        self.sharded = sharding_asked()
        self.step, self.lr, self.phase = 0, 0.0, ""
        self.optimizer: torch.optim.Optimizer
        self.model: Any = None  # the module that learns, as Accelerate wraps it
        self.wrapped_optimizer: Any = None  # the optimizer, as Accelerate wraps it
        self.waiting: list[tuple[float, Tensor]] = []  # rate and sums of steps whose loss was not yet looked at
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                f"a run's output is a folder that can be written, and {self.folder} is not: {error}"
            ) from error
        if not accelerator.trackers:
            accelerator.init_trackers("senet_zoo", {key: str(value) for key, value in task.identity.items()})
        self._restore(newest_checkpoint(self.folder))
        if accelerator.is_main_process:
            self._write_config(self.folder, finished=False)

    def fit(self) -> Result:
        """Train to the end, and write the finished folder.

        Raises:
            TrainingError: the loss is not finite, or the disk did not take a file.
            DataError: too many pictures in a row cannot be read.
        """
        batches = self.task.batches(self.step, pin=self.on_gpu)
        try:
            with torch.random.fork_rng([torch.cuda.current_device()] if self.on_gpu else []):
                while not self.task.is_done(self.step):
                    self._measured_steps(batches)
            result = self.task.result()
        finally:
            if self.sharded:
                for module in self.task.modules.values():
                    release(module)
        if self.accelerator.is_main_process:
            self._finish(result)
        return result

    def _measured_steps(self, batches: Iterator[Batch]) -> None:
        """The steps until the next measurement, and that."""
        task = self.task
        if self.phase != task.phase(self.step):
            self._enter(task.phase(self.step))
        task.begin(self.step)
        measured = False
        while not measured:
            self._step(batches)
            measured = task.is_measured(self.step)
            every = self.config.checkpoint_steps
            saved = measured or bool(every and self.step % every == 0)
            if saved or not self.on_gpu or len(self.waiting) >= LOSSES_KEPT:
                self._look()
            if saved:
                self._refuse_spoilt()
            if saved and not measured:
                self._save()
        row: Any = task.measure(self.step, self.lr)
        self.accelerator.log({key: value for key, value in asdict(row).items() if key != "step"}, step=row.step)
        self.progress.end(row)
        self._save()

    def _step(self, batches: Iterator[Batch]) -> None:
        task = self.task
        lr = task.rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr * group["scale"]
        pieces, total = task.share.pieces, torch.zeros((), device=self.accelerator.device)
        for piece in range(pieces):
            last = piece == pieces - 1
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                loss, sums = task.loss(self.model, next(batches), self.step, piece)
                self.accelerator.backward(loss / pieces)
            total = total + sums
        self.wrapped_optimizer.step()
        self.wrapped_optimizer.zero_grad()
        task.after_step()
        self.step += 1
        self.waiting.append((lr, self.accelerator.reduce(total)))

    def _look(self) -> None:
        """Read the steps' losses, which stops a GPU's queue, and refuse what is not finite."""
        first = self.step - len(self.waiting) + 1
        for step, (lr, sums) in enumerate(self.waiting, first):
            self.lr, values = lr, sums.tolist()
            if not math.isfinite(values[0]):
                raise self._not_finite(f"the loss is {values[0] / values[-1]} at step {step}")
            self.task.count(step, values)
        self.waiting.clear()

    def _refuse_spoilt(self) -> None:
        # The last step's loss was finite before its update; a checkpoint holds what the update made.
        tensors = gathered(self.task.modules["model"].state_dict()).values()
        if not all(bool(tensor.isfinite().all()) for tensor in tensors):
            raise self._not_finite(f"a weight is not after step {self.step}")

    def _not_finite(self, what: str) -> TrainingError:
        return TrainingError(
            f"a run stays finite, but {what}, at a learning rate of {self.lr:.3g}. {last_good(self.folder)} Choose a "
            "lower rate (and bf16 or fp32 where this was fp16), and another output folder"
        )

    def _enter(self, phase: str) -> None:
        self.phase = phase
        self.optimizer = self.task.optimizer(phase)
        module = self.task.modules["model"]
        if self.sharded:
            self.model, self.wrapped_optimizer = module, self.accelerator.prepare(self.optimizer)
            return
        if self.model is not None:  # of the phase before
            self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
            self.accelerator.free_memory(self.model, self.wrapped_optimizer)
        self.model, self.wrapped_optimizer = self.accelerator.prepare(module, self.optimizer)

    def _save(self) -> None:
        from accelerate.utils import gather_object

        task = self.task
        self.progress.skip(task.unreadable, dict(gather_object(sorted(task.unreadable.items()))))
        tensors = {
            f"{name}.{key}": tensor
            for name, module in task.modules.items()
            for key, tensor in module.state_dict().items()
        }
        tensors |= {f"kept.{key}": tensor for key, tensor in task.kept.items()}
        tensors |= {f"optimizer.{key}": tensor for key, tensor in optimizer_tensors(self.optimizer).items()}
        tensors = gathered(tensors)
        if not self.accelerator.is_main_process:
            return
        scaler = self.accelerator.scaler
        state = {
            "identity": task.identity,
            "phase": self.phase,
            "scaler": None if scaler is None else scaler.state_dict(),
            **task.state(),
        }
        write_checkpoint(self.folder, TrainingCheckpoint(self.step, tensors, state))

    def _restore(self, checkpoint: TrainingCheckpoint | None) -> None:
        self._agree_on(checkpoint)
        task = self.task
        task.prepare(checkpoint)
        if checkpoint is not None:
            self.step = checkpoint.step
            for name, module in task.modules.items():
                module.load_state_dict(checkpoint.under(f"{name}."))
            task.kept = checkpoint.under("kept.")
        if self.sharded:
            for module in task.modules.values():
                shard(module, self.accelerator.device)
        self._enter(task.phase(min(self.step, task.steps - 1)))
        if checkpoint is None:
            return
        state: dict[str, Any] = dict(checkpoint.state)
        if self.phase == state.get("phase", ""):
            load_optimizer(self.optimizer, checkpoint.under("optimizer."))
        if self.accelerator.scaler is not None and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def _agree_on(self, checkpoint: TrainingCheckpoint | None) -> None:
        step = torch.tensor([-1 if checkpoint is None else checkpoint.step], device=self.accelerator.device)
        steps = set(self.accelerator.gather(step).tolist())
        if len(steps) > 1:
            raise TrainingError(
                f"every process must see the same checkpoints, but {self.folder} shows them different ones; give an "
                "output folder that all machines share"
            )
        if checkpoint is not None:
            state: dict[str, Any] = dict(checkpoint.state)
            refuse_other_run(self.folder, state["identity"], self.task.identity)

    def _write_config(self, folder: Path, *, finished: bool) -> None:
        """The file that repeats the run; below the checkpoints it says how to go on."""
        machine = describe_machine(self.accelerator.device)
        versions = {name: value if isinstance(value, int) else str(value) for name, value in machine.items()}
        made = {"date": date.today().isoformat(), "processes": self.accelerator.num_processes, **versions}
        try:
            write_config(folder / CONFIG_FILE, {**self.task.config_values(finished=finished), MADE: made})
        except OSError as error:
            if finished:
                raise
            raise TrainingError(f"the run's configuration could not be written to {folder}: {error}") from error

    def _finish(self, result: Result) -> None:
        """Write the files apart, move them into the output folder when all are there, and remove the checkpoints."""
        staging, output = self.folder / STAGING, self.config.folder
        shutil.rmtree(staging, ignore_errors=True)  # of a process that was killed
        try:
            described = self.task.save(staging, result)
            (staging / METRICS).write_text(as_csv(self.task.history))
            self._write_config(staging, finished=True)
            text = json.dumps({**self.task.identity, **described}, indent=2, ensure_ascii=False)
            # A path that is not UTF-8 has surrogates, and their escapes are JSON's own.
            (staging / RUN).write_bytes(text.encode(errors="backslashreplace") + b"\n")
            # The tensors last: without them the folder is no model.
            for path in sorted(staging.iterdir(), key=lambda path: path.name == TENSORS):
                path.replace(output / path.name)
            remove_checkpoints(self.folder)
        except (OSError, WeightsUnavailable) as error:
            raise TrainingError(
                f"what was trained could not be written to {output}: {error}. Its checkpoints are still there: make "
                "room and run the same command again"
            ) from error
        finally:
            if any(staging.glob("*")):
                shutil.rmtree(staging, ignore_errors=True)


def remove_checkpoints(folder: Path) -> None:
    """Remove the checkpoints of a finished run; the empty `STAGING` says that it is finished, and goes last.

    What somebody else keeps there stays.
    """
    for path in folder.iterdir():
        if is_checkpoint(path) or is_part(path) or (path.name == CONFIG_FILE and is_config(path)):
            path.unlink()
    (folder / STAGING).rmdir()
    if not any(folder.iterdir()):
        folder.rmdir()


def refuse_finished(config: RunConfig, row: "type[DataclassInstance]") -> None:
    """Refuse an output folder that holds a network or files that no run wrote, or is a file.

    Checkpoints that a run was killed over removing are removed.

    Args:
        config: of the run.
        row: what `METRICS` has a line of for each measurement.

    Raises:
        UsageError: it does, or is.
    """
    output, staging = config.folder, config.checkpoints / STAGING
    if (output / TENSORS).exists():
        with suppress(OSError):  # another process of the run was quicker
            if not any(staging.iterdir()):
                remove_checkpoints(config.checkpoints)
        with suppress(OSError):  # not empty, or not there
            config.checkpoints.rmdir()
        raise UsageError(f"{output} holds a finished run ({TENSORS}); choose another output folder, or remove it")
    is_ours: dict[str, Callable[[Path], bool]] = {
        CONFIG_FILE: is_config,
        METRICS: partial(_is_table, row=row),
        RUN: _is_record,
    }
    foreign = [output / name for name, ours in is_ours.items() if (output / name).exists() and not ours(output / name)]
    foreign += [output / name for name in OTHERS if (output / name).exists()]
    if foreign:
        raise UsageError(
            f"a run writes over nothing that is not its own, and {' and '.join(map(str, foreign))} lies there: choose "
            "another output folder, or move it"
        )
    if output.exists() and not output.is_dir():
        raise UsageError(f"a run's output is a folder, and {output} is a file; choose another")


def _is_table(path: Path, row: "type[DataclassInstance]") -> bool:
    """Whether a file begins as the table of a run does."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline(1000).rstrip("\n") == ",".join(field.name for field in fields(row))
    except (OSError, UnicodeDecodeError):
        return False


def _is_record(path: Path) -> bool:
    """Whether a file is what a run says of itself."""
    try:
        found = read_json(path)
    except SenetZooError:
        return False
    return isinstance(found, Mapping) and {"model", "training pictures", "validation pictures", "seed"} <= found.keys()
