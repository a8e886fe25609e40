"""PaddlePaddle's .pdparams: arrays come out as they went in, and nothing else comes out at all."""

import collections
import os
import pickle
import struct

import numpy as np
import pytest
import torch

from senet_zoo.errors import WeightsCorrupted, WeightsNotFound, WeightsUnsafe
from senet_zoo.formats.paddle import MOST_INSTRUCTIONS, read_paddle

PROTOCOLS = (2, 3, 4, 5)


def arrays() -> dict:
    generator = np.random.default_rng(0)
    return {
        "conv._conv.weight": generator.normal(size=(4, 3, 3, 3)).astype("float32"),
        "conv._batch_norm._mean": generator.normal(size=4).astype("float32"),
        "out.weight": generator.normal(size=(4, 2)).astype("float32"),
        "fortran": np.asfortranarray(generator.normal(size=(2, 3, 4))),
        "half": generator.normal(size=3).astype("float16"),
        "count": np.array(7),
        "empty": np.zeros((0, 3), "float32"),
        "StructuredToParameterName@@": {"conv._conv.weight": "conv1_weights", "out.weight": "fc6_weights"},
    }


def saved(tmp_path, content: bytes):
    file = tmp_path / "net.pdparams"
    file.write_bytes(content)
    return file


@pytest.mark.parametrize("container", [dict, collections.OrderedDict])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_come_out_as_they_went_in(tmp_path, protocol, container):
    expected = arrays()
    tensors = read_paddle(saved(tmp_path, pickle.dumps(container(expected), protocol)))
    del expected["StructuredToParameterName@@"]
    assert [*tensors] == [*expected]
    for name, array in expected.items():
        wanted = torch.from_numpy(np.ascontiguousarray(array.T if array.ndim == 2 else array))
        assert tensors[name].dtype == wanted.dtype
        assert torch.equal(tensors[name], wanted.reshape(array.T.shape if array.ndim == 2 else array.shape))


def test_a_linear_layer_computes_what_paddle_computes(tmp_path):
    weight, bias = np.random.default_rng(1).normal(size=(2, 5, 3)).astype("float32")[0], np.ones(3, "float32")
    x = np.random.default_rng(2).normal(size=(4, 5)).astype("float32")
    tensors = read_paddle(saved(tmp_path, pickle.dumps({"fc.weight": weight, "fc.bias": bias}, 4)))
    actual = torch.nn.functional.linear(torch.from_numpy(x), tensors["fc.weight"], tensors["fc.bias"])
    np.testing.assert_allclose(actual.numpy(), x @ weight + bias, rtol=1e-5)


def short(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text


def test_files_of_python_2_are_read(tmp_path):
    """Python 2 writes texts and bytes alike, and an OrderedDict as a list of pairs."""
    values = struct.pack("<2f", 1.5, -2.0)
    dtype = b"cnumpy\ndtype\n" + short(b"f4") + b"K\x00K\x01\x87R(K\x03" + short(b"<") + b"NNN"
    dtype += b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + short(b"b") + b"\x87R"
    array += b"(K\x01K\x02\x85" + dtype + b"\x89" + short(values) + b"tb"
    pairs = b"](](" + short(b"bias") + array + b"ee"
    content = b"\x80\x02ccollections\nOrderedDict\n" + pairs + b"\x85R."
    assert {name: value.tolist() for name, value in pickle.loads(content, encoding="latin1").items()} == {
        "bias": [1.5, -2.0]
    }
    assert {name: value.tolist() for name, value in read_paddle(saved(tmp_path, content)).items()} == {
        "bias": [1.5, -2.0]
    }


class Runs:
    """A value whose reading would leave a folder behind."""

    def __init__(self, folder) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("place", ["alone", "as a value", "after arrays", "in a list"])
def test_a_payload_gets_an_error_and_runs_nothing(tmp_path, protocol, place):
    mark = tmp_path / "ran"
    payload = {
        "alone": Runs(mark),
        "as a value": {"w": Runs(mark)},
        "after arrays": {**arrays(), "w": Runs(mark)},
        "in a list": {"w": [Runs(mark)]},
    }[place]
    file = saved(tmp_path, pickle.dumps(payload, protocol))
    with pytest.raises(WeightsUnsafe, match=r"(?s)names (posix|nt)\.mkdir; nothing of it was run"):
        read_paddle(file)
    assert not mark.exists()
    pickle.loads(pickle.dumps(payload, protocol))
    assert mark.exists()  # so it would have


CODE = {
    "eval": b"\x80\x02c__builtin__\neval\nX\x03\x00\x00\x001+1\x85R.",
    "a name from the stack": b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.",
    "an inner name": b"\x80\x04\x8c\x05numpy\x8c\x0bndarray.sum\x93.",
    "a name with a blank": b"\x80\x04\x8c\x05numpy\x8c\x0dndarray x eva\x93.",
    "instance": b"\x80\x02(ios\nsystem\n.",
    "object": b"\x80\x02(cnumpy\nndarray\no.",
    "new object": b"\x80\x02cnumpy\nndarray\n)\x81.",
    "persistent": b"\x80\x02X\x01\x00\x00\x00aQ.",
    "extension": b"\x80\x02\x82\x01.",
    "numpy's own door": b"\x80\x02cnumpy.core.multiarray\nscalar\n.",
}


@pytest.mark.parametrize("content", CODE.values(), ids=list(CODE))
def test_what_makes_other_objects_is_refused(tmp_path, content):
    with pytest.raises(WeightsUnsafe, match="numpy arrays and plain containers only"):
        read_paddle(saved(tmp_path, content))


def text(value: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value


def spelt(
    kind: bytes = b"f4", shape: bytes = b"K\x01\x85", values: bytes = b"\x00\x00\x80?", order: bytes = b"<"
) -> bytes:
    """An array, instruction by instruction."""
    dtype = b"cnumpy\ndtype\n" + text(kind) + b"\x89\x88\x87R(K\x03" + text(order) + b"NNNK\x00K\x00K\x00tb"
    start = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    return start + b"(K\x01" + shape + dtype + b"\x89C" + bytes([len(values)]) + values + b"tb"


def of(array: bytes) -> bytes:
    return b"\x80\x03}" + text(b"w") + array + b"s."


LAUGHS = b"\x80\x02" + b")" + b"q\x00h\x00\x86" * 60  # a pair of pairs of pairs: its hash would take 2**60 steps
BAD = {
    "empty": (b"", WeightsCorrupted, "is empty"),
    "HTML": (b"<!DOCTYPE html>", WeightsCorrupted, "starts with b'<!DOCTYP'"),
    "protocol 0": (pickle.dumps({"a": 1}, 0), WeightsCorrupted, "protocol 2 to 5: it starts with"),
    "torch file": (b"PK\x03\x04", WeightsCorrupted, "it starts with b'PK"),
    "length beyond the file": (b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"abc", WeightsCorrupted, "whole pickle"),
    "place in memory that is empty": (b"\x80\x02h\x05.", WeightsCorrupted, "whole pickle"),
    "huge place in memory": (b"\x80\x02}r\xff\xff\xff\x7f.", WeightsCorrupted, "but there is none"),
    "end within a container": (b"\x80\x02(}.", WeightsCorrupted, "ends within a container"),
    "container without a start": (b"\x80\x02}u.", WeightsCorrupted, "ends that did not begin"),
    "no values": (b"\x80\x02s.", WeightsCorrupted, "lacks its value"),
    "instruction of no use": (b"\x80\x022.", WeightsCorrupted, "DUP has no part in it"),
    "too many instructions": (b"\x80\x02" + b"N" * 500_000, WeightsUnsafe, f"{MOST_INSTRUCTIONS} instructions at most"),
    "keys that take for ever": (LAUGHS + b"}h\x00Ns.", WeightsCorrupted, "whole pickle"),
    "pairs as a key": (b"\x80\x02})Ns.", WeightsCorrupted, "must be texts"),
    "a key twice": (b"\x80\x02}" + (text(b"w") + b"N") * 2 + b"s" * 1 + b".", WeightsCorrupted, "whole pickle"),
    "same key again": (b"\x80\x02}(" + (text(b"w") + b"N") * 2 + b"u.", WeightsCorrupted, "'w' stands twice"),
    "a list": (pickle.dumps([1], 2), WeightsCorrupted, "but holds a list"),
    "no arrays": (pickle.dumps({}, 2), WeightsCorrupted, "but there is none"),
    "a number": (pickle.dumps({"epoch": 3}, 2), WeightsCorrupted, "'epoch' is a int"),
    "nested": (pickle.dumps({"model": arrays()}, 2), WeightsCorrupted, "'model' is a dict"),
    "objects": (pickle.dumps({"w": np.array([None])}, 4), WeightsCorrupted, "numbers of an array must be bytes"),
    "objects as bytes": (of(spelt(kind=b"O8")), WeightsCorrupted, "must be of f8, .*, not 'O8'"),
    "bfloat16 as integers": (pickle.dumps({"w": np.ones(2, "uint16")}, 4), WeightsCorrupted, "not 'u2'"),
    "big-endian": (pickle.dumps({"w": np.ones(2, ">f4")}, 4), WeightsCorrupted, "big-endian"),
    "shape that does not fill": (of(spelt(shape=b"K\x02\x85")), WeightsCorrupted, r"shape \[2\] of f4 .* 4 bytes"),
    "negative shape": (of(spelt(shape=b"J\xff\xff\xff\xff\x85")), WeightsCorrupted, "a few whole numbers"),
    "shape of texts": (of(spelt(shape=text(b"a") + b"\x85")), WeightsCorrupted, "a few whole numbers"),
    "array without numbers": (
        of(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"),
        WeightsCorrupted,
        "an array has no numbers",
    ),
    "a function as a value": (of(b"cnumpy\nndarray\n"), WeightsCorrupted, "'w' is a _Function"),
    "a call of a text": (of(text(b"a") + b")R"), WeightsCorrupted, "is called that is no function"),
    "numpy with other values": (of(b"cnumpy\ndtype\n)R"), WeightsCorrupted, "other values than numpy's"),
}


@pytest.mark.parametrize(("content", "error", "message"), BAD.values(), ids=list(BAD))
def test_a_bad_file_is_named_for_what_it_is(tmp_path, content, error, message):
    file = saved(tmp_path, content)
    with pytest.raises(error, match=f"(?s){message}") as caught:
        read_paddle(file)
    assert str(file) in str(caught.value)


def test_the_spelling_of_these_tests_is_numpys(tmp_path):
    assert pickle.loads(of(spelt()))["w"].tolist() == [1.0]
    assert read_paddle(saved(tmp_path, of(spelt())))["w"].tolist() == [1.0]


def test_one_text_cannot_stand_for_many_arrays(tmp_path):
    """A megabyte in the pickle's memory, and a thousand arrays of it."""
    big = b"\x80\x03B" + struct.pack("<I", 2**20) + bytes(2**20) + b"q\x01}("
    once = spelt(shape=b"M\x00\x04M\x00\x01\x86", values=b"").replace(b"C\x00tb", b"h\x01tb")
    many = b"".join(text(b"w%d" % index) + once for index in range(1000))
    with pytest.raises(WeightsCorrupted, match="more bytes than the file has"):
        read_paddle(saved(tmp_path, big + many + b"u\x86."))


def test_too_many_arrays_are_refused(tmp_path):
    values = {str(index): np.float64(0) * np.zeros(1) for index in range(5001)}
    file = saved(tmp_path, pickle.dumps(values, 4))
    with pytest.raises(WeightsUnsafe, match="at most"):
        read_paddle(file)


def test_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(WeightsNotFound, match=r"there is no .*none\.pdparams"):
        read_paddle(tmp_path / "none.pdparams")
    with pytest.raises(WeightsNotFound, match="is a folder; name the file inside"):
        read_paddle(tmp_path)


def test_every_truncation_is_refused(tmp_path):
    whole = pickle.dumps(arrays(), 2)
    for length in range(0, len(whole), 5):
        with pytest.raises(WeightsCorrupted):
            read_paddle(saved(tmp_path, whole[:length]))
