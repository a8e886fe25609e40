"""Xception (Chollet, arXiv:1610.02357, figure 5).

=======  ======================================================  =================
output   layers                                                  flow
=======  ======================================================  =================
149x149  3x3, 32, stride 2, unpadded                             entry
147x147  3x3, 64, unpadded                                       entry
74x74    128, 128; max pool                                      entry
37x37    256, 256; max pool                                      entry
19x19    728, 728; max pool                                      entry
19x19    8 of 728, 728, 728                                      middle
10x10    728, 1024; max pool                                     exit
10x10    1536; 2048, without shortcut                            exit
1x1      mean, classifier                                        exit
=======  ======================================================  =================

Each number is the width of a separable convolution; those of a row are a unit with a shortcut around them.

Differs: batch norms add 1e-5 to the variance, as in timm's ``legacy_xception`` and pytorchcv's ``xception``, where
Keras' add 1e-3, and max pools are padded symmetrically. The gate is not in the paper; its place is inferred, see
`senet_zoo.networks.blocks.xception.XceptionUnit`.
"""

from senet_zoo.networks.blocks.layer_specs import Conv, Ungated, chain
from senet_zoo.networks.blocks.pools import NoPool
from senet_zoo.networks.blocks.xception import Separable, XceptionUnit
from senet_zoo.networks.families.family import Family
from senet_zoo.networks.specs import SE, NetworkSpec, StageSpec

FAMILY = Family(published_as=("timm_xception", "pytorchcv"))


@FAMILY.register("se_xception", "xception")
def xception(se: SE | None) -> NetworkSpec:
    """Xception."""
    stages = (
        StageSpec((XceptionUnit((128, 128), stride=2, opens=True),)),
        StageSpec((XceptionUnit((256, 256), stride=2),)),
        StageSpec((XceptionUnit((728, 728), stride=2), *(XceptionUnit((728, 728, 728)),) * 8)),
        StageSpec((XceptionUnit((728, 1024), stride=2), Ungated(chain(Separable(1536), Separable(2048))))),
    )
    stem = chain(Conv(32, 3, stride=2, padding=0), Conv(64, 3, padding=0))
    return NetworkSpec(stem, NoPool(), stages, se, input_size=299)
