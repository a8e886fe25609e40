"""What a run says: a bar on a terminal, lines elsewhere."""

import io
import time

import pytest

from senet_zoo.training import progress
from senet_zoo.training.metrics import EpochRow, as_csv, best
from senet_zoo.training.progress import Progress

ROW = EpochRow(
    epoch=2,
    step=8,
    rate=0.01,
    loss=0.25,
    top1=75.0,
    val_loss=0.5,
    val_top1=87.5,
    images_per_second=12.0,
    seconds=3.0,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def an_epoch(told: Progress) -> None:
    told.begin("epoch 2/3", 32, done=16)
    told.advance(8, 0.5, 50.0)
    told.say("a word")
    time.sleep(0.15)  # a bar is drawn ten times a second at most
    told.advance(8, 0.25, 75.0)
    told.end(ROW)


def test_a_terminal_sees_a_bar_with_speed_time_left_loss_and_accuracy() -> None:
    stream = Terminal()
    an_epoch(Progress(stream))
    said = stream.getvalue()
    assert "epoch 2/3:  50%" in said
    assert "loss 0.250, top-1 75.0 %" in said
    assert "pictures/s" in said
    assert "a word\n" in said
    assert said.splitlines()[-1].endswith("rate 0.01, 12.0 pictures a second, 3.0 s")


def test_a_pipe_sees_lines_and_no_control_characters() -> None:
    stream = io.StringIO()
    an_epoch(Progress(stream))
    word, line = stream.getvalue().splitlines()
    assert word == "a word"
    assert line == (
        "epoch 2/3: loss 0.2500, top-1 75.00 %, validation loss 0.5000, top-1 87.50 %, rate 0.01, 12.0 pictures a "
        "second, 3.0 s"
    )


def test_a_long_epoch_is_heard_of_in_a_pipe_too(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 40.0, 40.0])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    stream = io.StringIO()
    told = Progress(stream)
    told.begin("epoch 1/3", 32, done=0)
    told.advance(8, 0.5, 50.0)
    assert stream.getvalue() == ("epoch 1/3: 8 of 32 pictures, 0.2 a second, 120 s left, loss 0.500, top-1 50.0 %\n")


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_the_other_processes_say_nothing(stream: io.StringIO) -> None:
    an_epoch(Progress(stream, silent=True))
    assert stream.getvalue() == ""


def test_figures_lose_no_digit_and_the_first_of_equals_is_the_best() -> None:
    import dataclasses

    rows = [dataclasses.replace(ROW, epoch=epoch, val_loss=1 / 3) for epoch in (1, 2)]
    assert best(rows).epoch == 1
    assert best([*rows, dataclasses.replace(ROW, epoch=3, val_loss=0.3)]).epoch == 3
    header, first, _ = as_csv(rows).splitlines()
    assert float(first.split(",")[header.split(",").index("val_loss")]) == 1 / 3
