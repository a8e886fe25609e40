"""Files of exported networks: written from a program of torch.export, read back, and compared with the original."""

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from senet_zoo.errors import ExportError
from senet_zoo.inference.passes.graph import dimensions_of
from senet_zoo.prediction.runtimes import (
    METADATA_KEY,
    ExportFormat,
    OpenedFile,
    Runtime,
    import_extra,
    open_file,
    root_cause,
)

AXES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
BATCH = 2  # a batch of one would be taken for a constant
SIDES = {1: (259,), 2: (259, 227), 3: (67, 83, 99)}
"""Odd, different, and so large that no map is a pixel wide: that would be a constant, too."""
EXTRA_FILE = f"{METADATA_KEY}.json"
"""The name under which a ``.pt2`` carries the metadata."""
BOUND = 1e-4
"""Largest deviation of a logit in float32, as a share of the largest. Other kernels round otherwise: 1e-6 is usual."""
Run = Callable[[NDArray[numpy.float32]], NDArray[numpy.float32]]


@contextmanager
def logging_only(least: int, name: str | None = None) -> Iterator[None]:
    """Let a logger, or the one above all, say nothing below a level."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(least)
    try:
        yield
    finally:
        logger.setLevel(level)


def program_of(network: nn.Module, in_channels: int, side: int | None) -> ExportedProgram:
    """Record the network's operations, for pictures of one ``side`` or, if it is None, of any; nothing is computed.

    Raises:
        Exception: torch.export's own, of many types, where the network fixes a size.
    """
    dims = dimensions_of(network)
    free = {0: Dim.DYNAMIC} if side else dict.fromkeys((0, *range(2, 2 + dims)), Dim.DYNAMIC)
    example = torch.zeros(BATCH, in_channels, *((side,) * dims if side else SIDES[dims]))
    # A page of stack is logged if its algebra cannot follow a pool's rounding; it then goes on correctly.
    with torch.no_grad(), logging_only(logging.CRITICAL, "torch.fx.experimental.symbolic_shapes"):
        return torch.export.export(network, (example,), dynamic_shapes=(free,), strict=False)


def onnx_model(program: ExportedProgram) -> Any:
    """An ``onnx.ModelProto``, in the newest operator set that PyTorch's exporter writes by itself."""
    with contextlib.redirect_stdout(io.StringIO()):  # it reports to people
        made = torch.onnx.export(program, dynamo=True, verbose=False)
    proto = made.model_proto  # type: ignore[union-attr]
    (x,), (y,) = proto.graph.input, proto.graph.output
    x.name, y.name = _renamed(proto.graph, x.name, "pictures"), _renamed(proto.graph, y.name, "logits")
    free = [dim for dim in x.type.tensor_type.shape.dim if dim.dim_param]
    axes = ("batch", *AXES[len(x.type.tensor_type.shape.dim) - 2])
    names = dict(zip([dim.dim_param for dim in free], axes, strict=False))
    for dim in (*free, *y.type.tensor_type.shape.dim):
        if dim.dim_param:
            dim.dim_param = names[dim.dim_param]
    del proto.graph.value_info[:]  # shapes between layers, which runtimes infer themselves
    return proto


def _save_onnx(proto: Any, path: Path, text: str) -> None:
    """Write an ``onnx.ModelProto`` with its metadata."""
    entry = proto.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, text
    path.write_bytes(proto.SerializeToString(deterministic=True))


def _save_openvino(proto: Any, path: Path, text: str) -> None:
    """Write an ``onnx.ModelProto`` in OpenVINO's format: two files.

    Its runtime reads ONNX by itself. ``openvino.convert_model`` would take the program, and report it to its makers.
    """
    openvino = import_extra("openvino", Runtime.OPENVINO)
    model = openvino.Core().read_model(proto.SerializeToString())
    model.set_rt_info(text, METADATA_KEY)
    openvino.save_model(model, path, compress_to_fp16=False)


def openvino_from_onnx(path: Path) -> Path:
    """The same network in OpenVINO's form, beside its ONNX file and without its metadata."""
    made = path.with_suffix(ExportFormat.OPENVINO.value)
    _save_openvino(import_extra("onnx", Runtime.ONNX).load(path), made, "")
    return made


def _save_torch(program: ExportedProgram, path: Path, text: str) -> None:
    torch.export.save(program, path, extra_files={EXTRA_FILE: text})


def _renamed(graph: Any, old: str, new: str) -> str:
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
    return new


FROM_ONNX: Mapping[ExportFormat, Callable[[Any, Path, str], None]] = MappingProxyType(
    {ExportFormat.ONNX: _save_onnx, ExportFormat.OPENVINO: _save_openvino}
)
"""By format: writes an ``onnx.ModelProto`` with metadata to a path."""


def write(program: ExportedProgram, path: Path, text: str) -> None:
    """Write a program in the format that the path's suffix names, with its metadata."""
    form = ExportFormat.of(path)
    if form is ExportFormat.TORCH:
        _save_torch(program, path, text)
    else:
        FROM_ONNX[form](onnx_model(program), path, text)


@dataclass(frozen=True)
class Parity:
    """How a file's logits differ from the original's.

    Args:
        deviation: largest difference of a logit, as a share of the largest logit.
        inputs: shapes that were compared, (batch, height, width), each once; of volumes (batch, depth, ...).
        agreement: share of pictures with the same likeliest class, and of how many; None in float32.
    """

    deviation: float
    inputs: tuple[tuple[int, ...], ...]
    agreement: tuple[float, int] | None = None

    def __str__(self) -> str:
        shapes = ", ".join(f"{batch} x {'x'.join(map(str, sides))}" for batch, *sides in self.inputs)
        text = f"largest deviation {self.deviation:.1e} of scale on {shapes}"
        if self.agreement is None:
            return f"{text}; at most {BOUND:.0e}"
        return f"{text}; the same class for {self.agreement[0]:.1%} of {self.agreement[1]} pictures"


def read_back(path: Path, text: str) -> Run:
    """What computes logits from a file, in float32 where it says nothing else; it must carry ``text``."""
    opened = open_exported(path)
    if opened.metadata != text:
        raise ExportError(
            f"{path.name} must carry its metadata under {METADATA_KEY!r}, and does not: please report this"
        )
    return opened.run


def check_default(path: Path, x: Tensor) -> None:
    """Check that a file gives finite logits as its runtime opens it where nothing is said.

    Raises:
        ExportError: this machine does not open it so, does not run it on ``x``, or a logit is not finite.
    """
    try:
        finite = numpy.isfinite(open_exported(path, by_default=True).run(x.numpy())).all()
        why = "" if finite else "its logits are not finite"
    except Exception as error:  # each runtime raises other errors
        why = root_cause(error)
    if why:
        raise ExportError(
            f"an exported network must run as its runtime opens it by default, and {path.name} does not on this "
            f"machine ({why}); nothing was written. Export another form: .onnx, .xml or .pt2, or leave out int8"
        )


def open_exported(path: Path, *, by_default: bool = False, threads: int = 0) -> OpenedFile:
    """A file, as `open_file` opens it, or a ``.pt2``, whose threads are PyTorch's."""
    if ExportFormat.of(path) is not ExportFormat.TORCH:
        return open_file(path, Runtime.of(path), by_default=by_default, threads=threads)
    kept = {EXTRA_FILE: ""}
    program = torch.export.load(path, extra_files=kept)
    return OpenedFile(kept[EXTRA_FILE], partial(_in_torch, program.module()))


@torch.no_grad()
def _in_torch(network: nn.Module, x: NDArray[numpy.float32]) -> list[NDArray[numpy.float32]]:
    return [network(torch.from_numpy(x)).numpy()]


@torch.no_grad()
def compare(run: Run, model: nn.Module, inputs: Sequence[Tensor]) -> Parity:
    """Compare the logits of a file with those of the original."""
    worst = 0.0
    for x in inputs:
        y = model(x).double().numpy()
        found = run(x.numpy())
        if found.shape != y.shape:
            raise ExportError(f"an exported network must give {y.shape} for {tuple(x.shape)}, and gives {found.shape}")
        deviation = float(abs(found - y).max() / max(abs(y).max(), 1e-30))
        worst = max(worst, deviation if deviation == deviation else float("inf"))
    return Parity(worst, tuple(dict.fromkeys((x.shape[0], *x.shape[2:]) for x in inputs)))
