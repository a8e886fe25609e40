"""Smaller networks by what their gates say: gates are folded into the layers beside them, or channels are removed."""

from senet_zoo.analysis.pruning.activity import GateActivity, OfStages, Selection, SpreadUnder, observe
from senet_zoo.analysis.pruning.channels import cut_channels, remove_channels
from senet_zoo.analysis.pruning.gates import drop_gates, fold_gates
from senet_zoo.analysis.pruning.prune import DropGates, Pruning, RemoveChannels, calibration_split, prune
from senet_zoo.analysis.pruning.report import GateChange, Latency, MapChange, NetworkFigures, PruneReport

__all__ = [
    "DropGates",
    "GateActivity",
    "GateChange",
    "Latency",
    "MapChange",
    "NetworkFigures",
    "OfStages",
    "PruneReport",
    "Pruning",
    "RemoveChannels",
    "Selection",
    "SpreadUnder",
    "calibration_split",
    "cut_channels",
    "drop_gates",
    "fold_gates",
    "observe",
    "prune",
    "remove_channels",
]
