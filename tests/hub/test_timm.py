"""What is pushed to a hub, another machine that has only timm loads from there by ``hf-hub:``, as the same function."""

import os
import subprocess
import sys

import pytest
import torch
from hub.places import TREE
from networks import randomise
from safetensors.torch import load_file, save_file

import senet_zoo
from senet_zoo.tasks import push_to_hub

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload:DeprecationWarning")

# In a process of its own: which hub the client asks is settled when it is imported.
STRANGER = """
import sys, timm
from safetensors.torch import load_file, save_file

pictures, answers = load_file(sys.argv[1]), {}
for name, x in pictures.items():
    model = timm.create_model("hf-hub:" + name.replace("|", "/"), pretrained=True).eval()
    answers[name] = model(x).detach()
save_file(answers, sys.argv[2])
assert "senet_zoo" not in sys.modules
"""


def test_timm_alone_loads_what_was_pushed_to_a_hub(hub, tmp_path, monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    pictures, expected = {}, {}
    labels = senet_zoo.get_weights("se_resnet20").categories
    for name, channels, dialect in (("se_resnet18", 3, "cadene"), ("se_resnext26d_32x4d", 1, "timm_resnet")):
        model = randomise(senet_zoo.create_model(name, num_classes=10, in_channels=channels))
        way = senet_zoo.Preprocessing(size=64, resize=64)
        senet_zoo.save_pretrained(model, tmp_path / name, preprocessing=way, categories=labels, license="mit")
        done = push_to_hub(tmp_path / name, f"org/{name}", token="hf_any")
        assert done.row.sources[0].dialect == dialect
        assert done.row.fingerprint == senet_zoo.from_pretrained(done.address).weights.fingerprint
        card = hub.repos[f"org/{name}"][done.commit]["README.md"].decode()
        assert f'timm.create_model("hf-hub:org/{name}", pretrained=True)' in card
        key = f"org|{name}@{done.commit}"
        pictures[key] = torch.randn(2, channels, 64, 64)
        with torch.no_grad():
            expected[key] = model(pictures[key])
    save_file(pictures, tmp_path / "pictures")
    env = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    words = [sys.executable, "-c", STRANGER, str(tmp_path / "pictures"), str(tmp_path / "answers")]
    ran = subprocess.run(words, capture_output=True, text=True, cwd=TREE, env=env, timeout=100)
    assert ran.returncode == 0, ran.stderr
    answers = load_file(tmp_path / "answers")
    for key, logits in expected.items():
        assert (answers[key] - logits).abs().max() <= 1e-5 * logits.abs().max()


def test_what_timm_published_on_a_hub_loads_by_its_address_alone(hub, tmp_path):
    import timm
    from timm.models import save_for_hf

    theirs = randomise(timm.create_model("legacy_seresnet18", num_classes=3)).eval()
    save_for_hf(theirs, tmp_path, model_config={"label_names": ["ant", "bee", "wasp"]}, safe_serialization=True)
    for name in ("model.safetensors", "config.json"):
        hub.add("org/theirs", (tmp_path / name).read_bytes(), filename=name)
    model = senet_zoo.from_pretrained("hf://org/theirs")
    assert model.weights.categories == ("ant", "bee", "wasp")
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = theirs(x)
        assert (model(x) - expected).abs().max() <= 1e-5 * expected.abs().max()
