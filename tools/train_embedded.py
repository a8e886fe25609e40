"""Train a checkpoint that the package embeds, measure it once on the test set, and write its file and manifest row.

    python tools/train_embedded.py se_resnet20 --data ../shared/data

Goes on where the last run stopped. Takes about four hours on one core; the twin can be trained beside it on another.
With ``--from-embedded`` it goes on after the epochs in the embedded checkpoint's own log, where the recipe has more.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch

import senet_zoo
from senet_zoo.formats import safetensors
from senet_zoo.training.embedded import cifar10
from senet_zoo.training.embedded.loop import History, fit, top1, write_state
from senet_zoo.training.embedded.recipe import CIFAR10_EMBEDDED
from senet_zoo.weights.cache import digest
from senet_zoo.weights.manifest import text_of
from senet_zoo.weights.save import architecture_of

ROOT = Path(__file__).parents[1]
TAG = "cifar10"


def main() -> None:
    """Train, measure, embed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=["se_resnet20", "resnet20"])
    parser.add_argument("--data", type=Path, required=True, help="folder of the CIFAR-10 npz files")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="where the run's state is kept")
    parser.add_argument("--from-embedded", action="store_true", help="start from the checkpoint in the package")
    parser.add_argument("--threads", type=int, default=1, help="cores to use; another number rounds otherwise")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.runs.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(CIFAR10_EMBEDDED.seed)
    model = senet_zoo.create_model(args.model)
    train, validation = cifar10.train_and_validation(args.data)
    state = args.runs / f"{args.model}.safetensors"
    if args.from_embedded and not state.exists():
        embedded = senet_zoo.create_model(args.model, pretrained=True)
        row = senet_zoo.get_weights(args.model).row
        assert row.training is not None
        write_state(state, embedded, CIFAR10_EMBEDDED, [asdict(line) for line in row.training.log])
    history = fit(model, CIFAR10_EMBEDDED, train, validation, state, log=lambda line: print(line, flush=True))

    accuracy = round(top1(model, cifar10.test(args.data)), 2)
    print(f"{args.model}.{TAG}: {accuracy}% of the test set")
    embed(model, history, accuracy)


def embed(model: senet_zoo.ConvNet, history: History, accuracy: float) -> None:
    """Write the checkpoint into the package, and its row into the manifest."""
    name = architecture_of(model.spec)[0].name
    path = f"checkpoints/{name}.{TAG}.safetensors"
    file = ROOT / "senet_zoo" / path
    tensors = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
    safetensors.write(file, tensors, {"format": "pt", "model": name, "tag": TAG})

    row = {
        "num_classes": 10,
        "labels": "cifar10",
        "in_channels": 3,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "preprocessing": {
            "size": 32,
            "resize": 32,
            "interpolation": "bilinear",
            "mean": list(cifar10.MEAN),
            "std": list(cifar10.STD),
        },
        "sources": [
            {
                "kind": "package",
                "path": path,
                "sha256": digest(file),
                "size": file.stat().st_size,
                "dialect": "native",
            }
        ],
        "metrics": [
            {
                "name": "top1",
                "value": accuracy,
                "dataset": "cifar10 test",
                "size": 32,
                "who": "tools/train_embedded.py, once, after training",
                "measured_by_us": True,
            }
        ],
        "license": "apache-2.0",
        "license_source": "this project",
        "origin": None,
        "citation": "arXiv:1709.01507",
        "training": {
            "command": f"python tools/train_embedded.py {name} --data DATA",
            "recipe": "CIFAR10_EMBEDDED",
            "seed": CIFAR10_EMBEDDED.seed,
            "selection": f"the state after the last epoch; {cifar10.VALIDATION} pictures held out of the training set "
            "chose the lengths of the phases. The state after epoch 37, published before, was measured on the test set "
            "once; training went on from it (--from-embedded), and this state was measured once.",
            "log": history,
        },
    }
    manifest = ROOT / "weights_manifest.json"
    content = json.loads(manifest.read_text())
    content["models"][name] = {"default": TAG, "weights": {TAG: row}}
    manifest.write_text(text_of(content))


if __name__ == "__main__":
    main()
