"""Put a finished run into the package: a float16 file in senet_zoo/checkpoints, and its row in the manifest.

    python tools/embed.py RUN DATA --tag imagenette --dataset "imagenette val" --command "senet-zoo train ..."

RUN is a folder of ``senet-zoo train``; DATA are the test pictures, on which the very file that is written is measured,
once: by one view of each picture and, where pictures have 32 pixels, by the mean of six. Neither figure chooses
anything: what is put in is the last epoch of the longest finished training. Weights of convolutions and fully connected
layers become float16; biases and batch norms, which hardly take room, stay float32. Then tools/sign_checkpoints.py
signs the checkpoints again.
"""

import argparse
import csv
import json
import subprocess
from pathlib import Path

import torch

import senet_zoo
from senet_zoo.data.datasets import open_data
from senet_zoo.data.labels import IMAGENETTE, categories
from senet_zoo.evaluation import evaluate, logits_of, protocol
from senet_zoo.formats import safetensors
from senet_zoo.formats.metadata import LABELS
from senet_zoo.support.json_fields import as_json
from senet_zoo.training.run import METRICS, RUN
from senet_zoo.weights.card import PAPER
from senet_zoo.weights.file_hashes import digest
from senet_zoo.weights.fingerprint import fingerprint
from senet_zoo.weights.manifest import text_of
from senet_zoo.weights.rows import Epoch, Metric, PackageFile, Training, WeightsRow
from senet_zoo.weights.save import parameters_of

ROOT = Path(__file__).parents[1]
MANIFEST = ROOT / "weights_manifest.json"
WHO = "tools/embed.py, once, after training"
SIX_VIEWS = "{}, mean of six views"


def main() -> None:
    """Write the file, measure it, write the row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("data", help="test pictures")
    parser.add_argument(
        "--tag", choices=LABELS, required=True, help="of the checkpoint; the name of its label set, too"
    )
    parser.add_argument("--dataset", required=True, help="the test pictures in words")
    parser.add_argument("--command", required=True, help="what repeats the run")
    parser.add_argument("--license-source", default="this project", help="who gives the licence, and under whose terms")
    parser.add_argument("--recipe", default="scratch", help="the run's recipe")
    parser.add_argument(
        "--went-on",
        action="store_true",
        help="the run began from the checkpoint that has this tag now: its log is kept",
    )
    args = parser.parse_args()

    trained = senet_zoo.from_pretrained(args.run)
    name, labels = trained.weights.architecture, categories(args.tag, trained.num_classes)
    if trained.weights.categories not in (labels, tuple(IMAGENETTE) if args.tag == "imagenette" else labels):
        raise SystemExit(f"{args.run} was trained on other classes than {args.tag}: {trained.weights.categories}")
    path = f"checkpoints/{name}.{args.tag}.safetensors"
    file = ROOT / "senet_zoo" / path
    tensors = {key: halved(tensor) for key, tensor in trained.state_dict().items()}
    safetensors.write(file, tensors, {"format": "pt", "model": name, "tag": args.tag})

    model = senet_zoo.create_model(name, weights=file)
    preprocessing = trained.weights.preprocessing
    views = {"own": args.dataset} | ({"mirror6": SIX_VIEWS.format(args.dataset)} if preprocessing.size == 32 else {})
    metrics = []
    for crops, dataset in views.items():
        protocol_of = protocol(crops, preprocessing)
        found = evaluate(model, open_data(args.data), preprocessing, logits_of(labels), protocol=protocol_of, batch=500)
        metrics.append(Metric("top1", round(found.top1, 2), dataset, preprocessing.size, WHO, measured_by_us=True))
        print(f"{name}.{args.tag}, {dataset}: top-1 {found.top1:.2f} % of {found.count} pictures")

    manifest = json.loads(MANIFEST.read_text())
    weights = manifest["models"].setdefault(name, {"default": args.tag, "weights": {}})["weights"]
    run = json.loads((args.run / RUN).read_text())
    selection = (
        f"the state after the last epoch; {run['validation pictures']} pictures held out of the training set were "
        "watched and chose nothing"
    )
    earlier: tuple[Epoch, ...] = ()
    if args.went_on:
        before = senet_zoo.get_weights(f"{name}.{args.tag}").row
        selection = f"{selection} {continued_from(before)}"
        earlier = before.training.log
    log = [
        Epoch(
            epoch=len(earlier) + int(epoch["epoch"]),
            loss=round(float(epoch["loss"]), 4),
            validation_top1=round(float(epoch["val_top1"]), 2),
            seconds=round(float(epoch["seconds"]), 1),
        )
        for epoch in csv.DictReader((args.run / METRICS).read_text().splitlines())
    ]
    row = WeightsRow(
        model=name,
        tag=args.tag,
        num_classes=model.num_classes,
        labels=args.tag,
        in_channels=model.in_channels,
        parameters=parameters_of(model),
        preprocessing=preprocessing,
        sources=(PackageFile(path, digest(file), file.stat().st_size, "native"),),
        metrics=tuple(metrics),
        license="apache-2.0",
        license_source=args.license_source,
        origin=None,
        citation=PAPER,
        training=Training(args.command, args.recipe, run["seed"], selection, (*earlier, *log)),
        fingerprint=fingerprint(model, preprocessing),
    )
    weights[args.tag] = as_json(row)
    MANIFEST.write_text(text_of(manifest))


def continued_from(before: WeightsRow) -> str:
    """What a run began from that went on from an embedded checkpoint."""
    (source,), metric, training = before.sources, before.metrics[0], before.training
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return (
        f"(the earlier training had seen most of them). It went on from the checkpoint of sha256 {source.sha256}, "
        f"published after {len(training.log)} epochs of {training.command!r} (commit {commit[:12]}) with "
        f"{metric.value} %, and replaced it whatever it scores."
    )


def halved(tensor: torch.Tensor) -> torch.Tensor:
    """A matrix or a convolution's weight in float16; anything else as it is."""
    return tensor.half() if tensor.ndim > 1 else tensor


if __name__ == "__main__":
    main()
