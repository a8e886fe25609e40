"""The paper's tables come out of our networks, but for the rows that are known not to."""

import pytest

from senet_zoo import SE
from senet_zoo.analysis import cost, paper
from senet_zoo.analysis.paper import Reading
from senet_zoo.analysis.tables import NAMES, ComputedRow, ComputedTable, compute, layer_table, printed_agrees
from senet_zoo.errors import UsageError
from senet_zoo.networks import registry

# Parameters without biases in the gates, and with running statistics in millions: counted outside this tree.
COUNTS = {
    ("table 10", "ratio 2"): (45_676_584, 45.730),
    ("table 10", "ratio 4"): (35_616_808, 35.670),
    ("table 10", "ratio 8"): (30_586_920, 30.640),
    ("table 10", "ratio 16"): (28_071_976, 28.125),
    ("table 10", "ratio 32"): (26_814_504, 26.868),
    ("table 10", "original"): (25_557_032, 25.610),
    ("table 13", "SE, stage 2"): (25_581_608, 25.635),
    ("table 13", "SE, stage 3"): (25_688_104, 25.741),
    ("table 13", "SE, stage 4"): (26_343_464, 26.397),
    ("table 15", "SE_3x3"): (25_714_216, 25.767),
    ("table 16", "NoSqueeze"): (28_071_976, 28.125),
}
NO_AGREEMENT = {("table 10", "ratio 8"), ("table 2", "Inception-ResNet-v2"), ("table 2", "SE-Inception-ResNet-v2")}

# Sizes of the authors' released files in MiB (their README): parameters and running statistics in float32.
RELEASED = {
    "se_bn_inception": 46,
    "se_resnet50": 107,
    "se_resnet101": 189,
    "se_resnet152": 256,
    "se_resnext50_32x4d": 105,
    "se_resnext101_32x4d": 187,
    "senet154": 440,
}


@pytest.fixture(scope="module")
def tables() -> dict[str, ComputedTable]:
    return {table.source: table for name in paper.TABLES for table in compute(name)}


@pytest.fixture(scope="module")
def rows(tables: dict[str, ComputedTable]) -> list[tuple[str, ComputedRow]]:
    return [(table.source, row) for table in tables.values() for row in table.rows]


def test_every_table_is_there_once(tables: dict[str, ComputedTable]) -> None:
    assert list(tables) == [f"table {n}" for n in (10, 11, 12, 13, 14, 15, 16, 2, 8, 3, 4, 5)]
    ablations = ("ratio", "squeeze", "gate", "stages", "placement", "noSqueeze")
    assert (*ablations, "imagenet", "mobile", "cifar", "layers") == NAMES


def test_rows_agree_with_what_is_printed_or_say_why_not(rows: list[tuple[str, ComputedRow]]) -> None:
    for source, row in rows:
        if not (row.printed_parameters or row.printed_gflops):
            assert row.agrees is None, (source, row)
            assert row.reason is None, (source, row)
        elif (source, row.label) in NO_AGREEMENT:
            assert row.agrees is False, (source, row)
            assert row.reason, (source, row)
        else:
            assert row.agrees is True, (source, row)
            assert row.reason is None, (source, row)


def test_parameters_are_those_counted_elsewhere(rows: list[tuple[str, ComputedRow]]) -> None:
    found = {(source, row.label): row for source, row in rows}
    for key, (learnt, whole) in COUNTS.items():
        assert found[key].parameters == learnt
        assert found[key].parameters_and_statistics / 1e6 == pytest.approx(whole, abs=0.0005)
    assert found["table 14", "SE-PRE"].parameters == 27_548_200
    assert found["table 14", "SE-POST"].parameters == found["table 14", "SE-Identity"].parameters == 28_071_976
    assert found["table 8", "SENet-154"].multiply_adds == pytest.approx(42.212e9, abs=5e5)  # the second row: 320 px


def test_gflops_are_within_half_a_percent(rows: list[tuple[str, ComputedRow]]) -> None:
    checked = [row for _, row in rows if row.printed_gflops and row.agrees]
    assert len(checked) == 28
    for row in checked:
        assert row.operations == pytest.approx(float(row.printed_gflops) * 1e9, rel=0.005)
        assert row.gflops_difference == pytest.approx(row.operations / 1e9 - float(row.printed_gflops), abs=1e-4)


def test_rows_name_networks_of_the_zoo_and_their_sizes(rows: list[tuple[str, ComputedRow]]) -> None:
    assert {row.model for _, row in rows} <= set(registry.MODELS)
    for _, row in rows:
        assert row.parameters
        assert row.size in (registry.find(row.model).spec().input_size, 320)
    se = [row for source, row in rows if source in ("table 2", "table 3", "table 4", "table 5")]
    assert all((registry.find(row.model).se is not None) == row.label.startswith("SE-") for row in se)


def test_ablations_are_without_biases(rows: list[tuple[str, ComputedRow]]) -> None:
    ablations = [row for source, row in rows if source.startswith("table 1") and row.model != "resnet50"]
    assert len(ablations) == 22
    assert all(row.model == "se_resnet50" and "bias=false" in row.variant for row in ablations)


def test_weights_are_shown_only_beside_the_function_that_they_belong_to(rows: list[tuple[str, ComputedRow]]) -> None:
    for _, row in rows:
        if row.measured is not None:
            model, _, _ = row.measured.weights.partition(".")
            assert model == row.model
            assert row.variant is None
            assert 0 < row.measured.top1 < 30
            assert row.measured.top5 is None or 0 < row.measured.top5 < row.measured.top1  # None: nobody published it
    shown = {(source, row.label, row.size): row.measured for source, row in rows if row.measured}
    assert shown["table 2", "SE-ResNet-50", 224].weights == "se_resnet50.caffe_in1k"
    assert ("table 8", "SENet-154", 224) in shown
    assert ("table 8", "SENet-154", 320) not in shown


@pytest.mark.parametrize("name", RELEASED)
def test_the_authors_files_have_the_size_of_our_networks(name: str) -> None:
    model = cost.on_meta(registry.find(name).spec())
    assert 4 * (cost.parameters(model) + cost.statistics(model)) / 2**20 == pytest.approx(RELEASED[name], abs=1)


@pytest.mark.parametrize(
    ("count", "printed", "reading", "agrees"),
    [
        (25_610_152, "25.6", Reading.ROUNDED, True),
        (30_640_040, "30.7", Reading.ROUNDED, False),
        (30_651_000, "30.7", Reading.ROUNDED, True),
        (1_865_728, "1.8", Reading.CUT, True),
        (1_865_728, "1.8", Reading.ROUNDED, False),
        (1_799_999, "1.8", Reading.CUT, False),
        (1_900_000, "1.9", Reading.CUT, True),
    ],
)
def test_readings_of_a_printed_number(count: int, printed: str, reading: Reading, agrees: bool) -> None:
    assert printed_agrees(count, printed, reading) is agrees


def test_table_1_reads_as_in_the_paper() -> None:
    table = layer_table()
    assert table.networks == ("resnet50", "se_resnet50", "se_resnext50_32x4d")
    assert [row.output for row in table.rows] == ["112x112", "56x56", "56x56", "28x28", "14x14", "7x7", "1x1"]
    assert table.rows[0].layers == (("conv, 7x7, 64", "stride 2"),) * 3
    assert table.rows[1].layers == (("max pool, 3x3", "stride 2"),) * 3
    assert table.rows[-1].layers == (("global average pool", "1000-d fc"),) * 3
    stages = zip(table.rows[2:6], (3, 4, 6, 3), (64, 128, 256, 512), strict=True)
    for row, depth, width in stages:
        plain, gated, grouped = row.layers
        fc, x = f"fc, [{width // 4}, {4 * width}]", f"x {depth}"
        last = f"conv, 1x1, {4 * width}"
        assert plain == (f"conv, 1x1, {width}", f"conv, 3x3, {width}", last, x)
        assert gated == (f"conv, 1x1, {width}", f"conv, 3x3, {width}", last, fc, x)
        assert grouped == (f"conv, 1x1, {2 * width}", f"conv, 3x3, {2 * width}, C = 32", last, fc, x)


def test_an_unknown_table_is_named() -> None:
    with pytest.raises(UsageError, match=r"the tables are ratio, .*; got 'rato'"):
        compute("rato")


def test_a_gate_of_the_papers_ablations_is_one_value() -> None:
    row = paper.TABLES["placement"][0].rows[0]
    assert row.se == SE(bias=False)
