"""Networks side by side: the same figures as everywhere, and ratios to the first."""

import pytest

from senet_zoo import get_weights, model_info
from senet_zoo.analysis import cost
from senet_zoo.analysis.info import compare
from senet_zoo.analysis.recipes import recipe_pairs
from senet_zoo.errors import UnknownModelError, UsageError
from senet_zoo.networks import registry


def test_figures_are_those_of_info_and_ratios_are_to_the_first() -> None:
    first, second = compare(["se_resnet50", "resnet50"])
    for row in (first, second):
        info = model_info(row.name)
        assert (row.parameters, row.multiply_adds, row.gates) == (info.parameters, info.multiply_adds, info.gates)
        assert (row.gate_parameters, row.size) == (info.gate_parameters, 224)
    assert (first.parameters_ratio, first.multiply_adds_ratio, first.activation_memory_ratio) == (1, 1, 1)
    assert second.parameters_ratio == second.parameters / first.parameters
    assert second.multiply_adds_ratio == second.multiply_adds / first.multiply_adds
    assert second.activation_memory_ratio == second.activation_memory / first.activation_memory
    # A gate writes one map, as large as its input.
    gates = 4 * (3 * 256 * 56**2 + 4 * 512 * 28**2 + 6 * 1024 * 14**2 + 3 * 2048 * 7**2)
    assert first.activation_memory - second.activation_memory == gates


def test_the_best_weights_are_named_with_who_measured_them() -> None:
    gated, plain, alias = compare(["se_resnet50b", "resnet50", "seresnet50"])
    assert gated.accuracy is not None
    assert gated.accuracy.weights == "se_resnet50b.ra2_in1k"
    assert gated.accuracy.metric.value == max(
        metric.value
        for row in model_info("se_resnet50b").weights
        for metric in row.metrics
        if metric.name == "top1" and metric.value is not None
    )
    assert plain.accuracy is None
    assert alias == gated


def test_a_size_of_ones_own() -> None:
    (row,) = compare(["se_resnet20"], 64)
    assert row.size == 64
    assert row.multiply_adds == cost.multiply_adds(registry.find("se_resnet20").spec(), 64)


def test_what_cannot_be_compared_is_named() -> None:
    with pytest.raises(UsageError, match="at least one name"):
        compare([])
    with pytest.raises(UnknownModelError, match="se_resnet50"):
        compare(["resnet50", "se_resnt50"])
    with pytest.raises(UsageError, match="inception_v3: a picture of 20x20 pixels"):
        compare(["inception_v3"], 20)


def test_pairs_of_one_recipe_are_those_of_the_manifest() -> None:
    pairs = recipe_pairs()
    known = {(pair.gated, pair.size): pair.difference for pair in pairs}
    assert known["se_resnet152d.ra2_in1k", 320] == pytest.approx(0.66, abs=0.005)
    assert known["se_resnet50b.a3_in1k", 224] == pytest.approx(-1.02, abs=0.005)
    for pair in pairs:
        gated, plain = (get_weights(name).row for name in (pair.gated, pair.plain))
        assert registry.MODELS[gated.model].twin == plain.model
        assert gated.tag == plain.tag
        assert pair.gated_top1 in {metric.value for metric in gated.metrics}
        assert pair.plain_top1 in {metric.value for metric in plain.metrics}
    assert not [pair for pair in pairs if "osmr" in pair.gated], "that tag names no recipe"
