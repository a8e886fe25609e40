"""The forms that a network is exported in, and the runtimes that read them."""

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import cast

from senet_zoo.errors import UsageError

METADATA = "senet_zoo"
"""Under which name a file carries what `senet_zoo.exported.metadata` describes."""


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
