"""The operation against the layers that it stands for, which are PyTorch's, in float64 where digits count."""

import copy
import itertools
import logging
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from senet_zoo.errors import UsageError
from senet_zoo.networks.fused import implementations, reference
from senet_zoo.networks.fused.custom_op import fused_end, residual_end
from senet_zoo.networks.fused.implementations import implementation_on
from senet_zoo.networks.squeeze_excite import SqueezeExcite

End = Callable[..., Tensor]


@pytest.fixture(autouse=True)
def _plain_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        implementations, "_on_cpu", lambda: implementations.Chosen(implementations.PLAIN, "")
    )  # no seconds of compilation


def layers(y: Tensor, shortcut: Tensor, norm: nn.Module, gate: nn.Module | None) -> Tensor:
    y = norm(y)
    return torch.relu(shortcut + (y if gate is None else gate(y)))


def unit(
    gate: str = "with biases", *, training: bool = True, channels: int = 6, seed: int = 0
) -> tuple[nn.BatchNorm2d, SqueezeExcite | None]:
    """A batch norm with everything far from its start, and a gate, in float64."""
    torch.manual_seed(seed)
    norm = nn.BatchNorm2d(channels).double().train(training)
    for tensor in (norm.weight.data, norm.bias.data, norm.running_mean):
        tensor.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    none = gate == "no gate"
    return norm, None if none else SqueezeExcite(channels, 2, bias=gate == "with biases").double()


def maps(count: int, layout: torch.memory_format, shape: tuple[int, ...] = (3, 6, 4, 5)) -> list[Tensor]:
    return [torch.randn(shape, dtype=torch.float64).to(memory_format=layout) for _ in range(count)]


def run(end: End, y: Tensor, shortcut: Tensor, gradient: Tensor, *modules: nn.Module | None) -> list[Tensor]:
    """The output, then the gradients of both maps and of every parameter."""
    y, shortcut = y.detach().requires_grad_(), shortcut.detach().requires_grad_()
    parameters = [p for module in modules if module is not None for p in module.parameters()]
    out = end(y, shortcut, *modules)
    return [out.detach(), *torch.autograd.grad(out, [y, shortcut, *parameters], gradient)]


CASES = list(
    itertools.product(
        ("no gate", "with biases", "without biases"), (True, False), (torch.contiguous_format, torch.channels_last)
    )
)


@pytest.mark.parametrize(("gate", "training", "layout"), CASES)
def test_output_gradients_and_strides_are_those_of_the_layers(
    gate: str, training: bool, layout: torch.memory_format
) -> None:
    modules = unit(gate, training=training)
    given = maps(3, layout)
    ours, theirs = run(fused_end, *given, *modules), run(layers, *given, *copy.deepcopy(modules))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)
        assert one.stride() == other.stride()


@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_the_slopes_of_the_output(training: bool) -> None:
    norm, gate = unit(training=training)
    y, shortcut = (x.requires_grad_() for x in maps(2, torch.channels_last, (2, 6, 2, 3)))
    parameters = [*norm.parameters(), *gate.parameters()]
    assert torch.autograd.gradcheck(lambda *_: fused_end(y, shortcut, norm, gate), (y, shortcut, *parameters))


@pytest.mark.parametrize("momentum", [0.1, 0.3, None])
def test_running_statistics_are_those_of_the_batch_norm(momentum: float | None) -> None:
    norm, gate = unit()
    norm.momentum = momentum
    norm.reset_running_stats()
    again = copy.deepcopy(norm)
    for _ in range(3):
        y, shortcut = maps(2, torch.channels_last)
        fused_end(3.0 * y + 1.0, shortcut, norm, gate)
        again(3.0 * y + 1.0)
    for one, other in zip(norm.buffers(), again.buffers(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_large_mean_costs_no_digits(layout: torch.memory_format) -> None:
    modules = unit()
    y, shortcut, gradient = maps(3, layout, (4, 6, 28, 28))
    y = (y * 1e-2 + 100.0).float()  # a mean of ten thousand deviations
    exact = run(layers, y.double(), shortcut, gradient, *modules)
    single = [None if module is None else copy.deepcopy(module).float() for module in modules]
    ours = run(fused_end, y, shortcut.float(), gradient.float(), *single)
    theirs = run(layers, y, shortcut.float(), gradient.float(), *copy.deepcopy(single))
    for one, other, truth in zip(ours, theirs, exact, strict=True):
        scale = truth.abs().max()
        assert (one - truth).abs().max() / scale < max(1e-4, 2 * (other - truth).abs().max() / scale)
    mean, var = reference.moments(reference.flat(y, like=y), 1 if layout is torch.channels_last else 2)
    torch.testing.assert_close(mean.double(), y.double().mean((2, 3)), rtol=1e-7, atol=0)
    torch.testing.assert_close(var.double(), y.double().var((2, 3), correction=0), rtol=1e-4, atol=0)


def test_the_variance_survives_a_first_pixel_far_off() -> None:
    y = torch.randn(2, 3136, 3)
    y[:, 0] = 1e4
    _, var = reference.moments(y, 1)
    torch.testing.assert_close(var.double(), y.double().var(1, correction=0), rtol=1e-3, atol=0)


@pytest.mark.parametrize("frozen", [True, False])
def test_nan_goes_where_it_went(frozen: bool) -> None:
    modules = unit(training=not frozen)
    y, shortcut, gradient = maps(3, torch.contiguous_format)
    shortcut[0, 1, 2, 3] = y[1, 2, 0, 0] = float("nan")
    ours, theirs = run(fused_end, y, shortcut, gradient, *modules), run(layers, y, shortcut, gradient, *modules)
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one.isnan(), other.isnan())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_maps_round_once(dtype: torch.dtype) -> None:
    modules = unit()
    y, shortcut, gradient = (x.to(dtype) for x in maps(3, torch.channels_last, (4, 6, 9, 9)))
    exact = run(layers, *(x.double() for x in (y, shortcut, gradient)), *modules)
    single = [module.float() for module in copy.deepcopy(modules)]
    with torch.autocast("cpu", dtype):
        ours = run(fused_end, y, shortcut, gradient, *single)
        theirs = run(layers, y, shortcut, gradient, *copy.deepcopy(single))
    for one, other, truth in zip(ours, theirs, exact, strict=True):
        assert one.dtype == other.dtype
        scale = truth.abs().max()
        assert (one - truth).abs().max() / scale < 2 * torch.finfo(dtype).eps
        assert (one - truth).abs().max() <= 2 * (other - truth).abs().max() + 1e-5 * scale


def test_maps_of_different_precision_and_layout_meet() -> None:
    norm, gate = (module.float() for module in unit())
    y, shortcut, gradient = maps(3, torch.contiguous_format)
    given = (y.to(torch.bfloat16, memory_format=torch.channels_last), shortcut.float(), gradient.float())
    ours, theirs = run(fused_end, *given, norm, gate), run(layers, *given, norm, gate)
    for one, other in zip(ours, theirs, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.05)  # the layers round to bfloat16 three times


def test_the_operators_keep_pytorchs_rules() -> None:
    norm, gate = unit()
    statistics = (norm.running_mean, norm.running_var)
    for given in maps(2, torch.contiguous_format), maps(2, torch.channels_last):
        y, shortcut = (x.requires_grad_() for x in given)
        for parameters in (gate.parameters(), (None,) * 4):
            end = (y, shortcut, *norm.parameters(), *statistics, *parameters, 1e-5, True)
            checks = ("test_schema", "test_autograd_registration", "test_faketensor")
            torch.library.opcheck(residual_end, end, test_utils=checks)


def test_a_second_derivative_is_refused() -> None:
    norm, gate = unit()
    y, shortcut = (x.requires_grad_() for x in maps(2, torch.contiguous_format))
    (slope,) = torch.autograd.grad(fused_end(y, shortcut, norm, gate).sum(), y, create_graph=True)
    with pytest.raises(RuntimeError, match="no autograd formula was registered"):
        slope.square().sum().backward()


def test_one_value_a_channel_and_unequal_maps_are_refused() -> None:
    norm, gate = unit()
    one = torch.zeros(1, 6, 1, 1, dtype=torch.float64)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        fused_end(one, one, norm, gate)
    with pytest.raises(UsageError, match="must agree in shape"):
        fused_end(torch.zeros(2, 6, 2, 2).double(), torch.zeros(2, 6, 1, 1).double(), norm, gate)


@pytest.mark.slow
def test_the_compiled_steps_are_the_plain_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = unit(channels=32)
    single = [module.float() for module in modules]
    given = [x.float() for x in maps(3, torch.channels_last, (3, 32, 5, 7))]
    plain = run(fused_end, *given, *single)
    monkeypatch.undo()
    implementation, because = implementation_on("cpu")
    assert (implementation.name, because) == ("torch.compile", "")
    compiled = run(fused_end, *given, *single)
    for one, other in zip(compiled, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_without_a_compiler_the_passes_are_plain_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing() -> reference.Implementation:
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.undo()
    monkeypatch.setattr("senet_zoo.networks.fused.implementations.compiled_implementation", missing)
    implementations._on_cpu.cache_clear()
    with caplog.at_level(logging.WARNING):
        implementation, because = implementation_on("cpu")
    implementations._on_cpu.cache_clear()
    assert implementation is implementations.PLAIN
    assert "No working C++ compiler found" in because
    assert because in caplog.text
    assert implementation_on("mps").because == "there are no kernels for mps"
