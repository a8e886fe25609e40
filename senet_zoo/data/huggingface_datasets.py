"""Data sets on the Hugging Face hub."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from senet_zoo.data.labelled import PARTS, Labelled, Part, Source
from senet_zoo.data.pictures import decode_picture, read_picture
from senet_zoo.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

PREFIX = "hf:"
_SPLITS: dict[str, Part] = {"train": "train", "validation": "val", "valid": "val", "val": "val", "test": "test"}


def hugging_face_set(address: str) -> Source:
    """A data set with a column of pictures and one of class labels; it is downloaded when a part is opened.

    Args:
        address: ``hf:owner/name``, ``hf:owner/name@revision``; with ``#column`` behind it where several columns are
            class labels.

    Raises:
        DataError: the library ``datasets`` is missing, or the hub does not have the set.
    """
    repo, _, column = address.removeprefix(PREFIX).partition("#")
    repo, _, revision = repo.partition("@")
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{address} is read by the library datasets, which is not installed: pip install 'senet-zoo[datasets]'"
        ) from error
    splits = _ask(address, lambda: datasets.get_dataset_split_names(repo, revision=revision or None))
    by_part = {_SPLITS[split]: split for split in splits if split in _SPLITS}

    def open_part(part: Part | None) -> Labelled:
        if part is None:
            raise DataError(f"{address} must have a split named train, validation or test, and has {', '.join(splits)}")
        table = _ask(address, partial(datasets.load_dataset, repo, split=by_part[part], revision=revision or None))
        return labelled_table(table, address, column)

    return Source(address, tuple(part for part in PARTS if part in by_part), open_part)


def labelled_table(table: Any, address: str, column: str = "") -> Labelled:
    """The pictures of a ``datasets.Dataset``.

    Args:
        table: with one column of the type Image.
        address: for messages.
        column: of the labels, of the type ClassLabel; may be empty where there is one only.

    Raises:
        DataError: the columns are others.
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
        tuple(table.features[chosen[0]].names), tuple(table[chosen[0]]), names, TableReader(table, pictures[0], address)
    )


@dataclass(frozen=True, eq=False)
class TableReader:
    """Pictures in a column of a ``datasets.Dataset``."""

    table: Any
    column: str
    address: str

    def __call__(self, index: int) -> "Image":
        """One of them, as `read_picture` reads it."""
        cell = self.table[index][self.column]
        if cell["bytes"] is None:
            return read_picture(cell["path"])
        return decode_picture(cell["bytes"], f"{self.address}[{index}]")


def _ask(address: str, question: Callable[[], Any]) -> Any:
    try:
        return question()
    # The hub's client, the builders and the disk fail with errors of many types.
    except Exception as error:
        raise DataError(
            f"{address} must be a data set that the hub gives, and was not to be had ({type(error).__name__}: "
            f"{error}): check the name, the network and the login"
        ) from error
