"""The checkpoints inside the package: no network, no cache, and their classes by name."""

import pytest
import torch
from torchvision.models import ResNet50_Weights

import senet_zoo
from senet_zoo.data.labels import IMAGENETTE
from senet_zoo.evaluation import logits_of
from senet_zoo.formats.caffe import synsets
from senet_zoo.weights.rows import PackageFile

EMBEDDED = [
    name
    for name in senet_zoo.list_weights()
    if any(isinstance(source, PackageFile) for source in senet_zoo.get_weights(name).row.sources)
]


@pytest.mark.parametrize("name", EMBEDDED)
def test_they_load_in_float32_and_are_the_published_function(name: str) -> None:
    model = senet_zoo.create_model(name, pretrained=True)
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32, torch.int64}
    assert senet_zoo.verify_deep(name).ok
    assert len(senet_zoo.get_weights(name).categories) == model.num_classes == 10


def test_imagenettes_classes_are_called_as_imagenets() -> None:
    names = dict(zip(sorted(synsets()), ResNet50_Weights.IMAGENET1K_V1.meta["categories"], strict=True))
    assert {synset: names[synset] for synset in IMAGENETTE} == IMAGENETTE
    assert logits_of(tuple(IMAGENETTE.values())).synsets == tuple(IMAGENETTE)
