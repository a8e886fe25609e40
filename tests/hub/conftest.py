import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from hub.loopback import Loopback
from hub.places import TREE

from senet_zoo.data.preprocessing import Interpolation, Preprocessing
from senet_zoo.weights import file_hashes, hub_limits
from senet_zoo.weights.rows import HubFile, WeightsRow

SETTINGS = (
    "SENET_ZOO_HUB",
    "SENET_ZOO_CACHE",
    "SENET_ZOO_WEIGHTS_DIR",
    "SENET_ZOO_VERIFY",
    "SENET_ZOO_MANIFEST",
    "HF_TOKEN",
)


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of its own, and none of the user's settings."""
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SENET_ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(file_hashes, "_stamped_here", set())
    monkeypatch.setattr(hub_limits, "_unreachable", {})
    return tmp_path / "cache"


@pytest.fixture
def hub(cache, monkeypatch):
    with Loopback() as loopback:
        monkeypatch.setenv("SENET_ZOO_HUB", loopback.url)
        yield loopback


@pytest.fixture
def no_waiting(monkeypatch) -> None:
    """The client's pauses between its tries take no time; everything else of it is as installed."""
    import huggingface_hub.file_download
    import huggingface_hub.utils._http

    clock = SimpleNamespace(**{name: getattr(time, name) for name in dir(time) if not name.startswith("_")})
    clock.sleep = lambda seconds: None
    monkeypatch.setattr(huggingface_hub.file_download, "time", clock)
    monkeypatch.setattr(huggingface_hub.utils._http, "time", clock)


@pytest.fixture(scope="session")
def tensors() -> dict[str, torch.Tensor]:
    """A few tensors under native names."""
    torch.manual_seed(0)
    return {"stem.0.conv.weight": torch.randn(8, 3, 3, 3), "classifier.bias": torch.randn(10)}


@pytest.fixture(scope="session")
def content(tensors) -> bytes:
    """The same as the bytes of a safetensors file."""
    return safetensors.torch.save(tensors)


@pytest.fixture
def manifest() -> dict:
    """The zoo's own manifest, parsed but not checked, to be spoilt."""
    return json.loads((TREE / "weights_manifest.json").read_text())


@pytest.fixture
def row():
    """Makes a manifest row with the given sources."""

    def make(*sources) -> WeightsRow:
        return WeightsRow(
            model="se_resnet20",
            tag="test",
            num_classes=10,
            labels="cifar10",
            in_channels=3,
            parameters=1,
            preprocessing=Preprocessing(32, 32, Interpolation.BILINEAR, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)),
            sources=sources,
            metrics=(),
            license=None,
            license_source="nobody",
            origin="https://example.org/",
            citation="none",
            training=None,
        )

    return make


@pytest.fixture
def published(hub, content, row):
    """The row of a published file, everything about it known."""
    sha256 = hub.add("org/net", content)
    return row(HubFile("org/net", "c" * 40, "model.safetensors", sha256, len(content), "native"))


@pytest.fixture
def unpinned(hub, content, row):
    """The row of a published file of which the manifest knows neither commit nor sha256."""
    hub.add("org/net", content)
    return row(HubFile("org/net", None, "model.safetensors", None, None, "native"))
