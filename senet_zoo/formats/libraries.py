"""Libraries whose checkpoints are read, and those whose names are written: the one list of help, errors and pages."""

from collections.abc import Mapping
from types import MappingProxyType

READ: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "timm": (
            *("timm_resnet", "timm_mnasnet", "timm_vgg", "timm_dpn", "timm_xception", "timm_byobnet"),
            *("timm_cspnet", "timm_inception_v4", "timm_inception_resnet"),
        ),
        "torchvision": ("torchvision_chain", "torchvision_densenet", "torchvision_inception"),
        "Cadene": ("cadene",),
        "segmentation_models.pytorch": ("cadene",),
        "pytorchcv": ("pytorchcv",),
        "transformers": ("transformers",),
        "MONAI": ("monai",),
        "mmpretrain": ("mmpretrain",),
        "moskomule": ("moskomule",),
        "NVIDIA": ("nvidia",),
        "InsightFace_Pytorch": ("insightface",),
        "VGGFace2": ("vggface2",),
        "PaddleClas (.pdparams)": ("paddle",),
        "GluonCV (.params)": ("gluon", "gluon_senet"),
        "qubvel's Keras networks (.h5)": ("keras_seresnet", "keras_seresnext"),
        "the authors' own Caffe (.caffemodel)": ("caffe",),
    }
)
"""What each library is called, and the dialects of its names."""

WRITTEN = ("timm", "cadene", "monai", "insightface", "torchvision")
"""What ``to=`` takes; `senet_zoo.weights.libraries.TARGETS` says which networks of each."""
