"""Each form: a program to a file that carries its remarks."""

import contextlib
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch.export import ExportedProgram

from senet_zoo.exported.forms import METADATA, Form, Runtime, need
from senet_zoo.inference.export.program import DIMENSIONS

EXTRA_FILE = f"{METADATA}.json"
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
    entry.key, entry.value = METADATA, text
    path.write_bytes(proto.SerializeToString(deterministic=True))


def _save_openvino(proto: Any, path: Path, text: str) -> None:
    """Write an ``onnx.ModelProto`` in OpenVINO's form: two files.

    Its runtime reads ONNX by itself. ``openvino.convert_model`` would take the program, and report it to its makers.
    """
    openvino = need("openvino", Runtime.OPENVINO)
    model = openvino.Core().read_model(proto.SerializeToString())
    model.set_rt_info(text, METADATA)
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


FROM_ONNX: Mapping[Form, Callable[[Any, Path, str], None]] = MappingProxyType(
    {Form.ONNX: _save_onnx, Form.OPENVINO: _save_openvino}
)
"""By form: from an ``onnx.ModelProto``, a path and remarks to a file."""


def write(program: ExportedProgram, path: Path, text: str) -> None:
    """Write a program in the form that the path asks for, with its remarks."""
    form = Form.of(path)
    if form is Form.TORCH:
        _save_torch(program, path, text)
    else:
        FROM_ONNX[form](onnx_model(program), path, text)
