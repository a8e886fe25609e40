"""What the gates of a network say of labelled pictures: the paper's analysis (section 7.2) for any network."""

from senet_zoo.analysis.excitation.excite import Excitations as Excitations
from senet_zoo.analysis.excitation.excite import excite as excite
from senet_zoo.analysis.excitation.report import Report as Report
from senet_zoo.analysis.excitation.report import choose_classes as choose_classes
from senet_zoo.analysis.excitation.report import name_classes as name_classes
from senet_zoo.analysis.excitation.report_files import check_folder as check_folder
from senet_zoo.analysis.excitation.report_files import write_report as write_report
from senet_zoo.analysis.excitation.statistics import GateExcitations as GateExcitations
from senet_zoo.analysis.excitation.statistics import Measures as Measures
from senet_zoo.analysis.excitation.statistics import describe_gate as describe_gate
from senet_zoo.analysis.excitation.statistics import describe_network as describe_network
from senet_zoo.analysis.excitation.statistics import measures as measures
