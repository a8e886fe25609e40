"""The training loop: Hugging Face Accelerate moves it to devices and processes, checkpoints let it go on.

All that a step draws or schedules is a function of the seed and the step (`senet_zoo.training.randomness`,
`senet_zoo.training.schedules`), so that its state is no more than tensors, the history and this epoch's sums.
"""

import copy
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from senet_zoo.data.labelled import Labelled
from senet_zoo.errors import TrainingError
from senet_zoo.networks.network import ConvNet
from senet_zoo.training.checkpoints import Checkpoint, last_good, newest_checkpoint, refuse_other_run, write_checkpoint
from senet_zoo.training.feeding import Batch, Share, Steps, TrainingPictures, ValidationPictures, training_batches
from senet_zoo.training.fusing import fuse
from senet_zoo.training.job import Job
from senet_zoo.training.measuring import Scores, measure
from senet_zoo.training.mixing import mixed
from senet_zoo.training.optimizers import groups_of, load_optimizer, optimizer_tensors
from senet_zoo.training.progress import EpochRow, History, Progress, best
from senet_zoo.training.randomness import seed_of, seeded
from senet_zoo.training.sharding import let_go, shard, whole
from senet_zoo.training.trainee import Average, Trainee

if TYPE_CHECKING:
    from accelerate import Accelerator

LOOK_EVERY = 20  # steps between two looks at the loss on a GPU, which waits for it


class Engine:
    """One run, from its newest checkpoint to its end.

    Args:
        job: what is to be trained.
        accelerator: where; made for this run.
        progress: told of every step and epoch.

    Raises:
        UsageError: the folder's checkpoints are another run's.
    """

    def __init__(self, job: Job, accelerator: "Accelerator", progress: Progress) -> None:
        self.job, self.accelerator, self.progress = job, accelerator, progress
        self.on_gpu = accelerator.device.type == "cuda"
        self.share = Share(accelerator.process_index, accelerator.num_processes, job.pieces)
        self.per_epoch = len(job.train) // job.recipe.batch
        job.network.to(accelerator.device)
        with seeded(job.seed, "auxiliary"):
            # The job's own network stays as it is saved: whole, with plain batch norms.
            trainee = Trainee(copy.deepcopy(job.network) if job.sharded or job.sync_norm else job.network)
        # What is sharded must be contiguous; pictures are channels_last in either case.
        layout = torch.contiguous_format if job.sharded else torch.channels_last
        self.trainee = trainee.to(accelerator.device).to(memory_format=layout)
        length = job.recipe.ema * job.recipe.epochs * self.per_epoch  # of the average, in steps
        self.average = Average(self.trainee.network, max(0.0, 1.0 - 1.0 / length)) if length else None
        if job.sync_norm:
            self.trainee = torch.nn.SyncBatchNorm.convert_sync_batchnorm(self.trainee)
        checkpoint = newest_checkpoint(job.folder)
        self._agree_on(checkpoint)
        self.fused = fuse(self.trainee, job.fused, checkpoint, accelerator, progress)
        if job.compile:
            # In place, so that names stay. One graph a size: a recipe has few, and fixed shapes compile to faster code.
            self.trainee.compile(dynamic=False)
        self.validation = ValidationPictures(job.val, job.preprocessing)
        self.weights = None if job.class_weights is None else job.class_weights.to(accelerator.device)
        self.model: Any = None  # the trainee as Accelerate wraps it
        self.stepper: Any = None  # the optimizer, likewise
        self.phase = ""
        self.step = 0
        self.history: History = ()
        self.loss = self.right = self.seconds = 0.0  # of this epoch so far: sums over its pictures, and time
        self.unreadable: set[int] = set()  # indices of training pictures
        self.unreadable_val: set[int] = set()
        self.kept: dict[str, Tensor] = {}  # the best network's tensors, where patience asks for them
        self.waiting: list[tuple[float, Tensor]] = []  # rate and sums of steps not yet looked at
        self._restore(checkpoint)

    def run(self) -> History:
        """Train to the end, and leave in the job's network what is to be saved.

        Raises:
            TrainingError: the loss is not finite, or a checkpoint could not be written.
            DataError: too many pictures in a row cannot be read.
        """
        job = self.job
        pictures = TrainingPictures(job.train, job.recipe, job.preprocessing, job.seed)
        steps = Steps(len(job.train), job.recipe.batch, job.recipe.epochs, job.seed, self.share, self.step)
        batches = training_batches(pictures, steps, job.workers, pin=self.on_gpu)
        try:
            with torch.random.fork_rng([torch.cuda.current_device()] if self.on_gpu else []):
                while not self._finished():
                    self._epoch(batches)
            job.network.load_state_dict(self.kept or self._source().state_dict())
        finally:
            if job.sharded:
                for module in (self.trainee, *([self.average.network] if self.average else [])):
                    let_go(module)
        return self.history

    def _source(self) -> ConvNet:
        """The network that is measured and saved; all processes ask together."""
        source = self.average.network if self.average else self.trainee.network
        if source is self.job.network or (self.average and not self.job.sharded):
            return source
        self.job.network.load_state_dict(whole(source.state_dict()))
        return self.job.network

    def measure(self) -> Scores:
        """Score the job's network on the validation pictures."""
        return self._measure(self.job.network)

    def _finished(self) -> bool:
        epoch, patience = len(self.history), self.job.patience
        tired = patience is not None and self.history and epoch - best(self.history).epoch >= patience
        return bool(tired) or epoch == self.job.recipe.epochs

    def _epoch(self, batches: Iterator[Batch]) -> None:
        job, epoch = self.job, len(self.history)
        size = job.recipe.batch
        if self.phase != self._phase_of(epoch):
            self._enter(epoch)
        self.trainee.ready(
            head_only=self.phase == "head", frozen_norm=epoch >= job.recipe.epochs - job.recipe.frozen_norm_epochs
        )
        self.progress.begin(epoch + 1, job.recipe.epochs, self.per_epoch * size, self.step % self.per_epoch * size)
        start = time.perf_counter()
        before = self.seconds
        for _ in range(self.step % self.per_epoch, self.per_epoch):
            self._step(batches)
            last = self.step % self.per_epoch == 0
            saves = not last and job.checkpoint_steps and self.step % job.checkpoint_steps == 0
            if last or saves or not self.on_gpu or len(self.waiting) >= LOOK_EVERY:
                self._look(epoch)
            if last or saves:
                self._refuse_spoilt(epoch)
            if saves:
                self.seconds = before + time.perf_counter() - start
                self._save()
        self.seconds = before + time.perf_counter() - start
        self._close_epoch()

    def _step(self, batches: Iterator[Batch]) -> None:
        job, device = self.job, self.accelerator.device
        rate = job.recipe.rate * job.recipe.factor(
            self.step / self.per_epoch, tuple(row.val_loss for row in self.history)
        )
        for group, scale in zip(self.optimizer.param_groups, self.scales, strict=True):
            group["lr"] = rate * scale
        sums = torch.zeros(3, device=device)  # loss, right, pictures
        for piece in range(job.pieces):
            batch = next(batches)
            self._name_unreadable(job.train, self.unreadable, batch.unreadable)
            torch.manual_seed(seed_of(job.seed, "step", self.step, piece, self.share.rank))
            images = batch.images.to(device, memory_format=torch.channels_last, non_blocking=True)
            labels = batch.labels.to(device, non_blocking=True)
            images, targets = mixed(images, labels, job.network.num_classes, job.recipe)
            last = piece == job.pieces - 1
            with nullcontext() if last else self.accelerator.no_sync(self.model):
                outputs = self._forward(images)
                loss = self.trainee.loss(outputs, targets, self.weights, job.recipe.label_smoothing)
                self.accelerator.backward(loss / job.pieces)
            right = (outputs[0].detach().argmax(1) == labels).sum()
            sums += torch.stack([loss.detach() * len(labels), right.float(), right.new_tensor(len(labels)).float()])
        self.stepper.step()
        self.stepper.zero_grad()
        if self.average:
            self.average.follow(self.trainee.network)
        self.step += 1
        self.waiting.append((rate, self.accelerator.reduce(sums)))

    def _forward(self, images: Tensor) -> tuple[Tensor, ...]:
        if not self.job.sharded:
            outputs: tuple[Tensor, ...] = self.model(images)
            return outputs
        with self.accelerator.autocast():  # which Accelerate's own wrapper does
            outputs = self.model(images)
        return tuple(each.float() for each in outputs)

    def _look(self, epoch: int) -> None:
        """Read the steps' losses, which stops a GPU's queue, and refuse what is not finite."""
        first = self.step - len(self.waiting) + 1
        for step, (rate, sums) in enumerate(self.waiting, first):
            loss, right, pictures = sums.tolist()
            self.rate = rate
            if not math.isfinite(loss):
                raise self._not_finite(f"the loss is {loss / pictures} at step {step}", epoch)
            self.loss += loss
            self.right += right
            done = ((step - 1) % self.per_epoch + 1) * self.job.recipe.batch
            self.progress.advance(int(pictures), self.loss / done, 100.0 * self.right / done)
        self.waiting.clear()

    def _not_finite(self, what: str, epoch: int) -> TrainingError:
        return TrainingError(
            f"a run stays finite, but {what} (epoch {epoch + 1}), at a learning rate of {self.rate:.3g}. "
            f"{last_good(self.job.folder)} Choose a lower rate (and bf16 or fp32 where this was fp16), and another "
            "output folder"
        )

    def _refuse_spoilt(self, epoch: int) -> None:
        # The last step's loss was finite before its update; a checkpoint holds what the update made.
        if not all(bool(tensor.isfinite().all()) for tensor in whole(self.trainee.state_dict()).values()):
            raise self._not_finite(f"a weight is not after step {self.step}", epoch)

    def _close_epoch(self) -> None:
        source = self._source()
        scores = self._measure(source)
        pictures = self.per_epoch * self.job.recipe.batch
        row = EpochRow(
            epoch=len(self.history) + 1,
            step=self.step,
            rate=self.rate,
            loss=self.loss / pictures,
            top1=100.0 * self.right / pictures,
            val_loss=scores.loss,
            val_top1=scores.top1,
            images_per_second=pictures / self.seconds,
            seconds=self.seconds,
        )
        self.history = (*self.history, row)
        self.loss = self.right = self.seconds = 0.0
        if self.job.patience is not None and best(self.history) == row:
            self.kept = {key: tensor.detach().clone() for key, tensor in source.state_dict().items()}
        self.accelerator.log({key: value for key, value in asdict(row).items() if key != "step"}, step=row.step)
        self.progress.end(row)
        self._save()

    def _measure(self, network: ConvNet) -> Scores:
        size = max(1, self.job.recipe.batch // (self.share.ranks * self.share.pieces))
        scores = measure(network, self.validation, self.share, size, self.job.workers, self.accelerator)
        self._name_unreadable(self.job.val, self.unreadable_val, scores.unreadable)
        return scores

    def _name_unreadable(self, data: Labelled, known: set[int], indices: Iterable[int]) -> None:
        for index in sorted(set(indices) - known):
            known.add(index)
            self.progress.say(f"skipped, for it cannot be read: {data.names[index]}")

    def _phase_of(self, epoch: int) -> str:
        return "head" if epoch < self.job.recipe.head_epochs else "all"

    def _enter(self, epoch: int) -> None:
        """Choose which parameters learn in the epoch's phase, with an optimizer at rest."""
        job, recipe = self.job, self.job.recipe
        self.phase = self._phase_of(epoch)
        network = self.trainee.network
        network.requires_grad_(self.phase == "all")
        network.classifier.requires_grad_(True)
        groups = groups_of(
            self.trainee,
            network,
            layer_decay=recipe.layer_decay,
            weight_decay=recipe.weight_decay,
            vector_decay=recipe.vector_decay,
        )
        self.scales = [group.scale for group in groups]
        self.optimizer = recipe.optimizer.build(groups)
        if job.sharded:
            self.model, self.stepper = self.trainee, self.accelerator.prepare(self.optimizer)
            return
        if self.model is not None:  # of the phase before
            self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
            self.accelerator.free_memory(self.model, self.stepper)
        self.model, self.stepper = self.accelerator.prepare(self.trainee, self.optimizer)

    def _save(self) -> None:
        from accelerate.utils import gather_object

        self._name_unreadable(self.job.train, self.unreadable, gather_object(sorted(self.unreadable)))
        tensors = {f"model.{key}": tensor for key, tensor in self.trainee.state_dict().items()}
        if self.average:
            tensors |= {f"average.{key}": tensor for key, tensor in self.average.network.state_dict().items()}
        tensors |= {f"kept.{key}": tensor for key, tensor in self.kept.items()}
        tensors |= {f"optimizer.{key}": tensor for key, tensor in optimizer_tensors(self.optimizer).items()}
        tensors = whole(tensors)
        if not self.accelerator.is_main_process:
            return
        scaler = self.accelerator.scaler
        state = {
            "identity": self.job.identity,
            "fused": self.fused,
            "phase": self.phase,
            "history": [asdict(row) for row in self.history],
            "sums": [self.loss, self.right, self.seconds],
            "unreadable": sorted(self.unreadable),
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        write_checkpoint(self.job.folder, Checkpoint(self.step, tensors, state))

    def _restore(self, checkpoint: Checkpoint | None) -> None:
        if checkpoint is None:
            self._shard()
            self._enter(0)
            return
        state: dict[str, Any] = dict(checkpoint.state)
        self.step = checkpoint.step
        self.history = tuple(EpochRow(**row) for row in state["history"])
        self.loss, self.right, self.seconds = state["sums"]
        self.unreadable = set(state["unreadable"])
        self.trainee.load_state_dict(checkpoint.under("model."))
        if self.average:
            self.average.network.load_state_dict(checkpoint.under("average."))
        self.kept = checkpoint.under("kept.")
        self._shard()
        self._enter(min(self.step // self.per_epoch, self.job.recipe.epochs - 1))
        if self.phase == state["phase"]:
            load_optimizer(self.optimizer, checkpoint.under("optimizer."))
        if self.accelerator.scaler is not None and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.progress.say(f"going on after step {self.step}, {len(self.history)} epochs done")

    def _shard(self) -> None:
        """Spread the tensors over the processes, where that is asked for; they are whole until then."""
        if self.job.sharded:
            shard(self.trainee, self.trainee.network, self.accelerator.device)
            if self.average:
                shard(self.average.network, self.average.network, self.accelerator.device)

    def _agree_on(self, checkpoint: Checkpoint | None) -> None:
        step = torch.tensor([-1 if checkpoint is None else checkpoint.step], device=self.accelerator.device)
        steps = set(self.accelerator.gather(step).tolist())
        if len(steps) > 1:
            raise TrainingError(
                f"every process must see the same checkpoints, but {self.job.folder} shows them different ones; give "
                "an output folder that all machines share"
            )
        if checkpoint is not None:
            state: dict[str, Any] = dict(checkpoint.state)
            refuse_other_run(self.job.folder, state["identity"], self.job.identity)
