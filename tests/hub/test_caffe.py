"""The authors' Caffe networks, from the file to the logits, against the layers that they published."""

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from hub.caffe_inception import CaffeInception
from hub.caffe_nets import NETS, Blobs, CaffeNet, caffemodel, layer
from networks import tiny
from torch import Tensor, nn

from senet_zoo.cli import main
from senet_zoo.errors import SenetZooError, WeightsCorrupted, WeightsError, WeightsMismatch
from senet_zoo.formats import safetensors
from senet_zoo.formats.caffe import PREPROCESSING, read_caffe, read_caffemodel, synsets, take_rgb, usual_label_order
from senet_zoo.formats.dialects import match, translate
from senet_zoo.formats.dialects.caffe import CAFFE
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS
from senet_zoo.prediction.predictor import Predictor
from senet_zoo.weights.convert import convert, load_checkpoint
from senet_zoo.weights.create import create_model
from senet_zoo.weights.save import from_pretrained, save_pretrained

ALL: dict[str, CaffeNet | CaffeInception] = {**NETS, "se_bn_inception": CaffeInception()}
MEAN_BGR = torch.tensor([104.0, 117.0, 123.0])[:, None, None]  # header of the prototxt files
# Of the 1000 sorted ids, one a line; what timm, torchvision and all others call the usual order.
SYNSETS_SHA256 = "385e0240499426c022b773be1ae4da780f057b89c9694c7f47199f62746b6edd"
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
        for layer, (kind, shapes) in ALL[name].shapes().items()
        for role, shape in zip(ROLES[kind], shapes, strict=False)
    }
    return {name + "_rgb" * (place == 0): shape for place, (name, shape) in enumerate(names.items())}


def native_shapes(name: str) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in ConvNet(MODELS[name].spec()).state_dict().items()}


def picture(height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def prepared(pixels: Tensor) -> Tensor:
    mean, std = (torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (PREPROCESSING.mean, PREPROCESSING.std))
    return (pixels.double() / 255 - mean) / std


@torch.no_grad()
def caffes_answer(net: CaffeNet | CaffeInception, layers: Blobs, pixels: Tensor) -> Tensor:
    """In double precision."""
    exact = {name: (kind, [blob.double() for blob in blobs]) for name, (kind, blobs) in layers.items()}
    return net.forward(exact, pixels.double().flip(1) - MEAN_BGR)


@torch.no_grad()
def answer(net: nn.Module, pixels: Tensor) -> Tensor:
    return net.double()(prepared(pixels))


def assert_close(actual: Tensor, expected: Tensor) -> None:
    assert expected.std() > 0.1
    assert (actual - expected).abs().max() < 2e-5 * expected.abs().max()


@pytest.mark.parametrize("name", ALL)
def test_the_published_layers_are_exactly_our_network(name: str) -> None:
    expected, theirs = native_shapes(name), published_shapes(name)
    match(theirs, expected, CAFFE)
    assert translate(theirs, CAFFE).keys() == expected.keys()
    names = CAFFE.names(theirs)
    assert names.keys() == theirs.keys()
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize("name", ["se_resnet50", "se_resnext50_32x4d", "senet154"])
def test_a_tiny_network_computes_what_caffe_computes(name: str, tmp_path: Path) -> None:
    net = NETS[name].tiny()
    layers = net.random()
    (tmp_path / "net.caffemodel").write_bytes(caffemodel(layers))
    ours = ConvNet(tiny(MODELS[name].spec())).eval()
    ours.load_state_dict(translate(read_caffe(tmp_path / "net.caffemodel")[0], CAFFE))
    pixels = picture(75, 64)
    assert_close(answer(ours, pixels), caffes_answer(net, layers, pixels))


@pytest.fixture(scope="module", params=["se_resnet50", "se_bn_inception"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Tensor]:
    """A network of full size: its name, its file, and the logits of a picture in the usual order of classes."""
    name, net = request.param, ALL[request.param]
    layers = net.random()
    file = tmp_path_factory.mktemp("caffe") / "net.caffemodel"
    file.write_bytes(caffemodel(layers))
    logits = caffes_answer(net, layers, picture(64, 64))
    order = synsets()
    return name, file, logits[:, [order.index(synset) for synset in sorted(order)]]


def test_a_converted_file_is_usable_at_once(
    whole: tuple[str, Path, Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, file, expected = whole
    out = tmp_path / "out.safetensors"
    assert main(["convert", str(file), "-o", str(out)]) == 0
    text = capsys.readouterr().out
    assert f"{file}: {name}, 1000 classes, names of caffe" in text
    assert "shorter side to 256 px (bilinear), centre 224x224" in text
    assert "mean 0.482353, 0.458824, 0.407843, std 0.229, 0.224, 0.225" in text

    net = create_model(name, weights=out)
    assert_close(answer(net, picture(64, 64)), expected)
    assert net.weights.preprocessing == PREPROCESSING
    assert net.weights.categories[:2] == ("tench", "goldfish")

    predictor = Predictor(name, weights=str(out), device="cpu")
    assert predictor.preprocessing == PREPROCESSING
    assert predictor.categories[-1] == "toilet tissue"

    save_pretrained(create_model(name, weights=out), tmp_path / "folder")
    again = from_pretrained(tmp_path / "folder")
    assert again.weights.preprocessing == PREPROCESSING
    assert_close(answer(again, picture(64, 64)), expected)

    second = convert(out, tmp_path / "second.safetensors")
    assert second.preprocessing == PREPROCESSING
    assert (tmp_path / "second.safetensors").read_bytes() == out.read_bytes()


def test_a_checkpoint_is_loaded_by_name_and_in_place(whole: tuple[str, Path, Tensor]) -> None:
    name, file, expected = whole
    net = load_checkpoint(name, file)
    assert net.weights.preprocessing == PREPROCESSING
    assert_close(answer(net, picture(64, 64)), expected)
    other = ConvNet(MODELS[name].spec()).eval()
    assert_close(answer(load_checkpoint(other, file), picture(64, 64)), expected)
    if name == "se_resnet50":
        with pytest.raises(WeightsMismatch, match=r"not se_resnet50b \(stride or pool differ\). Those are se_resnet50"):
            load_checkpoint("se_resnet50b", file)


def test_classes_of_somebody_elses_stay_where_they_are(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    net = CaffeInception(classes=7)
    layers = net.random()
    (tmp_path / "net.caffemodel").write_bytes(caffemodel(layers))
    done = convert(tmp_path / "net.caffemodel", tmp_path / "out.safetensors")
    assert (done.model, done.num_classes, done.preprocessing) == ("se_bn_inception", 7, None)
    assert "stay in their order" in caplog.text
    assert "the mean of their training" in caplog.text
    ours = create_model("se_bn_inception", weights=tmp_path / "out.safetensors")
    assert (ours.weights.preprocessing, ours.weights.categories) == (None, None)
    assert_close(answer(ours, picture(64, 64)), caffes_answer(net, layers, picture(64, 64)))


def test_the_order_of_classes_is_that_of_the_challenge() -> None:
    order = synsets()
    assert hashlib.sha256("\n".join(sorted(order)).encode()).hexdigest() == SYNSETS_SHA256
    known = {0: "n02119789", 1: "n02100735", 2: "n02110185", 7: "n02124075", 998: "n07831146", 999: "n03255030"}
    assert {place: order[place] for place in known} == known
    # The first validation pictures: their labels in the development kit, which counts from 1, and their WordNet ids.
    pictures = {490: "n01751748", 361: "n09193705", 171: "n02105855", 822: "n04263257", 297: "n03125729"}
    assert {label: order[label - 1] for label in pictures} == pictures


def test_classes_are_put_in_the_order_of_other_libraries() -> None:
    timm = Path(find_spec("timm").origin).parent
    usual = (timm / "data" / "_info" / "imagenet_synsets.txt").read_text().split()
    bias = torch.tensor([float(synset[1:]) for synset in synsets()])
    ordered = usual_label_order({"classifier.weight": bias[:, None], "classifier.bias": bias, "other": bias})
    assert ordered["classifier.bias"].tolist() == [float(synset[1:]) for synset in usual]
    assert torch.equal(ordered["classifier.weight"][:, 0], ordered["classifier.bias"])
    assert torch.equal(ordered["other"], bias)


def test_filters_over_bgr_are_never_taken_for_filters_over_rgb(tmp_path: Path) -> None:
    file = tmp_path / "net.caffemodel"
    file.write_bytes(caffemodel(NETS["se_resnet50"].tiny().random()))
    tensors = read_caffemodel(file)
    assert CAFFE.unknown(tensors) == ["conv1/7x7_s2.weight"]
    assert CAFFE.unknown(take_rgb(tensors)) == []


def test_black_white_and_borders_are_exact_where_another_mean_is_not(tmp_path: Path) -> None:
    """A constant between two means cannot be put right where the window hangs over the edge; ours has none."""
    layers = NETS["se_resnet50"].tiny().random()
    file = tmp_path / "net.caffemodel"
    file.write_bytes(caffemodel(layers))
    weight = take_rgb(read_caffemodel(file))["conv1/7x7_s2.weight_rgb"]
    pixels = 255 * torch.randint(0, 2, (1, 3, 20, 20)).float()
    expected = nn.functional.conv2d(pixels.flip(1) - MEAN_BGR, layers["conv1/7x7_s2"][1][0], stride=2, padding=3)

    def first_map(mean: tuple[float, ...]) -> Tensor:
        x = (pixels / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(PREPROCESSING.std)[:, None, None]
        return nn.functional.conv2d(x, weight, stride=2, padding=3)

    torch.testing.assert_close(first_map(PREPROCESSING.mean), expected, rtol=1e-5, atol=1e-4)
    rest = first_map((0.485, 0.456, 0.406)) - expected
    inside, corner = rest[..., 4, 4], rest[..., 0, 0]
    torch.testing.assert_close(rest[..., 5, 5], inside, rtol=0, atol=1e-4)  # what a batch norm could take up
    assert (corner - inside).abs().max() > 10 * 1e-4


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
        "inception_3c/1x1.weight",
        "inception_6a/1x1.weight",
    ],
)
def test_layers_of_other_networks_are_not_taken_for_the_authors(stranger: str) -> None:
    theirs = {**published_shapes("se_resnet50"), stranger: (1,)}
    assert stranger not in CAFFE.names(theirs)
    with pytest.raises(WeightsMismatch, match=f"1 unexpected: {stranger}"):
        match(theirs, native_shapes("se_resnet50"), CAFFE)


ALEXNET = layer("conv1", "Convolution", [torch.ones(4, 3, 11, 11)]) + layer("fc8", "InnerProduct", [torch.ones(10, 4)])
GREY = layer("conv1/7x7_s2", "Convolution", [torch.ones(4, 1, 7, 7)])
HALF_A_NETWORK = caffemodel(dict([*NETS["se_resnet50"].tiny().random().items()][:30]))
BAD = {
    "another network": (ALEXNET, WeightsMismatch, "of these, the file has 0. Give SE-ResNet"),
    "grey pictures": (GREY, WeightsMismatch, "filters over three channels"),
    "half a file": (HALF_A_NETWORK[: len(HALF_A_NETWORK) // 2], WeightsError, "truncated|no network of the zoo"),
    "half a network": (HALF_A_NETWORK, WeightsMismatch, "no network of the zoo has exactly these names and shapes"),
    "a page": (b"<!DOCTYPE html>", WeightsCorrupted, "whole protobuf file"),
    "nothing": (b"", WeightsCorrupted, "is empty"),
}


@pytest.mark.parametrize(("content", "error", "message"), BAD.values(), ids=list(BAD))
def test_a_bad_file_is_refused_and_nothing_is_written(
    content: bytes, error: type[SenetZooError], message: str, tmp_path: Path
) -> None:
    file = tmp_path / "net.caffemodel"
    file.write_bytes(content)
    with pytest.raises(error, match=f"(?s){message}"):
        convert(file, tmp_path / "out.safetensors")
    with pytest.raises(WeightsError):
        load_checkpoint("se_resnet50", file)
    assert [path.name for path in tmp_path.iterdir()] == ["net.caffemodel"]


@pytest.mark.parametrize(
    ("suffix", "error", "message"),
    [
        (".onnx", WeightsMismatch, "is an ONNX graph, which is not read"),
        (".h5", WeightsCorrupted, "must be a whole HDF5 file"),
        (".prototxt", WeightsCorrupted, r"starts with b'.*Name the right file"),
        ("", WeightsCorrupted, r"starts with b'.*Name the right file"),
    ],
)
def test_a_file_of_a_kind_that_is_not_read_is_refused(
    suffix: str, error: type[SenetZooError], message: str, tmp_path: Path
) -> None:
    file = tmp_path / f"net{suffix}"
    file.write_bytes(caffemodel(NETS["se_resnet50"].tiny().random())[:1000])
    with pytest.raises(error, match=message):
        load_checkpoint("se_resnet50", file)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("senet_zoo.labels", "imagenet-22k", "labels must be one of imagenet-1k"),
        ("senet_zoo.preprocessing", "{", "Expecting property name"),
        ("senet_zoo.preprocessing", "[]", "must be a JSON object"),
        ("senet_zoo.preprocessing", json.dumps({"size": 9}), "lacks the field"),
        ("senet_zoo.preprocessing", "[" * 100_000, "must be what senet-zoo writes"),
    ],
)
def test_metadata_that_this_zoo_does_not_write_are_refused(key: str, value: str, message: str, tmp_path: Path) -> None:
    tensors = ConvNet(MODELS["se_resnet20"].spec()).state_dict()
    safetensors.write(tmp_path / "a.safetensors", tensors, {"format": "pt", "model": "se_resnet20", key: value})
    for read in (
        lambda: create_model("se_resnet20", weights=tmp_path / "a.safetensors"),
        lambda: load_checkpoint("se_resnet20", tmp_path / "a.safetensors"),
        lambda: convert(tmp_path / "a.safetensors", tmp_path / "b.safetensors"),
    ):
        with pytest.raises(WeightsCorrupted, match=f"the metadata of .*{message}"):
            read()
    assert not (tmp_path / "b.safetensors").exists()
