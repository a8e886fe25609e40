"""Whatever the bytes, a safetensors file is refused soon, or the format's own reader reads what the check saw."""

import json
from math import prod
from pathlib import Path

import safetensors.torch
import torch
from fuzz.judge import judge
from fuzz.spoiling import edited, json_texts, lengths, long_object, object_text
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors import safe_open

from senet_zoo.formats.safetensors import DTYPE_BYTES, check, read

GOOD = safetensors.torch.save({"a": torch.ones(2, 3), "b": torch.ones(4, dtype=torch.int64)}, metadata={"model": "net"})


def check_and_read(path: Path) -> None:
    header = check(path)
    with safe_open(path, "pt") as file:
        assert set(file.keys()) == set(header.tensors)
    assert {name: tuple(tensor.shape) for name, tensor in read(path, header).items()} == header.shapes


def spelt(header: str, length: int | None = None, body: bytes = b"") -> bytes:
    """A file whose header is this text, of the length that it claims."""
    text = header.encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


sides = st.one_of(st.integers(0, 4), st.sampled_from([-1, 2**31, 2**47, 2**48, 2**63, 2**64, 1.0, True, "2", None]))
entries = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from([*DTYPE_BYTES, "U8", "f32", "", None, 3]),
        "shape": st.lists(sides, max_size=9),
        "data_offsets": st.lists(st.integers(-1, 40), min_size=1, max_size=3),
    },
    optional={"more": st.none()},
)


names = st.sampled_from(['"a"', '"b"', '""', r'"\ud800"', r'"\u0000"', '"é"', '"../x"'])
few = st.lists(st.integers(0, 4), max_size=3)


@st.composite
def plausible(draw: st.DrawFn) -> bytes:
    """Tensors side by side, as the format wants them, but for a few."""
    pairs, end = [], 0
    for _ in range(draw(st.integers(0, 5))):
        entry = draw(entries)
        if draw(st.integers(0, 3)):
            dtype, shape = draw(st.sampled_from([*DTYPE_BYTES])), draw(few)
            begin, end = end, end + DTYPE_BYTES[dtype] * prod(shape)
            entry = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
        pairs.append((draw(names), json.dumps(entry)))
    if draw(st.booleans()):
        pairs.append(('"__metadata__"', draw(st.one_of(st.just('{"a":"b"}'), json_texts))))
    return spelt(object_text(pairs), body=bytes(draw(st.sampled_from([end, end, end, end + 1, max(0, end - 1)]))))


files = st.one_of(
    st.binary(),
    edited(GOOD),
    plausible(),
    json_texts.map(spelt),
    json_texts.map(lambda value: spelt('{"a":' + value + "}")),
    st.builds(spelt, json_texts, lengths, st.binary()),
)


@given(files)
@example(spelt(long_object("0", 0.9, True)))
@example(spelt(r'{"\ud800":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'))
@example(spelt('{"a":{"dtype":"F32","shape":[140737488355327,140737488355327,0],"data_offsets":[0,0]}}'))
def test_any_bytes_are_a_header_or_an_error(content: bytes) -> None:
    judge(check_and_read, content)
