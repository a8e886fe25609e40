"""The file formats of exported networks, and the runtimes that compute them without torch: ONNX Runtime, OpenVINO."""

import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, cast

from numpy import float32
from numpy.typing import NDArray

from senet_zoo.errors import ExportError, UsageError

METADATA_KEY = "senet_zoo"
"""The key under which a file carries `senet_zoo.prediction.exported_metadata.Metadata`."""


class ExportFormat(Enum):
    """A file format; its value is the suffix."""

    ONNX = ".onnx"
    TORCH = ".pt2"
    OPENVINO = ".xml"

    @classmethod
    def of(cls, path: Path) -> "ExportFormat":
        """The format that a file's suffix names.

        Raises:
            UsageError: an unknown suffix, or a name that is not UTF-8.
        """
        if str(path).encode(errors="replace") != os.fsencode(path):
            raise UsageError(
                f"the path of an exported network must be UTF-8, because no runtime takes another, got {str(path)!r}: "
                "choose another folder"
            )
        for each in cls:
            if path.suffix.lower() == each.value:
                return each
        raise UsageError(
            f"an exported network is named .onnx (ONNX), .xml (OpenVINO) or .pt2 (torch.export), got {path.name!r}"
        )


class Runtime(Enum):
    """A program that computes logits from a file; its value names it on the command line, and the extra to install."""

    ONNX = "onnx"
    OPENVINO = "openvino"

    @classmethod
    def of(cls, path: Path) -> "Runtime":
        """The usual runtime for a file.

        Raises:
            UsageError: the file needs torch, or has an unknown suffix.
        """
        file_format = ExportFormat.of(path)
        if file_format is ExportFormat.TORCH:
            raise UsageError(
                "a .pt2 is run by PyTorch itself; export .onnx or .xml to predict without it",
                python=f", or call torch.export.load({str(path)!r}).module()",
            )
        return cls.ONNX if file_format is ExportFormat.ONNX else cls.OPENVINO


def import_extra(module: str, extra: Runtime) -> ModuleType:
    """Import a module that an extra installs.

    Raises:
        UsageError: it is not installed.
    """
    try:
        with _without_telemetry():
            return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(f"{module} is not installed ({error}): pip install 'senet-zoo[{extra.value}]'") from error


@contextmanager
def _without_telemetry() -> Iterator[None]:
    """OpenVINO reports its import to its makers, except where its package for that cannot be imported."""
    name = "openvino_telemetry"
    before = sys.modules.get(name)
    sys.modules[name] = cast("ModuleType", before)  # None: not to be found
    try:
        yield
    finally:
        if before is None:
            del sys.modules[name]


def root_cause(error: Exception) -> str:
    """The first line of the error that caused another library's error, except those that say where it was raised."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines()]
    found = [line for line in lines if not line.startswith("Exception from src/")] or lines  # OpenVINO's stack
    return found[0] if found else type(error).__name__


@dataclass(frozen=True)
class OpenedFile:
    """A file that a runtime has read.

    Args:
        metadata: the text under `METADATA_KEY`; None if there is none.
        outputs: computes all outputs, in their order.
        arithmetic: what it computes in, except where the file says otherwise.
    """

    metadata: str | None
    outputs: Callable[[NDArray[float32]], list[NDArray[Any]]]
    arithmetic: str = "float32"

    def run(self, pictures: NDArray[float32]) -> NDArray[float32]:
        """Logits of a classifier. Shape: (N, C, H, W) -> (N, classes)."""
        return self.outputs(pictures)[0]


def open_file(path: Path, runtime: Runtime, *, by_default: bool = False, threads: int = 0) -> OpenedFile:
    """Read an exported file.

    Args:
        path: the file.
        runtime: what reads it.
        by_default: whether the runtime chooses the arithmetic by itself: OpenVINO takes bfloat16 where the processor
            has it, which gives other logits. Otherwise it is float32.
        threads: that compute; 0 for the runtime's own number.

    Raises:
        UsageError: the runtime is not installed, or does not read files of that format.
        ExportError: there is no such file, or it is damaged.
    """
    file_format = ExportFormat.of(path)
    if file_format is ExportFormat.TORCH or (runtime is Runtime.ONNX and file_format is not ExportFormat.ONNX):
        raise UsageError(f"the runtime {runtime.value} does not read {file_format.value}, got {str(path)!r}")
    if not path.is_file():
        raise ExportError(f"an exported network must be a file, and {str(path)!r} is none: check the path")
    module = import_extra(_MODULES[runtime], runtime)
    try:
        return _OPENERS[runtime](module, path, by_default, threads)
    except Exception as error:  # each runtime raises other errors for damaged bytes
        raise ExportError(f"{module.__name__} cannot read {path}: {root_cause(error)}. Export it again") from error


def _with_onnx_runtime(onnxruntime: Any, path: Path, by_default: bool, threads: int) -> OpenedFile:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only; it warns about its own optimiser
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (x,) = session.get_inputs()

    def outputs(pictures: NDArray[float32]) -> list[NDArray[Any]]:
        return list(session.run(None, {x.name: pictures}))

    return OpenedFile(session.get_modelmeta().custom_metadata_map.get(METADATA_KEY), outputs)


def _with_openvino(openvino: Any, path: Path, by_default: bool, threads: int) -> OpenedFile:
    core = openvino.Core()
    model = core.read_model(path)
    is_onnx = ExportFormat.of(path) is ExportFormat.ONNX
    keys = ["framework", METADATA_KEY] if is_onnx else [METADATA_KEY]
    metadata = model.get_rt_info(keys).value if model.has_rt_info(keys) else None
    settings: dict[str, object] = {} if by_default else {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = core.compile_model(model, "CPU", settings | ({"INFERENCE_NUM_THREADS": threads} if threads else {}))

    def outputs(pictures: NDArray[float32]) -> list[NDArray[Any]]:
        found = compiled(pictures)
        return [found[number] for number in range(len(compiled.outputs))]

    arithmetic = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    return OpenedFile(metadata, outputs, _ARITHMETIC.get(arithmetic, arithmetic))


_ARITHMETIC = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}
_MODULES = {Runtime.ONNX: "onnxruntime", Runtime.OPENVINO: "openvino"}
_OPENERS: Mapping[Runtime, Callable[[Any, Path, bool, int], OpenedFile]] = MappingProxyType(
    {Runtime.ONNX: _with_onnx_runtime, Runtime.OPENVINO: _with_openvino}
)
