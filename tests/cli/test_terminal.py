"""What a person sees on a terminal: colours where they are wanted, and lines that fit."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest

COLUMNS = 100
CODE = re.compile(r"\x1b\[\d*m")


def seen(*words: str, **environment: str) -> tuple[int, str]:
    """Status and all output of a command on a terminal of `COLUMNS`."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    known = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "senet_zoo", *words],
        stdout=theirs,
        stderr=theirs,
        env={**known, "TERM": "xterm", **environment},
    )
    os.close(theirs)
    text = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        text += part
    os.close(ours)
    return process.wait(), text.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("list", "--weights"),
        ("info", "se_resnet20"),
        ("info", "--layers", "se_resnet50"),
        ("tables", "placement"),
        ("compare", "se_resnet50", "resnet50", "se_resnext50_32x4d", "senet154", "se_mobilenet"),
        ("verify",),
    ],
)
def test_lines_fit_a_terminal(words: tuple[str, ...]) -> None:
    status, text = seen(*words)
    assert status == 0
    words_of = [line.split() for line in CODE.sub("", text).splitlines() if len(CODE.sub("", line)) > COLUMNS]
    assert all(max(map(len, line)) > 60 for line in words_of)  # an address or a path is not broken


def test_colours_are_there_unless_they_are_not_wanted() -> None:
    assert CODE.search(seen("list", "se_resnet20")[1])
    assert CODE.match(seen("info", "no_such")[1])
    for unwanted in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        for words in (("list", "se_resnet20"), ("info", "no_such")):
            assert not CODE.search(seen(*words, **unwanted)[1])


def test_a_name_brings_no_colour_of_its_own() -> None:
    _, text = seen("info", "\x1b[35mpink", NO_COLOR="1")
    assert "\x1b" not in text
    assert "\\x1b[35mpink" in text
