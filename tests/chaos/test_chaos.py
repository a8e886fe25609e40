"""Whatever a network, a disk, a clock or another process does: the published weights, or a typed error in time."""

import pytest
from chaos import weights
from chaos.arena import carry_out
from chaos.nursery import Nursery
from chaos.schedule import draw
from chaos.tally import Tally

SCHEDULES, CHUNKS = 1000, 20
OFTEN = 4  # chunks in every run of the suite; --all runs all of them


@pytest.fixture(scope="module")
def nursery():
    with Nursery() as warmed_up:
        yield warmed_up


@pytest.mark.parametrize(
    "chunk", [*range(OFTEN), *(pytest.param(chunk, marks=pytest.mark.slow) for chunk in range(OFTEN, CHUNKS))]
)
def test_the_weights_are_right_or_an_error_says_why_and_nothing_bad_stays(
    chunk, nursery, record_property, pytestconfig
):
    tally = Tally()
    first = pytestconfig.option.chaos_seed
    for seed in range(first + chunk, first + SCHEDULES, CHUNKS):
        tally.add(carry_out(draw(seed, len(weights.few_bytes())), nursery))
    record_property("chaos", tally.as_properties())
    assert not tally.failures, "\n".join(tally.failures)
