"""`optimize`, `export` and `insert_se` on networks over signals and volumes."""

from pathlib import Path

import pytest
import torch
from torch import nn

from senet_zoo import (
    SE,
    DepthPadding,
    Dimensions,
    Inflation,
    OptimizationError,
    Start,
    UsageError,
    create_model,
    export,
    gates,
    insert_se,
    optimize,
    remove_se,
)
from senet_zoo.inference.rewriting import rewrite

REPLICATED = Dimensions(3, depth_stride=1, depth_padding=DepthPadding.REPLICATE)


@pytest.mark.parametrize("dims", [Dimensions(1), Dimensions(3), REPLICATED], ids=["1", "3", "3-replicated"])
def test_gates_move_before_their_convolution_in_every_dimension(dims: Dimensions) -> None:
    model = create_model("se_resnet50", dims=dims, in_channels=1, num_classes=3).eval()
    rewriting = rewrite(model)
    assert (len(rewriting.early), rewriting.folded, rewriting.norms) == (16, 53, 0)


def test_a_strided_convolution_before_the_gate_is_averaged_where_it_looks() -> None:
    torch.manual_seed(0)
    model = insert_se(
        nn.Sequential(nn.Conv3d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 8, 1, stride=(1, 2, 3))),
        SE(reduction=2, start=Start.IDENTITY),
        where="2",
        example=torch.zeros(1, 2, 8, 8, 8),
    ).eval()
    nn.init.normal_(next(iter(gates(model).values())).fc2.weight)
    rewriting = rewrite(model)
    assert len(rewriting.early) == 1
    x = torch.rand(2, 2, 7, 9, 8)
    assert torch.allclose(rewriting.network(x), model(x), atol=1e-5)


@pytest.mark.parametrize("dims", [Dimensions(1), REPLICATED], ids=["1", "3"])
def test_an_optimised_network_answers_as_the_original(dims: Dimensions) -> None:
    model = create_model("se_resnet20", pretrained=True, dims=dims, in_channels=1, inflation=Inflation.MEAN)
    fast = optimize(model, rounds=0, sizes=(32, 25))
    x = torch.rand(2, 1, *(24,) * dims.count)
    with torch.no_grad():
        assert torch.allclose(fast(x), model(x), atol=1e-4)
    with pytest.raises(OptimizationError, match="must be floats"):
        fast(torch.rand(2, 1, 24, 24))


@pytest.mark.parametrize(
    ("dims", "suffix"),
    [
        (1, ".pt2"),
        (3, ".onnx"),
        pytest.param(1, ".onnx", marks=pytest.mark.slow),
        pytest.param(3, ".pt2", marks=pytest.mark.slow),
    ],
)
def test_a_network_of_other_axes_is_exported_for_any_size(dims: int, suffix: str, tmp_path: Path) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
    model = create_model("se_resnet20", pretrained=True, dims=dims, in_channels=1)
    report = export(model, tmp_path / f"m{suffix}")
    assert report.parity.deviation < 1e-4
    assert report.metadata.side is None
    assert len(report.parity.inputs[0]) == dims + 1


def test_int8_is_for_pictures(tmp_path: Path) -> None:
    from senet_zoo.inference.int8 import Int8

    with pytest.raises(UsageError, match="int8 is calibrated on pictures, and this network has 3 dimensions"):
        export(create_model("se_resnet20", dims=3).eval(), tmp_path / "m.onnx", int8=Int8([tmp_path] * 4))


class Unit(nn.Module):
    """A residual unit of one's own."""

    def __init__(self, conv: type[nn.Module], norm: type[nn.Module], width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(width, width, 3, padding=1), norm(width)
        self.conv2, self.bn2 = conv(width, width, 3, padding=1), norm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


@pytest.mark.parametrize(
    ("conv", "norm", "shape"),
    [(nn.Conv1d, nn.BatchNorm1d, (2, 32, 40)), (nn.Conv3d, nn.BatchNorm3d, (2, 32, 6, 8, 8))],
)
def test_gates_go_into_any_network_over_signals_or_volumes(
    conv: type[nn.Module], norm: type[nn.Module], shape: tuple[int, ...]
) -> None:
    model = nn.Sequential(Unit(conv, norm, 32), Unit(conv, norm, 32)).eval()
    x = torch.rand(shape)
    before = model(x)
    insert_se(model)
    assert list(gates(model)) == ["0.bn2.se", "1.bn2.se"]
    assert torch.equal(model(x), before)
    gate = gates(model)["0.bn2.se"]
    assert gate.excitation(x).shape == (2, 32, *(1,) * (len(shape) - 2))
    assert gates(remove_se(model)) == {}
