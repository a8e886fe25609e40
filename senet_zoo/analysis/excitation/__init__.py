"""What the gates of a network say of labelled pictures: the paper's analysis (section 7.2) for any network."""

from senet_zoo.analysis.excitation.classes import choose_classes, name_classes
from senet_zoo.analysis.excitation.excite import Excitations, GateExcitations, excite
from senet_zoo.analysis.excitation.measures import Measures, describe_gate, describe_network, measures
from senet_zoo.analysis.excitation.report import Report
from senet_zoo.analysis.excitation.report_files import check_folder, write_report

__all__ = [
    "Excitations",
    "GateExcitations",
    "Measures",
    "Report",
    "check_folder",
    "choose_classes",
    "describe_gate",
    "describe_network",
    "excite",
    "measures",
    "name_classes",
    "write_report",
]
