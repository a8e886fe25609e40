"""Networks as files that other programs run: ONNX, OpenVINO and torch.export, checked before they are there."""

from senet_zoo.inference.export.exporting import export
from senet_zoo.inference.export.int8 import Int8
from senet_zoo.inference.export.report import ExportReport

__all__ = ["ExportReport", "Int8", "export"]
