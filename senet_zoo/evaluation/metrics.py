"""What is counted of a network's answers: one record a picture, and what the records of a data set add up to.

What an evaluation finds, and how it is added up from the answers to single pictures.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from senet_zoo.data.labelled import Labelled
from senet_zoo.evaluation.protocols import Combine

BINS = 15


@dataclass(frozen=True)
class Answer:
    """What a network said to one picture.

    Args:
        index: of the picture.
        place: of the true class among all that the network tells apart, in the order of their scores; 0 is the best.
        first: the class of the highest score.
        confidence: probability of that class.
        loss: minus the logarithm of the true class's probability.
    """

    index: int
    place: int
    first: int
    confidence: float
    loss: float


def answers(
    logits: Tensor, labels: Sequence[int], indices: Sequence[int], combine: Combine = Combine.MEAN
) -> list[Answer]:
    """One record a picture.

    Of classes with equal scores the one of the lower number comes first.

    Args:
        logits: (N, V, classes) of N pictures in V views each.
        labels: N indices of classes.
        indices: N numbers of pictures.
        combine: the scores of the views; loss and confidence are of the mean of their probabilities in either case.
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
    place = ((scores > own) | ((scores == own) & (numbers < truth))).sum(1)
    first = scores.argmax(1)
    confidence = log_p.gather(1, first[:, None]).exp()[:, 0]
    loss = -log_p.gather(1, truth)[:, 0]
    columns = (place.tolist(), first.tolist(), confidence.tolist(), loss.tolist())
    return [Answer(*row) for row in zip(indices, *columns, strict=True)]


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


OTHER = "(other)"


@dataclass(frozen=True)
class Unreadable:
    """A picture that was left out.

    Args:
        name: of the picture.
        error: why.
    """

    name: str
    error: str


@dataclass(frozen=True)
class ClassResult:
    """What the network makes of the pictures of one class.

    Args:
        name: of the class.
        count: of its pictures.
        top1: percentage of them whose first class is this one; None where there is no picture.
        top5: percentage of them with this class among the first five; None as `Evaluation.top5`.
        loss: mean cross-entropy.
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
        count: pictures that were read and counted.
        top1: percentage of them whose first class is the right one.
        top5: percentage of them whose right class is among the first five; None where the network tells five classes
            or fewer apart, and every picture would count.
        loss: mean cross-entropy, in nats.
        calibration_error: expected calibration error in percentage points; see `metrics.calibration_error`.
        classes: one result a class of the data.
        confusion: pictures by their class (rows) and the network's first class (columns): those of the data, then one
            column for all others of the network where it has any.
        unreadable: pictures that could not be read; they are in no other figure.
    """

    count: int
    top1: float
    top5: float | None
    loss: float
    calibration_error: float
    classes: tuple[ClassResult, ...]
    confusion: tuple[tuple[int, ...], ...]
    unreadable: tuple[Unreadable, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of ``confusion``."""
        names = tuple(each.name for each in self.classes)
        return names + (OTHER,) * (len(self.confusion[0]) - len(names))


def summarise(
    answers: Sequence[Answer], data: Labelled, places: Sequence[int], num_logits: int, unreadable: Sequence[Unreadable]
) -> Evaluation:
    """Add up the answers, one a picture that was read.

    Args:
        answers: in the order of the pictures.
        data: what was shown.
        places: logit of each class.
        num_logits: of the network.
        unreadable: what was left out.
    """
    class_of = {place: label for label, place in enumerate(places)}
    others = num_logits > len(places)
    confusion = [[0] * (len(places) + others) for _ in places]
    by_class: list[list[Answer]] = [[] for _ in places]
    for answer in answers:
        label = data.labels[answer.index]
        by_class[label].append(answer)
        confusion[label][class_of.get(answer.first, len(places))] += 1
    top1, top5, loss = _scores(answers, num_logits)
    assert top1 is not None
    assert loss is not None
    return Evaluation(
        count=len(answers),
        top1=top1,
        top5=top5,
        loss=loss,
        calibration_error=100.0
        * calibration_error([each.confidence for each in answers], [each.place == 0 for each in answers]),
        classes=tuple(
            ClassResult(name, len(own), *_scores(own, num_logits))
            for name, own in zip(data.classes, by_class, strict=True)
        ),
        confusion=tuple(map(tuple, confusion)),
        unreadable=tuple(unreadable),
    )


def _scores(answers: Sequence[Answer], num_logits: int) -> tuple[float | None, float | None, float | None]:
    if not answers:
        return None, None, None

    def within(first: int) -> float:
        return 100.0 * sum(each.place < first for each in answers) / len(answers)

    return within(1), within(5) if num_logits > 5 else None, math.fsum(each.loss for each in answers) / len(answers)
