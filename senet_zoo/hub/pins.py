"""What the manifest does not know and a hub or a release once answered: remembered, so that later loads are pinned."""

import hashlib
import json
import logging
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from senet_zoo.hub import settings
from senet_zoo.hub.atomic import atomic_file
from senet_zoo.hub.sources import COMMIT, SHA256

_log = logging.getLogger("senet_zoo")


@dataclass(frozen=True)
class Pin:
    """The exact file behind a name.

    Args:
        what: the name, for whoever reads the cache.
        revision: commit of 40 hex digits; None for a release file.
        sha256: of the safetensors file.
        size: of the safetensors file, in bytes.
    """

    what: str
    revision: str | None
    sha256: str
    size: int


def recall(what: str) -> Pin | None:
    """What was remembered of ``what``; None where that is nothing, or unreadable."""
    try:
        data = json.loads(_file(what).read_text())
        pin = Pin(what=data["what"], revision=data["revision"], sha256=data["sha256"], size=data["size"])
        sound = (
            pin.what == what
            and (pin.revision is None or re.fullmatch(COMMIT, pin.revision))
            and re.fullmatch(SHA256, pin.sha256)
            and type(pin.size) is int
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pin if sound else None


def remember(pin: Pin) -> None:
    """Keep ``pin`` for later loads. A cache that cannot be written is no failure: the next load asks again."""
    try:
        with atomic_file(_file(pin.what)) as file:
            file.write(json.dumps(asdict(pin), sort_keys=True).encode())
    except OSError as e:
        _log.info("%s is not remembered: %s", pin.what, e)


def _file(what: str) -> Path:
    return settings.zoo_cache() / "pins" / f"{hashlib.sha256(what.encode()).hexdigest()[:32]}.json"
