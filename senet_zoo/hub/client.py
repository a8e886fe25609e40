"""What the hub client brings along, imported when first needed."""

import importlib
from typing import Any


def http_library() -> Any:
    """The HTTP library of the installed huggingface_hub: httpx under 1.x, httpx2 under 2.x, of one interface."""
    return utilities().httpx


def utilities() -> Any:
    """The client's own helpers: its session, headers and rules of names."""
    return importlib.import_module("huggingface_hub.utils")


def progress_bar(total: int | None, what: str) -> Any:
    """A bar over ``total`` bytes, shown on a terminal only, that heeds HF_HUB_DISABLE_PROGRESS_BARS."""
    bar = utilities().tqdm
    return bar(total=total, unit="B", unit_scale=True, desc=what, disable=None)
