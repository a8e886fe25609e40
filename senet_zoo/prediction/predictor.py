"""`predict`: classes and probabilities of pictures by a PyTorch network; `load_predictor`: such a network, ready."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from senet_zoo.data.labels import numbered_classes
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import UsageError, WeightsError
from senet_zoo.networks.network import ConvNet
from senet_zoo.prediction.pipeline import Failure, Prediction, classify_pictures, require_counts
from senet_zoo.support.machine import find_device
from senet_zoo.weights.catalogue import default_preprocessing, get_weights
from senet_zoo.weights.config import FolderConfig
from senet_zoo.weights.create import create_model

_log = logging.getLogger("senet_zoo")


def predict(
    model: nn.Module,
    sources: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
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
        sources: files, folders and ``file:`` URLs, as `find_pictures` reads them; or one of them.
        preprocessing: the one that the model's weights were trained with.
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
    require_counts(top, batch, workers)
    if model.training:
        raise UsageError("predict needs a model in eval mode, and this one is in training mode: call model.eval()")
    classify = partial(_classify, model, categories=categories, top=top)
    return classify_pictures(sources, preprocessing.transforms(), classify, batch=batch, workers=workers)


@torch.inference_mode()
def _classify(
    model: nn.Module, pictures: Sequence[tuple[Path, Tensor]], categories: Sequence[str], top: int
) -> list[Prediction]:
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


EMBEDDED = "se_resnet20.cifar10"
"""The checkpoint inside the package, which needs neither internet nor cache."""


@dataclass(frozen=True)
class Predictor:
    """A network with everything that `predict` needs.

    Args:
        name: ``model.tag``, or the model and the file of its weights.
        model: in eval mode.
        preprocessing: from a picture to the network's input.
        categories: a label for each logit.
    """

    name: str
    model: ConvNet
    preprocessing: Preprocessing
    categories: tuple[str, ...]


def load_predictor(name: str = EMBEDDED, *, weights: str | None = None, device: str | None = None) -> Predictor:
    """A published checkpoint, or a file of the user's own, ready to classify.

    A file of weights may say how pictures are prepared and what the classes are called. If it does not, a warning says
    so: pictures are prepared as for the model's published weights, and classes are numbered, because another data set
    may have as many.

    Args:
        name: ``model`` or ``model.tag``.
        weights: a safetensors file for ``model``, or whatever else `senet_zoo.create_model` reads.
        device: such as ``cpu`` or ``cuda:1``; default: the first CUDA device, or the CPU if there is none.

    Raises:
        UsageError: no such device, or as in `senet_zoo.create_model`.
        WeightsError: the weights cannot be fetched, or are not the published ones.
    """
    if weights is None:
        published = get_weights(name)
        model = create_model(published.name, pretrained=True, device=find_device(device))
        return Predictor(published.name, model, published.preprocessing, published.categories)
    model = create_model(name, weights=weights, device=find_device(device))
    config = model.weights if isinstance(model.weights, FolderConfig) else None
    preprocessing, names = (config.preprocessing, config.categories) if config else (None, None)
    unknown = ["how pictures are prepared"] * (preprocessing is None) + ["what its classes are called"] * (not names)
    if unknown:
        _log.warning(
            "%s does not say %s: %s. save_pretrained(..., preprocessing=..., categories=...) writes both",
            weights,
            " or ".join(unknown),
            f"pictures are prepared as {name}'s usually are" * (preprocessing is None)
            + " and " * (len(unknown) == 2)
            + "classes are numbered" * (not names),
        )
    return Predictor(
        f"{name} from {weights}",
        model,
        preprocessing or default_preprocessing(name),
        names or numbered_classes(model.num_classes),
    )
