"""`fit`: from labelled pictures to a saved network."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from senet_zoo.data.datasets import train_and_val
from senet_zoo.errors import TrainingError
from senet_zoo.support.files import folder_lock
from senet_zoo.training.classification import Classification
from senet_zoo.training.config import RunConfig, TrainConfig
from senet_zoo.training.distributed import check_machine, check_options, launched
from senet_zoo.training.metrics import EpochRow
from senet_zoo.training.progress import Progress
from senet_zoo.training.result import TrainResult
from senet_zoo.training.run import Run, refuse_finished
from senet_zoo.training.step_config import StepConfig
from senet_zoo.weights.config import check_license
from senet_zoo.weights.foreign_files import refuse_foreign

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from accelerate import Accelerator

Trackers = tuple[str, ...]


def fit(config: TrainConfig, progress: Progress | None = None) -> TrainResult:
    """Train a network and save it; under ``torchrun`` or ``accelerate launch``, in all processes together.

    The same command gives the same bits on the CPU, whether it was interrupted or not. Several processes walk through
    the same pictures in the same steps as one with the same batch. Batch norms measure each process's share, so that
    the loss is the same except for rounding only where they are frozen; blended or dropped parts differ by process.

    Raises:
        UsageError: values that contradict each other or the machine, or a folder that another run fills.
        DataError: pictures that nothing can be learnt from.
        TrainingError: the run cannot go on; the last good checkpoint is named.
        WeightsError: the weights to start from could not be had.

    Example:
        >>> fit(TrainConfig("flowers", "se_resnet50", "run7", device="tpu"))
        Traceback (most recent call last):
        ...
        senet_zoo.errors.UsageError: a run's device must be cpu or cuda, got 'tpu'; None is whatever there is
    """
    check_start(config, EpochRow, config.trackers)
    check_options(config)
    train, val = train_and_val(
        config.data,
        share=config.val_share,
        seed=config.seed,
        root=config.root,
        download=config.download,
        dims=config.dims,
    )
    with opened_run(config, progress, config.trackers, shards=True) as (accelerator, told):
        pieces = config.pieces
        while True:
            try:
                # No name for the task: this frame outlives the process group, and would keep its threads.
                return Run(
                    config, Classification(config, train, val, pieces, accelerator, told), accelerator, told
                ).fit()
            except RuntimeError as error:
                _refuse_smaller_pieces(error, config, pieces, accelerator)
            pieces *= 2
            accelerator.free_memory()
            told.say(f"memory ran out: every step now goes in {pieces} pieces")


def check_start(config: TrainConfig | StepConfig[Any], row: "type[DataclassInstance]", trackers: Trackers = ()) -> None:
    """Refuse what no run can begin with, before any data is read.

    Args:
        config: of the run, whatever it learns.
        row: what the table of measurements has a line of.
        trackers: that Accelerate knows.

    Raises:
        UsageError: what this machine has not, a folder with files of another run or of others, or a malformed licence.
    """
    check_machine(config, trackers)
    refuse_finished(config, row)
    refuse_foreign(config.folder)
    if config.license is not None:
        check_license(config.license)


@contextmanager
def opened_run(
    config: RunConfig, progress: Progress | None, trackers: Trackers = (), *, shards: bool = False
) -> Iterator[tuple["Accelerator", Progress]]:
    """Open a run: this process among the others, and what is told of the run; its folder is locked meanwhile.

    Raises:
        TrainingError: the other processes cannot be reached, or one of them ended.
        UsageError: another run fills the folder, or the launcher asks for what there is not.
    """
    with (
        launched(config, trackers, shards=shards) as accelerator,
        folder_lock(config.folder) if accelerator.is_main_process else nullcontext(),
    ):
        told = progress or Progress(silent=not accelerator.is_main_process)
        try:
            yield accelerator, told
        finally:
            told.close()


def _refuse_smaller_pieces(error: RuntimeError, config: TrainConfig, pieces: int, accelerator: "Accelerator") -> None:
    """Raise again what smaller pieces of a step do not cure."""
    from accelerate.utils.memory import should_reduce_batch_size

    if not should_reduce_batch_size(error):
        raise error
    if accelerator.num_processes > 1 or (config.recipe.batch if config.batch is None else config.batch) % (2 * pieces):
        raise TrainingError(
            f"memory ran out, and a step in {pieces} piece{'s' if pieces > 1 else ''} for each of "
            f"{accelerator.num_processes} processes cannot be cut by itself here: run again with more pieces, a "
            "smaller batch or smaller pictures; it goes on from the last checkpoint, if any"
        ) from error
