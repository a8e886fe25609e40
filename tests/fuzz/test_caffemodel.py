"""Whatever the bytes, the reader of .caffemodel files gives tensors or a typed error."""

import struct

import torch
from fuzz.judge import judge
from fuzz.spoiling import MOST_BYTES, edited, lengths, repeated
from hub.caffe_nets import NETS, blob, caffemodel, data, layer, number, varint
from hypothesis import example, given
from hypothesis import strategies as st

from senet_zoo.formats.caffe import read_caffemodel

LAYERS = NETS["se_resnet50"].tiny().random()
GOOD = caffemodel({name: LAYERS[name] for name in [*LAYERS][:14]})

numbers = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 100, 139, 0, 2**29])  # those that are read, and none
values = st.one_of(
    st.binary(max_size=8),
    st.sampled_from([b"Convolution", b"InnerProduct", b"BatchNorm", b"Scale", b"\xff", b"n" * 400_000]),
    st.lists(lengths, max_size=3).map(lambda sides: b"".join(map(varint, sides))),
    st.lists(st.floats(width=32), max_size=4).map(lambda floats: struct.pack(f"<{len(floats)}f", *floats)),
    st.sampled_from([blob(torch.ones(2)), blob(torch.ones(1, 1, 2, 2, dtype=torch.float64)), layer("a", "Scale", [])]),
)


def messages(inside: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Fields that hold messages, texts or numbers, some of a length that is a lie or many times over."""
    field = st.one_of(
        st.builds(data, numbers, inside),
        st.builds(number, numbers, lengths),
        st.builds(lambda field, wire, rest: varint(field << 3 | wire) + rest, numbers, st.integers(0, 7), inside),
        st.builds(lambda field, length, rest: varint(field << 3 | 2) + varint(length) + rest, numbers, lengths, inside),
    )
    return st.lists(repeated(field), max_size=5).map(b"".join)


BLOBS_UNDER_A_LONG_NAME = data(100, data(1, b"n" * 600_000) + data(7, blob(torch.ones(1))) * 4900)


@given(st.one_of(st.binary(), edited(GOOD), st.recursive(values, messages, max_leaves=12)))
@example(BLOBS_UNDER_A_LONG_NAME)
def test_any_bytes_are_tensors_or_an_error(content: bytes) -> None:
    judge(read_caffemodel, content[:MOST_BYTES])
