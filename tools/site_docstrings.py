"""Docstrings as the site's reference shows them: examples as code, names in double backticks as code."""

from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Called for every object of the package as it is read."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section that griffe knows under its plural alone."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("Example:\n", "Examples:\n").replace("``", "`")
