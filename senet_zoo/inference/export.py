"""`export`: a network as a file that other programs run, rewritten and checked before it is written to its path."""

import copy
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from senet_zoo.data.labelled import Labelled
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import ExportError, UsageError
from senet_zoo.evaluation.label_matching import LogitNames, logits_of, match_classes
from senet_zoo.inference.export_files import (
    BOUND,
    FROM_ONNX,
    Parity,
    check_default,
    compare,
    openvino_from_onnx,
    program_of,
    read_back,
    write,
)
from senet_zoo.inference.int8 import Int8, agreement, need_torchao, quantise, quantise_program, split
from senet_zoo.inference.int8_comparison import Int8Comparison, compare_accuracy, compare_speed, size_of
from senet_zoo.inference.optimize import check_supported, default_sizes
from senet_zoo.inference.optimized_model import aligned, gate_lines
from senet_zoo.inference.parity import random_pictures
from senet_zoo.inference.passes.depthwise import move_gates_behind
from senet_zoo.inference.passes.graph import dimensions_of
from senet_zoo.inference.passes.grid_pools import spell_grid_pools
from senet_zoo.inference.rewriting import in_channels_of, rewrite
from senet_zoo.networks import registry
from senet_zoo.networks.families.family import Model
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.widths import Widths
from senet_zoo.prediction.exported_metadata import Metadata, Precision
from senet_zoo.prediction.runtimes import ExportFormat, Runtime, import_extra, root_cause
from senet_zoo.support.files import atomic_files
from senet_zoo.support.memory import release_memory
from senet_zoo.version import __version__
from senet_zoo.weights.catalogue import Weights, default_preprocessing
from senet_zoo.weights.config import FolderConfig
from senet_zoo.weights.task_folders import TaskConfig
from senet_zoo.weights.variant import to_json

SIDES = range(8, 1025)
"""Sides of pictures, in pixels, that a file can be exported for."""
MODULES = {
    ExportFormat.ONNX: ("onnx", "onnxscript", "onnxruntime"),
    ExportFormat.OPENVINO: ("onnx", "onnxscript", "openvino"),  # it is read from ONNX
    ExportFormat.TORCH: (),
}

LOADS = ("import torchao.quantization.pt2e before torch.export.load, which needs its operators",)


@dataclass(frozen=True)
class ExportReport:
    """A file that was written, read back and compared.

    Args:
        path: the file; OpenVINO's weights lie beside it in a ``.bin``.
        bytes: size of all its files.
        metadata: what the file says about the network.
        parity: how its logits differ from the original's.
        early: gates that are computed before the convolution whose map they scale.
        late: every other gate by name, and why it stays behind its map; the function is the same.
        notes: anything else.
        int8: speed, size and accuracy beside the file in float32; None for that.
    """

    path: Path
    bytes: int
    metadata: Metadata
    parity: Parity
    early: tuple[str, ...]
    late: Mapping[str, str]
    notes: tuple[str, ...]
    int8: Int8Comparison | None = None

    def __str__(self) -> str:
        side = self.metadata.side
        lines = [
            ("file", f"{self.path}, {self.bytes / 1e6:.1f} MB, {self.metadata.precision.value}"),
            ("input", f"any number of pictures of {'any size' if side is None else f'{side}x{side} pixels'}"),
            *gate_lines(self.early, self.late),
            ("parity", str(self.parity)),
            *(self.int8.lines() if self.int8 else []),
            *(("note", note) for note in self.notes),
        ]
        return aligned(f"{self.metadata.model}, exported", lines)


def prepared(model: nn.Module, preprocessing: Preprocessing | None, size: int | None) -> Preprocessing | None:
    """How pictures become the input, at ``size`` if one is given; None if unknown.

    Args:
        model: the default comes from its weights, or else from its name.
        preprocessing: the caller's choice, or None for the default.
        size: side that pictures are cut to; they are resized before the cut in the same proportion.

    Raises:
        UsageError: a size that is not supported.
    """
    if size is not None and size not in SIDES:
        raise UsageError(f"size must be a whole number of pixels from {SIDES[0]} to {SIDES[-1]}, got {size}")
    if dimensions_of(model) != 2:
        return preprocessing
    if preprocessing is None:
        record = _record(model)
        preprocessing = record.preprocessing if record else None
    if preprocessing is None and name_of(model) in registry.MODELS:
        preprocessing = default_preprocessing(name_of(model))
    if preprocessing is None or size is None:
        return preprocessing
    return replace(preprocessing, size=size, resize=round(preprocessing.resize * size / preprocessing.size))


def metadata_of(
    model: nn.Module,
    num_classes: int,
    in_channels: int,
    preprocessing: Preprocessing | None,
    categories: Sequence[str] | None,
) -> Metadata:
    """The metadata of a network that takes pictures of any size, in float32.

    ``preprocessing`` comes from `prepared`; pictures of other than 3 channels have none. Without ``categories``, class
    names are those of the weights, if their number fits.

    Raises:
        UsageError: not one category for each logit.
    """
    record = _record(model)
    if categories is None and record is not None and len(record.categories or ()) == num_classes:
        categories = record.categories
    if categories is not None and len(categories) != num_classes:
        raise UsageError(f"categories must name each logit: {num_classes} of them, got {len(categories)}")
    gate = model.spec.se if isinstance(model, ConvNet) else None
    found = _model_of(model)
    return Metadata(
        model=name_of(model),
        se=None if gate is None else to_json(gate),
        weights_sha256=_sha256(model),
        num_classes=num_classes,
        in_channels=in_channels,
        side=None,
        precision=Precision.FLOAT32,
        preprocessing=preprocessing if in_channels == 3 else None,
        categories=None if categories is None else tuple(categories),
        senet_zoo=__version__,
        widths=found[1] if found else None,
    )


def name_of(model: nn.Module) -> str:
    """The name in the zoo, or else the name of the class."""
    found = _model_of(model)
    return type(model).__name__ if found is None else found[0].name


def _model_of(model: nn.Module) -> tuple[Model, Widths | None] | None:
    return registry.model_of(model.spec) if isinstance(model, ConvNet) else None


def _record(model: nn.Module) -> Weights | FolderConfig | None:
    record = getattr(model, "weights", None)
    return record if isinstance(record, Weights | FolderConfig) else None


def _sha256(model: nn.Module) -> str:
    """Hash of name, type, shape and bytes of every tensor, in the order of their names."""
    found = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return found.hexdigest()


@release_memory()
def export(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    size: int | None = None,
    preprocessing: Preprocessing | None = None,
    categories: Sequence[str] | None = None,
    int8: Int8 | None = None,
) -> ExportReport | Any:
    """Write a network as a file that gives the same answers without this library and, except ``.pt2``, without PyTorch.

    It is rewritten first as by `senet_zoo.optimize`: batch norms are part of convolutions, and gates are computed
    before the convolution whose map they scale where that is exact. The file takes any number of pictures, of any size
    where the network does, and says itself which network it is, what prepares a picture and what the logits mean. It
    is read back and compared with the original before it takes its place; nothing half-written is left.

    Args:
        model: in eval mode, on any device; (N, C, H, W) -> (N, classes). Networks of timm and torchvision go, too. So
            do Faster R-CNN, RetinaNet and segmenters of the zoo, as `.onnx` and `.xml`; of them a `TaskExportReport` is
            returned.
        path: the file; its suffix is the form: ``.onnx``, ``.xml`` for OpenVINO, whose weights go beside it into a
            ``.bin``, or ``.pt2`` for torch.export, which refuses pictures so small that a map is one pixel high or
            wide.
        size: side that pictures are cut to, resized before in proportion; by default as the preprocessing says.
        preprocessing: from a picture to the input; by default that of the model's weights, or of its name.
        categories: class names, one a logit; by default those of the weights, where their number fits.
        int8: pictures to calibrate on, for convolutions in eight bits; gates and classifier stay in float. The report
            has speed, size and, with labelled pictures, accuracy of both files. For ``.pt2`` it is TorchAO's, of the
            extra of that name: whoever loads the file imports ``torchao.quantization.pt2e`` first.

    Raises:
        UsageError: an unknown suffix, a missing extra (the message names it), categories that do not fit, or labelled
            pictures where no categories are known.
        OptimizationError: a network that is not taken as it is: it trains, is quantised, scripted or compiled.
        ExportError: the network cannot be written, the file deviates by more than 1e-4 of the largest logit, int8
            agrees on too few pictures, this machine does not run the file as its runtime opens it by default, or the
            folder does not take it.
        PictureError: a calibration picture that is not there or not readable.
        DataError: a class of the labelled pictures is not among the network's.

    Example:
        >>> import tempfile
        >>> import senet_zoo
        >>> model = senet_zoo.create_model("se_resnet20", pretrained=True)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     report = senet_zoo.export(model, f"{folder}/se_resnet20.pt2")
        >>> report.metadata.side, report.parity.deviation < 1e-5
        (None, True)
    """
    file = Path(path).expanduser()
    form = ExportFormat.of(file)
    if isinstance(getattr(model, "weights", None), TaskConfig):
        from senet_zoo.inference.export_tasks import export_task

        if size is not None or preprocessing is not None or categories is not None or int8 is not None:
            raise UsageError(
                "a detector or a segmenter is exported in float32, with its own preprocessing and classes",
                python=": leave size, preprocessing, categories and int8 out",
                command_line=": leave --size and --int8 out",
            )
        return export_task(model, file)
    _need(form, int8)
    check_supported(model)
    model = copy.deepcopy(model).cpu().float()
    preprocessing = prepared(model, preprocessing, size)
    side = size or (preprocessing.size if preprocessing else default_sizes(model)[0])
    rewriting = rewrite(model)
    if form is not ExportFormat.TORCH:
        spell_grid_pools(rewriting.network)
    if form is ExportFormat.OPENVINO and int8 is None:
        move_gates_behind(rewriting.network)
    in_channels = in_channels_of(rewriting.network)
    dims = dimensions_of(model)
    if dims != 2 and int8 is not None:
        raise UsageError(f"int8 is calibrated on pictures, and this network has {dims} dimensions; leave it out")
    inputs = [random_pictures(batch, in_channels, side, torch.zeros(1), dims) for batch in (1, 3)]
    metadata = metadata_of(model, _num_classes(model, inputs[0]), in_channels, preprocessing, categories)
    calibration = None if int8 is None else int8.load(metadata.preprocessing)
    logits = _names_of_logits(metadata, int8.labelled) if int8 and int8.labelled else None
    comparison = None
    with atomic_files(file) as part:
        if int8 is None or calibration is None:
            metadata, parity, notes = _in_float32(model, rewriting.network, part, metadata, inputs)
            if form is ExportFormat.OPENVINO:  # it was read back in float32, which is not its default everywhere
                check_default(part, inputs[0])
        else:
            with TemporaryDirectory(dir=part.parent, ignore_cleanup_errors=True) as folder:  # where there is room
                plain = Path(folder, "float32.pt2" if form is ExportFormat.TORCH else "float32.onnx")
                metadata, parity, notes = _in_float32(model, rewriting.network, plain, metadata, inputs)
                metadata, parity = _in_int8(model, plain, part, metadata, calibration, int8.agreement)
                comparison = _comparison(plain, part, metadata, int8.labelled, logits, calibration[0])
            notes += LOADS if form is ExportFormat.TORCH else ()
        size_in_bytes = sum(made.stat().st_size for made in part.parent.iterdir())
    return ExportReport(file, size_in_bytes, metadata, parity, rewriting.early, rewriting.late, notes, comparison)


def _in_float32(
    model: nn.Module, network: nn.Module, path: Path, metadata: Metadata, inputs: Sequence[Tensor]
) -> tuple[Metadata, Parity, tuple[str, ...]]:
    """Write and check the file for pictures of any size or, if the network has one size only, for that size."""
    side = inputs[0].shape[-1]
    other = random_pictures(2, metadata.in_channels, side * 9 // 8 | 1, inputs[0], inputs[0].ndim - 2)
    other = other[..., :-1].contiguous()  # no square
    try:
        parity = _write(model, network, path, metadata, [*inputs, other])
    except OSError:
        raise
    except Exception as error:
        why = root_cause(error)
        metadata = replace(metadata, side=side)
    else:
        return metadata, parity, ()
    try:
        parity = _write(model, network, path, metadata, inputs)
    except (ExportError, OSError):
        raise
    except Exception as error:  # of many types, by exporters that meet what they cannot write
        raise ExportError(f"{metadata.model} cannot be written as {path.suffix}: {root_cause(error)}") from error
    return metadata, parity, (f"pictures of one size only, because the exporter says: {why}",)


def _write(model: nn.Module, network: nn.Module, path: Path, metadata: Metadata, inputs: Sequence[Tensor]) -> Parity:
    program = program_of(network, metadata.in_channels, metadata.side)
    write(program, path, metadata.text())
    parity = compare(read_back(path, metadata.text()), model, inputs)
    if not parity.deviation <= BOUND:
        raise ExportError(
            f"an exported network must give the original's logits within {BOUND:.0e} of scale, and {path.name} "
            f"deviates by {parity.deviation:.1e}; nothing was written. Please report the network"
        )
    return parity


def _in_int8(
    model: nn.Module, plain: Path, path: Path, metadata: Metadata, calibration: Sequence[Tensor], least: float
) -> tuple[Metadata, Parity]:
    """Write the asked form in eight bits from a checked file in float32, ONNX or that of torch.export; check that."""
    ranges, answers = split(calibration)
    metadata = replace(metadata, precision=Precision.INT8)
    if ExportFormat.of(path) is ExportFormat.TORCH:
        network = quantise_program(torch.export.load(plain), ranges)
        write(program_of(network, metadata.in_channels, metadata.side), path, metadata.text())
    else:
        FROM_ONNX[ExportFormat.of(path)](quantise(plain, ranges), path, metadata.text())
    run = read_back(path, metadata.text())
    parity = compare(run, model, answers)
    return metadata, replace(parity, agreement=agreement(run, model, answers, least))


def _comparison(
    plain: Path, path: Path, metadata: Metadata, labelled: Labelled | None, logits: LogitNames | None, x: Tensor
) -> Int8Comparison:
    """Measure a file in eight bits beside one in float32, which is turned into the same form."""
    if ExportFormat.of(path) is ExportFormat.OPENVINO:
        plain = openvino_from_onnx(plain)
    check_default(path, x)
    speed, rounds = compare_speed(plain, path, x)
    accuracy = compare_accuracy(plain, path, labelled, metadata, logits) if labelled and logits else None
    return Int8Comparison(speed, rounds, size_of(plain), size_of(path), accuracy)


def _names_of_logits(metadata: Metadata, labelled: Labelled) -> LogitNames:
    """Names that the labelled pictures' classes are found among; checked before minutes of work.

    Raises:
        UsageError: the names of the network's classes are unknown.
        DataError: a class of the pictures is not among them.
    """
    if metadata.categories is None:
        raise UsageError(
            "accuracy needs the names of the network's classes, and they are unknown",
            python=": pass categories=, or leave out labelled=",
            command_line=": export from a folder or from weights that name them, or leave out --labelled",
        )
    logits = logits_of(metadata.categories)
    match_classes(labelled.classes, logits)
    return logits


@torch.no_grad()
def _num_classes(model: nn.Module, x: Tensor) -> int:
    try:
        y = model(x)
    except Exception as error:
        raise ExportError(
            f"the network does not run on pictures of shape {tuple(x.shape)}: {error}. Pass a size= that it takes"
        ) from error
    if not isinstance(y, Tensor) or y.ndim != 2 or not y.isfinite().all():
        raise ExportError(
            f"an exported network turns pictures into finite logits (N, classes); {type(model).__name__} does not"
        )
    return 0 if getattr(model, "num_classes", None) == 0 else y.shape[1]  # features name no classes


def _need(form: ExportFormat, int8: Int8 | None) -> None:
    """Check before minutes of work that the packages for it are installed."""
    if int8 is not None and form is ExportFormat.TORCH:
        need_torchao()
        return
    extra = Runtime.OPENVINO if form is ExportFormat.OPENVINO else Runtime.ONNX
    for module in MODULES[form]:
        import_extra(module, extra)
    if int8 is not None:
        import_extra("onnxruntime.quantization", Runtime.ONNX)
