"""The configuration of a run: one frozen value, passed whole."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Literal

from senet_zoo.errors import UsageError
from senet_zoo.networks.dimensions import Dimensions
from senet_zoo.training.progress import Progress
from senet_zoo.training.recipes import FINETUNE, TrainRecipe
from senet_zoo.weights.variant import parse

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class RunConfig:
    """What every run is told, whatever it learns.

    Args:
        data: pictures to learn from and to measure on.
        model: name of the network.
        output: folder for what was trained, and for the checkpoints until then; an interrupted run goes on where the
            same command finds its checkpoints.
        pretrained: start from the published weights.
        weights: start from a file, a folder or ``hf://org/name@revision`` instead.
        epochs: the recipe stretched to so many passes over the pictures; None for its own length.
        batch: pictures a step, all processes together; None for the recipe's.
        rate: peak learning rate; None for the recipe's, scaled from its batch to this one.
        size: side of the pictures in pixels; None for the usual one.
        seed: of everything random.
        device: ``cpu``, ``cuda``, or None for whatever there is.
        precision: of the forward and backward pass; weights stay float32.
        workers: processes that prepare pictures, for each process that trains.
        checkpoint_steps: steps between two checkpoints, besides the one after each measurement; None for no others.
        data_digest: of the pictures that a configuration was made with; others are said, and trained on.
        command: what asked for this run, for the record.

    Raises:
        UsageError: a number outside its range.
    """

    data: str | Path
    model: str
    output: str | Path
    _: KW_ONLY
    pretrained: bool = False
    weights: str | Path | None = None
    epochs: int | None = None
    batch: int | None = None
    rate: float | None = None
    size: int | None = None
    seed: int = 0
    device: str | None = None
    precision: Precision = "fp32"
    workers: int = 2
    checkpoint_steps: int | None = None
    data_digest: str | None = None
    command: str | None = None

    def __post_init__(self) -> None:
        for name in ("data", "output"):
            if getattr(self, name) == "":  # as of a variable that a shell does not have; "." is the folder at hand
                raise UsageError(f"a run's {name} must be named, got ''")
        self._check_least({"epochs": 1, "batch": 1, "seed": 0, "workers": 0, "checkpoint_steps": 1})
        if self.rate is not None and self.rate <= 0.0:
            raise UsageError(f"a run's rate must be above 0, got {self.rate}")

    def _check_least(self, least: Mapping[str, int]) -> None:
        for name, number in least.items():
            value = getattr(self, name)
            if value is not None and value < number:
                raise UsageError(f"a run's {name} must be at least {number}, got {value}")

    @property
    def folder(self) -> Path:
        """The output folder."""
        return Path(self.output).expanduser()

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints, until the run is finished."""
        return self.folder / "checkpoints"


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """What to train, on what, and where; all that `RunConfig` takes, and what belongs to classification.

    Args:
        data: a folder of class folders, with or without train and val above them, or another address that
            `senet_zoo.data.datasets.open_data` reads. Without val, a share of train is split off.
        recipe: how; `senet_zoo.training.recipes` has them by name.
        drop_path: stochastic depth; None for the recipe's, 0 for networks without residual branches.
        val_share: of each class, measured on where the data has no val.
        class_weights: weigh every class alike in the loss, however many pictures it has.
        patience: epochs without a better validation accuracy after which the run ends, and the best network is the
            folder's; None to train to the end, and then the last one is.
        pieces: batches in which a process goes through its share of a step, whose gradients add up. One process that
            runs out of memory doubles it.
        trackers: that Accelerate knows, such as ``tensorboard`` or ``wandb``.
        license: SPDX name for the card; None for that of the weights trained on from.
        root: folder of torchvision's data sets.
        download: let torchvision fetch its data set where it is not there.
        sync_norm: batch norms measure the whole step, all processes together, not each process's share; on GPUs.
        compile: run the network through `torch.compile`.
        dims: 3 to learn from volumes and 1 from signals, as `senet_zoo.data.volumes` reads them; filters that were
            learnt on pictures are inflated.
        sides: of volumes (D, H, W) or signals (L,), to which they are resampled; None for those of the first one.
        depth_kernel: of the stem over a volume's planes; see `senet_zoo.Dimensions`.
        depth_stride: of the stem over a volume's planes.
        se: the gate's variant in words, such as ``reduction=8,placement=pre``, for networks that begin at random; None
            for the model's own.
        fused: run the ends of residual units as one operation each; see `senet_zoo.set_fused`. "auto" measures at
            the start whether that is faster, and says so; the choice is kept with the checkpoints, because both round
            differently.

    Raises:
        UsageError: a number outside its range.
    """

    data: str
    recipe: TrainRecipe = FINETUNE
    _: KW_ONLY
    drop_path: float | None = None
    val_share: float = 0.1
    class_weights: bool = False
    patience: int | None = None
    pieces: int = 1
    trackers: tuple[str, ...] = ()
    license: str | None = None
    root: Path | None = None
    download: bool = False
    sync_norm: bool = False
    compile: bool = False
    dims: Literal[1, 2, 3] = 2
    sides: tuple[int, ...] | None = None
    depth_kernel: int | None = None
    depth_stride: int | None = None
    se: str | None = None
    fused: bool | Literal["auto"] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.recipe, TrainRecipe):
            raise UsageError(
                'a run\'s recipe must be a TrainRecipe, such as senet_zoo.training.RECIPES["finetune"], '
                f"got {self.recipe!r}"
            )
        self._check_least({"size": 8, "patience": 1, "pieces": 1})
        if self.dims == 2 and (self.sides, self.depth_kernel, self.depth_stride) != (None, None, None):
            raise UsageError("a run's sides, depth_kernel and depth_stride are of volumes: add dims, 3 or 1")
        if self.dims != 2 and self.size is not None:
            raise UsageError("a run's size is the side of pictures; volumes and signals have sides")
        if self.se is not None:
            parse(self.se)
            if self.pretrained or self.weights is not None:
                raise UsageError("weights have the gate that they were trained with: leave se out, or start at random")
        if self.fused is not True and self.fused is not False and self.fused != "auto":
            raise UsageError(f'a run\'s fused must be True, False or "auto", got {self.fused!r}')

    @property
    def dimensions(self) -> Dimensions:
        """The axes of the network's maps.

        Raises:
            SpecError: choices of depth that no network has.
        """
        return Dimensions(self.dims, self.depth_kernel, self.depth_stride)

    def own_recipe(self, batch: int | None = None) -> TrainRecipe:
        """The recipe with the length, batch, rate and stochastic depth that this configuration asks for.

        Args:
            batch: pictures a step, where it cannot be the one that was asked for.
        """
        recipe = self.recipe if self.epochs is None else self.recipe.lasting(self.epochs)
        batch = batch or self.batch or recipe.batch
        return replace(
            recipe,
            batch=batch,
            rate=recipe.rate * batch / recipe.batch if self.rate is None else self.rate,
            drop_path=recipe.drop_path if self.drop_path is None else self.drop_path,
        )


def scaled_recipe(config: TrainConfig, pictures: int, parts: int, progress: Progress) -> TrainRecipe:
    """The recipe with the batch, the learning rate and the length of this run.

    A batch has no more than all ``pictures``, and is divided among ``parts``: processes x pieces.

    Raises:
        UsageError: a batch that cannot be divided equally.
    """
    batch = config.recipe.batch if config.batch is None else config.batch
    if batch > pictures:
        smaller = pictures // parts * parts
        progress.say(f"the batch is {smaller}, not {batch}, because there are {pictures} training pictures")
        batch = smaller
    if batch < parts or batch % parts:
        raise UsageError(
            f"a batch must be a multiple of processes x pieces ({parts}), so that each gets as many pictures, got "
            f"{batch}: choose {max(parts, batch // parts * parts)}"
        )
    recipe, base = config.own_recipe(batch), config.recipe
    scaled = config.rate is None and batch != base.batch
    progress.say(
        f"learning rate {recipe.rate:.4g} at a batch of {batch}"
        + (f": in proportion to the recipe's {base.rate:.4g} at {base.batch}" if scaled else "")
    )
    return recipe
