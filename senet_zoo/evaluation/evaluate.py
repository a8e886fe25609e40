"""`evaluate`: what a network scores on labelled pictures, each counted once in however many processes."""

from collections.abc import Callable, Iterator
from operator import attrgetter

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from senet_zoo.data.labelled import Labelled
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import DataError, PictureError, UsageError, WeightsError
from senet_zoo.evaluation.label_matching import Logits, match
from senet_zoo.evaluation.metrics import Answer, Evaluation, Unreadable, answers, summarise
from senet_zoo.evaluation.protocols import CentreCrop, Combine, Crops
from senet_zoo.support.distributed import Ranks, current_ranks


def evaluate(
    model: nn.Module,
    data: Labelled,
    preprocessing: Preprocessing,
    logits: Logits,
    *,
    protocol: Crops | None = None,
    combine: Combine = Combine.MEAN,
    batch: int = 64,
    workers: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Measure a network on labelled pictures, on the device and in the dtype of its parameters.

    In a process group every process takes each ``world``-th picture, and all get the whole result, which is the same
    however many they are. A picture that cannot be read is left out and named in the result.

    Args:
        model: in eval mode; (N, 3, size, size) -> (N, len(logits.names)).
        data: what it is shown; its classes are some or all of the network's.
        preprocessing: that of the model's weights.
        logits: what the network tells apart.
        protocol: the squares of each picture; the preprocessing's own centre crop by default.
        combine: the scores of several squares.
        batch: squares that the network sees at once.
        workers: processes that decode pictures; 0 decodes in this one.
        progress: told the number of pictures after each batch of this process.

    Raises:
        UsageError: a number out of range, a model in training mode, or names that do not fit its logits.
        DataError: a class that the network does not know, or no picture can be read.
        WeightsError: the network gives no finite scores.

    Example:
        >>> import senet_zoo
        >>> from senet_zoo.data import open_data
        >>> weights = senet_zoo.get_weights("se_resnet20")
        >>> model = senet_zoo.create_model(weights.name, pretrained=True)
        >>> data = open_data("cifar10_test.npz")  # doctest: +SKIP
        >>> evaluate(model, data, weights.preprocessing, logits_of(weights.categories)).top1  # doctest: +SKIP
        91.82
    """
    if batch < 1 or workers < 0:
        raise UsageError(f"batch must be at least 1 and workers at least 0, got {batch} and {workers}")
    if model.training:
        raise UsageError("evaluate needs a model in eval mode, and this one is in training mode: call model.eval()")
    crops = protocol or CentreCrop(preprocessing.size, preprocessing.resize)
    places, ranks = match(data.classes, logits), current_ranks()
    own: list[Answer] = []
    missing: list[tuple[int, str]] = []
    for loaded in _batches(data, crops, preprocessing, max(1, batch // crops.count), workers, ranks):
        missing += [(index, views) for index, views in loaded if isinstance(views, str)]
        readable = [(index, views) for index, views in loaded if not isinstance(views, str)]
        if readable:
            indices, views = zip(*readable, strict=True)
            scores = _scores(model, torch.cat(views), preprocessing, batch)
            _check(scores, logits, data.names[indices[0]])
            labels = [places[data.labels[index]] for index in indices]
            own += answers(scores.unflatten(0, (len(indices), crops.count)), labels, indices, combine)
        progress(len(loaded))
    everyone = sorted(ranks.gather(own), key=attrgetter("index"))
    unreadable = [Unreadable(data.names[index], error) for index, error in sorted(ranks.gather(missing))]
    if not everyone:
        raise DataError(f"a picture must be readable, and none of {len(data)} is: {unreadable[0].error}")
    return summarise(everyone, data, places, len(logits.names), unreadable)


class _Views(Dataset[tuple[int, Tensor | str]]):
    """The squares of each picture, (views, 3, size, size) uint8, or why there are none."""

    def __init__(self, data: Labelled, crops: Crops, preprocessing: Preprocessing) -> None:
        self.data, self.crops, self.interpolation = data, crops, preprocessing.interpolation

    def __getitem__(self, index: int) -> tuple[int, Tensor | str]:
        from torchvision.transforms.v2 import functional as vision

        try:
            picture = self.data.read(index)
        except PictureError as error:
            return index, str(error)
        views = self.crops.views(picture, self.interpolation)
        return index, torch.stack([vision.pil_to_tensor(view) for view in views])


def _batches(
    data: Labelled, crops: Crops, preprocessing: Preprocessing, size: int, workers: int, ranks: Ranks
) -> Iterator[list[tuple[int, Tensor | str]]]:
    mine = range(ranks.rank, len(data), ranks.world)
    groups = [list(mine[start : start + size]) for start in range(0, len(mine), size)]
    views = _Views(data, crops, preprocessing)
    return iter(DataLoader(views, batch_sampler=groups, num_workers=min(workers, len(groups)), collate_fn=list))


@torch.inference_mode()
def _scores(model: nn.Module, pictures: Tensor, preprocessing: Preprocessing, batch: int) -> Tensor:
    """Logits in float32 on the CPU, (N, classes), of uint8 pictures (N, 3, size, size), ``batch`` of them at once."""
    from torchvision.transforms.v2 import functional as vision

    like = next(model.parameters())
    scores = []
    for part in pictures.split(batch):
        x = vision.to_dtype(part.to(like.device), torch.float32, scale=True)
        x = vision.normalize(x, list(preprocessing.mean), list(preprocessing.std))
        scores.append(model(x.to(like.dtype, memory_format=torch.channels_last)).float().cpu())
    return torch.cat(scores)


def _check(scores: Tensor, logits: Logits, name: str) -> None:
    if scores.shape[1] != len(logits.names):
        raise UsageError(
            f"each logit needs a name: the model has {scores.shape[1]} logits, got {len(logits.names)} names"
        )
    if not scores.isfinite().all():
        raise WeightsError(
            f"scores must be finite, and those of {name} or a picture in its batch are not: check the weights with "
            "`senet-zoo verify`, and use float32 if they are whole"
        )
