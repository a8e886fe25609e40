"""A network ready to classify pictures: with the preprocessing and the labels that belong to its weights."""

from dataclasses import dataclass

from senet_zoo.inference.machine import find_device
from senet_zoo.network import ConvNet
from senet_zoo.preprocessing import Preprocessing
from senet_zoo.zoo.catalogue import default_preprocessing, get_weights, list_weights
from senet_zoo.zoo.config import FolderConfig
from senet_zoo.zoo.create import create_model

EMBEDDED = "se_resnet20.cifar10"
"""The checkpoint inside the package: it needs neither network nor cache."""


@dataclass(frozen=True)
class Predictor:
    """A network with all that `predict` needs.

    Args:
        name: ``model.tag``, or the model and the file that its weights came from.
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

    A file's pictures are prepared and its classes labelled as it says itself. Where it says nothing, both are done like
    the model's published weights; where these have another number of classes, or there are none, classes are called by
    their numbers.

    Args:
        name: ``model`` or ``model.tag``.
        weights: a safetensors file for ``model``, or another place that `senet_zoo.create_model` reads.
        device: such as ``cpu`` or ``cuda:1``; by default the first CUDA device, or the CPU where there is none.

    Raises:
        UsageError: no such device, or all that `senet_zoo.create_model` raises.
        WeightsError: the weights could not be had, or are not what they should be.
    """
    place = find_device(device)
    if weights is None:
        published = get_weights(name)
        model = create_model(published.name, pretrained=True, device=place)
        return Predictor(published.name, model, published.preprocessing, published.categories)
    model = create_model(name, weights=weights, device=place)
    said = model.weights if isinstance(model.weights, FolderConfig) else None
    return Predictor(
        f"{name} from {weights}",
        model,
        (said and said.preprocessing) or default_preprocessing(name),
        (said and said.categories) or _categories(name, model.num_classes),
    )


def _categories(name: str, num_classes: int) -> tuple[str, ...]:
    for published in map(get_weights, list_weights(f"{name}.*")):
        if len(published.categories) == num_classes:
            return published.categories
    return tuple(f"class {index}" for index in range(num_classes))
