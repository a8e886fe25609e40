"""From a trained network to answers: pictures in, classes and probabilities out."""

from senet_zoo.inference.predict import predict
from senet_zoo.pictures import find_pictures, read_picture
from senet_zoo.prediction import Failure, Prediction

__all__ = ["Failure", "Prediction", "find_pictures", "predict", "read_picture"]
