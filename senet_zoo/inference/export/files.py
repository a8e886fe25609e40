"""A rewritten network as a program of torch.export, which every form is written from.

Each form: a program to a file that carries its remarks.

Whether a written file answers like the network it came from; the file itself is read back and run.

What `senet_zoo.export` wrote, as values that read well when printed.
"""

import contextlib
import io
import logging
from collections import Counter
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
from senet_zoo.prediction.exported_metadata import Metadata
from senet_zoo.prediction.runtimes import METADATA_KEY, ExportFormat, OpenedFile, Runtime, import_extra, open_file

DIMENSIONS = ("batch", "height", "width")
BATCH = 2  # a batch of one would be taken for a constant
HEIGHT, WIDTH = 259, 227  # odd, different, and so large that no map is a pixel wide: that would be a constant, too


def program_of(network: nn.Module, in_channels: int, side: int | None) -> ExportedProgram:
    """Record the network's operations; nothing is computed.

    Args:
        network: of `senet_zoo.inference.rewriting.rewrite`.
        in_channels: of the pictures.
        side: of the only pictures that it will take; None for pictures of any height and width.

    Raises:
        Exception: torch.export's own, of many types, where the network fixes a size.
    """
    height, width = (side, side) if side else (HEIGHT, WIDTH)
    free = {0: Dim.DYNAMIC} if side else {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    example = torch.zeros(BATCH, in_channels, height, width)
    with torch.no_grad(), _silent("torch.fx.experimental.symbolic_shapes"):
        return torch.export.export(network, (example,), dynamic_shapes=(free,), strict=False)


@contextmanager
def _silent(name: str) -> Iterator[None]:
    """It prints a page of stack where a pool's rounding is too much for its algebra, and goes on rightly."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


EXTRA_FILE = f"{METADATA_KEY}.json"
"""Under which name a .pt2 carries the remarks."""


def onnx_model(program: ExportedProgram) -> Any:
    """An ``onnx.ModelProto``, in the newest operator set that PyTorch's exporter writes by itself."""
    with contextlib.redirect_stdout(io.StringIO()):  # it reports to people
        made = torch.onnx.export(program, dynamo=True, verbose=False)
    proto = made.model_proto  # type: ignore[union-attr]
    (x,), (y,) = proto.graph.input, proto.graph.output
    x.name, y.name = _renamed(proto.graph, x.name, "pictures"), _renamed(proto.graph, y.name, "logits")
    free = [dim for dim in x.type.tensor_type.shape.dim if dim.dim_param]
    names = dict(zip([dim.dim_param for dim in free], DIMENSIONS, strict=False))
    for dim in (*free, *y.type.tensor_type.shape.dim):
        if dim.dim_param:
            dim.dim_param = names[dim.dim_param]
    del proto.graph.value_info[:]  # shapes between layers, which runtimes infer themselves
    return proto


def _save_onnx(proto: Any, path: Path, text: str) -> None:
    """Write an ``onnx.ModelProto`` with its remarks."""
    entry = proto.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, text
    path.write_bytes(proto.SerializeToString(deterministic=True))


def _save_openvino(proto: Any, path: Path, text: str) -> None:
    """Write an ``onnx.ModelProto`` in OpenVINO's form: two files.

    Its runtime reads ONNX by itself. ``openvino.convert_model`` would take the program, and report it to its makers.
    """
    openvino = import_extra("openvino", Runtime.OPENVINO)
    model = openvino.Core().read_model(proto.SerializeToString())
    model.set_rt_info(text, METADATA_KEY)
    openvino.save_model(model, path, compress_to_fp16=False)


def _save_torch(program: ExportedProgram, path: Path, text: str) -> None:
    torch.export.save(program, path, extra_files={EXTRA_FILE: text})


def _renamed(graph: Any, old: str, new: str) -> str:
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                if name == old:
                    names[place] = new
    return new


FROM_ONNX: Mapping[ExportFormat, Callable[[Any, Path, str], None]] = MappingProxyType(
    {ExportFormat.ONNX: _save_onnx, ExportFormat.OPENVINO: _save_openvino}
)
"""By form: from an ``onnx.ModelProto``, a path and remarks to a file."""


def write(program: ExportedProgram, path: Path, text: str) -> None:
    """Write a program in the form that the path asks for, with its remarks."""
    form = ExportFormat.of(path)
    if form is ExportFormat.TORCH:
        _save_torch(program, path, text)
    else:
        FROM_ONNX[form](onnx_model(program), path, text)


BOUND = 1e-4
"""Largest deviation of a logit in float32, as a share of the largest. Other kernels round otherwise: 1e-6 is usual."""

Run = Callable[[NDArray[numpy.float32]], NDArray[numpy.float32]]


@dataclass(frozen=True)
class Parity:
    """How a file's logits differ from the original's.

    Args:
        deviation: largest difference of a logit, as a share of the largest logit.
        inputs: shapes that were compared, (batch, height, width), each once.
        agreement: share of pictures with the same likeliest class, and of how many; None in float32.
    """

    deviation: float
    inputs: tuple[tuple[int, int, int], ...]
    agreement: tuple[float, int] | None = None

    def __str__(self) -> str:
        shapes = ", ".join(f"{batch} x {height}x{width}" for batch, height, width in self.inputs)
        text = f"largest deviation {self.deviation:.1e} of scale on {shapes}"
        if self.agreement is None:
            return f"{text}; at most {BOUND:.0e}"
        return f"{text}; the same class for {self.agreement[0]:.1%} of {self.agreement[1]} pictures"


def read_back(path: Path, text: str) -> Run:
    """What computes logits from a file, which must carry ``text``."""
    if ExportFormat.of(path) is ExportFormat.TORCH:
        kept = {EXTRA_FILE: ""}
        program = torch.export.load(path, extra_files=kept)
        opened = OpenedFile(kept[EXTRA_FILE], partial(_in_torch, program.module()))
    else:
        opened = open_file(path, Runtime.of(path))
    if opened.metadata != text:
        raise ExportError(
            f"{path.name} must carry its remarks under {METADATA_KEY!r}, and does not: please report this"
        )
    return opened.run


@torch.no_grad()
def _in_torch(network: nn.Module, x: NDArray[numpy.float32]) -> NDArray[numpy.float32]:
    return network(torch.from_numpy(x)).numpy()  # type: ignore[no-any-return]


@torch.no_grad()
def compare(run: Run, model: nn.Module, inputs: Sequence[Tensor]) -> Parity:
    """The logits of a file beside those of the original."""
    worst = 0.0
    for x in inputs:
        y = model(x).double().numpy()
        found = run(x.numpy())
        if found.shape != y.shape:
            raise ExportError(f"an exported network must give {y.shape} for {tuple(x.shape)}, and gives {found.shape}")
        deviation = float(abs(found - y).max() / max(abs(y).max(), 1e-30))
        worst = max(worst, deviation if deviation == deviation else float("inf"))
    return Parity(worst, tuple(dict.fromkeys((x.shape[0], x.shape[2], x.shape[3]) for x in inputs)))


@dataclass(frozen=True)
class ExportReport:
    """A file that was written and has proven itself.

    Args:
        path: of the file; OpenVINO's weights lie beside it, ending in ``.bin``.
        bytes: of all its files.
        metadata: what it says of itself.
        parity: how its answers differ from the original's.
        early: gates that are computed before the convolution whose map they scale.
        late: every other gate by name, and why it stays behind its map; the function is the same.
        notes: what else there is to know.
    """

    path: Path
    bytes: int
    metadata: Metadata
    parity: Parity
    early: tuple[str, ...]
    late: Mapping[str, str]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        side = self.metadata.side
        lines = [
            ("file", f"{self.path}, {self.bytes / 1e6:.1f} MB, {self.metadata.precision.value}"),
            ("input", f"any number of pictures of {'any size' if side is None else f'{side}x{side} pixels'}"),
            ("gates", f"{len(self.early)} of {len(self.early) + len(self.late)} before their convolution"),
            *(("", f"{count} behind: {reason}") for reason, count in Counter(self.late.values()).items()),
            ("parity", str(self.parity)),
            *(("note", note) for note in self.notes),
        ]
        return "\n".join([f"{self.metadata.model}, exported", *(f"  {name:6}  {value}" for name, value in lines)])
