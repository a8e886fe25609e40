"""Segmenters on the zoo's networks: torchvision's FCN and DeepLab v3, and a Unet, trained on pictures with masks.

>>> from senet_zoo.segmentation import fcn
>>> segmenter = fcn("se_resnet18", num_classes=3, output_stride=16)
"""

from senet_zoo.segmentation.config import RECIPES, SegmentationConfig, SegmentationRecipe
from senet_zoo.segmentation.design import PixelMeasurement, Segmenter, SegmenterConfig
from senet_zoo.segmentation.evaluation import PixelScores, evaluate_segmenter
from senet_zoo.segmentation.layouts import MaskedPictures, read_masks
from senet_zoo.segmentation.models import LastMaps, UnetSegmenter, deeplabv3, fcn, unet
from senet_zoo.segmentation.saved_folder import from_pretrained, read_config, save_pretrained
from senet_zoo.segmentation.training import SegmentationResult, fit_segmenter, plan_segmenter

__all__ = [
    "RECIPES",
    "LastMaps",
    "MaskedPictures",
    "PixelMeasurement",
    "PixelScores",
    "SegmentationConfig",
    "SegmentationRecipe",
    "SegmentationResult",
    "Segmenter",
    "SegmenterConfig",
    "UnetSegmenter",
    "deeplabv3",
    "evaluate_segmenter",
    "fcn",
    "fit_segmenter",
    "from_pretrained",
    "plan_segmenter",
    "read_config",
    "read_masks",
    "save_pretrained",
    "unet",
]
