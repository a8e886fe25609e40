"""From a trained network to answers: pictures in, classes and probabilities out."""

from senet_zoo.inference.predict import Failure, Prediction, predict
from senet_zoo.pictures import find_pictures, read_picture

__all__ = ["Failure", "Prediction", "find_pictures", "predict", "read_picture"]
