"""Smaller networks by what their gates say: gates are folded into the layers beside them, or channels are removed."""

from senet_zoo.analysis.pruning.activity import GateActivity as GateActivity
from senet_zoo.analysis.pruning.activity import GateSelection as GateSelection
from senet_zoo.analysis.pruning.activity import OfStages as OfStages
from senet_zoo.analysis.pruning.activity import SpreadUnder as SpreadUnder
from senet_zoo.analysis.pruning.activity import observe as observe
from senet_zoo.analysis.pruning.channels import cut_channels as cut_channels
from senet_zoo.analysis.pruning.channels import remove_channels as remove_channels
from senet_zoo.analysis.pruning.gates import drop_gates as drop_gates
from senet_zoo.analysis.pruning.gates import fold_gates as fold_gates
from senet_zoo.analysis.pruning.prune import DropGates as DropGates
from senet_zoo.analysis.pruning.prune import GateChange as GateChange
from senet_zoo.analysis.pruning.prune import Latency as Latency
from senet_zoo.analysis.pruning.prune import MapChange as MapChange
from senet_zoo.analysis.pruning.prune import NetworkFigures as NetworkFigures
from senet_zoo.analysis.pruning.prune import PruneReport as PruneReport
from senet_zoo.analysis.pruning.prune import Pruning as Pruning
from senet_zoo.analysis.pruning.prune import RemoveChannels as RemoveChannels
from senet_zoo.analysis.pruning.prune import calibration_split as calibration_split
from senet_zoo.analysis.pruning.prune import prune as prune
