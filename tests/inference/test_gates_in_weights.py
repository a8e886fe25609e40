"""Gates in the weights of the convolution that they scale: the same function, in bfloat16 and on large maps alone."""

import pytest
import torch
from networks import randomise, scaled_difference, tiny
from torch.nn import functional as F

import senet_zoo
from senet_zoo.inference.passes import onednn
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS

CPU = torch.device("cpu")
IN_WEIGHTS = "gates in the weights of their convolution"
needs_bfloat16 = pytest.mark.skipif(not onednn.available(CPU, torch.bfloat16), reason="oneDNN has no bfloat16 here")
needs_onednn = pytest.mark.skipif(not onednn.available(CPU, torch.float32), reason="no oneDNN here")


@needs_onednn
@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("then", [None, "relu"])
def test_it_is_the_product_of_gate_and_map_added_to_the_shortcut(batch: int, then: str | None) -> None:
    torch.manual_seed(0)
    x, shortcut = (torch.randn(batch, channels, 9, 7).to(memory_format=torch.channels_last) for channels in (8, 24))
    weight, bias, gate = torch.randn(24, 8, 1, 1), torch.randn(24), torch.rand(batch, 24, 1, 1)
    right = gate * F.conv2d(x, weight, bias) + shortcut
    found = onednn.scaled_convolution_add_(shortcut, x, gate, weight, bias, [0, 0], [1, 1], [1, 1], 1, then)
    assert found.data_ptr() == shortcut.data_ptr()
    torch.testing.assert_close(found, right.relu() if then else right, rtol=1e-5, atol=1e-5)


@needs_bfloat16
@pytest.mark.parametrize("name", ["se_resnet50", "se_resnet50d", "senet154"])
def test_a_network_with_large_maps_is_the_same_function_at_every_size_and_batch(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onednn, "PIXELS_A_CHANNEL", 1)
    model = ConvNet(tiny(MODELS[name].spec()))
    randomise(model)
    fast = senet_zoo.optimize(model, dtype=torch.bfloat16, sizes=(96, 65), batch=2, rounds=0)
    assert IN_WEIGHTS in fast.report.fused
    for batch, size in ((1, 96), (3, 65), (2, 40)):
        x = torch.randn(batch, 3, size, size + 6, generator=torch.Generator().manual_seed(size))
        with torch.no_grad():
            expected = model(x)
        found = fast(x)
        assert scaled_difference(found, expected) < fast.report.bound
        assert torch.equal(found, fast(x))  # no weight and no map is left scaled


@needs_bfloat16
def test_float32_small_maps_and_single_pictures_stay_as_they_are() -> None:
    model = ConvNet(tiny(MODELS["se_resnet50"].spec()))
    randomise(model)
    assert IN_WEIGHTS not in senet_zoo.optimize(model, sizes=(96, 65), batch=2, rounds=0).report.fused
    for options in ({"sizes": (24, 33), "batch": 2}, {"sizes": (224, 97)}):
        fast = senet_zoo.optimize(model, dtype=torch.bfloat16, rounds=0, **options)
        assert IN_WEIGHTS not in fast.report.fused
