"""Checkpoints of libraries that cannot share an environment with this one: our logits are those of their own forward.

Each library is given by an option, and is skipped without it. An interpreter that has the library:

    --foreign keras=PYTHON        tensorflow-cpu==2.15.1, image-classifiers==1.0.0, h5py
    --foreign gluon=PYTHON        mxnet==1.9.1, gluoncv==0.10.5.post0
    --foreign paddle=PYTHON       paddlepaddle==2.6.2, paddleclas==2.6.0
    --foreign mmpretrain=PYTHON   mmpretrain==1.2.0, mmcv-lite==2.2.0

or the folder of a repository, whose code this interpreter runs:

    --foreign insightface=FOLDER  github.com/TreB1eN/InsightFace_Pytorch
    --foreign moskomule=FOLDER    github.com/moskomule/senet.pytorch
    --foreign nvidia=FOLDER       github.com/NVIDIA/DeepLearningExamples, PyTorch/Classification/ConvNets
    --foreign vggface2=FOLDER     github.com/jisung0920/EyeCon-Server
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

import senet_zoo
from senet_zoo import SE
from senet_zoo.weights.convert import load_checkpoint

KERAS = """
import sys
import numpy as np
import tensorflow as tf
from classification_models.tfkeras import Classifiers

name, folder = sys.argv[1:]
draw = np.random.default_rng(0)
model = Classifiers.get(name)[0]((224, 224, 3), weights=None, classes=1000)
for layer in model.layers:
    values = []
    for variable in layer.weights:
        if "gamma" in variable.name or "variance" in variable.name:
            values.append(draw.uniform(0.5, 1.5, variable.shape))
        else:
            fan_in = np.prod(variable.shape[:-1]) if "kernel" in variable.name else 25
            values.append(draw.normal(0, fan_in**-0.5, variable.shape))
    layer.set_weights(values)
model.save_weights(f"{folder}/net.h5")
x = draw.normal(0, 1, (2, 224, 224, 3)).astype("float32")
np.savez(f"{folder}/net.npz", x=x.transpose(0, 3, 1, 2), log=np.log(model.predict(x, verbose=0)))
"""

GLUON = """
import sys
import numpy as np
np.bool = bool  # this MXNet still says so
import mxnet as mx
from gluoncv.model_zoo import get_model

name, folder = sys.argv[1:]
draw = np.random.default_rng(0)
model = get_model(name, pretrained=False)
model.initialize()
x = draw.normal(0, 1, (2, 3, 224, 224)).astype("float32")
model(mx.nd.array(x))
for key, parameter in model.collect_params().items():
    if key.endswith(("gamma", "running_var")):
        value = draw.uniform(0.5, 1.5, parameter.shape)
    else:
        fan_in = np.prod(parameter.shape[1:]) if key.endswith("weight") else 25
        value = draw.normal(0, fan_in**-0.5, parameter.shape)
    parameter.set_data(mx.nd.array(value))
model.save_parameters(f"{folder}/net.params")
logits = model(mx.nd.array(x)).asnumpy()
np.savez(f"{folder}/net.npz", x=x, log=logits)
"""

PADDLE = """
import importlib.util
import sys
import types
from pathlib import Path
import numpy as np
import paddle

name, folder = sys.argv[1:]
zoo = Path(importlib.util.find_spec("paddleclas").origin).parent / "ppcls/arch/backbone/model_zoo"
saving = "load_dygraph_pretrain load_dygraph_pretrain_from_url".split()
for part in ("a", "a.utils", "a.utils.save_load", "a.arch", "a.arch.backbone", "a.arch.backbone.zoo"):
    sys.modules[part] = types.ModuleType(part)  # importing the whole package crashes
    vars(sys.modules[part]).update(dict.fromkeys(saving), __path__=[])
for file in ("se_resnet_vd", "se_resnext", "se_resnext_vd"):
    spec = importlib.util.spec_from_file_location(f"a.arch.backbone.zoo.{file}", zoo / f"{file}.py")
    theirs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(theirs)
    if hasattr(theirs, name):
        model = getattr(theirs, name)()
draw = np.random.default_rng(0)
model.eval()
for key, parameter in model.state_dict().items():
    shape = parameter.shape
    if key.endswith("_variance") or (key.endswith(".weight") and len(shape) == 1):
        value = draw.uniform(0.5, 1.5, shape)
    else:
        fan_in = 25 if len(shape) == 1 else shape[0] if len(shape) == 2 else np.prod(shape[1:])
        value = draw.normal(0, fan_in**-0.5, shape)
    parameter.set_value(paddle.to_tensor(value.astype("float32")))
paddle.save(model.state_dict(), f"{folder}/net.pdparams")
x = draw.normal(0, 1, (2, 3, 224, 224)).astype("float32")
np.savez(f"{folder}/net.npz", x=x, log=model(paddle.to_tensor(x)).numpy())
"""

PYTORCH = """
import sys
import numpy as np
import torch
from torch import nn

name, folder = sys.argv[1:]
{make}
model.eval()
torch.manual_seed(0)
for part in model.modules():
    if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
        part.weight.data.uniform_(0.1, 0.5)  # so that a deep network keeps its scale, and its gates stay open
        part.running_var.uniform_(0.5, 1.5)
        part.bias.data.normal_(0, 0.2)
        part.running_mean.normal_(0, 0.2)
    elif isinstance(part, nn.PReLU):
        part.weight.data.uniform_(0.1, 0.4)
torch.save({{"state_dict": model.state_dict(), "meta": {{}}}}, f"{{folder}}/net.pth")
x = torch.randn(2, 3, {side}, {side})
with torch.no_grad():
    np.savez(f"{{folder}}/net.npz", x=x.numpy(), log={answer}.numpy())
"""

MMPRETRAIN = """
from mmpretrain.models import ImageClassifier

model = ImageClassifier(
    backbone=dict(type="SEResNet", depth=int(name), num_stages=4, out_indices=(3,), style="pytorch"),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=1000, in_channels=2048),
)
"""

INSIGHTFACE = """
from model import Backbone

kind, depth = name.split()
model = Backbone(int(depth), 0.6, kind)
"""

MOSKOMULE = """
from senet import se_resnet

model = getattr(se_resnet, name)()
"""

NVIDIA = """
from image_classification.models import resnet

model = getattr(resnet, name)(pretrained=False)
"""

VGGFACE2 = """
import importlib.machinery
import types

pandas = types.ModuleType("pandas")  # imported there, and not used
pandas.__spec__ = importlib.machinery.ModuleSpec("pandas", None)
sys.modules["pandas"] = pandas
from eyeconModel import Senet50_ferplus_dag

model = Senet50_ferplus_dag()
"""


def pytorch(make: str, side: int = 224, answer: str = "model(x)") -> tuple[str, str]:
    return PYTORCH.format(make=make, side=side, answer=answer), ".pth"


SCRIPTS = {
    "keras": (KERAS, ".h5"),
    "gluon": (GLUON, ".params"),
    "paddle": (PADDLE, ".pdparams"),
    "mmpretrain": pytorch(MMPRETRAIN),
    "insightface": pytorch(INSIGHTFACE, side=112),
    "moskomule": pytorch(MOSKOMULE, side=32),
    "nvidia": pytorch(NVIDIA),
    "vggface2": pytorch(VGGFACE2, answer="model(x.permute(2, 3, 1, 0)).flatten(1)"),  # its first line turns them
}
"""Of each library: code that writes a random network, pictures and its logits for them; the suffix of its files."""


@pytest.mark.parametrize(
    ("library", "theirs", "ours"),
    [
        ("keras", "seresnet50", "se_resnet50a"),
        ("keras", "seresnet101", "se_resnet101a"),
        ("keras", "seresnet152", "se_resnet152a"),
        ("keras", "seresnext50", "se_resnext50b_32x4d"),
        ("keras", "seresnext101", "se_resnext101b_32x4d"),
        ("keras", "senet154", "senet154b"),
        ("gluon", "se_resnext50_32x4d", "se_resnext50b_32x4d"),
        ("gluon", "se_resnext101_64x4d", "se_resnext101b_64x4d"),
        ("gluon", "senet_154", "senet154"),
        ("gluon", "resnext101_32x4d", "resnext101b_32x4d"),
        ("gluon", "resnet18_v1b", "resnet18b"),
        ("gluon", "resnet50_v1d", "resnet50d"),
        ("paddle", "SE_ResNeXt50_32x4d", "se_resnext50b_32x4d"),
        ("paddle", "SE_ResNeXt101_32x4d", "se_resnext101b_32x4d"),
        ("paddle", "SE_ResNet50_vd", "se_resnet50d"),
        ("paddle", "SE_ResNet18_vd", "se_resnet18_vd"),
        ("paddle", "SE_ResNet34_vd", "se_resnet34_vd"),
        ("paddle", "SE_ResNeXt50_vd_32x4d", "se_resnext50_vd_32x4d"),
        ("paddle", "SENet154_vd", "senet154_vd"),
        ("mmpretrain", "50", "se_resnet50b"),
        ("mmpretrain", "101", "se_resnet101b"),
        ("insightface", "ir 50", "ir50"),
        ("insightface", "ir_se 50", "ir_se50"),
        ("insightface", "ir_se 100", "ir_se100"),
        ("insightface", "ir_se 152", "ir_se152"),
        ("moskomule", "se_resnet20", "se_resnet20"),
        ("moskomule", "se_resnet56", "se_resnet56"),
        ("nvidia", "resnext101_32x4d", "resnext101b_32x4d"),
        ("nvidia", "se_resnext101_32x4d", "se_resnext101b_32x4d"),
        ("vggface2", "senet50_ferplus_dag", "se_resnet50"),
    ],
)
def test_a_checkpoint_has_the_logits_of_its_own_library(
    library: str, theirs: str, ours: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    foreign = dict(each.split("=", 1) for each in pytestconfig.option.foreign)
    if library not in foreign:
        pytest.skip(f"needs --foreign {library}=PATH, as the head of this file says")
    script, suffix = SCRIPTS[library]
    given = Path(foreign[library]).absolute()
    python = sys.executable if given.is_dir() else str(given)
    path = str(given) if given.is_dir() else ""
    command = [python, "-c", script, theirs, str(tmp_path)]
    subprocess.run(command, check=True, timeout=600, env={**os.environ, "PYTHONPATH": path})
    found = np.load(tmp_path / "net.npz")
    expected = torch.from_numpy(found["log"])
    se = {"moskomule": SE(bias=False), "nvidia": SE(hidden=16)}.get(library if ours.startswith("se_") else "")
    num_classes = 0 if library == "insightface" else expected.shape[1]
    model = senet_zoo.create_model(ours, num_classes=num_classes, **({"se": se} if se else {}))
    load_checkpoint(model, tmp_path / f"net{suffix}")
    with torch.no_grad():
        answer = model.eval()(torch.from_numpy(found["x"]))
    if library == "keras":  # which ends in a softmax
        answer = answer.log_softmax(1)
    elif library == "insightface":  # which ends in vectors of length one
        answer = normalize(answer)
    assert (answer - expected).abs().max() <= 1e-5 * expected.abs().max()
