"""Smaller networks by what their gates say: gates that fold into the layers beside them, channels that go from sums."""

from senet_zoo.analysis.pruning.activity import GateActivity, OfStages, Selection, SpreadUnder, observe
from senet_zoo.analysis.pruning.channels import cut_channels, remove_channels
from senet_zoo.analysis.pruning.gates import drop_gates, fold_gates
from senet_zoo.analysis.pruning.prune import DropGates, Pruning, RemoveChannels, prune, set_apart
from senet_zoo.analysis.pruning.report import Figures, GateFate, Latency, MapFate, PruneReport

__all__ = [
    "DropGates",
    "Figures",
    "GateActivity",
    "GateFate",
    "Latency",
    "MapFate",
    "OfStages",
    "PruneReport",
    "Pruning",
    "RemoveChannels",
    "Selection",
    "SpreadUnder",
    "cut_channels",
    "drop_gates",
    "fold_gates",
    "observe",
    "prune",
    "remove_channels",
    "set_apart",
]
