"""PaddlePaddle's ``.pdparams``, read without Paddle: a pickle of numpy arrays by name.

Source: ``paddle.save`` of https://github.com/PaddlePaddle/Paddle, python/paddle/framework/io.py.
"""

from pathlib import Path

from torch import Tensor

from senet_zoo.errors import WeightsCorrupted, WeightsUnsafe
from senet_zoo.hub.numpy_pickle import read_numpy_pickle
from senet_zoo.hub.tensor_files import MOST_TENSORS
from senet_zoo.hub.whole_file import read_whole

_PARAMETER_NAMES = "StructuredToParameterName@@"


def read_paddle(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.pdparams`` under its own names, laid out as PyTorch has them, on the CPU.

    Paddle's Linear keeps its weight as (in, out): every matrix is turned to (out, in). Convolutions and vectors are the
    same in both. The table ``StructuredToParameterName@@``, second names of the same arrays, is left out.

    Raises:
        WeightsNotFound: there is no file.
        WeightsUnavailable: the system does not let it be read.
        WeightsCorrupted: truncated, or not a .pdparams.
        WeightsUnsafe: it would make anything but arrays and plain containers, or has more arrays than a network.
    """
    values = read_numpy_pickle(read_whole(path, "a .pdparams file"), path)
    if not isinstance(values, dict):
        raise WeightsCorrupted(
            f"{path} must hold arrays by name, but holds a {type(values).__name__}; name the right file"
        )
    tensors = {name: value for name, value in values.items() if name != _PARAMETER_NAMES}
    if len(tensors) > MOST_TENSORS:
        raise WeightsUnsafe(
            f"a file may hold {MOST_TENSORS} tensors at most, {path} has {len(tensors)}; it is not used"
        )
    others = [name for name, value in tensors.items() if not isinstance(value, Tensor)]
    if others or not tensors:
        what = f"{others[0][:80]!r} is a {type(tensors[others[0]]).__name__}" if others else "there is none"
        raise WeightsCorrupted(f"{path} must hold arrays by name, but {what}; name the file of parameters (.pdparams)")
    return {name: value.t().contiguous() if value.ndim == 2 else value for name, value in tensors.items()}
