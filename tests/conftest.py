"""What the suite says at its end."""

from chaos.tally import Tally


def pytest_terminal_summary(terminalreporter) -> None:
    """The figure of the fault schedules, summed over the chunks that ran, in whichever process."""
    total = Tally()
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        for name, value in report.user_properties if report.when == "call" else ():
            if name == "chaos":
                total.add(Tally.from_properties(value))
    if total.schedules:
        terminalreporter.write_line(f"chaos: {total}")
