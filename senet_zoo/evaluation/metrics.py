"""Metrics of an evaluation: the score of each picture, and what the scores of a data set add up to."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from senet_zoo.data.labelled import Labelled
from senet_zoo.evaluation.protocols import Combine

BINS = 15
OTHER = "(other)"
"""Name of the column of all classes that the data has not."""


@dataclass(frozen=True)
class PictureScore:
    """How a network does on one picture.

    Args:
        index: of the picture.
        rank: of the true class among all classes of the network, ordered by score; 0 is the best.
        predicted: the class of the highest score.
        confidence: probability of that class.
        loss: minus the logarithm of the true class's probability.
    """

    index: int
    rank: int
    predicted: int
    confidence: float
    loss: float


def score_pictures(
    logits: Tensor, labels: Sequence[int], indices: Sequence[int], combine: Combine = Combine.MEAN
) -> list[PictureScore]:
    """The score of each picture; of classes with equal scores the lower index comes first.

    Args:
        logits: (N, V, classes) for N pictures in V views each.
        labels: true classes of the N pictures.
        indices: indices of the N pictures.
        combine: ranks the classes over the views; loss and confidence are of their mean probabilities in either case.
    """
    views = logits.double().log_softmax(2)
    log_p = views.logsumexp(1) - math.log(views.shape[1])  # (N, classes)
    scores = log_p
    if combine is Combine.VOTE:
        votes = torch.zeros_like(log_p).scatter_add_(1, views.argmax(2), torch.ones_like(views[:, :, 0]))
        scores = votes + log_p.exp()
    truth = torch.as_tensor(labels, device=logits.device)[:, None]  # (N, 1)
    own = scores.gather(1, truth)
    numbers = torch.arange(scores.shape[1], device=logits.device)
    rank = ((scores > own) | ((scores == own) & (numbers < truth))).sum(1)
    predicted = scores.argmax(1)
    confidence = log_p.gather(1, predicted[:, None]).exp()[:, 0]
    loss = -log_p.gather(1, truth)[:, 0]
    columns = (rank.tolist(), predicted.tolist(), confidence.tolist(), loss.tolist())
    return [PictureScore(*row) for row in zip(indices, *columns, strict=True)]


def calibration_error(confidences: Sequence[float], correct: Sequence[bool], bins: int = BINS) -> float:
    """Expected calibration error: how far confidence lies from accuracy, on average over the pictures, from 0 to 1.

    ``sum over bins of (pictures in the bin / all) * |accuracy in the bin - mean confidence in it|``, with bins of equal
    width, each without its lower bound and with its upper.

    Source: Guo et al., On Calibration of Modern Neural Networks, arXiv:1706.04599, section 2.
    """
    gaps = [0.0] * bins
    for confidence, right in zip(confidences, correct, strict=True):
        gaps[min(max(math.ceil(confidence * bins) - 1, 0), bins - 1)] += right - confidence
    return sum(map(abs, gaps)) / len(confidences)


@dataclass(frozen=True)
class Unreadable:
    """A picture that could not be read: its name, and why."""

    name: str
    error: str


@dataclass(frozen=True)
class ClassResult:
    """What a network scored on the pictures of one class.

    Args:
        name: of the class.
        count: number of its pictures; where it is 0, all other figures are None.
        top1: percentage of them that the network ranks this class first for.
        top5: percentage of them with this class among the first five; None as in `Evaluation`.
        loss: mean cross-entropy, in nats.
    """

    name: str
    count: int
    top1: float | None
    top5: float | None
    loss: float | None


@dataclass(frozen=True)
class Evaluation:
    """What a network scored on labelled pictures.

    Args:
        count: number of pictures that were read.
        top1: percentage of them whose true class is ranked first.
        top5: percentage of them whose true class is among the first five; None for a network of five classes or fewer,
            where every picture would count.
        loss: mean cross-entropy, in nats.
        calibration_error: expected calibration error in percentage points; see `metrics.calibration_error`.
        classes: results of each class of the data.
        confusion: number of pictures by true class (rows) and predicted class (columns): the classes of the data, then
            one column for all others if the network has any.
        unreadable: pictures that could not be read; no other figure counts them.
        pictures: the score of each picture that was read, in the data's order.
    """

    count: int
    top1: float
    top5: float | None
    loss: float
    calibration_error: float
    classes: tuple[ClassResult, ...]
    confusion: tuple[tuple[int, ...], ...]
    unreadable: tuple[Unreadable, ...]
    pictures: tuple[PictureScore, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of ``confusion``."""
        names = tuple(each.name for each in self.classes)
        return names + (OTHER,) * (len(self.confusion[0]) - len(names))


def summarise(
    scores: Sequence[PictureScore],
    data: Labelled,
    class_logits: Sequence[int],
    num_logits: int,
    unreadable: Sequence[Unreadable],
) -> Evaluation:
    """Add up the scores of all pictures that were read; ``class_logits`` has the index of each class's logit."""
    class_of = {logit: label for label, logit in enumerate(class_logits)}
    num_classes = len(class_logits)
    confusion = [[0] * (num_classes + (num_logits > num_classes)) for _ in class_logits]
    by_class: list[list[PictureScore]] = [[] for _ in class_logits]
    for score in scores:
        label = data.labels[score.index]
        by_class[label].append(score)
        confusion[label][class_of.get(score.predicted, num_classes)] += 1
    top1, top5, loss = _means(scores, num_logits)
    assert top1 is not None
    assert loss is not None
    calibration = calibration_error([each.confidence for each in scores], [each.rank == 0 for each in scores])
    return Evaluation(
        count=len(scores),
        top1=top1,
        top5=top5,
        loss=loss,
        calibration_error=100.0 * calibration,
        classes=tuple(
            ClassResult(name, len(own), *_means(own, num_logits))
            for name, own in zip(data.classes, by_class, strict=True)
        ),
        confusion=tuple(map(tuple, confusion)),
        unreadable=tuple(unreadable),
        pictures=tuple(scores),
    )


def _means(scores: Sequence[PictureScore], num_logits: int) -> tuple[float | None, float | None, float | None]:
    """Top-1, top-5 and loss."""
    if not scores:
        return None, None, None

    def within(first: int) -> float:
        return 100.0 * sum(each.rank < first for each in scores) / len(scores)

    return within(1), within(5) if num_logits > 5 else None, math.fsum(each.loss for each in scores) / len(scores)
