"""Whatever the bytes, the reader of torch.save's files gives tensors or a typed error, and runs nothing."""

import io
import pickletools
import struct
import zipfile
from pathlib import Path

import torch
from fuzz.judge import judge
from fuzz.spoiling import edited, repeated
from hypothesis import example, given
from hypothesis import strategies as st

from senet_zoo.formats.containers import read_container

MOST_BYTES = 2**17  # a pickle's instructions take 2 microseconds each


def saved(new: bool) -> bytes:
    file = io.BytesIO()
    content = {"state_dict": {"conv.weight": torch.ones(2, 3), "conv.bias": torch.arange(4)}, "epoch": 3}
    torch.save(content, file, _use_new_zipfile_serialization=new)
    return file.getvalue()


GOOD = [saved(True), saved(False)]
NAMES = ["collections\nOrderedDict", "torch._utils\n_rebuild_tensor_v2", "torch\nFloatStorage", "argparse\nNamespace"]
NAMES += ["numpy.core.multiarray\nscalar", "torch\nSize", "os\nsystem", "torch._tensor\n_rebuild_from_type_v2"]

without_argument = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes if opcode.arg is None]
instructions = st.one_of(
    st.sampled_from(without_argument),
    st.sampled_from(NAMES).map(lambda name: b"c" + name.encode() + b"\n"),
    st.builds(lambda code, place: code + bytes([place]), st.sampled_from([b"q", b"h", b"K"]), st.integers(0, 3)),
    st.integers(-(2**31), 2**31 - 1).map(lambda value: b"J" + struct.pack("<i", value)),
    st.sampled_from(["", "storage", "0", "cpu", "name", "x" * 400]).map(
        lambda text: b"X" + struct.pack("<I", len(text)) + text.encode()
    ),
)
programs = st.lists(repeated(instructions), max_size=30).map(lambda rest: b"\x80\x02" + b"".join(rest) + b".")


PAIRS = b"]q\0(" + b"".join(b"X\x04\0\0\0" + b"%04d" % place + b"N\x86" for place in range(4000)) + b"e"
MANY = b"ccollections\nOrderedDict\nq\x01" + b"h\x01h\0\x85R" * 8000 + b"l."
ONE_LIST_MANY_DICTIONARIES = b"\x80\x02(" + PAIRS + MANY


def zipped(pickled: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", pickled[:MOST_BYTES])
        archive.writestr("a/data/0", bytes(64))
    return file.getvalue()


def read(path: Path) -> object:
    return read_container(path)


@given(st.one_of(st.binary(), *map(edited, GOOD)).map(lambda content: b"\x80" + content[1 : MOST_BYTES + 1]))
@example(b"\x80\x02\x8e" + (2**56).to_bytes(8, "little"))
def test_any_old_file_is_tensors_or_an_error(content: bytes) -> None:
    judge(read, content)


@given(st.one_of(edited(GOOD[0]), programs.map(zipped)))
@example(zipped(ONE_LIST_MANY_DICTIONARIES))
def test_any_archive_is_tensors_or_an_error(content: bytes) -> None:
    judge(read, content)
