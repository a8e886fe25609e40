"""What is published for the schedules: a few tensors, and a whole small network; and the rows that name them."""

import hashlib
import io
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

import senet_zoo
from senet_zoo.data.preprocessing import Interpolation, Preprocessing
from senet_zoo.weights.manifest import document
from senet_zoo.weights.rows import HubFile, ReleaseFile, Source, WeightsRow

COMMIT = "c" * 40
FEW, WHOLE = "org/few", "org/whole"
TENSORS, CONFIG = "model.safetensors", "config.json"


@cache
def few_tensors() -> dict[str, Tensor]:
    """20 KB under native names."""
    generator = torch.Generator().manual_seed(0)
    return {
        "stem.0.conv.weight": torch.randn(64, 3, 5, 5, generator=generator),
        "classifier.bias": torch.randn(10, generator=generator),
    }


@cache
def whole_network() -> dict[str, Tensor]:
    """An se_resnet20 of random weights, 1.1 MB."""
    torch.manual_seed(0)
    return senet_zoo.create_model("se_resnet20", num_classes=10).state_dict()


@cache
def few_bytes() -> bytes:
    return safetensors.torch.save(few_tensors())


@cache
def whole_bytes() -> bytes:
    return safetensors.torch.save(whole_network())


@cache
def release_bytes() -> bytes:
    file = io.BytesIO()
    torch.save(few_tensors(), file)
    return file.getvalue()


def release_name() -> str:
    return f"few-{_sha256(release_bytes())[:8]}.pth"


@cache
def config_bytes() -> bytes:
    """The ``config.json`` that stands beside the whole network."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        net = senet_zoo.create_model("se_resnet20", num_classes=10)
        senet_zoo.save_pretrained(net, folder)
        saved = _sha256((Path(folder) / TENSORS).read_bytes())
        return (Path(folder) / CONFIG).read_bytes().replace(saved.encode(), _sha256(whole_bytes()).encode())


def row(url: str, source: str) -> WeightsRow:
    """The manifest's row of a kind of source, published at a hub of that address.

    ``pinned`` knows everything of its file, ``dated`` the commit only, ``unpinned`` nothing; ``release`` is a file of
    torch.save; ``spare`` is ``pinned`` with that release behind it; ``whole`` is a whole network, pinned.
    """
    few = HubFile(FEW, COMMIT, TENSORS, _sha256(few_bytes()), len(few_bytes()), "native")
    release = ReleaseFile(f"{url}/files/{release_name()}", _sha256(release_bytes())[:8], None, "native")
    sources: Mapping[str, tuple[Source, ...]] = {
        "pinned": (few,),
        "dated": (HubFile(FEW, COMMIT, TENSORS, None, None, "native"),),
        "unpinned": (HubFile(FEW, None, TENSORS, None, None, "native"),),
        "release": (release,),
        "spare": (few, release),
        "whole": (HubFile(WHOLE, COMMIT, TENSORS, _sha256(whole_bytes()), len(whole_bytes()), "native"),),
    }
    return WeightsRow(
        model="se_resnet20",
        tag="chaos",
        num_classes=10,
        labels="cifar10",
        in_channels=3,
        parameters=sum(tensor.numel() for tensor in whole_network().values()),
        preprocessing=Preprocessing(32, 32, Interpolation.BILINEAR, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)),
        sources=sources[source],
        metrics=(),
        license=None,
        license_source="nobody",
        origin="https://example.org/",
        citation="none",
        training=None,
    )


def manifest(url: str) -> str:
    """A private manifest with ``se_resnet20.chaos``, the whole network."""
    return json.dumps(document([row(url, "whole")]))


@cache
def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
