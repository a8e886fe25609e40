"""`export` for detectors and segmenters: a file for pictures of any size, read back and compared."""

import copy
import io
import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MethodType
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from senet_zoo.detection.design import DetectorConfig, Kind
from senet_zoo.errors import ExportError, UsageError
from senet_zoo.inference.export_files import FROM_ONNX, logging_only
from senet_zoo.inference.optimized_model import aligned
from senet_zoo.inference.traced_resize import TracedResize
from senet_zoo.prediction.exported_task import TaskMetadata
from senet_zoo.prediction.runtimes import ExportFormat, Runtime, import_extra, root_cause
from senet_zoo.segmentation.design import SegmenterConfig
from senet_zoo.support.files import atomic_files
from senet_zoo.version import __version__

BOXES = 1e-3
"""Largest deviation of a corner in pixels, and of a score."""
PIXELS = 1e-4
"""Largest deviation of a segmenter's logit, as a share of the largest."""
SIZES = ((96, 128), (123, 67), (160, 160), (75, 200))
"""Height and width of the pictures on which a file is compared."""
DETECTION = (("picture",), ("boxes", "labels", "scores"))  # names of inputs and outputs
SEGMENTATION = (("pictures",), ("logits",))
TAKES = {
    True: "a picture (3, height, width) of any size, pixels in [0, 1]",
    False: "pictures (N, 3, height, width) of any size, pixels in [0, 1]",
}
GIVES = {
    True: "boxes (n, 4) in its pixels, labels (n,) from 1, scores (n,)",
    False: "logits (N, classes, height, width)",
}
EMPTY = "where nothing is found, OpenVINO gives one row of label 0, which is the background: leave it out"
UNSEEN = "no box is found in the pictures that are compared: what the heads say was compared, as a share of the largest"
OPSET = 17
Arrays = list[NDArray[Any]]


@dataclass(frozen=True)
class TaskExportReport:
    """A file of a detector or a segmenter that was written, read back and compared.

    Args:
        path: the file; OpenVINO's weights lie beside it in a ``.bin``.
        bytes: size of all its files.
        network: such as ``faster_rcnn on se_resnet50``.
        takes: its input.
        gives: its outputs.
        deviation: the largest difference from the original: of corners in pixels and of scores, or of logits as a share
            of the largest.
        sizes: height and width of the pictures that were compared.
        boxes: how many boxes were compared; None for a segmenter.
        notes: anything else.
    """

    path: Path
    bytes: int
    network: str
    takes: str
    gives: str
    deviation: float
    sizes: tuple[tuple[int, int], ...]
    boxes: int | None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        sizes = ", ".join(f"{height}x{width}" for height, width in self.sizes)
        unit = "of scale" if self.boxes is None else f"pixels or of a score, in {self.boxes} boxes"
        lines = [
            ("file", f"{self.path}, {self.bytes / 1e6:.1f} MB, float32"),
            ("input", self.takes),
            ("output", self.gives),
            ("parity", f"largest deviation {self.deviation:.1e} {unit}, on pictures of {sizes}"),
            *(("note", note) for note in self.notes),
        ]
        return aligned(f"{self.network}, exported", lines)


class _Detector(nn.Module):
    """A detector of one picture, whose outputs are tensors in order."""

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.detector = detector
        self.resize = TracedResize(detector.transform.min_size[-1], detector.transform.max_size)

        def resize(transform: Any, image: Tensor, target: None = None) -> tuple[Tensor, None]:
            return self.resize(image), None

        detector.transform.resize = MethodType(resize, detector.transform)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (n, 4), labels (n,) and scores (n,) of a picture (3, H, W)."""
        (found,) = self.detector([image])
        return found["boxes"], found["labels"], found["scores"]


class _Heads(nn.Module):
    """What a detector's heads say of one picture, before boxes are chosen: two long rows of numbers."""

    def __init__(self, detector: Any) -> None:
        super().__init__()
        self.whole = _Detector(detector)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and corners, (n,) each."""
        detector: Any = self.whole.detector
        images, _ = detector.transform([image])
        maps = list(detector.backbone(images.tensors).values())
        if hasattr(detector, "rpn"):
            scores, corners = detector.rpn.head(maps)
        else:
            found = detector.head(maps)
            scores, corners = [found["cls_logits"]], [found["bbox_regression"]]
        return torch.cat([each.flatten() for each in scores]), torch.cat([each.flatten() for each in corners])


class _Segmenter(nn.Module):
    """A segmenter of pictures with pixels in [0, 1]."""

    def __init__(self, segmenter: nn.Module, config: SegmenterConfig) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(config.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(config.std)[:, None, None])

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (N, classes, H, W) of pictures (N, 3, H, W)."""
        logits: Tensor = self.segmenter((pictures - self.mean) / self.std)["out"]
        return logits


def export_task(model: nn.Module, path: Path) -> TaskExportReport:
    """Write a detector or a segmenter as ``.onnx`` or OpenVINO's ``.xml``, for pictures of any size.

    A detector takes one picture (3, H, W) of pixels in [0, 1] and gives boxes, labels from 1 and scores; a segmenter
    takes a batch (N, 3, H, W) and gives logits. Preprocessing is inside of both. The file carries the classes' names.

    Raises:
        UsageError: a suffix that these networks are not written as, a Mask R-CNN, or a missing extra.
        ExportError: the network cannot be written, or the file's boxes or logits are others than the original's.
    """
    form = ExportFormat.of(path)
    if form is ExportFormat.TORCH:
        raise UsageError(
            "a detector or a segmenter is exported as .onnx or .xml, because torch.export does not record a number of "
            f"boxes that depends on the picture; got {path.name}"
        )
    runtime = Runtime.OPENVINO if form is ExportFormat.OPENVINO else Runtime.ONNX
    for module in ("onnx", "openvino" if form is ExportFormat.OPENVINO else "onnxruntime"):
        import_extra(module, runtime)
    given: Any = model
    config: DetectorConfig | SegmenterConfig = given.weights
    if isinstance(config, DetectorConfig) and config.kind is Kind.MASK_RCNN:
        raise UsageError(
            "Mask R-CNN is not exported, because its masks are pasted into the picture by a loop over its boxes: "
            "export a faster_rcnn, or run it in PyTorch"
        )
    if model.training:
        raise UsageError("a network is exported in eval mode, and this one is in training mode: call model.eval()")
    model = copy.deepcopy(model).cpu().float()
    detects = isinstance(config, DetectorConfig)
    whole = _Detector(copy.deepcopy(model)) if detects else _Segmenter(model, config).eval()  # type: ignore[arg-type]
    pictures = [_picture(size) for size in SIZES]
    example = pictures[0] if detects else pictures[0][None].expand(2, -1, -1, -1).contiguous()
    with atomic_files(path) as part:
        try:
            proto = _onnx_model(whole.eval(), example, *(DETECTION if detects else SEGMENTATION))
            FROM_ONNX[form](proto, part, _metadata(config))
            run = _opened(part, runtime)
        except OSError:
            raise
        except Exception as error:  # of many types, by exporters and runtimes that meet what they cannot do
            raise ExportError(
                f"{config.description} cannot be written as {path.suffix}: {root_cause(error)}"
            ) from error
        deviation, boxes = _compared(run, model, whole, pictures, detects)
        if detects and not boxes:  # it finds nothing in them
            deviation = max(deviation, _compared_heads(model, pictures, form, runtime, part.parent))
        bound = BOXES if detects else PIXELS
        if not deviation <= bound:
            raise ExportError(
                f"an exported file must give the original's answers within {bound:.0e}, and {path.name} deviates by "
                f"{deviation:.1e}; nothing was written. Please report the network"
            )
        size = sum(made.stat().st_size for made in part.parent.iterdir())
    return TaskExportReport(
        path,
        size,
        config.description,
        TAKES[detects],
        GIVES[detects],
        deviation,
        SIZES,
        boxes if detects else None,
        ((EMPTY,) if detects and runtime is Runtime.OPENVINO else ()) + ((UNSEEN,) if detects and not boxes else ()),
    )


def _metadata(config: DetectorConfig | SegmenterConfig) -> str:
    if isinstance(config, DetectorConfig):
        task, side, longest, plain = "detection", config.design.side, config.design.longest, frozenset[int]()
    else:
        task, side, longest, plain = "segmentation", config.side, config.side, config.plain
    said = TaskMetadata(task, config.description, config.classes, side, longest, tuple(sorted(plain)), __version__)
    return said.text()


def _picture(size: tuple[int, int]) -> Tensor:
    """Smooth colours with some edges: what a detector has an opinion of."""
    chance = torch.Generator().manual_seed(size[0] * 1000 + size[1])
    coarse = torch.rand(1, 3, 6, 6, generator=chance)
    picture = nn.functional.interpolate(coarse, size=size, mode="bilinear")[0]
    top, left = size[0] // 4, size[1] // 3
    picture[:, top : top + size[0] // 3, left : left + size[1] // 3] = torch.rand(3, 1, 1, generator=chance)
    return picture


def _onnx_model(whole: nn.Module, example: Tensor, given: tuple[str], names: tuple[str, ...]) -> Any:
    """The file, by PyTorch's tracer: its exporter of programs does not take a number of boxes that depends on data."""
    import onnx

    batch = {0: "batch", 2: "height", 3: "width"}
    axes = (batch, batch) if example.ndim == 4 else ({1: "height", 2: "width"}, {0: "boxes"})
    file: Any = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad(), logging_only(logging.CRITICAL, "torch.onnx"):
        warnings.simplefilter("ignore")  # the tracer's, of constants that are constants
        torch.onnx.export(
            whole,
            (example,),
            file,
            input_names=list(given),
            output_names=list(names),
            dynamic_axes={given[0]: axes[0], **dict.fromkeys(names, axes[1])},
            opset_version=OPSET,
            dynamo=False,
        )
    proto = onnx.load_from_string(file.getvalue())
    del proto.graph.value_info[:]
    return proto


def _opened(path: Path, runtime: Runtime) -> Callable[[Tensor], Arrays]:
    """The file in its runtime."""
    if runtime is Runtime.ONNX:
        session = import_extra("onnxruntime", runtime).InferenceSession(str(path), providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        return lambda x: list(session.run(None, {name: x.numpy()}))
    openvino = import_extra("openvino", runtime)
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda x: [numpy.array(compiled(x.numpy())[index]) for index in range(len(compiled.outputs))]


def _compared_heads(
    model: Any, pictures: Sequence[Tensor], form: ExportFormat, runtime: Runtime, folder: Path
) -> float:
    """The largest deviation of what a detector's heads say before boxes are chosen, as a share of the largest value."""
    whole = _Heads(copy.deepcopy(model)).eval()
    file = folder / f"heads{form.value}"
    FROM_ONNX[form](_onnx_model(whole, pictures[0], ("picture",), ("scores", "corners")), file, "")
    try:
        run, deviation = _opened(file, runtime), 0.0
        for picture in pictures:
            with torch.inference_mode():
                expected = whole(picture)
            for true, found in zip(expected, run(picture), strict=True):
                deviation = max(deviation, float(abs(found - true.numpy()).max() / max(1e-9, float(true.abs().max()))))
        return deviation
    finally:
        for made in (file, file.with_suffix(".bin")):
            made.unlink(missing_ok=True)


@torch.inference_mode()
def _compared(
    run: Callable[[Tensor], Arrays], model: nn.Module, whole: nn.Module, pictures: Sequence[Tensor], detects: bool
) -> tuple[float, int]:
    """The largest deviation from the original, infinite where another number of things is found, and the boxes."""
    deviation, boxes = 0.0, 0
    for picture in pictures:
        if not detects:
            expected = whole(picture[None]).numpy()
            found = run(picture[None])[0]
            deviation = max(deviation, float(abs(found - expected).max() / max(1e-9, abs(expected).max())))
            continue
        (true,) = model([picture])
        corners, labels, scores = run(picture)
        ours = numpy.column_stack([corners, scores, labels]).astype(numpy.float64)
        theirs = numpy.column_stack([true[name].double().numpy() for name in ("boxes", "scores", "labels")])
        ours, theirs = ours[ours[:, -1] > 0], theirs[theirs[:, -1] > 0]  # the background, see EMPTY
        boxes += len(theirs)
        if ours.shape != theirs.shape:
            return float("inf"), boxes
        # Things of equal scores may stand in another order: each is compared with the nearest of its class.
        for thing in theirs:
            differences = abs(ours - thing).max(1) if len(ours) else numpy.empty(0)
            deviation = max(deviation, float(differences.min()))
            ours = numpy.delete(ours, differences.argmin(), 0)
    return deviation, boxes
