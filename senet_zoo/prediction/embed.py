"""`embed`: what a network makes of millions of pictures, by Ray Data, on one machine or a cluster.

Ray reads shards of pictures, decodes them on every core, runs a network on each GPU and writes Parquet. Its checkpoints
commit each file of rows together with their names, so that a run that is killed goes on with no row lost or doubled.
"""

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from enum import Enum
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from senet_zoo.data.picture_shards import Shard, picture_shards
from senet_zoo.data.pictures import decode_picture, prepare_picture
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import PictureError, UsageError
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.squeeze_excite import gates
from senet_zoo.prediction.predictor import Predictor
from senet_zoo.support.files import atomic_file, expanded, folder_lock
from senet_zoo.weights.save import sha256_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

ABOUT, CHECKPOINTS = "_about.json", "_checkpoints"  # readers of Parquet pass names with _ over
LEAST_CORES = 4  # for Ray, whose stages need one each, on a small machine as well


class EmbeddingKind(Enum):
    """What `embed` keeps of a picture."""

    FEATURES = "features"
    """What the classifier reads: the pooled map of most networks."""
    CLASSES = "classes"
    """The likeliest class, and the probability of each."""
    GATES = "gates"
    """The excitations of every gate, a column a gate, named as in the paper (``SE_2_1``)."""


@dataclass(frozen=True)
class Embeddings:
    """What `embed` wrote: where the rows are, and how many.

    Args:
        folder: holds ``failed=false`` and ``failed=true``, each Parquet.
        pictures: rows of pictures.
        failures: rows of pictures that could not be read.
        model: the network's name.
        sha256: of its weights.
    """

    folder: Path
    pictures: int
    failures: int
    model: str
    sha256: str


def embed(
    source: str | Path,
    output: str | Path,
    *,
    model: str | Path | ConvNet | None = None,
    weights: str | Path | None = None,
    kind: EmbeddingKind | str = EmbeddingKind.FEATURES,
    column: str | None = None,
    batch: int = 32,
) -> Embeddings:
    """Run a network over any number of pictures and write a row for each as Parquet.

    Ray does the work: on this machine, on the cluster that ``RAY_ADDRESS`` names, or on the one that the program has
    joined by ``ray.init``; on GPUs where there are any. Called again after it was killed, it goes on where it was;
    after it has ended, it does what is new in the source. On a cluster, every machine must reach source and output.

    Rows of ``failed=false`` have ``name``, ``model``, ``sha256`` and, by ``kind``, ``features``, or ``label``,
    ``probability`` and ``probabilities``, or a column a gate; those of ``failed=true`` have ``name`` and ``error``.
    ``pandas.read_parquet(output)`` reads both.

    Args:
        source: pictures, as `senet_zoo.data.picture_shards.picture_shards` takes them: folders, WebDataset's tars,
            Parquet, ``hf:owner/name``.
        output: a folder for these rows alone.
        model: a name, a saved folder or a network, as in `senet_zoo.Predictor`.
        weights: as in `senet_zoo.Predictor`.
        kind: what is kept of each picture.
        column: of Parquet or a data set, the one with the pictures.
        batch: pictures that a network sees at once.

    Raises:
        UsageError: Ray is not installed, the output holds rows of another run or is being written, or an option is
            wrong.
        DataError: there are no pictures.
        WeightsError: the weights cannot be had.
    """
    ray = _ray()
    kind = _kind(kind)
    if batch < 1:
        raise UsageError(f"batch must be at least 1, got {batch}")
    predictor = Predictor(model, weights=weights, device=None if isinstance(model, ConvNet) else "cpu")
    network, preprocessing = deepcopy(predictor.model).cpu(), predictor.preprocessing
    if not isinstance(network, ConvNet) or network.training:
        raise UsageError("embed takes a classifier of the zoo in eval mode: call model.eval(), or name another one")
    if not isinstance(preprocessing, Preprocessing):
        raise UsageError(f"embed reads pictures, and {predictor.name} is for volumes or signals: name another network")
    if kind is EmbeddingKind.GATES and not gates(network):
        raise UsageError(f"{predictor.name} has no gates; take one whose name starts with se_, or keep features")
    folder = expanded(output).absolute()  # Ray's checkpoints and its processes know no other
    if folder.resolve().is_relative_to(expanded(source).resolve()):
        raise UsageError(
            f"the rows would lie among the pictures of {source}: choose a folder beside them, not {output}"
        )
    shards = picture_shards(str(source), column)
    sha256 = sha256_of(network)
    about = {"model": predictor.name, "sha256": sha256, "kind": kind.value, "source": str(source)}
    with folder_lock(folder):
        _require_same(folder, about | {"categories": list(predictor.categories)})
        row = partial(_table, model=predictor.name, sha256=sha256)
        with _running(ray):
            _run(ray, shards, folder, preprocessing, _Answer(network, kind, predictor.categories), row, batch)
        pictures, failures = (_rows(folder / f"failed={failed}") for failed in ("false", "true"))
    return Embeddings(folder, pictures, failures, predictor.name, sha256)


def _run(
    ray: Any,
    shards: list[Shard],
    folder: Path,
    preprocessing: Preprocessing,
    answer: "_Answer",
    row: Callable[..., Any],
    batch: int,
) -> None:
    data, checkpoint = import_module("ray.data"), import_module("ray.data.checkpoint")
    context = data.DataContext.get_current()
    before, bars = context.checkpoint_config, context.enable_progress_bars
    context.checkpoint_config = checkpoint.CheckpointConfig(
        "name", str(folder / CHECKPOINTS), delete_checkpoint_on_success=False
    )
    context.enable_progress_bars = sys.stderr.isatty()
    try:
        cores, gpus = (int(ray.cluster_resources().get(kind, 0)) for kind in ("CPU", "GPU"))
        pictures = data.read_datasource(_source(shards), override_num_blocks=len(shards))
        pictures = pictures.map_batches(_Prepare(preprocessing), batch_size=batch, batch_format="numpy")
        pictures = pictures.map_batches(
            _Network,
            fn_constructor_args=(ray.put(answer), row, "cuda" if gpus else "cpu"),
            batch_size=batch,
            batch_format="numpy",
            compute=data.ActorPoolStrategy(min_size=1, max_size=gpus or max(1, cores // 2)),
            num_gpus=1 if gpus else 0,
            num_cpus=0,  # the cores are for reading, decoding and writing, which would wait for ever on a small machine
        )
        pictures.write_parquet(str(folder), partition_cols=["failed"])
    finally:
        context.checkpoint_config, context.enable_progress_bars = before, bars


def _source(shards: list[Shard]) -> Any:
    datasource, block = import_module("ray.data.datasource"), import_module("ray.data.block")

    class Pictures(datasource.Datasource):  # type: ignore[misc, name-defined]
        """A task a shard."""

        def get_read_tasks(
            self, parallelism: int, per_task_row_limit: int | None = None, data_context: Any = None
        ) -> list[Any]:
            unknown = block.BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
            return [datasource.ReadTask(partial(_tables, shard), unknown) for shard in shards]

        def estimate_inmemory_data_size(self) -> int | None:
            return None

    return Pictures()


def _tables(shard: Shard) -> Iterator[Any]:
    import pyarrow

    columns = {"name": pyarrow.string(), "content": pyarrow.large_binary(), "error": pyarrow.string()}
    pictures = shard()
    while group := list(islice(pictures, 32)):
        cells = {key: [getattr(picture, key) for picture in group] for key in columns}
        yield pyarrow.table({key: pyarrow.array(cells[key], kind) for key, kind in columns.items()})


@dataclass(frozen=True)
class _Prepare:
    """Decodes pictures; one that cannot be read is zeros, with its error."""

    preprocessing: Preprocessing

    def __call__(self, batch: "dict[str, NDArray[Any]]") -> "dict[str, NDArray[Any]]":
        import numpy

        transforms, side = self.preprocessing.transforms(), self.preprocessing.size
        x, errors = numpy.zeros((len(batch["name"]), 3, side, side), numpy.float32), [*batch["error"]]
        for number, (name, content) in enumerate(zip(batch["name"], batch["content"], strict=True)):
            if not errors[number]:
                try:
                    x[number] = prepare_picture(transforms, decode_picture(content, name), name).numpy()
                except PictureError as error:
                    errors[number] = str(error)
        return {"name": batch["name"], "error": numpy.array(errors, object), "x": x}


@dataclass(frozen=True, eq=False)
class _Answer:
    """What is kept of pictures, by column."""

    network: ConvNet
    kind: EmbeddingKind
    categories: tuple[str, ...]

    @torch.inference_mode()
    def __call__(self, x: Tensor) -> dict[str, Tensor | list[str]]:
        match self.kind:
            case EmbeddingKind.FEATURES:
                return {"features": self.network.forward_head(self.network.forward_features(x), pre_logits=True)}
            case EmbeddingKind.GATES:
                return {name: values.flatten(1) for name, values in self.network.excitations(x).items()}
            case EmbeddingKind.CLASSES:
                probabilities = self.network(x).float().softmax(1)
                best = probabilities.max(1)
                labels = [self.categories[index] for index in best.indices.tolist()]
                return {"label": labels, "probability": best.values, "probabilities": probabilities}


class _Network:
    """The network in a process of its own."""

    def __init__(self, answer: Any, row: Callable[..., Any], device: str) -> None:
        found = import_module("ray").get(answer)
        self._answer, self._row, self._device = found, row, device
        found.network.to(device)

    def __call__(self, batch: "dict[str, NDArray[Any]]") -> Any:
        x = torch.from_numpy(batch["x"].copy()).to(self._device)
        return self._row(batch["name"], batch["error"], self._answer(x))


def _table(names: Any, errors: Any, columns: dict[str, Tensor | list[str]], model: str, sha256: str) -> Any:
    """Rows as they are written; of a picture that failed, what the network would have said is empty."""
    import numpy
    import pyarrow

    failed = numpy.array([bool(error) for error in errors])
    table = {
        "name": pyarrow.array(names.tolist(), pyarrow.string()),
        "model": pyarrow.array([model] * len(names), pyarrow.string()),
        "sha256": pyarrow.array([sha256] * len(names), pyarrow.string()),
        "error": pyarrow.array([error or None for error in errors], pyarrow.string()),
        "failed": pyarrow.array(failed),
    }
    for name, values in columns.items():
        if isinstance(values, list):
            table[name] = pyarrow.array(values, pyarrow.string(), mask=failed)
            continue
        found = values.float().cpu().numpy()
        kind = pyarrow.float32() if found.ndim == 1 else pyarrow.list_(pyarrow.float32())
        table[name] = pyarrow.array(list(found) if found.ndim > 1 else found, kind, mask=failed)
    return pyarrow.table(table)


def _ray() -> Any:
    try:
        import_module("ray.data")
        return import_module("ray")
    except ImportError as error:
        raise UsageError(
            f"embed runs on Ray, which cannot be imported ({error}): pip install 'senet-zoo[ray]'"
        ) from error


@contextmanager
def _running(ray: Any) -> Iterator[None]:
    """Ray as the program has started it, or for the time of this block."""
    if ray.is_initialized():
        yield
        return
    if os.environ.get("RAY_ADDRESS"):
        ray.init(logging_level=logging.WARNING)
    else:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        cores = max(LEAST_CORES, os.cpu_count() or 1)
        ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    try:
        yield
    finally:
        ray.shutdown()


def _kind(kind: EmbeddingKind | str) -> EmbeddingKind:
    try:
        return EmbeddingKind(kind)
    except ValueError as error:
        known = ", ".join(each.value for each in EmbeddingKind)
        raise UsageError(f"what is kept of a picture must be one of {known}, got {kind!r}") from error


def _require_same(folder: Path, about: dict[str, Any]) -> None:
    """Write what the rows are, or refuse a folder that holds others."""
    file = folder / ABOUT
    if file.exists():
        try:
            there = json.loads(file.read_text())
        except ValueError:
            there = {}
        other = [key for key, value in about.items() if not isinstance(there, dict) or there.get(key) != value]
        if other:
            raise UsageError(
                f"{folder} holds rows with another {' and '.join(other)} ({file.name} says them): choose another folder"
            )
        return
    if any(not path.name.startswith(".") for path in folder.iterdir()):
        raise UsageError(f"the rows need a folder of their own, and {folder} holds other things: choose another one")
    with atomic_file(file) as opened:
        opened.write(json.dumps(about, indent=2).encode())


def _rows(folder: Path) -> int:
    from pyarrow import dataset

    return int(dataset.dataset(folder, format="parquet").count_rows()) if folder.is_dir() else 0
