"""The version of this package; it needs nothing, so that light parts can name it."""

__version__ = "0.1.0"
