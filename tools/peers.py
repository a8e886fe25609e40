"""Another library's own tests, run on networks of the zoo, from a checkout of that library; nothing of it is kept here.

::

    python tools/peers.py timm ../pytorch-image-models
    python tools/peers.py torchvision ../vision --models se_resnet50 mobilenet
    python tools/peers.py smp ../segmentation_models.pytorch

timm and segmentation_models.pytorch are imported from the checkout, torchvision's tests run on the torchvision that is
installed. Left out is what calls ``torch.jit.script`` on a network, not on its graph, because PyTorch has deprecated
TorchScript for ``torch.export``.
"""

import argparse
import importlib
import os
import sys
import unittest
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

MODELS = (
    "se_resnet20", "se_resnet18", "se_resnet18b", "se_mobilenet", "se_shufflenet", "se_mnasnet", "se_preresnet18",
    "se_nin", "se_googlenet", "se_densenet121", "resnet18b", "mobilenet",
)  # fmt: skip
Test = tuple[str, str, Callable[[], None]]  # name of the test, model, what runs it


def main() -> int:
    """Run the tests, print a line a test and one for each failure; the status is 1 if one fails."""
    parser = argparse.ArgumentParser(description="Run another library's tests on networks of the zoo.")
    parser.add_argument("library", choices=LIBRARIES)
    parser.add_argument("checkout", type=Path, help="of the library's repository")
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    counts: dict[str, list[bool]] = {}
    for test, model, run in LIBRARIES[arguments.library](arguments.checkout.resolve(), arguments.models):
        try:
            run()
            passed = True
        except (Exception, unittest.SkipTest) as error:
            passed = False
            print(f"{test} {model}: {type(error).__name__}: {' '.join(str(error).split())[:200]}", flush=True)
        counts.setdefault(test, []).append(passed)
    for test, found in counts.items():
        print(f"{sum(found):3} of {len(found):3}  {test}")
    everything = [passed for found in counts.values() for passed in found]
    print(f"{sum(everything):3} of {len(everything):3}  in all")
    return 0 if all(everything) else 1


def timm(checkout: Path, models: list[str]) -> Iterator[Test]:
    """Timm's tests/test_models.py."""
    _search(checkout)
    from senet_zoo.integrations import timm as client

    client.register()
    tests = _module(checkout / "tests", "test_models")
    for test in (
        *("test_model_forward", "test_model_backward", "test_model_default_cfgs", "test_model_forward_features"),
        *("test_model_forward_intermediates", "test_model_forward_intermediates_features"),
        *("test_model_forward_fx", "test_model_backward_fx", "test_model_forward_fx_torchscript"),
    ):
        function = getattr(tests, test)
        batch = 2 if "backward" in test else 1
        for model in models:
            yield (
                test,
                model,
                lambda function=function, model=model, batch=batch: function(client.PREFIX + model, batch),
            )


def torchvision(checkout: Path, models: list[str]) -> Iterator[Test]:
    """What torchvision asks of networks under torch.fx: of test_models.py and test_backbone_utils.py."""
    import torchvision.models

    from senet_zoo.integrations import torchvision as client

    client.register()
    os.environ.setdefault("PYTORCH_TEST_WITH_SLOW", "1")
    checks, backbones = (_module(checkout / "test", name) for name in ("test_models", "test_backbone_utils"))
    extraction = backbones.TestFxFeatureExtraction()
    for model in models:
        yield (
            "_check_fx_compatible",
            model,
            lambda model=model: checks._check_fx_compatible(
                torchvision.models.get_model(model).eval(), torch.rand(1, 3, 224, 224)
            ),
        )
    for test in ("test_build_fx_feature_extractor", "test_forward_backward"):
        for model in models:
            yield test, model, partial(getattr(extraction, test), model)


def smp(checkout: Path, models: list[str]) -> Iterator[Test]:
    """tests/encoders/base.py of segmentation_models.pytorch, on those of the networks that it can use."""
    _search(checkout)
    os.environ.setdefault("RUN_ALL", "1")
    from senet_zoo.errors import SpecError
    from senet_zoo.integrations import segmentation_models as client

    client.register()
    tester = _module(checkout, "tests.encoders.base").BaseEncoderTester
    usable = [model for model in models if model in client.encoder_models()]
    for test in (name for name in dir(tester) if name.startswith("test_") and name != "test_torch_script"):
        for model in usable:
            encoder = client.PREFIX + model
            case: Any = type(model, (tester,), {"encoder_names": [encoder]})(test)
            try:
                client.Encoder(model).make_dilated(16)
            except SpecError:  # the library has a mark for encoders that refuse dilation, and a test of the refusal
                case.supports_dilated = False
            yield test, model, case.debug


LIBRARIES = {"timm": timm, "torchvision": torchvision, "smp": smp}


def _search(folder: Path) -> None:
    sys.path.insert(0, str(folder))


def _module(folder: Path, name: str) -> Any:
    _search(folder)
    for known in [each for each in sys.modules if each.partition(".")[0] == name.partition(".")[0]]:
        del sys.modules[known]
    return importlib.import_module(name)


if __name__ == "__main__":
    sys.exit(main())
