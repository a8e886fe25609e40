"""Gates for networks that somebody else wrote: put in, and taken out."""

from senet_zoo.insertion.insert import insert_se, remove_se

__all__ = ["insert_se", "remove_se"]
