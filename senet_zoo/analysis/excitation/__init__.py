"""What the gates of a network say of labelled pictures: the paper's analysis (section 7.2) of any of them."""

from senet_zoo.analysis.excitation.classes import choose_classes, name_classes
from senet_zoo.analysis.excitation.excite import Excitations, GateExcitations, excite, first_of_each
from senet_zoo.analysis.excitation.measures import Measures, in_words, measures, overview
from senet_zoo.analysis.excitation.report import Report, check_folder, write_report

__all__ = [
    "Excitations",
    "GateExcitations",
    "Measures",
    "Report",
    "check_folder",
    "choose_classes",
    "excite",
    "first_of_each",
    "in_words",
    "measures",
    "name_classes",
    "overview",
    "write_report",
]
