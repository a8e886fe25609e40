"""torch.hub one-liners: from this folder, and from the cache that torch.hub makes of a GitHub repository."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import senet_zoo
from senet_zoo.errors import UnknownWeightsError
from senet_zoo.networks.registry import MODELS

ROOT = Path(__file__).parents[1]
REPOSITORY = "org/senet_zoo:main"


@pytest.fixture(scope="module", autouse=True)
def cached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A torch.hub folder in which the repository lies as if it had been downloaded."""
    before, folder = torch.hub.get_dir(), tmp_path_factory.mktemp("hub")
    (folder / "org_senet_zoo_main").symlink_to(ROOT)
    torch.hub.set_dir(folder)
    yield
    torch.hub.set_dir(before)


@pytest.mark.parametrize("name", MODELS)
def test_help_tells_what_every_model_is(name: str) -> None:
    text = torch.hub.help(REPOSITORY, name, skip_validation=True, trust_repo=True)
    assert MODELS[name].doc.splitlines()[0] in text
    assert f'torch.hub.load("org/senet_zoo", "{name}"' in text


def test_the_list_is_the_registry() -> None:
    assert set(torch.hub.list(REPOSITORY, skip_validation=True, trust_repo=True)) == set(MODELS)


@pytest.mark.parametrize("name", [name for name in MODELS if name.endswith(("resnet20", "mobilenet", "shufflenet"))])
def test_a_one_liner_builds_the_model_of_that_name(name: str) -> None:
    model = torch.hub.load(str(ROOT), name, source="local", num_classes=3)
    assert isinstance(model, senet_zoo.ConvNet)
    assert model.spec == MODELS[name].spec()
    assert model.num_classes == 3


def test_pretrained_needs_no_network_for_the_embedded_checkpoint() -> None:
    model = torch.hub.load(str(ROOT), "se_resnet20", source="local", pretrained=True)
    reference = senet_zoo.create_model("se_resnet20.cifar10", pretrained=True)
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(model(x), reference(x))
    with pytest.raises(UnknownWeightsError, match="cifar10"):
        torch.hub.load(str(ROOT), "se_resnet20", source="local", pretrained=True, tag="nothing")
