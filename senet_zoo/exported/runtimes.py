"""Each runtime: from a file to the text that it carries and a function that computes logits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from numpy import float32
from numpy.typing import NDArray

from senet_zoo.errors import ExportError, UsageError
from senet_zoo.exported.forms import METADATA, Form, Runtime, need, reason


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
