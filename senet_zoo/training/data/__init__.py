"""Labelled pictures to train on and to measure on, wherever they lie."""

from senet_zoo.training.data.labelled import Labelled, split_off, subset, with_classes
from senet_zoo.training.data.opening import open_data, train_and_val
from senet_zoo.training.data.source import Part

__all__ = ["Labelled", "Part", "open_data", "split_off", "subset", "train_and_val", "with_classes"]
