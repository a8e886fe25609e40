"""What is counted of a network's answers: one record a picture, and what the records of a data set add up to."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from senet_zoo.training.evaluation.protocols import Combine

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
