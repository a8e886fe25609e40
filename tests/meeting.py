"""Processes that work together in a test: they meet at a store that the test keeps, so that no port is guessed."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass

from torch.distributed import TCPStore

# Printed last by a process that a thread of gloo would outlive: such a thread may abort it while it ends.
LEFT_BEHIND = """
import atexit, pathlib, sys

def left_behind():
    names = [path.read_text().strip() for path in pathlib.Path("/proc/self/task").glob("*/comm")]
    print(*(f"left behind: {name}" for name in names if "gloo" in name), file=sys.stderr)

atexit.register(left_behind)
"""


@dataclass(frozen=True)
class Ended:
    """A process after its end: its status, what it printed, what it complained of."""

    status: int
    said: str
    complaint: str


def run_together(code: str, *words: str, timeout: float = 300) -> list[Ended]:
    """Two processes that run ``code`` with ``words``, as torchrun would start them, each to its own end.

    Every one of them is watched for threads that outlive its process group.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    meeting = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "TORCHELASTIC_RESTART_COUNT": "0",
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", LEFT_BEHIND + code, *words],
            env=os.environ | meeting | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    try:
        outputs = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    ended = [Ended(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]
    for each in ended:
        assert each.status != -signal.SIGABRT, each
        assert "left behind" not in each.complaint, each
    return ended
