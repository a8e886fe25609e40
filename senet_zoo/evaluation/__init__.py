"""What a network scores on labelled pictures."""

from senet_zoo.evaluation.evaluate import evaluate
from senet_zoo.evaluation.label_matching import LogitNames, logits_of
from senet_zoo.evaluation.metrics import ClassResult, Evaluation, Unreadable
from senet_zoo.evaluation.protocols import CentreCrop, Combine, Crops, MultiScale, TenCrop, protocol

__all__ = [
    "CentreCrop",
    "ClassResult",
    "Combine",
    "Crops",
    "Evaluation",
    "LogitNames",
    "MultiScale",
    "TenCrop",
    "Unreadable",
    "evaluate",
    "logits_of",
    "protocol",
]
