"""What a network scores on labelled pictures."""

from senet_zoo.training.evaluation.evaluate import evaluate
from senet_zoo.training.evaluation.matching import Logits, logits_of
from senet_zoo.training.evaluation.protocols import CentreCrop, Combine, Crops, MultiScale, TenCrop, protocol
from senet_zoo.training.evaluation.result import ClassResult, Evaluation, Unreadable

__all__ = [
    "CentreCrop",
    "ClassResult",
    "Combine",
    "Crops",
    "Evaluation",
    "Logits",
    "MultiScale",
    "TenCrop",
    "Unreadable",
    "evaluate",
    "logits_of",
    "protocol",
]
