"""A fingerprint tells a function from its near misses on any machine, and ``verify_deep`` says what they are."""

import hashlib
import itertools
import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import jsonschema
import pytest
import torch
from hub.places import TREE
from networks import distinct_tiny, key_list, randomise
from torch import nn

import senet_zoo
from senet_zoo.errors import ManifestError, UsageError
from senet_zoo.formats import safetensors
from senet_zoo.formats.metadata import Fingerprint
from senet_zoo.networks.specs import NetworkSpec
from senet_zoo.support.json_fields import as_json
from senet_zoo.weights.convert import convert
from senet_zoo.weights.fingerprint import compare, fingerprint, picture, suggest
from senet_zoo.weights.manifest import load_manifest
from senet_zoo.weights.verify import verify_deep

SMALL = senet_zoo.Preprocessing(size=64, resize=64)


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    """Random weights that fit the authors' SE-ResNet-50 and the B form alike."""
    return randomise(senet_zoo.create_model("se_resnet50")).state_dict()


@pytest.fixture(scope="module")
def published(tensors: dict[str, torch.Tensor]) -> Fingerprint:
    """That of the authors' form with these weights."""
    return fingerprint(network("se_resnet50", tensors), SMALL)


def network(name: str, tensors: dict[str, torch.Tensor]) -> senet_zoo.ConvNet:
    model = senet_zoo.create_model(name).eval()
    model.load_state_dict(tensors)
    return model


def test_the_picture_is_the_formula_in_whole_numbers() -> None:
    size = 40
    made = picture(size)
    assert (made.shape, made.dtype) == ((3, size, size), torch.uint8)
    for y, x in ((0, 0), (0, 39), (39, 0), (17, 23), (39, 39), (5, 31)):
        for channel, (u, v) in enumerate(((x, y), (39 - x, y), (x, 39 - y))):
            phase = (16384 * (u * u + v * v // 2) // size + 9973 * channel) % 65536
            wave = 2 * min(phase, 65536 - phase)
            grain = (49472 * u + 37345 * v + 24571 * channel) % 65536
            assert made[channel, y, x] == (3 * wave + grain) // 1024


@pytest.mark.parametrize(
    ("size", "sha256"),
    [
        (32, "e8e8c686f32d0e8a1adb34d679db60aa737ec9356713db84aa06d557930cc468"),
        (224, "81057c04f763769984169fcea426bc340e99987c910ebd13d7277e2f3c5b57f7"),
    ],
)
def test_the_picture_never_changes_or_every_published_fingerprint_is_void(size: int, sha256: str) -> None:
    assert hashlib.sha256(picture(size).numpy().tobytes()).hexdigest() == sha256


def test_the_embedded_checkpoint_is_the_published_function() -> None:
    verification = verify_deep("se_resnet20.cifar10")
    assert verification.ok
    assert [check.name for check in verification.checks] == ["file", "header", "tensors", "finite", "function"]


def test_the_position_of_the_strides_is_noticed(tensors: dict[str, torch.Tensor], published: Fingerprint) -> None:
    wrong = network("se_resnet50b", tensors)
    assert not compare(wrong, SMALL, published).ok
    assert "as se_resnet50 it holds" in suggest(wrong, SMALL, published)


def test_any_two_functions_of_the_zoo_that_share_their_tensors_are_told_apart() -> None:
    interchangeable: dict[str, list[NetworkSpec]] = {}
    for spec in distinct_tiny().values():
        with torch.device("meta"):
            shapes = key_list(senet_zoo.ConvNet(spec))
        interchangeable.setdefault(shapes, []).append(spec)
    pairs = [pair for specs in interchangeable.values() for pair in itertools.combinations(specs, 2)]
    assert len(pairs) > 10
    for one, other in pairs:
        preprocessing = senet_zoo.Preprocessing(size=128, resize=128)
        right, wrong = randomise(senet_zoo.ConvNet(one)), senet_zoo.ConvNet(other).eval()
        wrong.load_state_dict(right.state_dict())
        assert compare(wrong, preprocessing, fingerprint(right, preprocessing)).share > 0.05


def test_the_mode_of_the_pool_is_noticed(tensors: dict[str, torch.Tensor], published: Fingerprint) -> None:
    wrong = network("se_resnet50", tensors)
    assert wrong.pool(torch.zeros(1, 1, 32, 32)).shape == (1, 1, 16, 16)
    wrong.pool = nn.MaxPool2d(3, stride=2, padding=1)  # padded, as in the B form: maps of the same size
    assert not compare(wrong, SMALL, published).ok
    assert "mode of a pool" in suggest(wrong, SMALL, published)


@pytest.mark.parametrize("swapped", [(0, 999), (100, 200), (998, 999)])
def test_another_order_of_the_labels_is_noticed(
    tensors: dict[str, torch.Tensor], published: Fingerprint, swapped: tuple[int, int]
) -> None:
    wrong = network("se_resnet50", tensors)
    order = list(range(1000))
    order[swapped[0]], order[swapped[1]] = order[swapped[1]], order[swapped[0]]
    for tensor in (wrong.classifier.weight, wrong.classifier.bias):
        tensor.data = tensor.data[order]
    assert not compare(wrong, SMALL, published).ok
    assert "the classes are in another order" in suggest(wrong, SMALL, published)


def test_channels_in_reverse_order_are_noticed(tensors: dict[str, torch.Tensor], published: Fingerprint) -> None:
    stem = tensors["stem.0.conv.weight"].flip(1)
    wrong = network("se_resnet50", {**tensors, "stem.0.conv.weight": stem})
    assert not compare(wrong, SMALL, published).ok
    assert "BGR, not RGB" in suggest(wrong, SMALL, published)


def test_another_normalisation_is_noticed(tensors: dict[str, torch.Tensor], published: Fingerprint) -> None:
    other = senet_zoo.Preprocessing(size=64, resize=64, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert not compare(network("se_resnet50", tensors), other, published).ok


def test_rounding_of_float32_is_none_of_its_business(tensors: dict[str, torch.Tensor], published: Fingerprint) -> None:
    right = network("se_resnet50", tensors)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            assert compare(right, SMALL, published).share < 3e-5
    finally:
        torch.set_num_threads(threads)
    assert compare(right.to(memory_format=torch.channels_last), SMALL, published).share < 3e-5
    assert compare(right.double(), SMALL, published).share < 3e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_parameters_in_half_precision_are_not_the_published_ones(
    dtype: torch.dtype, tensors: dict[str, torch.Tensor], published: Fingerprint
) -> None:
    rounded = network("se_resnet50", tensors).to(dtype).float()
    assert not compare(rounded, SMALL, published).ok
    if dtype == torch.bfloat16:
        assert "half precision" in suggest(rounded, SMALL, published)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_fingerprint(tensors: dict[str, torch.Tensor], published: Fingerprint) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    with torch.backends.cudnn.flags(allow_tf32=False):
        assert compare(network("se_resnet50", tensors).cuda(), SMALL, published).ok


def test_variants_have_fingerprints_too() -> None:
    for channels in (1, 4):
        model = randomise(senet_zoo.create_model("se_resnet20", num_classes=1, in_channels=channels))
        made = fingerprint(model, SMALL)
        assert [index for index, _ in made.logits] == [0]
        assert compare(model, SMALL, made).ok


def test_a_network_that_answers_nothing_has_none() -> None:
    with pytest.raises(UsageError, match="ends in maps"):
        fingerprint(senet_zoo.create_model("se_resnet20", num_classes=0, global_pool=""), SMALL)
    silent = senet_zoo.create_model("se_resnet20").eval()
    for parameter in silent.classifier.parameters():
        nn.init.zeros_(parameter)
    with pytest.raises(UsageError, match="finite numbers, whose root mean square is from 1e-09"):
        fingerprint(silent, SMALL)


def test_logits_that_are_not_numbers_deviate_without_end(published: Fingerprint) -> None:
    broken = senet_zoo.create_model("se_resnet50").eval()
    nn.init.constant_(broken.classifier.weight, torch.nan)
    assert compare(broken, SMALL, published).share == float("inf")


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Publishes random weights as ``MODEL.mine``, with the fingerprint that it is given."""

    def publish(model: senet_zoo.ConvNet, name: str, made: Fingerprint | None) -> Path:
        tagged = deepcopy(as_json(senet_zoo.get_weights("se_resnet20.cifar10").row))
        tagged["fingerprint"] = None if made is None else as_json(made)
        tagged["sources"] = [
            {"kind": "hub", "repo": "me/net", "revision": None, "filename": "model.safetensors"}
            | {"sha256": None, "size": None, "dialect": "native"}
        ]
        manifest = {"manifest_version": 1, "models": {name: {"default": "mine", "weights": {"mine": tagged}}}}
        (tmp_path / "private.json").write_text(json.dumps(manifest))
        file = tmp_path / "weights" / name / "mine" / "model.safetensors"
        sha256 = safetensors.write(file, model.state_dict(), {})
        (tmp_path / "weights" / "SHA256SUMS").write_text(f"{sha256}  {name}/mine/model.safetensors\n")
        monkeypatch.setenv("SENET_ZOO_MANIFEST", str(tmp_path / "private.json"))
        monkeypatch.setenv("SENET_ZOO_WEIGHTS_DIR", str(tmp_path / "weights"))
        return file

    return publish


def test_a_check_that_fails_names_the_greatest_deviation_and_its_reason(private) -> None:
    row = senet_zoo.get_weights("se_resnet20.cifar10").row
    right = randomise(senet_zoo.create_model("se_resnet20"))
    wrong = deepcopy(right)
    for tensor in (wrong.classifier.weight, wrong.classifier.bias):
        tensor.data = tensor.data.flip(0)
    file = private(wrong, "se_resnet20", fingerprint(right, row.preprocessing))
    for verification in (verify_deep("se_resnet20.mine"), verify_deep(file, model="se_resnet20.mine")):
        assert [check.name for check in verification.checks if not check.ok] == ["function"]
        found = verification.checks[-1].found
        assert "greatest deviation" in found
        assert " is " in found
        assert "the classes are in another order" in found
    private(right, "se_resnet20", fingerprint(right, row.preprocessing))
    assert verify_deep("se_resnet20.mine").ok


def strides_moved(model: senet_zoo.ConvNet) -> None:
    unit = model.stages[1][0].branch
    one, two = unit.conv1.conv, unit.conv2.conv
    assert one.stride != two.stride
    one.stride, two.stride = two.stride, one.stride


def pool_padded(model: senet_zoo.ConvNet) -> None:
    assert model.pool.padding == 0
    model.pool = nn.MaxPool2d(3, stride=2, padding=1)


def labels_turned(model: senet_zoo.ConvNet) -> None:
    for tensor in (model.classifier.weight, model.classifier.bias):
        tensor.data = tensor.data.roll(1, 0)


def channels_turned(model: senet_zoo.ConvNet) -> None:
    model.stem[0].conv.weight.data = model.stem[0].conv.weight.data.flip(1)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> tuple[senet_zoo.ConvNet, Path]:
    """A network, as a saved folder and, inside, as a converted file."""
    model = randomise(senet_zoo.create_model("se_resnext26_32x4d", num_classes=10))
    folder = tmp_path_factory.mktemp("own")
    senet_zoo.save_pretrained(model, folder, preprocessing=SMALL)
    convert(folder / "model.safetensors", folder / "converted.safetensors")
    return model, folder


@pytest.mark.parametrize("carrier", [".", "converted.safetensors"], ids=["folder", "file"])
@pytest.mark.parametrize("fault", [strides_moved, pool_padded, labels_turned, channels_turned])
def test_a_folder_and_a_file_carry_what_notices_another_function(
    carrier: str, fault: Callable[[senet_zoo.ConvNet], None], own: tuple[senet_zoo.ConvNet, Path], tmp_path: Path
) -> None:
    """The publisher's function was the faulty one; what lies here is the zoo's."""
    published = deepcopy(own[0])
    fault(published)
    made = as_json(fingerprint(published, SMALL))
    config = json.loads((own[1] / "config.json").read_text())
    config["senet_zoo"]["fingerprint"] = made
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").hardlink_to(own[1] / "model.safetensors")
    metadata = {"model": "se_resnext26_32x4d", "senet_zoo.fingerprint": json.dumps(made)}
    safetensors.write(tmp_path / "converted.safetensors", own[0].state_dict(), metadata)
    failed = [check for check in verify_deep(tmp_path / carrier).checks if not check.ok]
    assert [check.name for check in failed] == ["function"]
    assert "not the published one" in failed[0].found


@pytest.mark.parametrize("carrier", [".", "converted.safetensors"], ids=["folder", "file"])
def test_a_folder_and_a_file_prove_themselves(carrier: str, own: tuple[senet_zoo.ConvNet, Path]) -> None:
    verification = verify_deep(own[1] / carrier)
    assert verification.ok
    assert "the published one: greatest deviation" in verification.checks[-1].found


@pytest.mark.parametrize("name", ["se_resnet20", "ir_se50"])
def test_a_network_without_logits_proves_its_features(name: str, tmp_path: Path) -> None:
    model = randomise(senet_zoo.create_model(name, num_classes=0))
    senet_zoo.save_pretrained(model, tmp_path / "own")
    convert(tmp_path / "own" / "model.safetensors", tmp_path / "converted.safetensors")
    for carrier in (tmp_path / "own", tmp_path / "converted.safetensors"):
        assert verify_deep(carrier).ok
    config = json.loads((tmp_path / "own" / "config.json").read_text())
    next(model.parameters()).data.mul_(1.01)
    senet_zoo.save_pretrained(model, tmp_path / "other")
    other = json.loads((tmp_path / "other" / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(json.dumps(other | {"fingerprint": config["fingerprint"]}))
    assert "not the published one" in verify_deep(tmp_path / "other").checks[-1].found


def test_a_network_that_answers_only_zeros_is_saved_without_a_fingerprint(tmp_path: Path) -> None:
    model = senet_zoo.create_model("se_resnet20")
    for parameter in model.classifier.parameters():
        nn.init.zeros_(parameter)
    senet_zoo.save_pretrained(model, tmp_path)
    assert senet_zoo.from_pretrained(tmp_path).weights.fingerprint is None
    assert "fingerprint: none" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '{"size": 32}', '{"size": 32, "size": 32}', "null"])
def test_a_files_broken_fingerprint_proves_nothing(text: str, tmp_path: Path) -> None:
    model = randomise(senet_zoo.create_model("se_resnet20"))
    said = {"model": "se_resnet20", "senet_zoo.fingerprint": text}
    safetensors.write(tmp_path / "a.safetensors", model.state_dict(), said)
    (check,) = [check for check in verify_deep(tmp_path / "a.safetensors").checks if not check.ok]
    assert "not proven: the metadata of" in check.found


def test_saving_leaves_a_network_in_training_as_it_is_and_its_fingerprint_is_that_of_its_answers(
    tmp_path: Path,
) -> None:
    model = randomise(senet_zoo.create_model("se_resnet20", dropout=0.5)).train()
    model.stages[0].eval()
    modes = [part.training for part in model.modules()]
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    senet_zoo.save_pretrained(model, tmp_path)
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert verify_deep(tmp_path).ok


def test_a_fingerprint_is_the_same_to_the_last_digit_however_it_is_computed(tensors: dict[str, torch.Tensor]) -> None:
    model = network("se_resnet50", tensors)
    made, threads = fingerprint(model, SMALL), torch.get_num_threads()
    try:
        torch.set_num_threads(3 - min(threads, 2))
        assert fingerprint(model, SMALL) == made
    finally:
        torch.set_num_threads(threads)
    assert fingerprint(model.to(memory_format=torch.channels_last), SMALL) == made
    assert fingerprint(model.double(), SMALL) == made


def test_where_nothing_is_published_nothing_is_proven(private) -> None:
    file = private(randomise(senet_zoo.create_model("se_resnet20")), "se_resnet20", None)
    verification = verify_deep("se_resnet20.mine")
    assert not verification.ok
    assert "no fingerprint of se_resnet20.mine" in verification.checks[-1].found
    assert "name the published weights as MODEL.TAG" in verify_deep(file, model="se_resnet20").checks[-1].found


SCHEMA = jsonschema.Draft202012Validator(json.loads((TREE / "weights_manifest.schema.json").read_text()))
GOOD = {"size": 32, "scale": 1.5, "logits": {"0": 1, "9": -2.5}, "sums": [0.5]}


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        ("abc", r"cifar10.fingerprint must be a JSON object, got 'abc'"),
        (GOOD | {"size": 7}, r"fingerprint.size must be a whole number from 8 to 1024, got 7"),
        (GOOD | {"scale": 0}, r"fingerprint.scale must be a number from 1e-09"),
        (GOOD | {"logits": {}}, r"fingerprint.logits must be an object of 1 to 64 numbers by index, got {}"),
        (GOOD | {"logits": [1]}, r"fingerprint.logits must be an object of 1 to 64 numbers by index"),
        (GOOD | {"logits": {"01": 1}}, r"fingerprint.logits must be an object whose keys are indices below 10"),
        (GOOD | {"logits": {"-1": 1}}, r"fingerprint.logits must be an object whose keys are indices below 10"),
        (GOOD | {"logits": {"1": "x"}}, r"fingerprint.logits.1 must be a number"),
        (GOOD | {"logits": {str(i): 1 for i in range(65)}}, r"an object of 1 to 64 numbers by index"),
        (GOOD | {"sums": []}, r"fingerprint.sums must be a list of 1 to 64 numbers, got \[\]"),
        (GOOD | {"sums": [1e10]}, r"fingerprint.sums.0 must be a number"),
        (GOOD | {"seed": 1}, r"fingerprint has unknown fields: 'seed'"),
        ({k: v for k, v in GOOD.items() if k != "sums"}, r"fingerprint lacks the field 'sums'"),
    ],
)
def test_a_bad_fingerprint_is_refused_by_reader_and_schema(spoilt: object, message: str, tmp_path: Path) -> None:
    document = json.loads((TREE / "weights_manifest.json").read_text())
    document["models"] = {"se_resnet20": document["models"]["se_resnet20"]}
    row = document["models"]["se_resnet20"]["weights"]["cifar10"]
    file = tmp_path / "weights_manifest.json"
    for good in (GOOD, None):
        row["fingerprint"] = good
        file.write_text(json.dumps(document))
        SCHEMA.validate(document)
        load_manifest(file)
    row["fingerprint"] = spoilt
    file.write_text(json.dumps(document))
    with pytest.raises(ManifestError, match=message):
        load_manifest(file)
    assert not SCHEMA.is_valid(document)


def test_an_index_beyond_the_classes_is_refused(tmp_path: Path) -> None:
    document = json.loads((TREE / "weights_manifest.json").read_text())
    document["models"]["se_resnet20"]["weights"]["cifar10"]["fingerprint"] = GOOD | {"logits": {"10": 1}}
    (tmp_path / "weights_manifest.json").write_text(json.dumps(document))
    with pytest.raises(ManifestError, match="indices below 10, got '10'"):
        load_manifest(tmp_path / "weights_manifest.json")
