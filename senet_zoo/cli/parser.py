"""An argument parser that answers a misspelt word with its near misses."""

import argparse
import os
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """argparse's own, with near misses."""

    def refuse_words(self, unknown: Sequence[str]) -> NoReturn:
        """End with status 2, naming the first word that was not understood and what it may have meant."""
        options = sorted(set(re.findall(r"--[a-z]+", self.format_help())))
        self.error(f"{unknown[0]!r} is not understood{near_misses(unknown[0].partition('=')[0], options)}")


def near_misses(word: str, words: Iterable[str]) -> str:
    """``; did you mean ...?``, or nothing where no word is near."""
    near = get_close_matches(word.lower(), list(words), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def positive(text: str) -> int:
    """A whole number from 1 up, as an argparse type."""
    if not (text.isascii() and text.isdecimal()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 1, got {text!r}")
    return int(text)


def cores() -> int:
    """Those that this process may use: the usual number of workers."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
