"""What the suite may be told, and what it says at its end."""

import gc
from datetime import UTC, datetime

import pytest
from chaos.tally import Tally


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--chaos-seed",
        type=int,
        metavar="N",
        help="the first seed of tests/chaos; by default the day, such as 20260131000, so that each day draws others",
    )
    parser.addoption(
        "--foreign",
        action="append",
        default=[],
        metavar="LIBRARY=PATH",
        help="another library for tests/hub/test_foreign_forwards.py, whose head says which; may be given again",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed once: worker processes get this process's options."""
    gc.disable()  # until everything is imported: nothing of that is garbage
    if config.option.chaos_seed is None:
        config.option.chaos_seed = int(datetime.now(UTC).strftime("%Y%m%d000"))


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="module", autouse=True)
def only_new_objects_are_looked_at_for_garbage() -> None:
    """Each full collection walks over all objects of all libraries that were imported, and many tests collect often."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter, config: pytest.Config) -> None:
    """The figure of the fault schedules, summed over the chunks that ran, in whichever process."""
    total = Tally()
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        for name, value in report.user_properties if report.when == "call" else ():
            if name == "chaos":
                total.add(Tally.from_properties(value))
    if total.schedules:
        terminalreporter.write_line(f"chaos: {total}")
        terminalreporter.write_line(f"chaos: the same again by --chaos-seed {config.option.chaos_seed}")
