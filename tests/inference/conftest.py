"""What the tests of exported networks share: each form of one trained network is written once."""

from collections.abc import Callable
from functools import cache

import pytest

import senet_zoo
from senet_zoo.inference.export import ExportReport


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ExportReport]:
    """The report of ``se_resnet20.cifar10`` as a file of that suffix, in a folder of its own."""

    @cache
    def export(form: str) -> ExportReport:
        model = senet_zoo.create_model("se_resnet20", pretrained=True)
        return senet_zoo.export(model, tmp_path_factory.mktemp("exported") / f"se_resnet20{form}")

    return export
