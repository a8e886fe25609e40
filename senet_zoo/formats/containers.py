"""Files of tensors of any kind that other libraries write, opened without running anything that is in them.

What `senet_zoo.load_checkpoint` and ``senet-zoo convert`` read; `senet_zoo.create_model` opens safetensors files only.
A reader is chosen by a file's first bytes, or by its suffix where those say nothing.
"""

import io
import logging
import pickle
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor
from torch.torch_version import TorchVersion

from senet_zoo.errors import (
    WeightsCorrupted,
    WeightsError,
    WeightsMismatch,
    WeightsNotFound,
    WeightsUnavailable,
    WeightsUnsafe,
)
from senet_zoo.formats import safetensors
from senet_zoo.formats.caffe import read_caffe
from senet_zoo.formats.dialects import Dialect
from senet_zoo.formats.dialects.caffe import CAFFE
from senet_zoo.formats.dialects.paddle import PADDLE
from senet_zoo.formats.paddle import read_paddle

MOST_BYTES = 2**31
SAFE_TORCH = "2.10"
"""The first PyTorch whose ``weights_only`` runs no code of a file as far as is known.

Source: CVE-2025-32434 and CVE-2026-24747.
"""

_log = logging.getLogger("senet_zoo")

# The averaged weights of a training that kept them are the ones that were evaluated.
_WRAPPERS = ("state_dict_ema", "model_ema", "ema", "state_dict", "model", "net", "network", "module")
_PREFIXES = ("module.", "_orig_mod.", "model.", "ema_model.")
_ENCODER = "encoder."
_SEGMENTER = ("decoder.", "segmentation_head.", "classification_head.")
_MOST_DEPTH = 4
_TORCH_SUFFIXES = (".pth", ".pt", ".pkl", ".bin", ".tar", ".ckpt")


@dataclass(frozen=True)
class Contents:
    """What a file holds.

    Args:
        tensors: on the CPU, under the file's names without the prefixes of wrappers.
        metadata: of a safetensors file, its header's; of others, what their kind settles, in the same form.
        dialect: where the kind of file fixes how its tensors are named; None where their names must tell.
    """

    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    dialect: Dialect | None = None


def read_container(path: Path) -> Contents:
    """The tensors of a file of safetensors, ``torch.save`` (plain, wrapped or inside a zip archive), Caffe or Paddle.

    Raises:
        WeightsNotFound: there is no file.
        WeightsUnavailable: the system does not let it be read.
        WeightsCorrupted: it is damaged, or no file of tensors.
        WeightsUnsafe: it wants to run code, or is larger than any network's weights; nothing of it was run.
        WeightsMismatch: what it holds are no tensors by name.
    """
    if path.is_dir():
        raise WeightsNotFound(f"weights must be one file, but {path} is a folder; name the file inside")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(2)
    except FileNotFoundError as e:
        raise WeightsNotFound(f"weights must be an existing file, but there is no {path}") from e
    except OSError as e:
        raise WeightsUnavailable(
            f"{path} cannot be read: {e.strerror}; check the file's permissions and its disk"
        ) from e
    if size > MOST_BYTES:
        raise WeightsUnsafe(f"a file may have {MOST_BYTES} bytes at most, but {path} has {size}; it is not opened")
    by_suffix = SUFFIXES.get(path.suffix.lower())
    if by_suffix is not None:
        return by_suffix(path)
    if start == b"PK" or start[:1] == b"\x80":
        return Contents(_named(_read_torch(path), path))
    header = safetensors.check(path)
    return Contents(_unprefixed(safetensors.read(path, header)), header.metadata)


def _caffe(path: Path) -> Contents:
    tensors, metadata = read_caffe(path)
    return Contents(tensors, metadata.texts(), CAFFE)


def _paddle(path: Path) -> Contents:
    return Contents(read_paddle(path), dialect=PADDLE)


SUFFIXES: Mapping[str, Callable[[Path], Contents]] = MappingProxyType({".caffemodel": _caffe, ".pdparams": _paddle})
"""Readers of kinds of file that the first bytes do not tell apart, by lower-case suffix."""


def _read_torch(path: Path) -> object:
    if TorchVersion(torch.__version__) < SAFE_TORCH:
        raise WeightsUnsafe(
            f"pickles are opened with PyTorch {SAFE_TORCH} or newer only, whose weights_only runs "
            f"nothing, but this is {torch.__version__}; upgrade it, or convert {path} elsewhere"
        )
    source = _member(path) if zipfile.is_zipfile(path) else path
    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as e:
        raise WeightsUnsafe(
            f"{path} must hold tensors only, but wants to run code; nothing of it was run. Save its state_dict() with "
            f"safetensors where you trust it. PyTorch says: {str(e).splitlines()[0][:300]}"
        ) from e
    except OSError as e:
        raise WeightsUnavailable(f"{path} cannot be read: {e}; check the file's permissions and its disk") from e
    except Exception as e:  # a damaged pickle fails in whatever its bytes happen to ask for
        raise WeightsCorrupted(
            f"{path} must be a file of torch.save, but cannot be read ({type(e).__name__}: {str(e)[:200]}); fetch it "
            f"again"
        ) from e


def _member(path: Path) -> Path | io.BytesIO:
    """The file itself where it is PyTorch's own zip, or the one file of tensors in an archive, as pytorchcv has it."""
    try:
        with zipfile.ZipFile(path) as archive:
            if any(name.rpartition("/")[2] == "data.pkl" for name in archive.namelist()):
                return path
            inside = [each for each in archive.infolist() if each.filename.lower().endswith(_TORCH_SUFFIXES)]
            if len(inside) != 1:
                raise WeightsMismatch(
                    f"an archive must hold exactly one file of torch.save, but {path} holds {len(inside)}; unpack it "
                    f"and name the file"
                )
            if inside[0].file_size > MOST_BYTES:
                raise WeightsUnsafe(
                    f"a file may have {MOST_BYTES} bytes at most, but that in {path} claims {inside[0].file_size}; it "
                    f"is not opened"
                )
            with archive.open(inside[0]) as member:
                return io.BytesIO(member.read(MOST_BYTES))
    except WeightsError:
        raise
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError) as e:
        raise WeightsCorrupted(f"{path} must be a readable zip archive: {e}; fetch it again") from e


def _named(content: object, path: Path) -> dict[str, Tensor]:
    found = content
    for _ in range(_MOST_DEPTH):
        if not isinstance(found, Mapping):
            break
        if found and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in found.items()):
            if len(found) > safetensors.MOST_TENSORS:
                raise WeightsUnsafe(
                    f"a file may hold {safetensors.MOST_TENSORS} tensors at most, {path} has {len(found)}; it is not "
                    f"used: save the network's state_dict() alone"
                )
            return _unprefixed(found)
        wrapper = next((name for name in _WRAPPERS if isinstance(found.get(name), Mapping)), None)
        if wrapper is None:
            break
        _log.info("%s: tensors taken from %r", path, wrapper)
        found = found[wrapper]
    held = sorted(map(str, found))[:5] if isinstance(found, Mapping) else type(found).__name__
    raise WeightsMismatch(
        f"{path} must hold tensors by name, plain or under {', '.join(_WRAPPERS)}; it holds {held}. Save the network's "
        f"state_dict() alone"
    )


def _unprefixed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    result = {name: tensor for name, tensor in tensors.items() if name != "n_averaged"}  # of an averaged model
    while result:
        prefix = next((p for p in _PREFIXES if all(name.startswith(p) for name in result)), None)
        if prefix is None:
            break
        result = {name.removeprefix(prefix): tensor for name, tensor in result.items()}
    encoder = {name for name in result if name.startswith(_ENCODER)}
    if encoder and all(name.startswith(_SEGMENTER) for name in result if name not in encoder):
        _log.info("the segmenter's encoder is taken, %d tensors of its decoder are not", len(result) - len(encoder))
        return _unprefixed({name.removeprefix(_ENCODER): result[name] for name in result if name in encoder})
    return result
