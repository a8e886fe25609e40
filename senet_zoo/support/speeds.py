"""Speeds that `senet-zoo benchmark` measured on this machine, kept so that `senet-zoo list` can show them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from senet_zoo.support.files import atomic_file
from senet_zoo.support.settings import zoo_cache

FILE = "speeds.json"
MOST_BYTES = 2**20


def known_speeds(machine: Mapping[str, str | int]) -> dict[str, float]:
    """Pictures a second by model: one at once, at the model's own size, the fastest way that was measured.

    Args:
        machine: as `senet_zoo.support.machine.describe_machine` describes it.
    """
    found = _read().get(_key(machine))
    speeds = {} if not isinstance(found, dict) else {name: each.get("rate") for name, each in found.items()}
    return {name: float(rate) for name, rate in speeds.items() if isinstance(rate, int | float) and 0.0 < rate < 1e9}


def keep_speeds(machine: Mapping[str, str | int], speeds: Mapping[str, float]) -> None:
    """Keep what was measured, in place of what was known of these models.

    Raises:
        OSError: the cache cannot be written.
    """
    document = _read()
    measured = {"date": datetime.now(UTC).date().isoformat(), "machine": {name: machine[name] for name in machine}}
    known = document.get(_key(machine))
    document[_key(machine)] = {
        **(known if isinstance(known, dict) else {}),
        **{name: {"rate": rate, **measured} for name, rate in speeds.items()},
    }
    with atomic_file(zoo_cache() / FILE) as file:
        file.write((json.dumps(document, indent=1, default=str) + "\n").encode())


def _key(machine: Mapping[str, str | int]) -> str:
    """Machines whose speeds can be told from one another; versions and threads stand beside each figure."""
    return f"{machine['processor']}, {machine['device']}"


def _read() -> dict[str, Any]:
    try:
        with (zoo_cache() / FILE).open("rb") as file:
            found = json.loads(file.read(MOST_BYTES))
    except (OSError, ValueError):
        return {}
    return {key: value for key, value in found.items() if isinstance(value, dict)} if isinstance(found, dict) else {}
