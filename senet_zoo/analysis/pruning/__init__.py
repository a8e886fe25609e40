"""Gates that a network can do without: their means fold into the layers around them."""

from senet_zoo.analysis.pruning.activity import GateActivity, observe
from senet_zoo.analysis.pruning.drop import drop_gates, fold_gates
from senet_zoo.analysis.pruning.latency import Latency
from senet_zoo.analysis.pruning.prune import prune, set_apart
from senet_zoo.analysis.pruning.report import Figures, GateFate, PruneReport
from senet_zoo.analysis.pruning.selection import OfStages, Selection, SpreadUnder

__all__ = [
    "Figures",
    "GateActivity",
    "GateFate",
    "Latency",
    "OfStages",
    "PruneReport",
    "Selection",
    "SpreadUnder",
    "drop_gates",
    "fold_gates",
    "observe",
    "prune",
    "set_apart",
]
