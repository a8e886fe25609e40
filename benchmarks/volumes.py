"""Networks over volumes: what a start from pictures' weights and the gate buy, and speed and memory beside MONAI's.

    python benchmarks/volumes.py learn [--output FILE]    # balls and rods in noise; 12 short runs, minutes on one core
    python benchmarks/volumes.py speed [--output FILE]    # se_resnet50 over volumes, beside MONAI's equal network

``learn`` draws volumes of 12 x 12 x 12 voxels with a ball or a rod of random place, size and direction under noise,
and trains each network on 48 of them, from random weights and from the inflated ones of its embedded CIFAR-10
checkpoint, three times with other volumes and another seed: the same recipe, volumes and order in all four. The last
epoch's network is measured on 120 others.

``speed`` times both in turns, with the same weights, and the optimised network beside them; peaks of resident memory
are those of fresh processes, from the first answer on.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from senet_zoo import create_model, optimize
from senet_zoo.support.machine import describe_machine
from senet_zoo.support.timing import interleaved, timed
from senet_zoo.training import RECIPES, TrainConfig, fit
from senet_zoo.training.progress import Progress

SIDE, TRAIN, VAL, SEEDS, EPOCHS = 12, 48, 120, (3, 4, 5), 8  # seeds 0 to 2 chose noise and rate
NOISE = 0.7
NETWORKS = ("se_resnet20", "resnet20")
STARTS = {"random": False, "inflated": True}
RECIPE = replace(RECIPES["finetune"], batch=8, rate=0.05, head_epochs=0, layer_decay=1.0)
PROCESS = """
import json, torch
{imports}
torch.set_grad_enabled(False)
torch.manual_seed(0)
model = {create}
x = torch.randn(1, 1, {side}, {side}, {side})
with open("/proc/self/clear_refs", "w") as peaks:
    peaks.write("5")
for _ in range(3):
    model(x)
with open("/proc/self/status") as lines:
    print(int(dict(line.split(":", 1) for line in lines)["VmHWM"].split()[0]) / 1024)
"""
ZOO = "create_model('se_resnet50', dims=3, in_channels=1).eval()"
PEERS = {
    "MONAI": (
        "from monai.networks.nets import SEResNet50",
        "SEResNet50(spatial_dims=3, in_channels=1, num_classes=1000).eval()",
    ),
    "zoo": ("from senet_zoo import create_model", ZOO),
    "optimize": ("from senet_zoo import create_model, optimize", f"optimize({ZOO}, sizes=({{side}}, 33), rounds=0)"),
}


def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Volumes with a ball (0) or a rod (1) of as many voxels, more or less, under noise."""
    rng = np.random.default_rng(seed)
    axes = np.stack(np.meshgrid(*(np.arange(SIDE),) * 3, indexing="ij"), -1).astype(float)
    labels = np.arange(count) % 2
    volumes = []
    for label in labels:
        offsets = axes - rng.uniform(SIDE * 0.35, SIDE * 0.65, 3)
        direction = rng.standard_normal(3)
        along = offsets @ (direction / np.linalg.norm(direction))
        across = np.sqrt(np.maximum((offsets**2).sum(-1) - along**2, 0))
        inside = (across < rng.uniform(1.0, 1.6)) if label else ((offsets**2).sum(-1) < rng.uniform(2.0, 2.9) ** 2)
        volumes.append(inside + NOISE * rng.standard_normal(inside.shape))
    return np.stack(volumes).astype(np.float32), labels


def learn() -> dict[str, object]:
    """Accuracies of each network and start by seed, in percent."""
    found: dict[str, list[float]] = {}
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            parts = {"train": draw(TRAIN, 2 * seed), "val": draw(VAL, 2 * seed + 1)}
            arrays = {
                f"{part}_{name}": array
                for part, pair in parts.items()
                for name, array in zip(("images", "labels"), pair, strict=True)
            }
            np.savez(f"{folder}/volumes.npz", **arrays)
            for network in NETWORKS:
                for start, pretrained in STARTS.items():
                    config = TrainConfig(
                        f"{folder}/volumes.npz",
                        f"{network}.cifar10" if pretrained else network,
                        f"{folder}/{network}-{start}",
                        recipe=RECIPE.lasting(EPOCHS),
                        pretrained=pretrained,
                        dims=3,
                        seed=seed,
                        workers=0,
                        device="cpu",
                    )
                    top1 = fit(config, Progress(silent=True)).val_top1
                    found.setdefault(f"{network} {start}", []).append(round(top1, 1))
                    print(f"seed {seed}  {network:12} {start:9} {top1:.1f} %", flush=True)
    return {
        "machine": describe_machine(torch.device("cpu")),
        "side": SIDE,
        "train": TRAIN,
        "val": VAL,
        "epochs": EPOCHS,
        "top1": found,
    }


def learn_table(result: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """The accuracies as Markdown: the mean, and in brackets the least and the greatest of the seeds."""
    rows = ["| network | random start | inflated start | gain, by seed |", "|---|---|---|---|"]
    for network in NETWORKS:
        runs = [result["top1"][f"{network} {start}"] for start in STARTS]
        cells = [f"{statistics.mean(run):.1f} [{min(run):.1f} to {max(run):.1f}]" for run in runs]
        gains = ", ".join(f"{b - a:+.1f}" for a, b in zip(*runs, strict=True))
        rows.append(f"| `{network}` | {cells[0]} | {cells[1]} | {gains} |")
    return "\n".join(rows)


def speed(side: int, rounds: int) -> dict[str, object]:
    """Milliseconds a volume, in turns, and peaks of fresh processes in MiB."""
    from monai.networks.nets import SEResNet50

    torch.manual_seed(0)
    zoo = create_model("se_resnet50", dims=3, in_channels=1).eval()
    monai = SEResNet50(spatial_dims=3, in_channels=1, num_classes=1000).eval()
    fast = optimize(zoo, sizes=(side, 33), rounds=0)
    x = torch.randn(1, 1, side, side, side)
    device = torch.device("cpu")
    with torch.no_grad():
        candidates = {"MONAI": monai, "zoo": zoo, "optimize": fast}
        timers = {name: (lambda net=net: timed(lambda: net(x), device)) for name, net in candidates.items()}
        measured = interleaved(timers, rounds)
    ratio = {name: f"{measured.ratio(name, 'MONAI'):.2f}" for name in candidates if name != "MONAI"}
    peaks = {
        name: float(
            subprocess.run(
                [sys.executable, "-c", PROCESS.format(imports=imports, create=create.format(side=side), side=side)],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for name, (imports, create) in PEERS.items()
    }
    return {
        "machine": describe_machine(torch.device("cpu")),
        "side": side,
        "milliseconds": {name: round(1e3 * statistics.median(taken), 1) for name, taken in measured.seconds.items()},
        "time to MONAI's": ratio,
        "peak MiB": {name: round(peak) for name, peak in peaks.items()},
    }


def speed_table(result: Mapping[str, Mapping[str, object]]) -> str:
    """Times and peaks as Markdown."""
    rows = ["| network | ms a volume | time to MONAI's | peak MiB |", "|---|---|---|---|"]
    for name, milliseconds in result["milliseconds"].items():
        ratio = result["time to MONAI's"].get(name, "1")
        rows.append(f"| {name} | {milliseconds} | {ratio} | {result['peak MiB'][name]} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("learn", "speed"))
    parser.add_argument("--side", type=int, default=64, help="of the volumes of speed")
    parser.add_argument("--rounds", type=int, default=9, help="of speed")
    parser.add_argument("--output", type=Path, metavar="FILE", help="such as benchmarks/results/volumes/learn.json")
    args = parser.parse_args()
    torch.set_num_threads(1)
    result = learn() if args.what == "learn" else speed(args.side, args.rounds)
    print(learn_table(result) if args.what == "learn" else speed_table(result))
    if args.output:
        args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
