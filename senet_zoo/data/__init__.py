"""Pictures and labelled pictures, wherever they lie; importing it needs no torch."""

from senet_zoo.data.datasets import open_data, train_and_val
from senet_zoo.data.labelled import Labelled, subset

__all__ = ["Labelled", "open_data", "subset", "train_and_val"]
