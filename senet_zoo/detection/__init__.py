"""Detectors on the zoo's networks: torchvision's Faster R-CNN, RetinaNet and Mask R-CNN, trained on COCO's format.

>>> from senet_zoo.detection import Design, faster_rcnn
>>> detector = faster_rcnn("se_resnet18", num_classes=4, design=Design(side=64, longest=64, channels=8))
"""

from senet_zoo.detection.coco import CocoData, read_coco
from senet_zoo.detection.config import RECIPES, DetectionConfig, DetectionRecipe
from senet_zoo.detection.design import Design, DetectorConfig, Kind, Measurement
from senet_zoo.detection.evaluation import Scores, evaluate_detector
from senet_zoo.detection.models import faster_rcnn, mask_rcnn, retinanet
from senet_zoo.detection.pyramid import Pyramid
from senet_zoo.detection.saved_folder import from_pretrained, read_config, save_pretrained
from senet_zoo.detection.training import DetectionResult, fit_detector, plan_detector

__all__ = [
    "RECIPES",
    "CocoData",
    "Design",
    "DetectionConfig",
    "DetectionRecipe",
    "DetectionResult",
    "DetectorConfig",
    "Kind",
    "Measurement",
    "Pyramid",
    "Scores",
    "evaluate_detector",
    "faster_rcnn",
    "fit_detector",
    "from_pretrained",
    "mask_rcnn",
    "plan_detector",
    "read_coco",
    "read_config",
    "retinanet",
    "save_pretrained",
]
