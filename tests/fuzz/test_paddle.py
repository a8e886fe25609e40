"""Whatever the bytes, the reader of .pdparams files gives tensors or a typed error, and runs nothing."""

import pickle
import pickletools
import struct

import numpy as np
from fuzz.judge import judge
from fuzz.spoiling import MOST_BYTES, edited, repeated
from hypothesis import example, given
from hypothesis import strategies as st

from senet_zoo.formats.paddle import read_paddle

ARRAYS = {
    "conv.weight": np.ones((2, 3), np.float32),
    "conv.bias": np.arange(4),
    "StructuredToParameterName@@": {"a": "b"},
}
GOOD = [pickle.dumps(ARRAYS, protocol) for protocol in (2, 4)]
FUNCTIONS = ["collections\nOrderedDict", "_codecs\nencode", "numpy\ndtype", "numpy\nndarray"]
FUNCTIONS += ["numpy.core.multiarray\n_reconstruct", "numpy.core.numeric\n_frombuffer", "os\nsystem"]

without_argument = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes if opcode.arg is None]
instructions = st.one_of(
    st.sampled_from(without_argument),
    st.sampled_from(FUNCTIONS).map(lambda name: b"c" + name.encode() + b"\n"),
    st.builds(lambda code, place: code + bytes([place]), st.sampled_from([b"q", b"h", b"K"]), st.integers(0, 3)),
    st.integers(-(2**31), 2**31 - 1).map(lambda value: b"J" + struct.pack("<i", value)),
    st.sampled_from(["", "f4", "<", "latin1", "name", "x" * 400]).map(
        lambda text: b"X" + struct.pack("<I", len(text)) + text.encode()
    ),
    st.binary(max_size=12).map(lambda content: b"C" + bytes([len(content)]) + content),
)
programs = st.lists(repeated(instructions), max_size=30).map(lambda rest: b"\x80\x02" + b"".join(rest) + b".")

PAIRS = b"]q\0(" + b"".join(b"X\x04\0\0\0" + b"%04d" % place + b"N\x86" for place in range(8000)) + b"e"
MANY = b"ccollections\nOrderedDict\nq\x01" + b"h\x01h\0\x85R" * 8000 + b"l."
ONE_LIST_MANY_DICTIONARIES = b"\x80\x02(" + PAIRS + MANY


@given(st.one_of(st.binary(), *map(edited, GOOD), programs))
@example(ONE_LIST_MANY_DICTIONARIES)
def test_any_bytes_are_tensors_or_an_error(content: bytes) -> None:
    judge(read_paddle, content[:MOST_BYTES])
