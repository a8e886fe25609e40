"""Triton's interpreter (TRITON_INTERPRET=1), with products of bfloat16, which it takes for whole numbers."""

import numpy as np
import triton.language as tl
from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

_create_dot = InterpreterBuilder.create_dot


def _wide(handle: TensorHandle) -> TensorHandle:
    if handle.dtype.scalar != tl.bfloat16:
        return handle
    return TensorHandle((handle.data.astype(np.uint32) << 16).view(np.float32), tl.float32)


def multiply_bfloat16() -> None:
    """Mend the interpreter, which keeps bfloat16 as its bits."""

    def create_dot(self, a, b, d, *rest):
        return _create_dot(self, _wide(a), _wide(b), d, *rest)

    InterpreterBuilder.create_dot = create_dot
