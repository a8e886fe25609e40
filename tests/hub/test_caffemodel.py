"""Caffe's .caffemodel: blobs come out as PyTorch means them, and a bad file is named for what it is."""

import struct

import pytest
import torch
from hub.caffe_nets import NETS, blob, caffemodel, data, layer, number, old_layer, varint

from senet_zoo.errors import WeightsCorrupted, WeightsError, WeightsNotFound, WeightsUnsafe
from senet_zoo.formats.caffe import read_caffemodel
from senet_zoo.formats.protobuf import MOST_FIELDS


def test_a_batch_norms_sums_are_divided_by_their_weight(tmp_path):
    def statistics(factor: float, more: bytes = b"") -> list[torch.Tensor]:
        blobs = [torch.tensor([3.0, 5.0]), torch.tensor([10.0, 20.0]), torch.tensor([factor])]
        file = tmp_path / "net.caffemodel"
        file.write_bytes(layer("bn", "BatchNorm", blobs, more))
        return [*read_caffemodel(file).values()]

    assert [value.tolist() for value in statistics(2.0)] == [[1.5, 2.5], [5.0, 10.0]]
    assert [value.tolist() for value in statistics(0.0)] == [[0, 0], [0, 0]]  # nothing was summed yet
    written = data(139, number(1, 1) + varint(3 << 3 | 5) + struct.pack("<f", 1e-5))
    assert [value.tolist() for value in statistics(2.0, written)] == [[1.5, 2.5], [5.0, 10.0]]
    wide = data(139, varint(3 << 3 | 5) + struct.pack("<f", 1e-3))
    torch.testing.assert_close(statistics(2.0, wide)[1] + 1e-5, torch.tensor([5.0, 10.0]) + 1e-3, rtol=1e-7, atol=0)


def test_files_of_before_2014_are_read(tmp_path):
    torch.manual_seed(0)
    weight, bias, matrix = torch.randn(4, 3, 2, 2), torch.randn(4), torch.randn(5, 4)
    file = tmp_path / "old.caffemodel"
    file.write_bytes(data(1, b"old") + old_layer("conv1", 4, [weight, bias]) + old_layer("fc", 14, [matrix]))
    read = read_caffemodel(file)
    assert [*read] == ["conv1.weight", "conv1.bias", "fc.weight"]
    assert all(torch.equal(*pair) for pair in zip(read.values(), (weight, bias, matrix), strict=True))


def test_double_numbers_unpacked_numbers_and_fields_of_other_kinds_are_understood(tmp_path):
    values = torch.tensor([0.5, -2.0])
    single = data(7, number(1, 2)) + b"".join(varint(5 << 3 | 5) + struct.pack("<f", v) for v in values.tolist())
    group = varint(90 << 3 | 3) + number(1, 7) + varint(91 << 3 | 3) + varint(91 << 3 | 4) + varint(90 << 3 | 4)
    other = varint(50 << 3 | 1) + b"12345678" + varint(51 << 3 | 5) + b"1234" + group
    file = tmp_path / "net.caffemodel"
    named = data(1, b"b") + data(2, b"PReLU")
    file.write_bytes(other + layer("a", "PReLU", [values.double()], other) + data(100, named + data(7, single + other)))
    read = read_caffemodel(file)
    assert [*read] == ["a.0", "b.0"]
    assert all(value.dtype == torch.float32 and torch.equal(value, values) for value in read.values())


ONE = torch.ones(2)
NAMED = data(1, b"fc") + data(2, b"Scale")
DATA = data(5, struct.pack("<2f", 1, 1))
BAD = {
    "empty": (b"", WeightsCorrupted, "is empty"),
    "text": (b"layer { name: 'conv1' }", WeightsCorrupted, "whole protobuf file"),
    "HTML": (b"<!DOCTYPE html><html><body>Please log in", WeightsCorrupted, "whole protobuf file"),
    "no layers": (data(1, b"net"), WeightsCorrupted, "holds no layer with learnt values"),
    "layer that is a number": (number(100, 3), WeightsCorrupted, "field 100 must have a length.*VARINT"),
    "name that is no text": (data(100, data(1, b"\xff")), WeightsCorrupted, "field 1 must be a text in UTF-8"),
    "length beyond the file": (varint(100 << 3 | 2) + varint(2**40), WeightsCorrupted, "claims 1099511627776 bytes"),
    "number without an end": (b"\xff" * 30, WeightsCorrupted, "a number does not end"),
    "field zero": (b"\x00\x00", WeightsCorrupted, "no field 0"),
    "wire type seven": (b"\x0f\x00", WeightsCorrupted, "wire type 7"),
    "group without an end": (varint(9 << 3 | 3), WeightsCorrupted, "group 9 does not end"),
    "group without a start": (varint(9 << 3 | 4), WeightsCorrupted, "group 9 ends, but did not start"),
    "deep groups": (varint(9 << 3 | 3) * 60_000, WeightsCorrupted, "group 9 does not end"),
    "fewer numbers than the shape": (
        data(100, NAMED + data(7, data(7, data(1, b"\x03")) + DATA)),
        WeightsCorrupted,
        r"layer 'fc' has shape \[3\], but 2 values",
    ),
    "shape beyond memory": (
        data(100, NAMED + data(7, data(7, data(1, varint(2**62) * 2)) + DATA)),
        WeightsCorrupted,
        "but 2 values",
    ),
    "too many sides": (
        data(100, NAMED + data(7, data(7, data(1, b"\x01" * 9)) + DATA)),
        WeightsCorrupted,
        "more than 8 dimensions",
    ),
    "no numbers": (data(100, NAMED + data(7, data(7, data(1, b"\x00")))), WeightsCorrupted, "but 0 values"),
    "layer twice": (layer("fc", "Scale", [ONE]) * 2, WeightsCorrupted, "layer 'fc' stands twice"),
    "batch norm of two blobs": (layer("bn", "BatchNorm", [ONE, ONE]), WeightsCorrupted, "'bn' has 2 blobs"),
    "batch norm of two factors": (layer("bn", "BatchNorm", [ONE] * 3), WeightsCorrupted, "one factor, not 2"),
    "convolution of three blobs": (layer("c", "Convolution", [ONE] * 3), WeightsCorrupted, "'c' has 3 blobs"),
    "half a million fields": (number(9, 1) * 500_000, WeightsUnsafe, f"{MOST_FIELDS} fields at most"),
    "too many blobs": (data(100, data(7, blob(torch.ones(1))) * 6000), WeightsUnsafe, "5000 blobs at most"),
}


@pytest.mark.parametrize(("content", "error", "message"), BAD.values(), ids=list(BAD))
def test_a_bad_file_is_named_for_what_it_is(tmp_path, content, error, message):
    file = tmp_path / "net.caffemodel"
    file.write_bytes(content)
    with pytest.raises(error, match=f"(?s){message}") as caught:
        read_caffemodel(file)
    assert str(file) in str(caught.value)


def test_missing_file_and_folder_are_named(tmp_path):
    with pytest.raises(WeightsNotFound, match=r"there is no .*none\.caffemodel"):
        read_caffemodel(tmp_path / "none.caffemodel")
    with pytest.raises(WeightsNotFound, match="is a folder; name the file inside"):
        read_caffemodel(tmp_path)


def test_every_truncation_is_refused_or_lacks_tensors(tmp_path):
    layers = NETS["se_resnet50"].tiny().random()
    whole = caffemodel({name: layers[name] for name in [*layers][:6]})
    file = tmp_path / "net.caffemodel"
    count = len(_read(file, whole) or ())
    for length in range(0, len(whole) - 120, 97):
        assert len(_read(file, whole[:length]) or ()) < count


def _read(file, content: bytes) -> dict[str, torch.Tensor] | None:
    """The tensors of a file, or None where it is refused with a typed error."""
    file.write_bytes(content)
    try:
        return read_caffemodel(file)
    except WeightsError:
        return None
