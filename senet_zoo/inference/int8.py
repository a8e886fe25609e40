"""int8: convolutions in eight bits, calibrated on pictures, by ONNX Runtime's quantiser or, for ``.pt2``, by TorchAO.

Gates and classifier stay in float. OpenVINO reads what ONNX Runtime's quantiser makes, and is faster with it than with
what its makers' own (NNCF 3.4) makes of the same network: 2.2 against 1.9 times as fast as float32, ``se_mobilenet`` at
224 pixels on AVX512 with VNNI. ``benchmarks/int8.py`` prints what both runtimes gain.
"""

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.export import ExportedProgram

from senet_zoo.data.datasets import any_pictures
from senet_zoo.data.labelled import Labelled
from senet_zoo.data.pictures import prepare_picture
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import ExportError, UsageError
from senet_zoo.inference.export_files import Run, logging_only
from senet_zoo.prediction.exported_model import pixels
from senet_zoo.prediction.runtimes import Runtime, import_extra

EIGHT_BITS = ("Conv", "MaxPool", "Add", "Relu", "Clip")
"""Operations of ONNX with eight bits on either side. Where the sum and the activation behind a convolution are not
among them, runtimes fuse neither, and turn each map into float32 and back."""
MEANS = ("ReduceMean", "ReduceMax", "GlobalAveragePool", "GlobalMaxPool")


@dataclass(frozen=True)
class Int8:
    """Convolutions in eight bits.

    Args:
        pictures: files, folders and ``.npz`` of pictures like those that the network will see, or names of data sets,
            of which train is taken. Three quarters of those used find the ranges of the maps; on the others, or on all
            where they are fewer than 8, the likeliest class is compared with the original's.
        agreement: least share of these with the same class; below it nothing is written.
        most: pictures used, evenly out of all.
        labelled: pictures that both files are scored on, other ones than ``pictures``; None for no score.

    Raises:
        UsageError: a number outside its range.
    """

    pictures: Sequence[str | os.PathLike[str]]
    agreement: float = 0.9
    most: int = 256
    labelled: Labelled | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.agreement <= 1:
            raise UsageError(f"agreement must be a share from 0 to 1, got {self.agreement}")
        if self.most < 1:
            raise UsageError(f"most must be at least 1, got {self.most}")

    def load(self, preprocessing: Preprocessing | None) -> list[Tensor]:
        """The pictures as inputs (1, 3, size, size).

        Raises:
            UsageError: there are none, or nothing says how they are prepared.
            DataError: data that is not there or cannot be read.
            PictureError: a folder without pictures, or a picture that cannot be read.
        """
        if preprocessing is None:
            raise UsageError(
                "int8 is calibrated on pictures, and their preprocessing is unknown",
                python=": pass preprocessing=",
                command_line=": export from a folder or from weights that say it",
            )
        found = [any_pictures(os.fspath(source)) for source in self.pictures]
        every = [(data, index) for data in found for index in range(len(data))]
        if not every:
            raise UsageError("int8 is calibrated on pictures, and none is given: name a folder of some hundred")
        chosen = every[:: max(1, len(every) // self.most)][: self.most]
        prepare = partial(pixels, preprocessing=preprocessing)
        arrays = (prepare_picture(prepare, data.read(index), data.names[index]) for data, index in chosen)
        return [torch.from_numpy(array)[None] for array in arrays]


def split(inputs: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """Inputs to find ranges on, and inputs to compare classes on."""
    if len(inputs) < 8:
        return inputs, inputs
    return [x for index, x in enumerate(inputs) if index % 4], inputs[::4]


def quantise(path: Path, inputs: Sequence[Tensor]) -> Any:
    """A network with its convolutions in eight bits, as an ``onnx.ModelProto`` without metadata.

    The ranges of its maps are found on ``inputs``. A file may lie beside ``path`` for a while.
    """
    onnx = import_extra("onnx", Runtime.ONNX)
    quantization = import_extra("onnxruntime.quantization", Runtime.ONNX)
    proto = onnx.load(path)
    del proto.metadata_props[:]

    class Pictures(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        """The inputs one by one, as the quantiser asks for them."""

        def __init__(self) -> None:
            self.rest: Iterator[Tensor] = iter(inputs)

        def get_next(self) -> dict[str, NDArray[numpy.float32]] | None:
            """The next, by the input's name."""
            x = next(self.rest, None)
            return None if x is None else {"pictures": x.numpy()}

    made = path.with_suffix(".int8.onnx")
    with logging_only(logging.ERROR):  # the quantiser recommends a step that folds what is folded
        quantization.quantize_static(
            proto,
            made,
            Pictures(),
            op_types_to_quantize=list(EIGHT_BITS),
            nodes_to_exclude=gate_nodes(proto.graph),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,  # one range a map; bytes with a sign are slower on x86
            weight_type=quantization.QuantType.QInt8,
            # Seven bits of weights: processors without VNNI sum pairs of products in 16 bits, and eight overflow there.
            reduce_range=True,
            extra_options={"WeightSymmetric": True, "ActivationSymmetric": False},
        )
    proto = onnx.load(made)
    made.unlink()
    return proto


def gate_nodes(graph: Any) -> list[str]:
    """Names of the nodes that see nothing but means over pixels: gates, and the classifier."""
    constants = {tensor.name for tensor in graph.initializer}
    means: set[str] = set()
    names = []
    for node in graph.node:
        data = [name for name in node.input if name and name not in constants]
        if node.op_type in MEANS or (data and means.issuperset(data)):
            means.update(node.output)
            names.append(node.name)
        elif not data:
            constants.update(node.output)
    return names


@torch.no_grad()
def agreement(run: Run, model: nn.Module, inputs: Sequence[Tensor], least: float) -> tuple[float, int]:
    """Share of pictures with the same likeliest class, and their number.

    Raises:
        ExportError: fewer than ``least``.
    """
    same = sum(int(run(x.numpy()).argmax()) == int(model(x).argmax()) for x in inputs)
    share = same / len(inputs)
    if share < least:
        raise ExportError(
            f"int8 must give the original's likeliest class for {least:.0%} of the pictures, and this gives it for "
            f"{share:.1%} of {len(inputs)}: calibrate with more pictures like those it will see, or export in float32"
        )
    return share, len(inputs)


def need_torchao() -> None:
    """Check that TorchAO is installed.

    Raises:
        UsageError: it is not.
    """
    try:
        with _quiet():
            import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401
    except ImportError as error:
        raise UsageError(f"torchao is not installed ({error}): pip install 'senet-zoo[torchao]'") from error


@torch.no_grad()
def quantise_program(program: ExportedProgram, inputs: Sequence[Tensor]) -> fx.GraphModule:
    """A network with its convolutions in eight bits, by the rules for x86 processors; ``inputs`` give the ranges."""
    with _quiet():
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e
        from torchao.quantization.pt2e.quantizer import x86_inductor_quantizer as x86

        quantizer = x86.X86InductorQuantizer().set_global(x86.get_default_x86_inductor_quantization_config())
        # All fully connected layers are gates' or the classifier.
        quantizer.set_function_type_qconfig(torch.nn.functional.linear, None)
        prepared: Any = prepare_pt2e(program.module(), quantizer)
        for x in inputs:
            prepared(x)
        network = cast("fx.GraphModule", convert_pt2e(prepared))
    _forget_unread(network)
    return network


def _forget_unread(network: fx.GraphModule) -> None:
    """Remove the tensors that no operation reads: the weights in float32 are still there."""
    network.graph.eliminate_dead_code()
    read = {str(node.target) for node in network.graph.nodes if node.op == "get_attr"}
    for name in {**dict(network.named_parameters()), **dict(network.named_buffers())}.keys() - read:
        owner, _, attribute = name.rpartition(".")
        delattr(network.get_submodule(owner), attribute)
    network.recompile()


@contextmanager
def _quiet() -> Iterator[None]:
    """TorchAO warns of PyTorch's functions that it calls itself."""
    with logging_only(logging.ERROR, "torch.utils._pytree"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
