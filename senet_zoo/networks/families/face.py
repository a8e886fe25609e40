"""Face networks: improved residual units, with gates (IR-SE) and without (IR); 512 features of a face.

=======  ================  ================  ================
output   IR-SE-50          IR-SE-100         IR-SE-152
=======  ================  ================  ================
112x112  3x3, 64           3x3, 64           3x3, 64
56x56    3 of 64           3 of 64           3 of 64
28x28    4 of 128          13 of 128         8 of 128
14x14    14 of 256         30 of 256         36 of 256
7x7      3 of 512          3 of 512          3 of 512
1x1      512               512               512
=======  ================  ================  ================

Each row of units halves the map in its first one. r = 16, and the gates have no biases. There is no classifier: a
network is trained with a loss over its features (ArcFace), and compares two faces by their cosine. ``num_classes=N``
adds a linear one.

Weights: TreB1eN's ``model_ir_se50.pth`` (99.52 % on LFW) converts to ``ir_se50``, as do others of that code. None has a
row here: its code is under the MIT licence, but it learnt from MS-Celeb-1M, faces collected from the web for
non-commercial research, which their publisher has withdrawn.

Differs: TreB1eN's code divides the features by their length, which changes no cosine; here that is left to whoever
compares: ``torch.nn.functional.normalize(features)``.

Source: Deng et al., ArcFace, arXiv:1801.07698; https://github.com/TreB1eN/InsightFace_Pytorch, model.py.
"""

from senet_zoo.networks.blocks.face import Embedding, ImprovedResidual, PReLUStem
from senet_zoo.networks.blocks.pools import NoPool
from senet_zoo.networks.families.family import Depths, Family
from senet_zoo.networks.specs import SE, NetworkSpec, StageSpec

FAMILY = Family(published_as=("insightface",))
_GATE = SE(bias=False)


@FAMILY.register("ir_se50", "ir50", _GATE)
def ir50(se: SE | None) -> NetworkSpec:
    """IR-50, for faces of 112x112."""
    return _network((3, 4, 14, 3), se)


@FAMILY.register("ir_se100", "ir100", _GATE)
def ir100(se: SE | None) -> NetworkSpec:
    """IR-100, for faces of 112x112."""
    return _network((3, 13, 30, 3), se)


@FAMILY.register("ir_se152", "ir152", _GATE)
def ir152(se: SE | None) -> NetworkSpec:
    """IR-152, for faces of 112x112."""
    return _network((3, 8, 36, 3), se)


def _network(depths: Depths, se: SE | None) -> NetworkSpec:
    stages = tuple(
        StageSpec((ImprovedResidual(width, stride=2), *(ImprovedResidual(width),) * (depth - 1)))
        for depth, width in zip(depths, (64, 128, 256, 512), strict=True)
    )
    head = Embedding(grid=7, width=512)
    return NetworkSpec(PReLUStem(64), NoPool(), stages, se, head, dropout=0.6, num_classes=0, input_size=112)
