"""What the gates of a network say of labelled pictures: the paper's analysis (section 7.2) of any of them."""

from senet_zoo.analysis.excitation.classes import choose_classes, name_classes
from senet_zoo.analysis.excitation.excite import Excitations, GateExcitations, excite
from senet_zoo.analysis.excitation.measures import Measures, measures
from senet_zoo.analysis.excitation.pictures import first_of_each
from senet_zoo.analysis.excitation.report import Report, check_folder, write_report
from senet_zoo.analysis.excitation.words import in_words, overview

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
