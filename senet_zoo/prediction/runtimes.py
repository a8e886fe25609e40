"""The forms that a network is exported in, and the runtimes that read them.

Each runtime: from a file to the text that it carries and a function that computes logits.
"""

import importlib
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

METADATA = "senet_zoo"
"""Under which name a file carries what `senet_zoo.prediction.exported_metadata` describes."""


class Form(Enum):
    """A form of file; its value is the suffix."""

    ONNX = ".onnx"
    TORCH = ".pt2"
    OPENVINO = ".xml"

    @classmethod
    def of(cls, path: Path) -> "Form":
        """The form that a file's name asks for.

        Raises:
            UsageError: none has that suffix.
        """
        for form in cls:
            if path.suffix.lower() == form.value:
                return form
        raise UsageError(
            f"an exported network is named .onnx (ONNX), .xml (OpenVINO) or .pt2 (torch.export), got {path.name!r}"
        )


class Runtime(Enum):
    """What computes logits from a file; its value is the word on the command line, and the extra that installs it."""

    ONNX = "onnx"
    OPENVINO = "openvino"

    @classmethod
    def of(cls, path: Path) -> "Runtime":
        """The runtime at home with a file's form.

        Raises:
            UsageError: the form needs torch, or is none.
        """
        form = Form.of(path)
        if form is Form.TORCH:
            raise UsageError(
                f"a .pt2 is run by PyTorch itself: torch.export.load({str(path)!r}).module(); export .onnx or .xml to "
                "predict without it"
            )
        return cls.ONNX if form is Form.ONNX else cls.OPENVINO


def need(module: str, extra: Runtime) -> ModuleType:
    """A module that comes with an extra.

    Raises:
        UsageError: it is not installed.
    """
    try:
        with _unreported():
            return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(f"{module} is not installed ({error}): pip install 'senet-zoo[{extra.value}]'") from error


@contextmanager
def _unreported() -> Iterator[None]:
    """OpenVINO reports its import to its makers, unless that part is not installed: then it has a stub for it."""
    name = "openvino_telemetry"
    before = sys.modules.get(name)
    sys.modules[name] = cast("ModuleType", before)  # None: not to be found
    try:
        yield
    finally:
        if before is None:
            del sys.modules[name]


def reason(error: Exception) -> str:
    """What lies at the root of another library's error, in a line."""
    while isinstance(error.__cause__, Exception):
        error = error.__cause__
    lines = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip().splitlines()
    return lines[0].strip() if lines else type(error).__name__


@dataclass(frozen=True)
class Opened:
    """A file that a runtime has read.

    Args:
        text: what it says of itself; None where it says nothing.
        run: (N, C, H, W) -> (N, classes).
    """

    text: str | None
    run: Callable[[NDArray[float32]], NDArray[float32]]


def open_file(path: Path, runtime: Runtime) -> Opened:
    """Read an exported file.

    Raises:
        UsageError: the runtime is not installed, or does not read files of that form.
        ExportError: there is no such file, or it is damaged.
    """
    if Form.of(path) is Form.TORCH or (runtime is Runtime.ONNX and Form.of(path) is not Form.ONNX):
        raise UsageError(f"the runtime {runtime.value} does not read {Form.of(path).value}, got {str(path)!r}")
    if not path.is_file():
        raise ExportError(f"an exported network must be a file, and {str(path)!r} is none: check the path")
    module = need(_MODULES[runtime], runtime)
    try:
        return _OPENERS[runtime](module, path)
    except Exception as error:  # each runtime meets damaged bytes in ways of its own
        raise ExportError(f"{module.__name__} cannot read {path}: {reason(error)}. Export it again") from error


def _with_onnx_runtime(onnxruntime: Any, path: Path) -> Opened:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; it warns of what its own optimiser leaves behind
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (x,) = session.get_inputs()

    def run(pictures: NDArray[float32]) -> NDArray[float32]:
        (logits,) = session.run(None, {x.name: pictures})
        return logits  # type: ignore[no-any-return]

    return Opened(session.get_modelmeta().custom_metadata_map.get(METADATA), run)


def _with_openvino(openvino: Any, path: Path) -> Opened:
    core = openvino.Core()
    model = core.read_model(path)
    place = [METADATA] if Form.of(path) is Form.OPENVINO else ["framework", METADATA]  # where it keeps ONNX's remarks
    text = model.get_rt_info(place).value if model.has_rt_info(place) else None
    # It would choose bfloat16 by itself where the processor has it, and that is another answer.
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(pictures: NDArray[float32]) -> NDArray[float32]:
        return compiled(pictures)[0]  # type: ignore[no-any-return]

    return Opened(text, run)


_MODULES = {Runtime.ONNX: "onnxruntime", Runtime.OPENVINO: "openvino"}
_OPENERS: Mapping[Runtime, Callable[[Any, Path], Opened]] = MappingProxyType(
    {Runtime.ONNX: _with_onnx_runtime, Runtime.OPENVINO: _with_openvino}
)
