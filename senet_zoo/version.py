"""The version of this package; it needs nothing, so that light parts can name it."""

__version__ = "0.2.0"
