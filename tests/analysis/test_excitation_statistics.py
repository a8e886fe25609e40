"""`excite` adds up what gates say in one pass: the same as plain numpy over everything at once."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import senet_zoo
from senet_zoo import SE, GateFunction, Squeeze, Start
from senet_zoo.analysis.excitation import Excitations, describe_gate, describe_network, excite, measures
from senet_zoo.analysis.excitation.statistics import GateRange, Histogram, Moments, eta_squared, range_of
from senet_zoo.data.datasets import open_data
from senet_zoo.data.labelled import ArrayReader, Labelled, first_of_each_class
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import DataError, UsageError, WeightsError
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS
from senet_zoo.networks.squeeze_excite import SqueezeExcite, gates

WAY = Preprocessing(size=32, resize=32)
CPU = torch.device("cpu")


def labelled(labels: Sequence[int], classes: Sequence[str] = ("red", "green", "blue"), seed: int = 0) -> Labelled:
    """Noise around a colour for each class."""
    chance = np.random.default_rng(seed)
    images = chance.integers(0, 120, (len(labels), 32, 32, 3), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[..., label % 3] += np.uint8(chance.integers(40, 130))
    names = tuple(f"{i}.png" for i in range(len(labels)))
    return Labelled(tuple(classes), tuple(labels), names, ArrayReader(images))


def streamed(rows: np.ndarray, labels: np.ndarray, classes: int, steps: Sequence[int]) -> Moments:
    running = Moments(classes, rows.shape[1], CPU)
    for part, own in zip(np.split(rows, steps), np.split(labels, steps), strict=True):
        running.add(torch.from_numpy(part), torch.from_numpy(own))
    return running


@pytest.fixture(scope="module")
def model() -> ConvNet:
    return senet_zoo.create_model("se_resnet20", pretrained=True)


@pytest.fixture(scope="module")
def data() -> Labelled:
    return labelled([0, 1, 1, 2, 0, 1, 2, 2, 2, 1, 0])


@pytest.fixture(scope="module")
def found(model: ConvNet, data: Labelled) -> Excitations:
    return excite(model, data, WAY, batch=4)


def by_loop(model: ConvNet, data: Labelled) -> dict[str, np.ndarray]:
    """What each gate says of each picture, one picture at a time, by a plain hook: (pictures, channels) in float64."""
    said: dict[str, list[np.ndarray]] = {}

    def keep(gate: SqueezeExcite, args: tuple[Tensor], _: Tensor, *, name: str) -> None:
        said.setdefault(name, []).append(gate.excitation(args[0]).mean((2, 3))[0].double().numpy())

    handles = [
        gate.register_forward_hook(lambda g, a, y, name=name: keep(g, a, y, name=name))
        for name, gate in gates(model).items()
    ]
    with torch.no_grad():
        for index in range(len(data)):
            model(WAY.transforms()(data.read(index))[None])
    for handle in handles:
        handle.remove()
    return {name: np.stack(rows) for name, rows in said.items()}


def test_the_whole_is_that_of_a_plain_loop(model: ConvNet, data: Labelled, found: Excitations) -> None:
    labels = np.array(data.labels)
    assert found.classes == data.classes
    assert found.count == (3, 4, 4)
    assert [gate.name for gate in found.gates] == list(model.excitations(torch.zeros(1, 3, 32, 32)))
    for gate, rows in zip(found.gates, by_loop(model, data).values(), strict=True):
        for label in range(3):
            own = rows[labels == label]
            np.testing.assert_allclose(gate.moments.mean[label], own.mean(0), rtol=0, atol=1e-6)
            np.testing.assert_allclose(gate.moments.std[label], own.std(0), rtol=0, atol=1e-6)
        np.testing.assert_allclose(gate.moments.overall_mean, rows.mean(0), rtol=0, atol=1e-6)
        np.testing.assert_allclose(gate.moments.overall_std, rows.std(0), rtol=0, atol=1e-6)
        numbers = measures(gate)
        assert numbers.mean == pytest.approx(rows.mean(), abs=1e-6)
        assert numbers.saturated_low == pytest.approx((rows < 0.05).mean(), abs=1e-9)
        assert numbers.saturated_high == pytest.approx((rows > 0.95).mean(), abs=1e-9)
        assert numbers.still == (rows.std(0) < 0.01).sum()
        pooled = sum(((rows[labels == k] - rows[labels == k].mean(0)) ** 2).sum(0) for k in range(3)) / len(rows)
        assert numbers.within_class == pytest.approx(np.sqrt(pooled).mean(), abs=1e-6)


def test_the_batch_size_does_not_matter(model: ConvNet, data: Labelled, found: Excitations) -> None:
    ones = excite(model, data, WAY, batch=1)
    for one, four in zip(ones.gates, found.gates, strict=True):
        torch.testing.assert_close(one.moments.mean, four.moments.mean, rtol=0, atol=1e-6)
        torch.testing.assert_close(one.moments.squares, four.moments.squares, rtol=0, atol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_streaming_equals_everything_at_once(offset: float) -> None:
    chance = np.random.default_rng(0)
    labels = chance.integers(0, 4, 200)
    rows = offset + chance.normal(size=(200, 5)) + labels[:, None]
    moments = streamed(rows, labels, 6, [1, 2, 40, 90, 91, 199])
    assert moments.count.tolist() == [*np.bincount(labels), 0, 0]
    for label in range(4):
        np.testing.assert_allclose(moments.mean[label], rows[labels == label].mean(0), rtol=1e-12)
        np.testing.assert_allclose(moments.std[label], rows[labels == label].std(0), rtol=1e-8)
    assert moments.mean[4:].isnan().all()
    np.testing.assert_allclose(moments.overall_std, rows.std(0), rtol=1e-8)


def test_eta_squared_is_that_of_the_analysis_of_variance() -> None:
    chance = np.random.default_rng(1)
    labels = np.repeat([0, 1, 2], [5, 20, 9])
    rows = chance.normal(size=(34, 3)) + np.array([0.0, 0.5, 3.0]) * labels[:, None]
    eta = eta_squared(streamed(rows, labels, 3, [7, 30])).numpy()
    for channel, share in enumerate(eta):
        groups = [rows[labels == k, channel] for k in range(3)]
        between = sum(len(group) * (group.mean() - rows[:, channel].mean()) ** 2 for group in groups)
        within = sum(((group - group.mean()) ** 2).sum() for group in groups)
        f = (between / 2) / (within / 31)
        assert (share / 2) / ((1 - share) / 31) == pytest.approx(f, rel=1e-10)
    assert eta[0] < eta[1] < eta[2]


def test_eta_squared_of_noise_is_what_chance_gives() -> None:
    chance = np.random.default_rng(2)
    labels = np.repeat([0, 1, 2, 3], 5)
    eta = eta_squared(streamed(chance.normal(size=(20, 4000)), labels, 4, [11]))
    assert float(eta.mean()) == pytest.approx(3 / 19, abs=0.005)


def test_histograms_are_numpys_histogram() -> None:
    rows = np.random.default_rng(3).beta(0.4, 0.6, (500, 3)).astype(np.float32)
    running = Histogram(GateRange(0.0, 1.0), 3, CPU)
    for part in np.split(rows, [1, 200]):
        running.add(torch.from_numpy(part))
    histogram = running
    for channel in range(3):
        counts, _ = np.histogram(rows[:, channel], 64, (0.0, 1.0))
        assert histogram.bins[channel].tolist() == counts.tolist()
        shares = counts[counts > 0] / 500
        assert float(histogram.entropy[channel]) == pytest.approx(-(shares * np.log2(shares)).sum(), rel=1e-12)
    assert histogram.low == pytest.approx((rows < 0.05).mean())
    assert histogram.high == pytest.approx((rows > 0.95).mean())


def test_entropy_ends() -> None:
    running = Histogram(GateRange(0.0, 1.0), 2, CPU)
    running.add(torch.stack([torch.full((64,), 1.0), (torch.arange(64) + 0.5) / 64], 1))
    assert running.entropy.tolist() == pytest.approx([0.0, 6.0], abs=1e-12)


@pytest.mark.parametrize(
    ("function", "start", "low", "high"),
    [
        (GateFunction.SIGMOID, Start.RANDOM, 0, 1),
        (GateFunction.HARD_SIGMOID, Start.IDENTITY, 0, 2),
        (GateFunction.TANH, Start.RANDOM, -1, 1),
        (GateFunction.TANH, Start.IDENTITY, 0, 2),
        (GateFunction.RELU, Start.RANDOM, 0, float("inf")),
    ],
)
def test_a_gate_is_measured_over_the_range_of_its_function(
    function: GateFunction, start: Start, low: float, high: float
) -> None:
    span = range_of(SqueezeExcite(16, gate=function, start=start))
    assert (span.low, span.high) == (low, high)
    model = ConvNet(MODELS["se_resnet20"].spec(SE(gate=function, start=start))).eval()
    found = excite(model, labelled([0, 1, 2]), WAY)
    assert all(0.0 <= measures(gate).saturated <= 1.0 for gate in found.gates)


def test_a_gate_that_says_the_same_of_everything(data: Labelled) -> None:
    model = ConvNet(MODELS["se_resnet20"].spec(SE(start=Start.IDENTITY))).eval()
    found = excite(model, data, WAY)
    numbers = [measures(gate) for gate in found.gates]
    for gate, own in zip(found.gates, numbers, strict=True):
        assert (own.mean, own.separability, own.entropy, own.within_class) == (1.0, None, 0.0, 0.0)
        assert own.still == gate.channels
        assert describe_gate(gate, own) == f"{gate.name} says the same of every picture, to six decimals."
    assert describe_network(found.gates, numbers)[-1].startswith("The same of every picture, to six decimals: SE_2_1, ")


def test_without_squeeze_a_picture_counts_by_its_mean(data: Labelled) -> None:
    model = ConvNet(MODELS["se_resnet20"].spec(SE(squeeze=Squeeze.NONE))).eval()
    found = excite(model, data, WAY)
    for gate, rows in zip(found.gates, by_loop(model, data).values(), strict=True):
        np.testing.assert_allclose(gate.moments.overall_mean, rows.mean(0), rtol=0, atol=1e-6)


def test_somebody_elses_network_with_inserted_gates(data: Labelled) -> None:
    foreign = nn.Sequential(nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)).eval()
    foreign(torch.zeros(1, 3, 32, 32))
    senet_zoo.insert_se(foreign, SE(), where="0", example=torch.zeros(1, 3, 32, 32))
    assert [(gate.name, gate.channels) for gate in excite(foreign, data, WAY).gates] == [("0.se", 32)]


def test_limit_takes_the_first_of_each_class() -> None:
    chosen = first_of_each_class(labelled([2, 0, 0, 1, 0, 2, 2]), 2)
    assert chosen.names == (
        "0.png",
        "1.png",
        "2.png",
        "3.png",
        "5.png",
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, colour in (("cold", "blue"), ("warm", "red")):
        (tmp_path / name).mkdir()
        for number in range(2):
            Image.new("RGB", (32, 32), colour).save(tmp_path / name / f"{number}.png")
    return tmp_path


def test_unreadable_pictures_are_left_out_and_named(model: ConvNet, folder: Path) -> None:
    (folder / "cold" / "0.png").write_bytes(b"no picture")
    told: list[int] = []
    found = excite(model, open_data(str(folder)), WAY, batch=3, progress=told.append)
    assert found.count == (1, 2)
    assert len(found.unreadable) == 1
    assert "0.png" in found.unreadable[0]
    assert told == [3, 1]


def test_a_class_whose_pictures_are_all_unreadable_leaves_too_few(model: ConvNet, folder: Path) -> None:
    for number in range(2):
        (folder / "cold" / f"{number}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"two must have a picture.*only warm"):
        excite(model, open_data(str(folder)), WAY)
    for number in range(2):
        (folder / "warm" / f"{number}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="none of 4 is"):
        excite(model, open_data(str(folder)), WAY)


def test_one_class_is_refused(model: ConvNet) -> None:
    with pytest.raises(DataError, match="only red has"):
        excite(model, labelled([0, 0], ("red",)), WAY)


def test_a_network_without_gates_is_refused(data: Labelled) -> None:
    with pytest.raises(UsageError, match="this network has none"):
        excite(senet_zoo.create_model("resnet20").eval(), data, WAY)


def test_wrong_use_is_refused(model: ConvNet, data: Labelled) -> None:
    with pytest.raises(UsageError, match="batch must be at least 1"):
        excite(model, data, WAY, batch=0)
    with pytest.raises(UsageError, match=r"call model.eval\(\)"):
        excite(senet_zoo.create_model("se_resnet20").train(), data, WAY)


def test_gates_that_say_no_number_are_refused(data: Labelled) -> None:
    broken = senet_zoo.create_model("se_resnet20").eval()
    nn.init.constant_(gates(broken)["stages.1.0.se"].fc2.bias, float("nan"))
    with pytest.raises(WeightsError, match="SE_3_1 does not"):
        excite(broken, data, WAY)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_says_the_same(data: Labelled, found: Excitations) -> None:
    fast = excite(senet_zoo.create_model("se_resnet20", pretrained=True).cuda(), data, WAY, batch=4)
    for one, other in zip(found.gates, fast.gates, strict=True):
        torch.testing.assert_close(one.moments.mean, other.moments.mean, rtol=0, atol=1e-4)
        torch.testing.assert_close(one.moments.std, other.moments.std, rtol=0, atol=1e-4)
