"""Checkpoints of libraries that cannot share an environment with this one: our logits are those of their own forward.

Each library is given by an option, and is skipped without it:

    --foreign keras=PYTHON       an interpreter with tensorflow-cpu==2.15.1, image-classifiers==1.0.0 and h5py
    --foreign gluon=PYTHON       an interpreter with mxnet==1.9.1 and gluoncv==0.10.5.post0
    --foreign paddle=PYTHON      an interpreter with paddlepaddle==2.6.2 and paddleclas==2.6.0
    --foreign mmpretrain=PYTHON  an interpreter with mmpretrain==1.2.0 and mmcv-lite==2.2.0
    --foreign vggface2=FILE      eyeconModel.py of github.com/jisung0920/EyeCon-Server, which has the network
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import senet_zoo
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
for file in ("se_resnet_vd", "se_resnext"):
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

MMPRETRAIN = """
import sys
import numpy as np
import torch
from mmpretrain.models import ImageClassifier

depth, folder = sys.argv[1:]
torch.manual_seed(0)
model = ImageClassifier(
    backbone=dict(type="SEResNet", depth=int(depth), num_stages=4, out_indices=(3,), style="pytorch"),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=1000, in_channels=2048),
).eval()
for part in model.modules():
    if isinstance(part, torch.nn.BatchNorm2d):
        part.weight.data.uniform_(0.5, 1.5)
        part.running_var.uniform_(0.5, 1.5)
        part.bias.data.normal_(0, 0.2)
        part.running_mean.normal_(0, 0.2)
torch.save({"state_dict": model.state_dict(), "meta": {}}, f"{folder}/net.pth")
x = torch.randn(2, 3, 224, 224)
with torch.no_grad():
    np.savez(f"{folder}/net.npz", x=x.numpy(), log=model(x).numpy())
"""

VGGFACE2 = """
import importlib.machinery
import importlib.util
import sys
import types
import numpy as np
import torch

pandas = types.ModuleType("pandas")  # imported there, and not used
pandas.__spec__ = importlib.machinery.ModuleSpec("pandas", None)
sys.modules["pandas"] = pandas
path, folder = sys.argv[1:]
spec = importlib.util.spec_from_file_location("theirs", path)
theirs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(theirs)
torch.manual_seed(0)
model = theirs.Senet50_ferplus_dag().eval()
for part in model.modules():
    if isinstance(part, torch.nn.BatchNorm2d):
        part.weight.data.uniform_(0.5, 1.5)
        part.running_var.uniform_(0.5, 1.5)
        part.bias.data.normal_(0, 0.2)
        part.running_mean.normal_(0, 0.2)
torch.save(model.state_dict(), f"{folder}/net.pth")
x = torch.randn(2, 3, 224, 224)
with torch.no_grad():
    logits = model(x.permute(2, 3, 1, 0))  # its first line turns them
np.savez(f"{folder}/net.npz", x=x.numpy(), log=logits.flatten(1).numpy())
"""

SCRIPTS = {
    "keras": (KERAS, ".h5"),
    "gluon": (GLUON, ".params"),
    "paddle": (PADDLE, ".pdparams"),
    "mmpretrain": (MMPRETRAIN, ".pth"),
    "vggface2": (VGGFACE2, ".pth"),
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
        ("paddle", "SE_ResNeXt50_32x4d", "se_resnext50b_32x4d"),
        ("paddle", "SE_ResNeXt101_32x4d", "se_resnext101b_32x4d"),
        ("paddle", "SE_ResNet50_vd", "se_resnet50d"),
        ("mmpretrain", "50", "se_resnet50b"),
        ("mmpretrain", "101", "se_resnet101b"),
        ("vggface2", "senet50", "se_resnet50"),
    ],
)
def test_a_checkpoint_has_the_logits_of_its_own_library(
    library: str, theirs: str, ours: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    foreign = dict(each.split("=", 1) for each in pytestconfig.option.foreign)
    if library not in foreign:
        pytest.skip(f"needs --foreign {library}=PATH, as the head of this file says")
    script, suffix = SCRIPTS[library]
    python, asked = (sys.executable, foreign[library]) if library == "vggface2" else (foreign[library], theirs)
    subprocess.run([python, "-c", script, asked, str(tmp_path)], check=True, timeout=600)
    found = np.load(tmp_path / "net.npz")
    expected = torch.from_numpy(found["log"])
    model = senet_zoo.create_model(ours, num_classes=expected.shape[1])
    load_checkpoint(model, tmp_path / f"net{suffix}")
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(found["x"]))
    if library == "keras":  # which ends in a softmax
        logits = logits.log_softmax(1)
    assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max()
