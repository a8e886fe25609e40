"""``senet-zoo demo`` where its page cannot be: what is missing is said in one line. tests/browser opens the page."""

import sys

import pytest

from senet_zoo.cli import main


def test_without_gradio_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert main(["demo"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'senet-zoo[demo]'" in line
