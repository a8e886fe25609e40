"""The gate by itself: its formula, its precision, its limits."""

import pytest
import torch
from torch import nn

from senet_zoo import SqueezeExcite
from senet_zoo.errors import SpecError


@pytest.mark.parametrize(("channels", "reduction", "hidden"), [(64, 16, 4), (100, 16, 6), (16, 16, 1), (32, 1, 32)])
def test_hidden_width_is_the_floor(channels: int, reduction: int, hidden: int) -> None:
    assert SqueezeExcite(channels, reduction).fc1.out_features == hidden


@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_papers_formula(bias: bool) -> None:
    gate = SqueezeExcite(32, 4, bias=bias).double()
    x = torch.randn(3, 32, 5, 7, dtype=torch.float64)
    z = x.mean((2, 3))
    hidden = (z @ gate.fc1.weight.T + (gate.fc1.bias if bias else 0)).clamp(min=0)
    s = 1 / (1 + torch.exp(-(hidden @ gate.fc2.weight.T + (gate.fc2.bias if bias else 0))))
    torch.testing.assert_close(gate.excitation(x), s[:, :, None, None])
    torch.testing.assert_close(gate(x), x * s[:, :, None, None])
    assert torch.autograd.gradcheck(gate, x[:1, :, :2, :2].clone().requires_grad_())


def test_it_equals_timms_gate() -> None:
    from timm.models.senet import SEModule

    theirs, ours = SEModule(64, reduction=16), SqueezeExcite(64)
    ours.load_state_dict({key: tensor.view(tensor.shape[:2]) for key, tensor in theirs.state_dict().items()})
    x = torch.randn(2, 64, 9, 9)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("reduction", [17, 0, -1])
def test_a_reduction_that_leaves_nothing_is_refused(reduction: int) -> None:
    with pytest.raises(SpecError, match=rf"16 channels needs a reduction from 1 to 16, got {reduction}.*smaller"):
        SqueezeExcite(16, reduction)


class HalfGate(nn.Module):
    """The gate as it is usually written: everything follows autocast."""

    def __init__(self, gate: SqueezeExcite) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.gate.fc2(torch.relu(self.gate.fc1(x.mean((2, 3))))))


def test_half_precision_overflows_where_the_gate_does_not() -> None:
    gate = SqueezeExcite(512, 16)
    nn.init.constant_(gate.fc1.weight, 1.0)  # 512 * 200 is over float16's largest, 65504
    nn.init.constant_(gate.fc2.weight, 1e-6)
    nn.init.zeros_(gate.fc2.bias)
    x = torch.full((1, 512, 4, 4), 200.0, dtype=torch.float16)
    exact = gate.double().excitation(x.double()).float()
    gate.float()
    with torch.autocast("cpu", torch.float16):
        usual, ours = HalfGate(gate)(x), gate.excitation(x)
    assert usual.float().flatten()[0] == 1.0 or not torch.isfinite(usual).all()  # inf * 1e-6, through the sigmoid
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, exact)
    half = gate.half()
    assert torch.isfinite(half(x)).all()
    torch.testing.assert_close(half.excitation(x), exact, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_no_nan_under_autocast_and_channels_last(dtype: torch.dtype) -> None:
    from networks import randomise

    from senet_zoo import ConvNet
    from senet_zoo.networks.registry import MODELS

    model = randomise(ConvNet(MODELS["se_resnet20"].spec())).to(memory_format=torch.channels_last)
    x = 50 * torch.randn(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    for mode in (True, False):
        model.train(mode)
        with torch.autocast("cpu", dtype):
            logits = model(x)
        assert torch.isfinite(logits).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_no_nan_under_autocast_on_cuda() -> None:
    gate = SqueezeExcite(512, 16).cuda()
    x = torch.full((1, 512, 64, 64), 200.0, device="cuda").contiguous(memory_format=torch.channels_last)
    with torch.autocast("cuda", torch.float16):
        assert torch.isfinite(gate(x.half())).all()
        assert gate.excitation(x.half()).dtype == torch.float32
