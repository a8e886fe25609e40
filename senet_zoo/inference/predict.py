"""Classes and probabilities of many pictures: decoded in threads, classified in batches, answered in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from senet_zoo.errors import PictureError, UsageError, WeightsError
from senet_zoo.pictures import find_pictures, read_picture
from senet_zoo.preprocessing import Preprocessing

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Prediction:
    """What the network sees in one picture.

    Args:
        path: the file.
        classes: (label, probability) of the likeliest classes, the likeliest first.
    """

    path: str
    classes: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Failure:
    """A picture without an answer.

    Args:
        path: the file, or the user's words where they lead to no file.
        error: why; its message names the file.
    """

    path: str
    error: PictureError


def predict(
    model: nn.Module,
    sources: Iterable[str | os.PathLike[str]],
    preprocessing: Preprocessing,
    categories: Sequence[str],
    *,
    top: int = 5,
    batch: int = 32,
    workers: int = 4,
) -> Iterator[Prediction | Failure]:
    """Classify pictures, one result each in the order given; one that cannot be read does not stop the others.

    The network runs on the device and in the dtype of its parameters. Memory does not grow with the number of
    pictures: ``sources`` is read as needed, and at most three batches of decoded pictures wait.

    Args:
        model: in eval mode; (N, 3, size, size) -> (N, len(categories)) logits.
        sources: files, folders and ``file:`` URLs, as `find_pictures` reads them.
        preprocessing: that of the model's weights.
        categories: a label for each logit.
        top: classes in each prediction, or all of them where the model has fewer.
        batch: pictures that the network sees at once.
        workers: threads that decode pictures.

    Raises:
        UsageError: a number below 1, a model in training mode, or labels that do not fit its logits.
        WeightsError: the network gives no finite scores.

    Example:
        >>> import senet_zoo
        >>> model = senet_zoo.create_model("se_resnet20", pretrained=True)
        >>> weights = senet_zoo.get_weights("se_resnet20")
        >>> results = predict(model, ["samples/"], weights.row.preprocessing, weights.categories)
    """
    for name, value in (("top", top), ("batch", batch), ("workers", workers)):
        if value < 1:
            raise UsageError(f"{name} must be at least 1, got {value}")
    if model.training:
        raise UsageError("predict needs a model in eval mode, and this one is in training mode: call model.eval()")
    return _predict(model, sources, preprocessing, categories, top, batch, workers)


def _predict(
    model: nn.Module,
    sources: Iterable[str | os.PathLike[str]],
    preprocessing: Preprocessing,
    categories: Sequence[str],
    top: int,
    batch: int,
    workers: int,
) -> Iterator[Prediction | Failure]:
    transforms = preprocessing.transforms()

    def load(item: Path | Failure) -> tuple[Path, Tensor] | Failure:
        if isinstance(item, Failure):
            return item
        try:
            return item, transforms(read_picture(item))
        except PictureError as error:
            return Failure(str(item), error)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="senet_zoo-decode")
    try:
        loaded = _map_ahead(pool, load, _find(sources), ahead=2 * batch)
        while group := list(islice(loaded, batch)):
            pictures = [item for item in group if not isinstance(item, Failure)]
            answers = iter(_classify(model, pictures, categories, top))
            yield from (item if isinstance(item, Failure) else next(answers) for item in group)
    finally:
        pool.shutdown(cancel_futures=True)


def _find(sources: Iterable[str | os.PathLike[str]]) -> Iterator[Path | Failure]:
    for source in sources:
        try:
            yield from find_pictures(source)
        except PictureError as error:
            yield Failure(os.fspath(source), error)


def _map_ahead(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    # Like pool.map, which would read all items and start all work at once.
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


@torch.inference_mode()
def _classify(
    model: nn.Module, pictures: list[tuple[Path, Tensor]], categories: Sequence[str], top: int
) -> list[Prediction]:
    if not pictures:
        return []
    like = next(model.parameters())
    x = torch.stack([tensor for _, tensor in pictures]).to(like.device, like.dtype)  # (N, 3, size, size)
    logits = model(x).float()  # (N, classes)
    if logits.shape[1] != len(categories):
        raise UsageError(
            f"each logit needs a label: the model has {logits.shape[1]} logits, got {len(categories)} labels"
        )
    if not logits.isfinite().all():
        raise WeightsError(
            f"scores must be finite, and those of {pictures[0][0]} or a picture in its batch are not: "
            "check the weights with `senet-zoo verify`, and use float32 if they are whole"
        )
    best = logits.softmax(1).topk(min(top, len(categories)))  # (N, top)
    return [
        Prediction(str(path), tuple((categories[i], p) for i, p in zip(indices, row, strict=True)))
        for (path, _), indices, row in zip(pictures, best.indices.tolist(), best.values.tolist(), strict=True)
    ]
