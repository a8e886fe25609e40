"""Gates for networks that somebody else wrote: put in, listed, taken out."""

from senet_zoo.insertion.insert import gates, insert_se, remove_se

__all__ = ["gates", "insert_se", "remove_se"]
