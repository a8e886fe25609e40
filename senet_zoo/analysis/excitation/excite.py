"""Labelled pictures as batches that a network takes.

`excite`: what every gate of a network says of labelled pictures, class by class, in one pass.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from senet_zoo.analysis.excitation.statistics import Levels, Moments, Range, RunningLevels, RunningMoments, range_of
from senet_zoo.data.labelled import Labelled, subset
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import DataError, PictureError, UsageError, WeightsError
from senet_zoo.networks.excitations import paper_names, recorded_excitations
from senet_zoo.networks.gate import gates
from senet_zoo.networks.network import ConvNet

Loaded = tuple[int, Tensor | str]
"""A picture's index, and its (3, size, size) or why it could not be read."""


def first_of_each(data: Labelled, limit: int) -> Labelled:
    """At most ``limit`` pictures of each class, the first ones, in the order they have."""
    seen = Counter[int]()
    chosen = []
    for index, label in enumerate(data.labels):
        seen[label] += 1
        if seen[label] <= limit:
            chosen.append(index)
    return subset(data, chosen)


def batches(data: Labelled, preprocessing: Preprocessing, size: int, workers: int) -> Iterator[list[Loaded]]:
    """All pictures in their order, ``size`` at once, decoded by ``workers`` processes (0: this one)."""
    pictures = _Pictures(data, preprocessing)
    workers = min(workers, -(-len(data) // size))
    return iter(DataLoader(pictures, batch_size=size, num_workers=workers, collate_fn=list))


class _Pictures(Dataset[Loaded]):
    def __init__(self, data: Labelled, preprocessing: Preprocessing) -> None:
        self.data, self.transforms = data, preprocessing.transforms()

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Loaded:
        try:
            picture: torch.Tensor = self.transforms(self.data.read(index))
        except PictureError as error:
            return index, str(error)
        return index, picture


@dataclass(frozen=True, eq=False)
class GateExcitations:
    """What one gate said.

    Args:
        name: the paper's, such as ``SE_4_6``, or its module's.
        span: the values that it can take.
        moments: mean and spread of each class and channel.
        levels: how often which level was reached, over all classes.
    """

    name: str
    span: Range
    moments: Moments
    levels: Levels

    @property
    def channels(self) -> int:
        """Of the map that it scales."""
        return self.moments.mean.shape[1]


@dataclass(frozen=True, eq=False)
class Excitations:
    """What the gates of a network said of labelled pictures.

    Args:
        classes: of the data, in the order of its labels.
        count: pictures of each class that were read.
        gates: first to last.
        unreadable: why each picture that was left out could not be read.
    """

    classes: tuple[str, ...]
    count: tuple[int, ...]
    gates: tuple[GateExcitations, ...]
    unreadable: tuple[str, ...]


def excite(
    model: nn.Module,
    data: Labelled,
    preprocessing: Preprocessing,
    *,
    batch: int = 64,
    workers: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> Excitations:
    """Show a network labelled pictures and add up what its gates say, on the device and in the dtype of its parameters.

    Memory does not grow with the number of pictures: it is that of a mean and a spread a class, gate and channel. A
    picture that cannot be read is left out and named in the result. A gate without squeeze counts with its mean over
    the pixels of each picture.

    Args:
        model: in eval mode; a network of the zoo, or any with inserted gates.
        data: its classes may be others than the network's.
        preprocessing: that of the model's weights.
        batch: pictures that the network sees at once.
        workers: processes that decode pictures; 0 decodes in this one.
        progress: told the number of pictures after each batch.

    Raises:
        UsageError: a number out of range, a model in training mode or without gates.
        DataError: fewer than two classes have a picture that can be read.
        WeightsError: a gate says what is no finite number.

    Source: the paper, section 7.2.
    """
    if batch < 1 or workers < 0:
        raise UsageError(f"batch must be at least 1 and workers at least 0, got {batch} and {workers}")
    if model.training:
        raise UsageError("excite needs a model in eval mode, and this one is in training mode: call model.eval()")
    running = _Running(model, len(data.classes))
    _require_two(data, data.labels)
    unreadable: list[str] = []
    for loaded in batches(data, preprocessing, batch, workers):
        unreadable += [picture for _, picture in loaded if isinstance(picture, str)]
        readable = [(index, picture) for index, picture in loaded if not isinstance(picture, str)]
        if readable:
            running.add(
                torch.stack([picture for _, picture in readable]),
                torch.tensor([data.labels[index] for index, _ in readable]),
            )
        progress(len(loaded))
    if running.seen:
        _require_two(data, running.seen)
    else:
        raise DataError(f"a picture must be readable, and none of {len(data)} is: {unreadable[0]}")
    found = running.result()
    return Excitations(data.classes, tuple(found[0].moments.count.tolist()), found, tuple(unreadable))


class _Running:
    """The sums over the pictures by now, gate by gate."""

    def __init__(self, model: nn.Module, classes: int) -> None:
        self.seen: set[int] = set()
        self._model, self._classes, self._like = model, classes, next(model.parameters(), torch.empty(0))
        own = gates(model)
        names = (
            paper_names(model, model.spec.stage_numbers) if isinstance(model, ConvNet) else {name: name for name in own}
        )
        if not own:
            raise UsageError(
                "excitations are those of gates, and this network has none: name a model that starts with se_, or add "
                "gates by insert_se(model)"
            )
        self._names = names
        self._spans = {name: range_of(gate) for name, gate in own.items()}
        self._sums: dict[str, tuple[RunningMoments, RunningLevels]] = {}

    @torch.no_grad()
    def add(self, pictures: Tensor, labels: Tensor) -> None:
        x = pictures.to(self._like.device, self._like.dtype, memory_format=torch.channels_last)
        for module, values in recorded_excitations(self._model, x).items():
            rows = values.flatten(2).mean(2) if values.ndim == 4 else values  # (N, channels)
            if not rows.isfinite().all():
                raise WeightsError(
                    f"a gate must say finite numbers, and {self._names[module]} does not: check the weights with "
                    "`senet-zoo verify`, and use float32 if they are whole"
                )
            if module not in self._sums:
                self._sums[module] = (
                    RunningMoments(self._classes, rows.shape[1], rows.device),
                    RunningLevels(self._spans[module], rows.shape[1], rows.device),
                )
            moments, levels = self._sums[module]
            moments.add(rows, labels.to(rows.device))
            levels.add(rows)
        self.seen.update(labels.tolist())

    def result(self) -> tuple[GateExcitations, ...]:
        return tuple(
            GateExcitations(self._names[module], self._spans[module], moments.result(), levels.result())
            for module, (moments, levels) in self._sums.items()
        )


def _require_two(data: Labelled, labels: "tuple[int, ...] | set[int]") -> None:
    shown = sorted(set(labels))
    if len(shown) < 2:
        raise DataError(
            f"classes are compared, so two must have a picture that can be read, and only "
            f"{data.classes[shown[0]]} has: add a folder of another class"
        )
