"""Processes made from a warmed-up one: importing torch costs seconds, a fork milliseconds.

Forking is safe only before threads exist, and the hub on loopback has threads: so the warmed-up process is one of its
own, that takes orders over a pipe (`Nursery`), and forks for each (`serve`).
"""

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

from chaos.tally import KILLED, LATE, Answer

TESTS = Path(__file__).parents[1]


class Nursery:
    """The warmed-up process; use as a context manager.

    Args:
        noisy: let loaders write to stderr.
    """

    def __init__(self, noisy: bool = False) -> None:
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),
            "OMP_NUM_THREADS": "1",
            # Memory in huge pages: a fork copies a table of pages, which for torch takes 15 ms otherwise.
            "PYTHONMALLOC": "malloc",
            "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        }
        for name in ("SENET_ZOO_HUB", "SENET_ZOO_WEIGHTS_DIR", "SENET_ZOO_VERIFY", "SENET_ZOO_MANIFEST", "HF_TOKEN"):
            environment.pop(name, None)
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from chaos.nursery import serve; serve()"],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if noisy else subprocess.DEVNULL,
        )

    def raise_all(self, orders: list, bound: float) -> list[Answer]:
        """Carry out all orders at once, each in a process of its own, and wait for them.

        Args:
            orders: of `chaos.loader.Order`.
            bound: seconds after which a process counts as hanging, and is killed.
        """
        pickle.dump((orders, bound), self._process.stdin)
        self._process.stdin.flush()
        return pickle.load(self._process.stdout)

    def __enter__(self) -> "Nursery":
        return self

    def __exit__(self, *_) -> None:
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


class _Child:
    """A forked process under way."""

    def __init__(self, order, bound: float) -> None:
        loader = order.loader
        self._read, write = os.pipe()
        self._begun = time.monotonic()
        self._bound, self._dies_after = bound, loader.dies_after if loader else None
        self.answer: Answer | None = None
        self._pid = os.fork()
        if self._pid == 0:
            _be_born(order, write)
        os.close(write)

    def look(self) -> None:
        """Notice its end, and bring it about where it is due."""
        seconds = time.monotonic() - self._begun
        if self._dies_after is not None and seconds > self._dies_after:
            os.kill(self._pid, signal.SIGKILL)
        late = seconds > self._bound
        if late:
            os.kill(self._pid, signal.SIGKILL)
        pid, status = os.waitpid(self._pid, 0 if late else os.WNOHANG)
        if pid == 0:
            return
        with os.fdopen(self._read, "rb") as file:
            said = file.read()
        if late:
            self.answer = Answer(LATE, "no answer in time", seconds)
        elif said:
            self.answer = Answer(*pickle.loads(said), seconds)
        else:
            self.answer = Answer(KILLED, f"status {status}", seconds)


def _be_born(order, write: int) -> None:
    from chaos.loader import carry_out

    try:
        said = pickle.dumps(carry_out(order))
        os.write(write, said)
    finally:
        os._exit(0)


def serve() -> None:
    """Take orders on stdin and answer them on stdout until there are no more."""
    from chaos.loader import warm_up

    orders_in, answers_out = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what loaders print is no answer
    warm_up()
    while True:
        try:
            orders, bound = pickle.load(orders_in)
        except EOFError:
            return
        pickle.dump(_all_answers(orders, bound), answers_out)
        answers_out.flush()


def _all_answers(orders: list, bound: float) -> list[Answer]:
    begun = time.monotonic()
    starts = [order.loader.start if order.loader else 0.0 for order in orders]
    children: dict[int, _Child] = {}
    while len(children) < len(orders) or any(child.answer is None for child in children.values()):
        for place, start in enumerate(starts):
            if place not in children and time.monotonic() - begun >= start:
                children[place] = _Child(orders[place], bound)
        for child in children.values():
            if child.answer is None:
                child.look()
        time.sleep(0.002)
    return [children[place].answer for place in range(len(orders))]
