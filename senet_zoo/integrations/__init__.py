"""The zoo inside other libraries: a file a client, each with one call after which it finds the networks by name.

A client is imported when its call needs it, and weights always come through the zoo's own loader, hashes checked.
"""

from importlib import import_module
from typing import Any

from senet_zoo.errors import UsageError


def import_client(module: str, package: str) -> Any:
    """The module of another library.

    Args:
        module: what Python imports.
        package: what pip installs.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(f"{module} could not be imported ({error}): pip install {package}") from error
