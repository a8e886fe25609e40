"""Other programs' runtimes as backends of `senet_zoo.optimize`, on the CPU, without a file between."""

from typing import Any

import numpy
import torch
from torch import Tensor, fx

from senet_zoo.errors import OptimizationError
from senet_zoo.exported.forms import Runtime, need
from senet_zoo.inference.export.program import program_of
from senet_zoo.inference.export.writing import onnx_model
from senet_zoo.inference.marking import mark_in_graph
from senet_zoo.inference.measuring import Network


def in_onnx_runtime(network: fx.GraphModule, x: Tensor) -> Network:
    """ONNX Runtime, in float32.

    Raises:
        UsageError: an extra is missing.
        OptimizationError: another device or dtype.
    """
    if x.is_cuda or x.dtype is not torch.float32:
        raise OptimizationError(f"ONNX Runtime computes in float32 on the CPU here, not in {x.dtype} on {x.device}")
    onnxruntime: Any = need("onnxruntime", Runtime.ONNX)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(_onnx(network, x, Runtime.ONNX), options, providers=["CPUExecutionProvider"])

    def run(pictures: Tensor) -> Tensor:
        (logits,) = session.run(None, {"pictures": pictures.contiguous().numpy()})
        return torch.from_numpy(logits)

    return run


def in_openvino(network: fx.GraphModule, x: Tensor) -> Network:
    """OpenVINO, in float32 or bfloat16.

    Raises:
        UsageError: the extra is missing.
        OptimizationError: another device or dtype.
    """
    precisions = {torch.float32: "f32", torch.bfloat16: "bf16"}
    if x.is_cuda or x.dtype not in precisions:
        raise OptimizationError(f"OpenVINO computes in float32 or bfloat16 on the CPU, not in {x.dtype} on {x.device}")
    openvino: Any = need("openvino", Runtime.OPENVINO)
    settings = {"INFERENCE_PRECISION_HINT": precisions[x.dtype], "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(_onnx(network.float(), x, Runtime.OPENVINO)), "CPU", settings)

    def run(pictures: Tensor) -> Tensor:
        return torch.from_numpy(numpy.asarray(compiled(pictures.float().contiguous().numpy())[0]))

    return run


def _onnx(network: fx.GraphModule, x: Tensor, extra: Runtime) -> bytes:
    for module in ("onnx", "onnxscript"):
        need(module, extra)
    mark_in_graph(network)
    return bytes(onnx_model(program_of(network, x.shape[1], None)).SerializeToString())
