"""Evaluation: what a network scores on labelled pictures."""

from senet_zoo.evaluation.evaluate import evaluate as evaluate
from senet_zoo.evaluation.label_matching import LogitNames as LogitNames
from senet_zoo.evaluation.label_matching import logits_of as logits_of
from senet_zoo.evaluation.metrics import ClassResult as ClassResult
from senet_zoo.evaluation.metrics import Evaluation as Evaluation
from senet_zoo.evaluation.metrics import Unreadable as Unreadable
from senet_zoo.evaluation.protocols import CentreCrop as CentreCrop
from senet_zoo.evaluation.protocols import Combine as Combine
from senet_zoo.evaluation.protocols import Crops as Crops
from senet_zoo.evaluation.protocols import Mirrored as Mirrored
from senet_zoo.evaluation.protocols import MultiScale as MultiScale
from senet_zoo.evaluation.protocols import TenCrop as TenCrop
from senet_zoo.evaluation.protocols import protocol as protocol
