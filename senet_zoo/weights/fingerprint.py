"""A network's fingerprint: its answer to one fixed picture, by which any machine can tell its function from another.

The picture is a formula in whole numbers, so that it is the same to the last bit everywhere: in each channel a chirp,
whose waves shorten from one corner to the opposite one until they are two pixels long, under the grain of a
low-discrepancy sequence. Every frequency has a position of its own, so that a stride in another layer, a pool that
starts a pixel earlier or another border changes the answer; the chirp of each channel starts in another corner.
"""

import logging
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor

from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import UsageError
from senet_zoo.formats.metadata import LEAST_SCALE, MOST_LOGIT, Fingerprint
from senet_zoo.networks import registry
from senet_zoo.networks.network import ConvNet, on_meta
from senet_zoo.networks.specs import NetworkSpec

# Greatest deviation of a logit or a sum, as a share of the logits' root mean square. Other thread counts, memory
# formats and double precision give 1e-6 to 1e-5, parameters rounded to float16 1e-3, to bfloat16 1e-2, and the nearest
# other function of the zoo with the same tensors 8e-2: tests/zoo/test_fingerprint.py holds these.
TOLERANCE = 3e-4
KEPT, SUMS, DECIMALS = 16, 8, 5
ROUNDING = 0.05  # a deviation below this share may come from parameters in half precision
MOST_SIDE = 128  # pixels: functions are told apart as well as at 224, at a third of the cost
MOST_DEPTH = 32  # pixels along each axis of a volume
UNSAID = Preprocessing(size=224, resize=256)
"""ImageNet's mean and standard deviation, which the picture gets where nothing says what the weights were made for."""

_CYCLE = 2**16  # phases are counted in parts of a cycle
_PLASTIC = (49472, 37345)  # 2^16 / p and 2^16 / p^2, p the plastic number: steps that fill the plane evenly
_GOLDEN = 0x9E3779B1  # 2^32 divided by the golden ratio, odd

_log = logging.getLogger("senet_zoo")


def picture(size: int, channels: int = 3) -> Tensor:
    """The fixed picture.

    Args:
        size: side in pixels.
        channels: R, G, B, and then on with the same formulas, shifted.

    Shape:
        -> uint8 (channels, size, size).
    """
    line = torch.arange(size)
    y, x = line[:, None], line[None, :]
    corners = ((x, y), (size - 1 - x, y), (x, size - 1 - y))
    maps = []
    for channel in range(channels):
        u, v = corners[channel % 3]
        phase = (_CYCLE // 4 * (u * u + (v * v) // 2)) // size + 9973 * channel
        grain = (_PLASTIC[0] * u + _PLASTIC[1] * v + 24571 * channel) % _CYCLE
        maps.append((3 * _triangle(phase) + grain) // (4 * _CYCLE // 256))
    return torch.stack(maps).to(torch.uint8)


def fixed_input(model: ConvNet, size: int) -> Tensor:
    """The picture as a network reads it: of a signal one row, of a volume its planes, each further along than the last.

    Shape:
        -> uint8 (in_channels, size), (in_channels, size, size) or (in_channels, size, size, size).
    """
    flat = picture(size, model.in_channels)
    match model.spec.dimensions.count:
        case 1:
            return flat[:, size // 3]
        case 2:
            return flat
        case _:
            planes = [flat.roll((3 * plane, 5 * plane), (1, 2)) for plane in range(size)]
            return torch.stack(planes, dim=1)


def fingerprint(model: ConvNet, preprocessing: Preprocessing) -> Fingerprint:
    """What a network answers to the picture in eval mode, rounded to `DECIMALS` places below the answer's scale.

    The answer is the logits, or the pooled features of a network without classifier.

    It is computed by a copy in double precision on the CPU. In that, thread counts and machines differ by some 1e-14 of
    the scale, and a number lies that near the border between two roundings once in a million networks. The
    fingerprint of all others, and every byte of a file that carries it, is the same on every machine.

    Args:
        model: left as it is.
        preprocessing: gives mean and standard deviation; nothing is resized.

    Raises:
        UsageError: a network that ends in maps, or whose answer is all 0, not finite or beyond `MOST_LOGIT`.
    """
    size = min(model.spec.input_size, MOST_SIDE if model.spec.dimensions.count < 3 else MOST_DEPTH)
    return fingerprint_of(answer(deepcopy(model).cpu().double().eval(), _input(model, preprocessing, size)), size)


def fingerprint_of(numbers: Tensor, size: int) -> Fingerprint:
    """The fingerprint of an answer.

    Args:
        numbers: (n,), what a network says, in double precision on the CPU.
        size: side of the picture.

    Raises:
        UsageError: numbers that are all 0, not finite or beyond `MOST_LOGIT`.
    """
    scale = _scale(numbers)
    places = DECIMALS - _exponent(scale)
    indices = _spread(len(numbers)) | {int(numbers.argmax())}
    return Fingerprint(
        size=size,
        scale=round(scale, places),
        logits=tuple((index, round(float(numbers[index]), places)) for index in sorted(indices)),
        sums=tuple(round(float(value), places) for value in _sums(numbers, SUMS)),
    )


def fingerprint_if_any(model: ConvNet, preprocessing: Preprocessing | None) -> Fingerprint | None:
    """The fingerprint that travels with a network's file; None, and a line in the log, where there can be none.

    Args:
        model: left as it is.
        preprocessing: as in `fingerprint`; None for `UNSAID`.
    """
    try:
        return fingerprint(model, preprocessing or UNSAID)
    except UsageError as e:
        _log.info("no fingerprint: %s", e)
        return None


@dataclass(frozen=True)
class Deviation:
    """How far a network is from a fingerprint.

    Args:
        share: the greatest difference, as a share of the fingerprint's scale; infinite where a logit is lacking.
        where: the logit or sum that differs most, with both values.
    """

    share: float
    where: str

    @property
    def ok(self) -> bool:
        """Whether it is rounding."""
        return self.share <= TOLERANCE


def compare(model: ConvNet, preprocessing: Preprocessing, published: Fingerprint) -> Deviation:
    """Compare a network with a fingerprint.

    Raises:
        UsageError: a network that ends in maps.
    """
    return deviation_of(answer(model, _input(model, preprocessing, published.size)), published)


def suggest(model: ConvNet, preprocessing: Preprocessing, published: Fingerprint) -> str:
    """What a deviation suggests: changes are tried that would make the fingerprint hold.

    Args:
        model: a network whose `compare` was not ok.
        preprocessing: as in `compare`.
        published: the fingerprint that does not hold.
    """
    x = _input(model, preprocessing, published.size)
    logits = answer(model, x)
    if model.in_channels == 3 and deviation_of(answer(model, x.flip(1)), published).ok:
        return "with the channels in reverse order it holds: the first convolution takes BGR, not RGB"
    if _stand_elsewhere(logits, published):
        return "the same logits stand at other indices: the classes are in another order"
    for name, sibling in _siblings(model):
        if deviation_of(answer(sibling, x), published).ok:
            return f"as {name} it holds: the tensors belong to that function, which has the same names and shapes"
    if deviation_of(logits, published).share < ROUNDING:
        return f"less than {ROUNDING:.0%} of the scale: parameters rounded to half precision, or another normalisation"
    return (
        "far more than rounding: other weights, or another function around them (position of a stride, mode of a pool, "
        "another gate or normalisation)"
    )


def answer(model: ConvNet, x: Tensor) -> Tensor:
    """The logits of one picture, or its pooled features, in double precision on the CPU. Shape: (1, C, S, S) -> (n,).

    Raises:
        UsageError: a network that ends in maps.
    """
    like = next(model.parameters())
    with torch.inference_mode():
        found: Tensor = model(x.to(like.device, like.dtype))[0]
    if found.ndim != 1:
        raise UsageError("a fingerprint is made of logits or pooled features, and this network ends in maps")
    return found.double().cpu()


def _triangle(phase: Tensor) -> Tensor:
    """A wave of period `_CYCLE`, from 0 up to `_CYCLE` and down again."""
    within = phase % _CYCLE
    return torch.minimum(within, _CYCLE - within) * 2


def _input(model: ConvNet, preprocessing: Preprocessing, size: int) -> Tensor:
    pixels = fixed_input(model, size).double()[None] / 255
    rgb, ones = [channel % 3 for channel in range(model.in_channels)], (1,) * model.spec.dimensions.count
    mean = torch.tensor([preprocessing.mean[channel] for channel in rgb], dtype=torch.float64).view(-1, *ones)
    std = torch.tensor([preprocessing.std[channel] for channel in rgb], dtype=torch.float64).view(-1, *ones)
    return ((pixels - mean) / std).float()


def _scale(logits: Tensor) -> float:
    scale = float(logits.square().mean().sqrt())
    most = MOST_LOGIT / len(logits) ** 0.5  # so that no logit and no sum is beyond MOST_LOGIT
    if not LEAST_SCALE <= scale <= most:
        raise UsageError(
            f"a fingerprint needs finite numbers, whose root mean square is from {LEAST_SCALE:g} to {most:.2g}, but it "
            f"is {scale:g}"
        )
    return scale


def _exponent(scale: float) -> int:
    return int(f"{scale:e}".partition("e")[2])


def _spread(count: int) -> set[int]:
    """Up to `KEPT` indices from the first to the last."""
    if count <= KEPT:
        return set(range(count))
    return {i * (count - 1) // (KEPT - 1) for i in range(KEPT)}


def _sums(logits: Tensor, count: int) -> Tensor:
    """Sums weighted by fixed numbers in [-1, 1), each divided by the root of the number of logits."""
    index = torch.arange(1, len(logits) + 1)
    steps = _GOLDEN * (2 * torch.arange(count)[:, None] + 1)
    weights = (index * steps % 2**32).double() / 2**31 - 1
    sums: Tensor = weights @ logits / len(logits) ** 0.5
    return sums


def deviation_of(logits: Tensor, published: Fingerprint) -> Deviation:
    """How far an answer, in double precision on the CPU, is from a fingerprint."""
    worst = Deviation(-1.0, "")
    sums = _sums(logits, len(published.sums))
    pairs = [
        *((f"logit {i}", float(logits[i]) if i < len(logits) else float("nan"), v) for i, v in published.logits),
        *((f"sum {i}", float(sums[i]), value) for i, value in enumerate(published.sums)),
    ]
    for what, found, expected in pairs:
        share = abs(found - expected) / published.scale
        share = share if share == share else float("inf")  # not a number is as far away as can be
        if share > worst.share:
            worst = Deviation(share, f"{what} is {found:.6g}, published as {expected:.6g}")
    return worst


def _stand_elsewhere(logits: Tensor, published: Fingerprint) -> bool:
    kept = torch.tensor([value for _, value in published.logits], dtype=torch.float64)
    nearest = (logits[:, None] - kept).abs().min(0).values
    return bool((nearest <= TOLERANCE * published.scale).all())


def _siblings(model: ConvNet) -> Iterator[tuple[str, ConvNet]]:
    """The same tensors as other networks of the zoo, where names and shapes fit."""
    tensors = model.state_dict()
    shapes = {key: tensor.shape for key, tensor in tensors.items()}
    outline = _outline(model.spec)
    for name, entry in registry.MODELS.items():
        if model.spec.dimensions.count not in entry.dimensions:
            continue
        spec = entry.spec(None, None, model.spec.dimensions)
        if spec == model.spec or _outline(spec) != outline:
            continue
        other = on_meta(spec, num_classes=model.num_classes, in_channels=model.in_channels)
        if {key: tensor.shape for key, tensor in other.state_dict().items()} == shapes:
            other.load_state_dict(tensors, assign=True)
            yield name, other


def _outline(spec: NetworkSpec) -> list[int]:
    """Widths after the stem and each block: far cheaper than shapes, and other networks of equal shapes share them."""
    widths = [spec.stem.out_channels(3)]
    for stage in spec.stages:
        for block in stage.blocks:
            widths.append(block.out_channels(widths[-1]))
    return widths
