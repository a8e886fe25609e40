"""Classification as a task of a run: the network before its first step, its batches, loss, measurement and files."""

import copy
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from senet_zoo.data.labelled import Labelled, digest_of
from senet_zoo.data.loader import load_batches
from senet_zoo.data.picture_paths import decoded
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.data.volumes import VolumePreprocessing, chosen_preprocessing, first_shape
from senet_zoo.evaluation.tables import plot_confusion
from senet_zoo.networks.network import ConvNet
from senet_zoo.training.augmentation import blended
from senet_zoo.training.batches import (
    LAYOUTS,
    LabelledBatch,
    Share,
    StepSampler,
    TrainingPictures,
    TrainingVolumes,
    describe_share,
    describe_volumes,
    training_batches,
)
from senet_zoo.training.checkpoints import TrainingCheckpoint
from senet_zoo.training.config import TrainConfig, scaled_recipe
from senet_zoo.training.config_file import CLASSIFICATION, plain, values_of_config
from senet_zoo.training.distributed import gathered, sharding_asked
from senet_zoo.training.metrics import EpochRow, History, ValidationScores, best, plot_curves, validate
from senet_zoo.training.model import (
    TrainedModel,
    balanced_weights,
    fuse_units,
    preprocessing_of,
    require_learnable,
    start,
)
from senet_zoo.training.moving_average import MovingAverage
from senet_zoo.training.optimizers import groups_of
from senet_zoo.training.progress import Progress
from senet_zoo.training.randomness import generator_of, seed_of, seeded
from senet_zoo.training.recipes import values_of
from senet_zoo.training.result import TrainResult
from senet_zoo.training.run import BEST, LAST, Task
from senet_zoo.training.whitening import WhitenedStart
from senet_zoo.weights.catalogue import split_name
from senet_zoo.weights.rows import Metric
from senet_zoo.weights.save import save_pretrained

if TYPE_CHECKING:
    from accelerate import Accelerator


class Classification(Task[LabelledBatch, TrainResult]):
    """A network that learns the classes of labelled pictures.

    Raises:
        UsageError: a batch that cannot be divided, or all that `create_model` raises.
        WeightsError: the weights to start from could not be had.
    """

    def __init__(
        self,
        config: TrainConfig,
        train: Labelled,
        val: Labelled,
        pieces: int,
        accelerator: "Accelerator",
        progress: Progress,
    ) -> None:
        self.config, self.train, self.val = config, train, val
        self.accelerator, self.progress = accelerator, progress
        share = Share(accelerator.process_index, accelerator.num_processes, pieces)
        self.recipe = scaled_recipe(config, len(train), share.ranks * pieces, progress)
        shape = None if config.dims == 2 else first_shape(train, config.dims)
        # as it is measured and saved: whole, plain norms
        self.network = start(config, self.recipe, train.classes, None if shape is None else shape[0])
        self.preprocessing: Preprocessing | VolumePreprocessing
        if shape is None:
            self.preprocessing = preprocessing_of(config, self.network)
            sides = {self.recipe.side(epoch, self.preprocessing.size) for epoch in range(self.recipe.epochs)}
            shapes: set[tuple[int, ...]] = {(side, side) for side in sides}
        else:
            self.preprocessing = chosen_preprocessing(shape, config.sides)
            shapes = {self.preprocessing.sides}
            progress.say(describe_volumes(self.preprocessing, self.recipe))
        require_learnable(self.network, shapes, self.recipe.batch // (share.ranks * pieces))
        progress.say(describe_share(share, self.recipe.batch, str(accelerator.device)))
        self.class_weights = balanced_weights(train).to(accelerator.device) if config.class_weights else None
        self.per_epoch = len(train) // self.recipe.batch
        steps = self.recipe.epochs * self.per_epoch
        self.sharded = sharding_asked()
        self.model = self._trained_model()
        length = self.recipe.ema * steps  # of the average, in steps
        self.average = MovingAverage(self.model.network, max(0.0, 1.0 - 1.0 / length)) if length else None
        if config.sync_norm:
            self.model = nn.SyncBatchNorm.convert_sync_batchnorm(self.model)
        modules: dict[str, nn.Module] = {"model": self.model}
        if self.average:
            modules["average"] = self.average.network
        super().__init__(modules, self._identity(), steps, share)
        self.history: History = ()
        self.unreadable_val: dict[int, str] = {}
        self.fused = False
        self.other: dict[str, Tensor] = {}  # of the best epoch or the last, whichever is not the folder's
        self.digest = digest_of(train, val) if accelerator.is_main_process else None
        if config.data_digest not in (None, self.digest):
            progress.say(f"{config.data} holds other pictures than those that this configuration was made with")
        self.loss_sum = self.right = self.seconds = 0.0  # of this epoch so far: over its pictures, and until `began`
        self.began: float | None = None

    @property
    def layout(self) -> torch.memory_format:
        """Of the maps in memory."""
        return LAYOUTS[self.network.spec.dimensions.count]

    @property
    def _sides(self) -> tuple[int, ...] | None:
        return self.preprocessing.sides if isinstance(self.preprocessing, VolumePreprocessing) else None

    def _trained_model(self) -> TrainedModel:
        device, copied = self.accelerator.device, self.sharded or self.config.sync_norm
        self.network.to(device)
        with seeded(self.config.seed, "auxiliary"):
            model = TrainedModel(copy.deepcopy(self.network) if copied else self.network)
        # What is sharded must be contiguous; pictures are channels_last in either case.
        return model.to(device).to(memory_format=torch.contiguous_format if self.sharded else self.layout)

    def _identity(self) -> Mapping[str, object]:
        config = self.config
        return {
            "model": config.model,
            "pretrained": config.pretrained,
            "weights": None if config.weights is None else str(config.weights),
            "data": config.data,
            "classes": len(self.train.classes),
            "training pictures": len(self.train),
            "validation pictures": len(self.val),
            "side": self.preprocessing.size,
            # None as in checkpoints from before there were any.
            "dimensions": plain(config.dimensions) if config.dims != 2 else None,
            "sides": plain(self._sides),
            "class weights": config.class_weights,
            "patience": config.patience,
            "precision": config.precision,
            "seed": config.seed,
            # None as in checkpoints from before there were any.
            "synchronised norms": config.sync_norm or None,
            "fused units": config.fused or None,
            "gate": config.se,
            **values_of(self.recipe),
        }

    def config_values(self, *, finished: bool) -> dict[str, object]:
        chosen = replace(
            self.config,
            recipe=self.recipe,
            epochs=None,
            batch=None,
            rate=None,
            drop_path=None,
            size=self.preprocessing.size if self._sides is None else None,
            sides=self._sides,
            pieces=self.share.pieces,
            fused=self.fused if finished else self.config.fused,
            data_digest=self.digest,
        )
        return values_of_config(chosen, CLASSIFICATION, self.config.recipe)

    def prepare(self, checkpoint: TrainingCheckpoint | None) -> None:
        state: dict[str, Any] = {} if checkpoint is None else dict(checkpoint.state)
        before = None if checkpoint is None else bool(state["fused"])
        self.fused = fuse_units(self.model, self.config.fused, before, self.accelerator, self.progress)
        if self.config.compile:
            # In place, so that names stay. One graph a size: a recipe has few, and fixed shapes compile to faster code.
            self.model.compile(dynamic=False)
        if checkpoint is None:
            if self.recipe.start is not None:
                self._apply(self.recipe.start)
            return
        self.history = tuple(EpochRow(**row) for row in state["history"])
        self.loss_sum, self.right, self.seconds = state["sums"]
        self.unreadable = {index: self._skipped(self.train, index) for index in state["unreadable"]}
        self.progress.say(f"going on after step {checkpoint.step}, {len(self.history)} epochs done")

    def _apply(self, start: WhitenedStart) -> None:
        """Compute what the run starts with, from pictures as they are measured; all processes get the same."""
        count = min(start.pictures, len(self.train))
        chosen = torch.randperm(len(self.train), generator=generator_of(self.config.seed, "whitening"))[:count].tolist()
        batches = load_batches(self.train, self.preprocessing.transforms(), 500, self.config.workers, chosen)
        images = torch.cat([torch.stack(batch.tensors) for batch in batches if batch.tensors])
        start.apply(self.model.network, images)
        if self.average:
            self.average.network.load_state_dict(self.model.network.state_dict())
        self.progress.say(f"the stem whitens patches of {len(images)} training pictures")

    def state(self) -> dict[str, object]:
        return {
            "fused": self.fused,
            "history": [asdict(row) for row in self.history],
            "sums": [self.loss_sum, self.right, self._seconds()],
            "unreadable": sorted(self.unreadable),
        }

    def batches(self, start: int, *, pin: bool) -> Iterator[LabelledBatch]:
        pictures: TrainingPictures | TrainingVolumes
        if isinstance(self.preprocessing, VolumePreprocessing):
            pictures = TrainingVolumes(self.train, self.recipe, self.preprocessing, self.config.seed)
        else:
            pictures = TrainingPictures(self.train, self.recipe, self.preprocessing, self.config.seed)
        recipe, seed = self.recipe, self.config.seed
        keys = StepSampler(len(self.train), recipe.batch, recipe.epochs, seed, self.share, start)
        return training_batches(pictures, keys, self.config.workers, pin=pin)

    def phase(self, step: int) -> str:
        """``head`` while the classifier alone learns, then ``all``."""
        return "head" if step // self.per_epoch < self.recipe.head_epochs else "all"

    def optimizer(self, phase: str) -> torch.optim.Optimizer:
        network, recipe = self.model.network, self.recipe
        network.requires_grad_(phase == "all")
        network.classifier.requires_grad_(True)
        if recipe.start is not None:
            recipe.start.freeze(network)
        groups = groups_of(
            self.model,
            network,
            layer_decay=recipe.layer_decay,
            weight_decay=recipe.weight_decay,
            vector_decay=recipe.vector_decay,
        )
        return recipe.optimizer.build(groups)

    def rate(self, step: int) -> float:
        return self.recipe.rate * self.recipe.factor(step / self.per_epoch, tuple(row.val_loss for row in self.history))

    def begin(self, step: int) -> None:
        epoch, recipe = len(self.history), self.recipe
        self.model.set_modes(
            head_only=self.phase(step) == "head", frozen_norm=epoch >= recipe.epochs - recipe.frozen_norm_epochs
        )
        title = f"epoch {epoch + 1}/{recipe.epochs}"
        self.progress.begin(title, self.per_epoch * recipe.batch, step % self.per_epoch * recipe.batch)
        self.began = time.perf_counter()

    def loss(self, model: nn.Module, batch: LabelledBatch, step: int, piece: int) -> tuple[Tensor, Tensor]:
        """Cross-entropy, with sums of the loss, of right first classes and of pictures."""
        config, recipe, device = self.config, self.recipe, self.accelerator.device
        self.progress.skip(self.unreadable, {index: self._skipped(self.train, index) for index in batch.unreadable})
        torch.manual_seed(seed_of(config.seed, "step", step, piece, self.share.rank))
        images = batch.images.to(device, memory_format=self.layout, non_blocking=True)
        labels = batch.labels.to(device, non_blocking=True)
        classes = self.network.num_classes
        images, targets = blended(images, labels, classes, mixup=recipe.mixup, cutmix=recipe.cutmix)
        outputs = self._forward(model, images)
        loss = self.model.loss(outputs, targets, self.class_weights, recipe.label_smoothing)
        right = (outputs[0].detach().argmax(1) == labels).sum().float()
        return loss, torch.stack([loss.detach() * len(labels), right, right.new_tensor(len(labels))])

    def _forward(self, model: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
        if not self.sharded:
            outputs: tuple[Tensor, ...] = model(images)
            return outputs
        with self.accelerator.autocast():  # which Accelerate's own wrapper does
            outputs = model(images)
        return tuple(each.float() for each in outputs)

    def after_step(self) -> None:
        if self.average:
            self.average.follow(self.model.network)

    def count(self, step: int, sums: list[float]) -> None:
        loss, right, pictures = sums
        self.loss_sum += loss
        self.right += right
        done = ((step - 1) % self.per_epoch + 1) * self.recipe.batch
        self.progress.advance(int(pictures), self.loss_sum / done, 100.0 * self.right / done)

    def is_measured(self, step: int) -> bool:
        return step % self.per_epoch == 0

    def measure(self, step: int, rate: float) -> EpochRow:
        """Measure on the validation pictures, and keep the network if none was better."""
        seconds, pictures = self._seconds(), self.per_epoch * self.recipe.batch
        source = self._measured_network()
        scores = self._validate(source)
        row = EpochRow(
            epoch=len(self.history) + 1,
            step=step,
            rate=rate,
            loss=self.loss_sum / pictures,
            top1=100.0 * self.right / pictures,
            val_loss=scores.loss,
            val_top1=scores.top1,
            images_per_second=pictures / seconds,
            seconds=seconds,
        )
        self.history = (*self.history, row)
        self.loss_sum = self.right = self.seconds = 0.0
        self.began = None
        if best(self.history) == row:
            self.kept = {key: tensor.detach().clone() for key, tensor in source.state_dict().items()}
        return row

    def is_done(self, step: int) -> bool:
        """After the last epoch, or so many without a better one."""
        epoch, patience = len(self.history), self.config.patience
        waited = epoch - best(self.history).epoch if self.history else 0
        return epoch == self.recipe.epochs or (patience is not None and waited >= patience)

    def result(self) -> TrainResult:
        """Give the network the tensors that are saved, and measure it once more."""
        output, name, saved = self.config.folder, split_name(self.config.model)[0], self._saved()
        if best(self.history) != self.history[-1] and self.kept:
            last = {key: tensor.clone() for key, tensor in self._measured_network().state_dict().items()}
            wanted, self.other = (last, self.kept) if saved == self.history[-1] else (self.kept, last)
            self.network.load_state_dict(wanted)
        else:
            self.network.load_state_dict(self._measured_network().state_dict())
        scores = self._validate(self.network)
        names = [self.train.names[index] for index in sorted(self.unreadable)]
        return TrainResult(
            folder=output,
            model=name,
            classes=self.train.classes,
            history=self.history,
            epoch=saved.epoch,
            best_epoch=best(self.history).epoch,
            other=output / (BEST if saved == self.history[-1] else LAST) if self.other else None,
            val_top1=scores.top1,
            val_loss=scores.loss,
            val_pictures=scores.count,
            confusion=tuple(map(tuple, scores.confusion.tolist())),
            unreadable=(*names, *(self.val.names[index] for index in sorted(scores.unreadable))),
            predict=f"senet-zoo predict --weights {quote(str(output))} PICTURE"
            if self._sides is None
            else f"model = senet_zoo.from_pretrained({str(output)!r}); "
            "model(model.weights.transforms()(read_volume(FILE))[None]), of senet_zoo.data.volumes",
        )

    def _saved(self) -> EpochRow:
        """The epoch whose network is the folder's."""
        return self.history[-1] if self.config.patience is None else best(self.history)

    def save(self, folder: Path, result: TrainResult) -> Mapping[str, object]:
        self._save_network(self.network, folder, result.val_top1, result, chose=self.config.patience is not None)
        if result.other is not None:
            other = copy.deepcopy(self.network)
            other.load_state_dict(self.other)
            is_best = result.other.name == BEST
            row = best(self.history) if is_best else self.history[-1]
            self._save_network(other, folder / result.other.name, row.val_top1, result, chose=is_best)
        plot_curves(folder / "curves.png", result.history, result.epoch)
        plot_confusion(folder / "confusion.png", torch.tensor(result.confusion), result.classes)
        return {
            "units were fused": self.fused,
            **{each.name: plain(getattr(self.recipe, each.name)) for each in fields(self.recipe)},
            "saved epoch": result.epoch,
            "best epoch": result.best_epoch,
            "val top-1": result.val_top1,
            "unreadable": result.unreadable,
        }

    def _save_network(self, network: ConvNet, folder: Path, top1: float, result: TrainResult, *, chose: bool) -> None:
        metric = Metric(
            name="top1",
            value=round(top1, 2),
            dataset=f"{decoded(Path(self.config.data).name)} val ({result.val_pictures} pictures)",
            size=self.preprocessing.size,
            who="senet-zoo train, after training" + (", which chose the epoch by it" if chose else ""),
            measured_by_us=True,
        )
        save_pretrained(
            network,
            folder,
            preprocessing=self.preprocessing,
            categories=result.classes,
            license=self.config.license,
            metrics=(metric,),
        )

    def _measured_network(self) -> ConvNet:
        """The network that is measured and saved; all processes ask together."""
        source = self.average.network if self.average else self.model.network
        if source is self.network or (self.average and not self.sharded):
            return source
        self.network.load_state_dict(gathered(source.state_dict()))
        return self.network

    def _validate(self, network: ConvNet) -> ValidationScores:
        share = self.share
        size = max(1, self.recipe.batch // (share.ranks * share.pieces))
        scores = validate(network, self.val, self.preprocessing, share, size, self.config.workers, self.accelerator)
        self.progress.skip(self.unreadable_val, {index: self._skipped(self.val, index) for index in scores.unreadable})
        return scores

    def _seconds(self) -> float:
        """Of this epoch's training so far."""
        return self.seconds + (0.0 if self.began is None else time.perf_counter() - self.began)

    @staticmethod
    def _skipped(data: Labelled, index: int) -> str:
        return f"{data.names[index]} cannot be read"
