"""The figures of docs/volumes.md are those that benchmarks/volumes.py wrote."""

import json
from pathlib import Path

import pytest

from benchmarks.volumes import draw, learn_table, speed_table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "volumes"


@pytest.mark.parametrize(("name", "table"), [("learn", learn_table), ("speed", speed_table)])
def test_a_table_is_that_of_its_run(name: str, table: object) -> None:
    result = json.loads((RESULTS / f"{name}.json").read_text())
    assert callable(table)
    assert table(result) in (ROOT / "docs" / "volumes.md").read_text()


def test_volumes_are_drawn_alike_in_every_run() -> None:
    volumes, labels = draw(4, seed=1)
    assert (volumes.shape, labels.tolist()) == ((4, 12, 12, 12), [0, 1, 0, 1])
    assert (draw(4, seed=1)[0] == volumes).all()
