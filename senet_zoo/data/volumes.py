"""Labelled volumes and signals: NIfTI files in class folders, NumPy's arrays, and how they become a network's input.

A volume is (C, D, H, W): slices, rows, columns. NIfTI keeps (X, Y, Z), whatever the scanner's orientation; it is turned
to the nearest right, anterior, superior axes, and D is then from feet to head. A signal is (C, L).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from senet_zoo.data.folders import parts_of_folder, subfolders
from senet_zoo.data.labelled import DataSource, Labelled, first_few
from senet_zoo.data.picture_paths import decoded
from senet_zoo.data.splits import SPLITS, Split
from senet_zoo.errors import DataError, PictureError, UsageError
from senet_zoo.support.files import open_regular
from senet_zoo.support.json_fields import Items, Whole

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".nii", ".nii.gz", ".npy")
MOST_VALUES = 2**28
"""Of one volume: 1 GiB in float32."""
MOST_SIDE = 96  # of the default size
_FORMS = {1: "signals (N, L) or (N, C, L)", 3: "volumes (N, D, H, W) or (N, C, D, H, W)"}
_KEYS = {1: "signals", 3: "volumes"}


@dataclass(frozen=True)
class VolumePreprocessing:
    """From a volume or signal to the network's input: resampled to one size, then to mean 0 and deviation 1 by itself.

    Args:
        sides: of the input, (D, H, W) or (L,).
        channels: of the volume or signal.
    """

    sides: Annotated[
        tuple[int, ...], Items(Whole(1, 4096), 1, 3, words="a list of 1 or 3 whole numbers from 1 to 4096")
    ]

    channels: Annotated[int, Whole(1, 10**4)] = 1

    @property
    def size(self) -> int:
        """The longest side."""
        return max(self.sides)

    def transforms(self) -> "Callable[[Any], Tensor]":
        """A function from an array or tensor (C, D, H, W), or (C, L), to the input."""
        return partial(_prepared, self)


def _prepared(form: VolumePreprocessing, volume: Any) -> "Tensor":
    import torch
    from torch.nn import functional as F

    x, sides = torch.as_tensor(volume, dtype=torch.float32), form.sides
    if x.ndim != len(sides) + 1 or 0 in x.shape or x.shape[0] != form.channels:
        axes = "L" if len(sides) == 1 else "D, H, W"
        raise PictureError(f"an input must be ({form.channels}, {axes}), not empty, got {tuple(x.shape)}")
    if tuple(x.shape[1:]) != sides:
        x = F.interpolate(x[None], size=sides, mode="linear" if len(sides) == 1 else "trilinear")[0]
    std, mean = torch.std_mean(x, correction=0)
    return (x - mean) / std.clamp(min=1e-6)


def read_volume(path: str | Path) -> np.ndarray:
    """One volume as float32 (C, D, H, W): NIfTI, whose fourth axis is that of channels, or an array of NumPy's.

    An array of three axes is one of a single channel, of one axis a signal (1, L).

    Raises:
        PictureError: the file cannot be read, is damaged, too large, holds numbers that are not finite or no real
            numbers, or has no orientation; a NIfTI without nibabel.
    """
    path = Path(path)
    try:
        with open_regular(path):
            pass  # not a pipe or a device, which would be waited for
        values = _read_array(path) if path.suffix == ".npy" else _read_nifti(path)
    except PictureError:
        raise
    except MemoryError as error:
        raise PictureError(f"{path}: it needs more memory than there is; resample it first") from error
    except Exception as error:  # of many types, by the readers of a file that may be anything
        raise PictureError(f"{path}: a volume must be a whole NIfTI or .npy file, and this is none: {error}") from error
    if values.size == 0 or not np.isfinite(values).all():
        raise PictureError(f"{path}: a volume must hold finite numbers, and this one holds NaN, infinity or nothing")
    return values


def _read_array(path: Path) -> np.ndarray:
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    _require_real(path, mapped.dtype, mapped.shape)
    return _with_channels(np.array(mapped, np.float32))


def _with_channels(values: np.ndarray) -> np.ndarray:
    return values[None] if values.ndim in (1, 3) else values


def _read_nifti(path: Path) -> np.ndarray:
    if find_spec("nibabel") is None:
        raise PictureError(f"{path}: NIfTI is read by nibabel, which is missing: pip install 'senet-zoo[volumes]'")
    nibabel: Any = import_module("nibabel")
    image = nibabel.load(path)
    shape = tuple(image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) not in (3, 4):
        raise PictureError(f"{path}: a volume has the axes X, Y, Z, and perhaps channels, got the shape {image.shape}")
    _require_real(path, image.get_data_dtype(), shape)
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine[:3, :3])) < 1e-12:
        raise PictureError(f"{path}: its affine does not say how it lies in space; write it with a proper one")
    values = np.asarray(nibabel.as_closest_canonical(image).dataobj, dtype=np.float32)
    values = values.reshape((*values.shape[:3], -1))
    return np.ascontiguousarray(values.transpose(3, 2, 1, 0))


def _require_real(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    if dtype.kind not in "biuf":
        raise PictureError(f"{path}: a volume holds real numbers, one a voxel and channel, and this one {dtype}")
    if np.prod(shape, dtype=np.float64) > MOST_VALUES:
        raise PictureError(
            f"{path}: a volume has at most {MOST_VALUES} values, and this one {shape}; resample it first"
        )


@dataclass(frozen=True)
class VolumeReader:
    """Reads volumes that are files of their own."""

    paths: tuple[Path, ...]

    def __call__(self, index: int) -> np.ndarray:
        return read_volume(self.paths[index])


@dataclass(frozen=True, eq=False)
class VolumeArrayReader:
    """Reads volumes or signals out of one array."""

    values: np.ndarray
    dims: int

    def __call__(self, index: int) -> np.ndarray:
        values = np.asarray(self.values[index], np.float32)
        values = values[None] if values.ndim == self.dims else values
        if not np.isfinite(values).all():
            raise PictureError("a volume or signal must hold finite numbers, and this one holds NaN or infinity")
        return values


def volume_source(address: str, dims: int) -> DataSource:
    """Labelled volumes (3) or signals (1) at an address.

    Args:
        address: a folder with a subfolder of ``.nii``, ``.nii.gz`` or ``.npy`` for each class, with or without train
            and val above them; or an ``.npz``: ``volumes`` or ``signals`` with ``labels`` and perhaps ``classes``, or
            MedMNIST's ``train_images``, ``train_labels``, ``val_images``, ...
        dims: 1 or 3.

    Raises:
        DataError: there is nothing of that kind.
    """
    path = Path(address).expanduser()
    if path.suffix == ".npz" and path.is_file():
        return _npz(path, dims)
    if not path.is_dir():
        raise DataError(
            f"{_KEYS[dims]} to learn from lie in a folder with a subfolder for each class, or in one .npz, and "
            f"{address} is neither: check the path"
        )
    parts = parts_of_folder(path)
    return DataSource(address, tuple(name for name in SPLITS if name in parts), partial(_open_folder, path, parts))


def _open_folder(folder: Path, parts: dict[Split, Path], split: Split | None) -> Labelled:
    root = parts[split] if split else folder
    classes = subfolders(root)
    found = [
        (label, path)
        for label, name in enumerate(classes)
        for path in sorted(name.iterdir())
        if path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")
    ]
    empty = [path.name for label, path in enumerate(classes) if label not in {label for label, _ in found}]
    if empty or not classes:
        raise DataError(
            f"a folder of labelled volumes holds a subfolder of {', '.join(SUFFIXES)} for each class, and "
            + (f"{first_few(empty)} in {root} hold none" if empty else f"{root} has no subfolder")
        )
    names = tuple(decoded(path.relative_to(folder)) for _, path in found)
    reader: Any = VolumeReader(tuple(path for _, path in found))
    return Labelled(tuple(decoded(path.name) for path in classes), tuple(label for label, _ in found), names, reader)


def _npz(path: Path, dims: int) -> DataSource:
    try:
        with open_regular(path) as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except Exception as error:  # of many types, by the reader of a file that may be anything
        raise DataError(f"{path} must be an .npz of arrays without pickles, and is not: {error}") from error
    of_medmnist = {split: f"{split}_images" for split in SPLITS if f"{split}_images" in arrays}
    if of_medmnist:
        keys = {split: (images, f"{split}_labels") for split, images in of_medmnist.items()}
        return DataSource(
            str(path), tuple(keys), lambda split: _open_arrays(path, arrays, dims, *keys[split or "train"])
        )
    return DataSource(str(path), (), lambda _: _open_arrays(path, arrays, dims, _KEYS[dims], "labels"))


def _open_arrays(path: Path, arrays: dict[str, np.ndarray], dims: int, values: str, labels: str) -> Labelled:
    if values not in arrays or labels not in arrays:
        raise DataError(
            f"{path} must hold the arrays {values} and {labels}, and holds {first_few(sorted(arrays))}; pictures "
            f"are learnt without --dims"
        )
    x, y = arrays[values], arrays[labels]
    y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
    if x.dtype.kind not in "biuf" or x.ndim not in (dims + 1, dims + 2) or 0 in x.shape:
        raise DataError(f"{values} in {path} must be {_FORMS[dims]} of real numbers, got {x.dtype} {x.shape}")
    if y.dtype.kind not in "iu" or y.shape != x.shape[:1]:
        raise DataError(f"{labels} in {path} must be {len(x)} whole numbers, one each, got {y.dtype} {y.shape}")
    names = arrays.get("classes")
    if names is not None and (names.dtype.kind != "U" or names.ndim != 1):
        raise DataError(f"classes in {path} must be a row of texts, got {names.dtype} {names.shape}")
    count = max(int(array.max(initial=0)) for key, array in arrays.items() if key.endswith("labels")) + 1
    classes = tuple(map(str, range(count))) if names is None else tuple(names.tolist())
    reader: Any = VolumeArrayReader(x, dims)
    return Labelled(classes, tuple(y.tolist()), [f"{path.name}[{i}]" for i in range(len(y))], reader)


def first_shape(data: Labelled, dims: int) -> tuple[int, ...]:
    """Shape of the first volume or signal that can be read, channels first.

    Raises:
        DataError: none can, or it has other axes.
    """
    for index in range(len(data)):
        try:
            values: Any = data.read(index)
        except PictureError as error:
            last = error
            continue
        if values.ndim != dims + 1:
            raise DataError(f"{data.names[index]} has the shape {values.shape}, and {_KEYS[dims]} have {dims + 1} axes")
        return tuple(values.shape)
    raise DataError(f"of {len(data)} {_KEYS[dims]} none can be read, the last because: {last}")


def chosen_preprocessing(shape: Sequence[int], sides: Sequence[int] | None) -> VolumePreprocessing:
    """The size that was asked for, or that of the first volume, no side above `MOST_SIDE` for volumes.

    Raises:
        UsageError: another number of sides than of axes.
    """
    own = tuple(shape[1:])
    if sides is not None and len(sides) != len(own):
        raise UsageError(f"sides must be {len(own)} numbers, one an axis, got {tuple(sides)}")
    usual = own if len(own) == 1 else tuple(min(side, MOST_SIDE) for side in own)
    return VolumePreprocessing(usual if sides is None else tuple(sides), shape[0])
