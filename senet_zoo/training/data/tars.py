"""Pictures in a tar file, read where they lie: the official ILSVRC validation set."""

import tarfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from senet_zoo.errors import DataError
from senet_zoo.pictures import SUFFIXES, decode_picture
from senet_zoo.training.data.label_files import labelled_names
from senet_zoo.training.data.labelled import Labelled
from senet_zoo.training.data.source import Part, Source

if TYPE_CHECKING:
    from PIL.Image import Image


def tar_file(path: Path, labels: Path, classes: Path | None) -> Source:
    """An uncompressed tar of pictures, such as ``ILSVRC2012_img_val.tar``.

    Args:
        path: of the tar.
        labels: as `labelled_names` reads it. The development kit's ``ILSVRC2012_validation_ground_truth.txt`` counts
            classes from 1, in an order of its own, that of ``map_clsloc.txt``.
        classes: that order.
    """
    return Source(str(path), (), partial(_open, path, labels, classes))


def _open(path: Path, labels: Path, classes: Path | None, _: Part | None) -> Labelled:
    try:
        with tarfile.open(path, "r:") as tar:
            places = {
                member.name: (member.offset_data, member.size)
                for member in tar
                if member.isreg() and PurePosixPath(member.name).suffix.lower() in SUFFIXES
            }
    except (OSError, tarfile.TarError) as error:
        raise DataError(
            f"{path} must be a tar that is not compressed, for its pictures are read in place, and is not ({error}): "
            "unpack it, or pack it again without compression"
        ) from error
    if not places:
        raise DataError(f"a tar of labelled pictures must hold one, and {path} holds none")
    names, numbers, known = labelled_names(labels, classes, tuple(places), first=1)
    return Labelled(known, numbers, names, TarReader(path, names, tuple(places[name] for name in names)))


@dataclass(frozen=True)
class TarReader:
    """Pictures inside a tar file by offset and size, in bytes."""

    path: Path
    names: tuple[str, ...]
    places: tuple[tuple[int, int], ...]

    def __call__(self, index: int) -> "Image":
        """One of them, as `read_picture` reads it."""
        offset, size = self.places[index]
        with self.path.open("rb") as file:
            file.seek(offset)
            return decode_picture(file.read(size), self.names[index])
