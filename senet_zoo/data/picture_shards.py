"""Pictures by the million, in shards that any process reads by itself: folders, tars, Parquet, data sets of the hub."""

import os
import re
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from glob import has_magic
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any

from senet_zoo.data.huggingface_datasets import PREFIX, load_splits
from senet_zoo.data.picture_paths import decoded, find_pictures, holds_picture, is_system_folder, picture_suffixes
from senet_zoo.errors import DataError, SenetZooError, UsageError
from senet_zoo.support.files import open_regular

ROWS = 512
"""Pictures of a folder, or rows of a data set, that one shard holds."""
TARS = (".tar", ".tar.gz", ".tgz")
PARQUET = (".parquet",)
MOST_BYTES = 2**28
"""Of a picture's file."""
_READ_ERRORS = (OSError, tarfile.TarError, EOFError)


@dataclass(frozen=True)
class RawPicture:
    """The bytes of a picture's file.

    Args:
        name: no other picture of the source has it.
        content: the bytes; None where they cannot be read.
        error: why not.
    """

    name: str
    content: bytes | None
    error: str = ""


Shard = Callable[[], Iterator[RawPicture]]


def picture_shards(source: str, column: str | None = None) -> list[Shard]:
    """The pictures of a source, in parts of some hundred to some thousand.

    Args:
        source: a folder of pictures, of WebDataset's tars or of Parquet files; such a file, or several by shell
            wildcards or ``{000..012}``; or ``hf:owner/name@revision``, every split of it.
        column: of a Parquet file or a data set, the one with the pictures: bytes, or paths beside the file. Default:
            the only one that may be it.

    Raises:
        DataError: there is nothing, or no column of pictures.
        PictureError: a folder without a picture.
        UsageError: files of two kinds; or a column for files that have none.
    """
    if source.startswith(PREFIX):
        splits = load_splits(source, column)
        return [
            _RowsOfDataset(table, name, split, start)
            for split, (table, name) in splits.items()
            for start in range(0, len(table), ROWS)
        ]
    files = [path.absolute() for path in _files(source)]  # other processes read them
    tars = [path for path in files if path.name.lower().endswith(TARS)]
    tables = [path for path in files if path.name.lower().endswith(PARQUET)]
    if (tars or tables) and len(files) not in (len(tars), len(tables)):
        raise UsageError(
            f"pictures come from files of one kind, and {source} has several: name those of one, as by *.tar"
        )
    if column is not None and not tables:
        raise UsageError(f"a column is for Parquet files and data sets, and {source} is none; leave it out")
    if not tars and not tables:
        return _picture_files(files)
    root = Path(os.path.commonpath([path.parent for path in files]))
    if tars:
        return [_Tar(path, decoded(path.relative_to(root))) for path in tars]
    return [shard for path in tables for shard in _row_groups(path, root, column)]


def _files(source: str) -> list[Path]:
    """What the words lead to: the files of a pattern, or the packed files of a folder, or one path."""
    first, braces, rest = source.partition("{")
    numbers = re.match(r"(\d+)\.\.(\d+)\}", rest)
    if braces and numbers:
        start, end = numbers[1], numbers[2]
        words = [f"{number:0{len(start)}}" for number in range(int(start), int(end) + 1)]
        return [path for word in words for path in _files(first + word + rest[numbers.end() :])]
    if source.startswith("file:"):
        return find_pictures(source)
    path = Path(source).expanduser()
    if path.is_dir():
        packed = [each for each in path.rglob("*") if _is_packed(each, path)]
        loose = [path] if not packed or holds_picture(path) else []
        return sorted(packed) + loose
    if not path.exists() and has_magic(source):
        path, pattern = _root_of(path)
        found = sorted(path.glob(pattern))
        if not found:
            raise DataError(f"pictures must be there, and nothing matches {source}: check the pattern")
        return found
    if not path.exists():
        raise DataError(f"pictures must be there, and nothing lies at {source}: check the path")
    return [path]


def _is_packed(path: Path, folder: Path) -> bool:
    hidden = any(is_system_folder(part) for part in path.relative_to(folder).parts)
    return path.name.lower().endswith((*TARS, *PARQUET)) and not hidden and path.is_file()


def _root_of(pattern: Path) -> tuple[Path, str]:
    """The folder above the first wildcard, and the pattern below it."""
    plain = [*takewhile(lambda part: not has_magic(part), pattern.parts)]
    return Path(*plain), str(Path(*pattern.parts[len(plain) :]))


def _picture_files(files: list[Path]) -> list[Shard]:
    pictures = [path for each in files for path in find_pictures(each)]
    root = files[0] if len(files) == 1 and files[0].is_dir() else Path(os.path.commonpath([p.parent for p in pictures]))
    named = [(decoded(path.relative_to(root)), path) for path in pictures]
    return [_Files(tuple(named[start : start + ROWS])) for start in range(0, len(named), ROWS)]


@dataclass(frozen=True)
class _Files:
    named: tuple[tuple[str, Path], ...]

    def __call__(self) -> Iterator[RawPicture]:
        for name, path in self.named:
            yield _read(name, path)


@dataclass(frozen=True)
class _Tar:
    """A tar is read from its beginning to its end; members of one name are numbered."""

    path: Path
    name: str

    def __call__(self) -> Iterator[RawPicture]:
        seen: Counter[str] = Counter()
        suffixes = picture_suffixes()
        try:
            with open_regular(self.path) as file, tarfile.open(fileobj=file, mode="r|*") as tar:
                for member in tar:
                    inside = PurePosixPath(member.name)
                    if not member.isreg() or inside.suffix.lower() not in suffixes:
                        continue
                    if any(is_system_folder(part) for part in inside.parts if part not in (".", "..")):
                        continue
                    name = f"{self.name}/{decoded(member.name)}"
                    seen[name] += 1
                    yield _bounded(
                        name if seen[name] == 1 else f"{name}#{seen[name]}", member.size, tar.extractfile(member)
                    )
        except _READ_ERRORS as error:
            yield RawPicture(self.name, None, f"the tar ends or cannot be read after {seen.total()} pictures: {error}")


@dataclass(frozen=True)
class _RowGroup:
    """Some rows of a Parquet file; a picture's name is the file's and the number of its row."""

    path: Path
    name: str
    column: str
    number: int
    first_row: int

    def __call__(self) -> Iterator[RawPicture]:
        from pyarrow import parquet

        row = self.first_row
        try:
            with parquet.ParquetFile(self.path) as file:
                for batch in file.iter_batches(64, row_groups=[self.number], columns=[self.column]):
                    for cell in batch.column(0):
                        yield _from_cell(cell.as_py(), f"{self.name}/{row}", self.path.parent)
                        row += 1
        except (OSError, ValueError) as error:  # pyarrow's errors are of these two
            yield RawPicture(f"{self.name}/{row}", None, f"the file cannot be read from this row on: {error}")


@dataclass(frozen=True)
class _RowsOfDataset:
    """Some rows of a ``datasets.Dataset``; a picture's name is the split and the number of its row."""

    table: Any
    column: str
    split: str
    start: int

    def __call__(self) -> Iterator[RawPicture]:
        for row in range(self.start, min(self.start + ROWS, len(self.table))):
            yield _from_cell(self.table[row][self.column], f"{self.split}/{row}", Path())


def _row_groups(path: Path, root: Path, column: str | None) -> Iterator[_RowGroup]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise UsageError("Parquet is read by pyarrow, which is not installed: pip install 'senet-zoo[ray]'") from error
    try:
        with parquet.ParquetFile(path) as file:
            chosen = _picture_column(file.schema_arrow, path, column)
            rows = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    except SenetZooError:
        raise
    except (OSError, ValueError) as error:
        raise DataError(f"{path} must be a Parquet file, and cannot be read ({error}): fetch it again") from error
    for number in range(len(rows)):
        yield _RowGroup(path, decoded(path.relative_to(root)), chosen, number, sum(rows[:number]))


def _picture_column(schema: Any, path: Path, column: str | None) -> str:
    """The column with pictures: bytes, a struct of bytes and path as the hub writes it, or else paths."""
    from pyarrow import types

    def holds_bytes(kind: Any) -> bool:
        if types.is_struct(kind):
            return "bytes" in {kind.field(number).name for number in range(kind.num_fields)}
        return bool(types.is_binary(kind) or types.is_large_binary(kind))

    packed = [field.name for field in schema if holds_bytes(field.type)]
    texts = [field.name for field in schema if types.is_string(field.type) or types.is_large_string(field.type)]
    if column is not None:
        if column not in packed + texts:
            raise DataError(f"{path} has no column {column!r} of bytes or paths; it has {', '.join(schema.names)}")
        return column
    may_be: list[str] = packed or [
        name for name in texts if name.lower() in ("path", "file", "filename", "file_name", "image")
    ]
    if len(may_be) != 1:
        raise DataError(
            f"one column of {path} must hold the pictures, and these may be it: {', '.join(may_be) or 'none'}, out of "
            f"{', '.join(schema.names)}; name it by column (--column)"
        )
    return may_be[0]


def _from_cell(cell: Any, name: str, folder: Path) -> RawPicture:
    if isinstance(cell, dict):
        cell = cell.get("path") if cell.get("bytes") is None else cell["bytes"]
    if cell is None:
        return RawPicture(name, None, "the cell is empty")
    return RawPicture(name, cell) if isinstance(cell, bytes) else _read(name, folder / cell)


def _read(name: str, path: Path) -> RawPicture:
    try:
        with open_regular(path) as file:
            return _bounded(name, os.fstat(file.fileno()).st_size, file)
    except (OSError, ValueError) as error:
        return RawPicture(name, None, f"the file cannot be read: {getattr(error, 'strerror', None) or error}")


def _bounded(name: str, size: int, file: Any) -> RawPicture:
    if size > MOST_BYTES:
        return RawPicture(name, None, f"a picture's file may have {MOST_BYTES} bytes, and this one has {size}")
    return RawPicture(name, file.read())
