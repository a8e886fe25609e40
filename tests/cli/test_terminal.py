"""What a person sees on a terminal: colours where they are wanted, and lines that fit."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from concurrent.futures import ThreadPoolExecutor

import pytest

from senet_zoo.cli import main

COLUMNS = 100
CODE = re.compile(r"\x1b\[\d*m")


def terminal() -> tuple[int, int]:
    """Our end and theirs of a terminal of `COLUMNS`."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    return ours, theirs


def read_to_end(end: int) -> str:
    text = b""
    with contextlib.suppress(OSError):  # the other end is closed
        while part := os.read(end, 65536):
            text += part
    os.close(end)
    return text.decode().replace("\r\n", "\n")


def seen(*words: str, **environment: str) -> tuple[int, str]:
    """Status and all output of a command on a terminal."""
    ours, theirs = terminal()
    with ThreadPoolExecutor(1) as reader, pytest.MonkeyPatch.context() as patch:
        text = reader.submit(read_to_end, ours)
        with os.fdopen(theirs, "w") as stream:
            for name in ("COLUMNS", "NO_COLOR"):
                patch.delenv(name, raising=False)
            for name, value in {"TERM": "xterm", **environment}.items():
                patch.setenv(name, value)
            for name in ("stdout", "__stdout__", "stderr"):
                patch.setattr(sys, name, stream)
            status = main(words)
        return status, text.result()


def seen_of_a_process(*words: str, **environment: str) -> str:
    """All output of the program itself on a terminal."""
    ours, theirs = terminal()
    known = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    command = [sys.executable, "-m", "senet_zoo", *words]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env={**known, "TERM": "xterm", **environment}):
        os.close(theirs)
        return read_to_end(ours)


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
    text = seen_of_a_process("info", "\x1b[35mpink", NO_COLOR="1")
    assert "\x1b" not in text
    assert "\\x1b[35mpink" in text
