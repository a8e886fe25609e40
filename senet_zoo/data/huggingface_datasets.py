"""Data sets on the Hugging Face hub, read by the library ``datasets``."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from senet_zoo.data.labelled import DataSource, Labelled
from senet_zoo.data.picture_paths import say_passed_over
from senet_zoo.data.pictures import decode_picture, read_picture
from senet_zoo.data.splits import SPLITS, Split, split_of
from senet_zoo.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

PREFIX = "hf:"


def huggingface_dataset(address: str) -> DataSource:
    """A data set with a column of pictures and one of class labels; a split is downloaded when it is opened.

    Args:
        address: ``hf:owner/name`` or ``hf:owner/name@revision``, then ``#column`` if several columns are class labels.

    Raises:
        DataError: the library ``datasets`` is missing, or the hub does not have the data set.
    """
    repo, _, column = address.removeprefix(PREFIX).partition("#")
    repo, _, revision = repo.partition("@")
    datasets = _library(address)
    splits = _from_hub(address, lambda: datasets.get_dataset_split_names(repo, revision=revision or None))
    theirs: dict[Split, str] = {}
    for name in splits:
        if (split := split_of(name)) is None:
            continue
        if split in theirs:
            raise DataError(f"a data set has one split of a kind, and {address} has both {theirs[split]} and {name}")
        theirs[split] = name
    say_passed_over(address, {f"split {name}": 1 for name in splits if name not in theirs.values()})

    def open_split(split: Split | None) -> Labelled:
        if split is None:
            raise DataError(f"{address} must have a split named train, validation or test, and has {', '.join(splits)}")
        table = _from_hub(address, partial(datasets.load_dataset, repo, split=theirs[split], revision=revision or None))
        return labelled_dataset(table, address, column)

    return DataSource(address, tuple(split for split in SPLITS if split in theirs), open_split)


def load_splits(address: str, column: str | None = None) -> dict[str, tuple[Any, str]]:
    """Every split of a data set, undecoded, by its name, with its column of pictures.

    Args:
        address: ``hf:owner/name`` or ``hf:owner/name@revision``.
        column: of the pictures; may be left out where there is only one.

    Raises:
        DataError: the library ``datasets`` is missing, the hub does not have the data set, or no such column.
    """
    datasets = _library(address)
    repo, _, revision = address.removeprefix(PREFIX).partition("@")
    found = _from_hub(address, partial(datasets.load_dataset, repo, revision=revision or None))
    return {split: undecoded(table, f"{address}, {split}", column) for split, table in found.items()}


def undecoded(table: Any, address: str, column: str | None = None) -> tuple[Any, str]:
    """A ``datasets.Dataset`` whose pictures are bytes, and the name of their column.

    Raises:
        DataError: it has no such column, or several.
    """
    import datasets

    pictures = [name for name, feature in table.features.items() if isinstance(feature, datasets.Image)]
    chosen = [name for name in pictures if column in (None, name)]
    if len(chosen) != 1:
        raise DataError(f"{address} must have one column of pictures, or one must be named, and it has {pictures}")
    # Undecoded, so that our own reading decides about orientation, transparency and damage.
    return table.cast_column(chosen[0], datasets.Image(decode=False)), chosen[0]


def labelled_dataset(table: Any, address: str, column: str = "") -> Labelled:
    """The pictures of a ``datasets.Dataset``.

    Args:
        table: the data set, with one column of the type Image.
        address: what messages call it.
        column: the column of labels, of the type ClassLabel; may be empty where there is only one.

    Raises:
        DataError: it has other columns.
    """
    import datasets

    pictures = [name for name, feature in table.features.items() if isinstance(feature, datasets.Image)]
    labels = [name for name, feature in table.features.items() if isinstance(feature, datasets.ClassLabel)]
    chosen = [name for name in labels if name == column] if column else labels
    if len(pictures) != 1 or len(chosen) != 1:
        raise DataError(
            f"{address} must have one column of pictures and one of class labels; of pictures it has "
            f"{pictures}, of labels {labels}: choose one of several labels as {PREFIX}owner/name#column"
        )
    # Undecoded, so that our own reading decides about orientation, transparency and damage.
    table = table.cast_column(pictures[0], datasets.Image(decode=False))
    names = tuple(f"{address}[{index}]" for index in range(len(table)))
    return Labelled(
        tuple(table.features[chosen[0]].names),
        tuple(table[chosen[0]]),
        names,
        DatasetReader(table, pictures[0], address),
    )


@dataclass(frozen=True, eq=False)
class DatasetReader:
    """Reads pictures out of a column of a ``datasets.Dataset``."""

    table: Any
    column: str
    address: str

    def __call__(self, index: int) -> "Image":
        cell = self.table[index][self.column]
        if cell["bytes"] is None:
            return read_picture(cell["path"])
        return decode_picture(cell["bytes"], f"{self.address}[{index}]")


def _library(address: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{address} is read by the library datasets, which is not installed: pip install 'senet-zoo[datasets]'"
        ) from error
    return datasets


def _from_hub(address: str, question: Callable[[], Any]) -> Any:
    try:
        return question()
    # The hub's client, the builders and the disk fail with errors of many types.
    except Exception as error:
        raise DataError(
            f"{address} must be a data set that the hub gives, and was not to be had ({type(error).__name__}: "
            f"{error}): check the name, the network and the login"
        ) from error
