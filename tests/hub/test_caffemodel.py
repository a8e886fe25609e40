"""The authors' Caffe files, against the layers that they published and plain arithmetic."""

import random
import struct
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hub.caffe_nets import NETS, blob, caffemodel, data, layer, number, old_layer, varint
from networks import tiny
from safetensors.torch import load_file

from senet_zoo.errors import UsageError, WeightsCorrupted, WeightsError, WeightsMismatch, WeightsNotFound, WeightsUnsafe
from senet_zoo.hub import tensor_files
from senet_zoo.hub.caffemodel import read_caffemodel
from senet_zoo.hub.dialects import match, translate
from senet_zoo.hub.dialects.caffe import CAFFE, PREPROCESSING, read_synsets, take_rgb, usual_label_order
from senet_zoo.hub.protobuf import MOST_FIELDS
from senet_zoo.network import ConvNet
from senet_zoo.registry import MODELS

MEAN_BGR = torch.tensor([104.0, 117.0, 123.0])[:, None, None]  # header of the prototxt files
ROLES = {
    "Convolution": ("weight", "bias"),
    "InnerProduct": ("weight", "bias"),
    "BatchNorm": ("running_mean", "running_var"),
    "Scale": ("weight", "bias"),
}


def published_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """As `take_rgb` leaves them: the filters over the pictures are named apart."""
    names = {
        f"{layer}.{role}": shape
        for layer, (kind, shapes) in NETS[name].shapes().items()
        for role, shape in zip(ROLES[kind], shapes, strict=False)
    }
    return {name + "_rgb" * (place == 0): shape for place, (name, shape) in enumerate(names.items())}


@pytest.mark.parametrize("name", NETS)
def test_the_published_layers_are_exactly_our_network(name):
    with torch.device("meta"):
        expected = {key: tuple(value.shape) for key, value in ConvNet(MODELS[name].spec()).state_dict().items()}
    theirs = published_shapes(name)
    match(theirs, expected, CAFFE)
    assert translate(theirs, CAFFE).keys() == expected.keys()
    names = CAFFE.names(theirs)
    assert names.keys() == theirs.keys()
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize("name", ["se_resnet50", "se_resnext50_32x4d", "senet154"])
def test_a_converted_network_computes_what_caffe_computes(name, tmp_path):
    net = NETS[name].tiny()
    layers = net.random()
    file = tmp_path / "net.caffemodel"
    file.write_bytes(caffemodel(layers))
    ours = ConvNet(tiny(MODELS[name].spec())).eval()
    ours.load_state_dict(translate(take_rgb(read_caffemodel(file)), CAFFE))

    torch.manual_seed(0)
    picture = torch.randint(0, 256, (2, 3, 75, 64), dtype=torch.uint8)
    mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (PREPROCESSING.mean, PREPROCESSING.std))
    exact = {name: (kind, [blob.double() for blob in blobs]) for name, (kind, blobs) in layers.items()}
    with torch.no_grad():
        expected = net.forward(exact, picture.double().flip(1) - MEAN_BGR)
        actual = ours.double()((picture.double() / 255 - mean) / std)
    assert expected.std() > 0.1
    assert (actual - expected).abs().max() < 1e-5 * expected.abs().max()


def test_filters_over_bgr_are_never_taken_for_filters_over_rgb(tmp_path):
    file = tmp_path / "net.caffemodel"
    file.write_bytes(caffemodel(NETS["se_resnet50"].tiny().random()))
    tensors = read_caffemodel(file)
    assert CAFFE.strangers(tensors) == ["conv1/7x7_s2.weight"]
    assert CAFFE.strangers(take_rgb(tensors)) == []


def test_black_white_and_borders_are_exact_where_another_mean_is_not(tmp_path):
    """A constant between two means cannot be put right where the window hangs over the edge; ours has none."""
    net = NETS["se_resnet50"].tiny()
    layers = net.random()
    file = tmp_path / "net.caffemodel"
    file.write_bytes(caffemodel(layers))
    weight = take_rgb(read_caffemodel(file))["conv1/7x7_s2.weight_rgb"]
    pixels = 255 * torch.randint(0, 2, (1, 3, 20, 20)).float()
    expected = torch.nn.functional.conv2d(pixels.flip(1) - MEAN_BGR, layers["conv1/7x7_s2"][1][0], stride=2, padding=3)

    def first_map(mean: tuple[float, ...]) -> torch.Tensor:
        x = (pixels / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(PREPROCESSING.std)[:, None, None]
        return torch.nn.functional.conv2d(x, weight, stride=2, padding=3)

    torch.testing.assert_close(first_map(PREPROCESSING.mean), expected, rtol=1e-5, atol=1e-4)
    rest = first_map((0.485, 0.456, 0.406)) - expected
    inside, corner = rest[..., 4, 4], rest[..., 0, 0]
    torch.testing.assert_close(rest[..., 5, 5], inside, rtol=0, atol=1e-4)  # what a batch norm could take up
    assert (corner - inside).abs().max() > 10 * 1e-4


def test_the_converted_file_is_an_ordinary_one(tmp_path):
    source, target = tmp_path / "net.caffemodel", tmp_path / "model.safetensors"
    source.write_bytes(caffemodel(NETS["se_resnet50"].tiny().random()))
    tensors = translate(take_rgb(read_caffemodel(source)), CAFFE)
    tensor_files.write(target, tensors, {})
    assert {key: value.dtype for key, value in load_file(target).items() if not key.endswith("tracked")} == {
        key: torch.float32 for key in tensors if not key.endswith("tracked")
    }


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


def test_damaged_files_give_typed_errors_in_time(tmp_path):
    layers = NETS["se_resnet50"].tiny().random()
    whole = caffemodel({name: layers[name] for name in [*layers][:14]})
    file = tmp_path / "net.caffemodel"
    chance = random.Random(4)
    for _ in range(800):
        content = bytearray(whole)
        for _ in range(chance.choice((1, 1, 3, 30))):
            place = chance.randrange(len(content))
            match chance.randrange(4):
                case 0:
                    content[place] = chance.randrange(256)
                case 1:
                    del content[place : place + chance.choice((1, 4, 400))]
                case 2:
                    content[place:place] = chance.randbytes(chance.choice((1, 4, 40)))
                case 3:
                    content[place : place + 1] = varint(chance.getrandbits(chance.choice((7, 31, 63))))
        start = time.process_time()
        _read(file, bytes(content))
        assert time.process_time() - start < 1


def _read(file, content: bytes) -> dict[str, torch.Tensor] | None:
    """The tensors of a file, or None where it is refused with a typed error."""
    file.write_bytes(content)
    try:
        return read_caffemodel(file)
    except WeightsError:
        return None


@pytest.mark.parametrize(
    "stranger",
    [
        "conv1/7x7_s2.bias",
        "conv1/7x7_s2/bn.weight",
        "conv2_1_1x1_down/bn.running_mean",
        "conv2_0_3x3.weight",
        "conv2_1_1x1_other.weight",
        "fc5_3/exc.weight",
        "conv1/7x7_s2.weight",
        "conv1_1/3x3_s2.weight_rgb",
        "conv3_1_3x3_proj.weight",
    ],
)
def test_layers_of_other_networks_are_not_taken_for_the_authors(stranger):
    theirs = {**published_shapes("se_resnet50"), stranger: (1,)}
    with torch.device("meta"):
        expected = {
            key: tuple(value.shape) for key, value in ConvNet(MODELS["se_resnet50"].spec()).state_dict().items()
        }
    assert stranger not in CAFFE.names(theirs)
    with pytest.raises(WeightsMismatch, match=f"1 unexpected: {stranger}"):
        match(theirs, expected, CAFFE)


@pytest.mark.parametrize("tensors", [{}, {"conv1/7x7_s2.weight": torch.ones(4, 1, 7, 7)}], ids=["none", "grey"])
def test_an_input_that_is_not_the_authors_is_refused(tensors):
    with pytest.raises(WeightsMismatch, match="filters over three channels"):
        take_rgb(tensors)


@pytest.fixture(scope="module")
def usual() -> list[str]:
    """timm's list of the ImageNet-1k synsets in the usual order."""
    timm = Path(find_spec("timm").origin).parent
    return (timm / "data" / "_info" / "imagenet_synsets.txt").read_text().split()


def test_classes_are_put_in_the_usual_order(usual, tmp_path):
    theirs = random.Random(1).sample(usual, 1000)
    file = tmp_path / "map_clsloc.txt"
    file.write_text("".join(f"{synset} {place} some_name\n" for place, synset in enumerate(theirs, 1)))
    read = read_synsets(file)
    assert list(read) == theirs
    bias = torch.tensor([float(synset[1:]) for synset in theirs])
    ordered = usual_label_order(
        {"classifier.weight": bias[:, None].repeat(1, 2), "classifier.bias": bias, "other": bias}, read
    )
    assert ordered["classifier.bias"].tolist() == [float(synset[1:]) for synset in usual]
    assert torch.equal(ordered["classifier.weight"][:, 1], ordered["classifier.bias"])
    assert torch.equal(ordered["other"], bias)


def test_other_lists_of_classes_are_refused(usual, tmp_path):
    head = {"classifier.weight": torch.ones(1000, 2), "classifier.bias": torch.ones(1000)}
    for wrong in (usual[:-1], [*usual[:-1], usual[0]], [*usual[:-1], "n99999999"], ["kit fox"], []):
        with pytest.raises(UsageError, match=f"1000 synsets of ILSVRC, each once.*got {len(wrong)} lines"):
            usual_label_order(head, wrong)
    with pytest.raises(UsageError, match="must be a readable text file"):
        read_synsets(tmp_path / "none.txt")
    with pytest.raises(WeightsMismatch, match=r"classifier\.bias has 10"):
        usual_label_order({**head, "classifier.bias": torch.ones(10)}, usual)
