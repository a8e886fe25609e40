"""Face networks: IR and IR-SE of InsightFace_Pytorch (``body.7.res_layer``), VGGFace2's (``conv2_1_1x1_reduce_bn``).

Source: https://github.com/TreB1eN/InsightFace_Pytorch, model.py, whose names face.evoLVe and the encoders of StyleGAN
have too; https://github.com/ox-vgg/vgg_face2, README.md, and the PyTorch files that its authors' converter wrote of it.
"""

import re
from bisect import bisect
from collections.abc import Collection, Mapping
from functools import partial
from itertools import accumulate

from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.formats.dialects.dialect import Dialect, Names, Rule, Shape, backward, forward

_UNIT, _OURS = "unit_{s}_{b}", "stages.{s}.{b}"
_INSIGHTFACE_RULES = [
    Rule("input_layer.0.weight", "stem.0.conv.weight"),
    Rule("input_layer.1.{bn}", "stem.0.bn.{bn}"),
    Rule("input_layer.2.weight", "stem.0.act.weight"),
    Rule(f"{_UNIT}.res_layer.0.{{bn}}", f"{_OURS}.branch.norm1.{{bn}}"),
    Rule(f"{_UNIT}.res_layer.1.weight", f"{_OURS}.branch.conv1.weight"),
    Rule(f"{_UNIT}.res_layer.2.weight", f"{_OURS}.branch.act1.weight"),
    Rule(f"{_UNIT}.res_layer.3.weight", f"{_OURS}.branch.conv2.conv.weight"),
    Rule(f"{_UNIT}.res_layer.4.{{bn}}", f"{_OURS}.branch.conv2.bn.{{bn}}"),
    Rule(f"{_UNIT}.res_layer.5.fc{{n}}.weight", f"{_OURS}.se.fc{{n}}.weight"),
    Rule(f"{_UNIT}.shortcut_layer.0.weight", f"{_OURS}.shortcut.conv.weight"),
    Rule(f"{_UNIT}.shortcut_layer.1.{{bn}}", f"{_OURS}.shortcut.bn.{{bn}}"),
    Rule("output_layer.0.{bn}", "head.bn.{bn}"),
    Rule("output_layer.3.{wb}", "head.linear.{wb}"),
    Rule("output_layer.4.{bn}", "head.norm.{bn}"),
]
_BODY = re.compile(r"body\.(0|[1-9]\d{0,2})\.")
_STAGED = re.compile(r"unit_(\d+)_(\d+)\.")


def _from_insightface(keys: Collection[str]) -> Names:
    # All units stand in one row; every stage but the first begins with one that projects its shortcut.
    projecting = (re.fullmatch(r"body\.([1-9]\d{0,2})\.shortcut_layer\.0\.weight", key) for key in keys)
    starts = [0, *sorted(int(match[1]) for match in projecting if match)]
    staged = {_with_stage(key, starts): key for key in keys}
    return {staged[name]: native for name, native in forward(_INSIGHTFACE_RULES, staged).items()}


def _with_stage(key: str, starts: list[int]) -> str:
    unit = _BODY.match(key)
    if unit is None:
        return key
    stage = bisect(starts, int(unit[1])) - 1
    return f"unit_{stage}_{int(unit[1]) - starts[stage]}.{key[unit.end() :]}"


def _to_insightface(keys: Collection[str], pools: Collection[str]) -> Names:
    units = {(int(match[1]), int(match[2])) for key in keys if (match := re.match(r"stages\.(\d+)\.(\d+)\.", key))}
    depths = [sum(stage == number for stage, _ in units) for number in range(1 + max((s for s, _ in units), default=0))]
    starts = [0, *accumulate(depths)]
    return {
        native: _STAGED.sub(lambda unit: f"body.{starts[int(unit[1])] + int(unit[2])}.", name)
        for native, name in backward(_INSIGHTFACE_RULES, keys).items()
    }


def _pair(theirs: str, ours: str) -> list[Rule]:
    return [Rule(f"{theirs}.weight", f"{ours}.conv.weight"), Rule(f"{theirs}_bn.{{bn}}", f"{ours}.bn.{{bn}}")]


_PLACE = "conv{s+2}_{b+1}"
_VGGFACE2_RULES = [
    *_pair("conv1_7x7_s2", "stem.0"),
    *_pair(f"{_PLACE}_1x1_reduce", f"{_OURS}.branch.conv1"),
    *_pair(f"{_PLACE}_3x3", f"{_OURS}.branch.conv2"),
    *_pair(f"{_PLACE}_1x1_increase", f"{_OURS}.branch.conv3"),
    *_pair(f"{_PLACE}_1x1_proj", f"{_OURS}.shortcut"),
    Rule(f"{_PLACE}_1x1_down.{{wb}}", f"{_OURS}.se.fc1.{{wb}}"),
    Rule(f"{_PLACE}_1x1_up.{{wb}}", f"{_OURS}.se.fc2.{{wb}}"),
    Rule("classifier.{wb}", "classifier.{wb}"),
]


def _of_faces(shapes: Mapping[str, Shape]) -> Preprocessing | None:
    """Pixels of RGB from 0 to 255 minus the mean of faces, in values from 0 to 1; the names are ImageNet's, too."""
    if shapes.get("classifier.weight", ())[:1] == (1000,):
        return None
    mean = (131.0912 / 255, 103.8827 / 255, 91.4953 / 255)
    return Preprocessing(size=224, resize=256, mean=mean, std=(1 / 255, 1 / 255, 1 / 255))


INSIGHTFACE = Dialect(
    "insightface",
    "InsightFace_Pytorch and face.evoLVe, IR and IR-SE",
    _from_insightface,
    _to_insightface,
    preprocessing=lambda shapes: Preprocessing(size=112, resize=112, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
    caution="InsightFace_Pytorch trained on faces whose channels stood in the order BGR, and a file does not say "
    "whether it is of that code; pictures go in as RGB: if it is, exchange red and blue, or flip the first filters: "
    "stem.0.conv.weight.flip(1)",
)
VGGFACE2 = Dialect(
    "vggface2",
    "VGGFace2 senet50 and resnet50, *_dag",
    partial(forward, _VGGFACE2_RULES),
    preprocessing=_of_faces,
)
