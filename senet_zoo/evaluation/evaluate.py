"""`evaluate`: what a network scores on labelled pictures, in one process or several."""

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from senet_zoo.data.labelled import Labelled
from senet_zoo.data.loader import load_batches
from senet_zoo.data.preprocessing import Interpolation, Preprocessing
from senet_zoo.errors import DataError, UsageError, WeightsError
from senet_zoo.evaluation.label_matching import LogitNames, match_classes
from senet_zoo.evaluation.metrics import Evaluation, PictureScore, Unreadable, score_pictures, summarise
from senet_zoo.evaluation.protocols import CentreCrop, Combine, Crops
from senet_zoo.support.distributed import current_ranks

if TYPE_CHECKING:
    from PIL.Image import Image


def evaluate(
    model: nn.Module,
    data: Labelled,
    preprocessing: Preprocessing,
    logits: LogitNames,
    *,
    protocol: Crops | None = None,
    combine: Combine = Combine.MEAN,
    batch: int = 64,
    workers: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Measure a network on labelled pictures, on the device and in the dtype of its parameters.

    In a process group the processes share the pictures, each counted once, and all get the same result, however many
    they are. A picture that cannot be read is left out and named in the result.

    Args:
        model: in eval mode; (N, 3, size, size) -> (N, len(logits.names)).
        data: labelled pictures; their classes are some or all of the network's.
        preprocessing: what the model's weights were trained with.
        logits: names of the network's logits.
        protocol: crops of each picture; by default the centre crop of ``preprocessing``.
        combine: how the scores of several crops become one.
        batch: crops that the network sees at once.
        workers: processes that read pictures; 0 reads in this one.
        progress: called with the number of pictures after each batch of this process.

    Raises:
        UsageError: a number is out of range, the model is in training mode, or ``logits`` are not as many as its own.
        DataError: a class is not among the network's, or no picture can be read.
        WeightsError: a score is not finite.

    Example:
        >>> import senet_zoo
        >>> from senet_zoo.data import open_data
        >>> weights = senet_zoo.get_weights("se_resnet20")
        >>> model = senet_zoo.create_model(weights.name, pretrained=True)
        >>> data = open_data("cifar10_test.npz")  # doctest: +SKIP
        >>> evaluate(model, data, weights.preprocessing, logits_of(weights.categories)).top1  # doctest: +SKIP
        91.82
    """
    if model.training:
        raise UsageError("evaluate needs a model in eval mode, and this one is in training mode: call model.eval()")
    crops = protocol or CentreCrop(preprocessing.size, preprocessing.resize)
    class_logits, ranks = match_classes(data.classes, logits), current_ranks()
    own: list[PictureScore] = []
    missing: list[tuple[int, str]] = []
    views = partial(_views, crops, preprocessing.interpolation)
    pictures = range(ranks.rank, len(data), ranks.world)
    at_once = min(batch, max(1, batch // crops.count))
    for loaded in load_batches(data, views, at_once, workers, pictures):
        missing += loaded.unreadable
        if loaded.indices:
            scores = _scores(model, torch.cat(loaded.tensors), preprocessing, batch)
            _check(scores, logits, data.names[loaded.indices[0]])
            labels = [class_logits[data.labels[index]] for index in loaded.indices]
            own += score_pictures(scores.unflatten(0, (len(labels), crops.count)), labels, loaded.indices, combine)
        progress(len(loaded))
    everyone = sorted(ranks.gather(own), key=attrgetter("index"))
    unreadable = [Unreadable(data.names[index], error) for index, error in sorted(ranks.gather(missing))]
    if not everyone:
        raise DataError(f"a picture must be readable, and none of {len(data)} is: {unreadable[0].error}")
    return summarise(everyone, data, class_logits, len(logits.names), unreadable)


def _views(crops: Crops, interpolation: Interpolation, picture: "Image") -> Tensor:
    """The squares of a picture, (views, 3, size, size) uint8."""
    from torchvision.transforms.v2 import functional as vision

    return torch.stack([vision.pil_to_tensor(view) for view in crops.views(picture, interpolation)])


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


def _check(scores: Tensor, logits: LogitNames, name: str) -> None:
    if scores.shape[1] != len(logits.names):
        raise UsageError(
            f"each logit needs a name: the model has {scores.shape[1]} logits, got {len(logits.names)} names"
        )
    if not scores.isfinite().all():
        raise WeightsError(
            f"scores must be finite, and those of {name} or a picture in its batch are not: check the weights with "
            "`senet-zoo verify`, and use float32 if they are whole"
        )
