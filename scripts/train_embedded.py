"""Train the checkpoints that the package embeds, and measure them once on the test set.

python scripts/train_embedded.py se_resnet20 --data ../shared/data --runs runs
"""

import argparse
from pathlib import Path

import torch

from senet_zoo.families.resnet_cifar import resnet_cifar
from senet_zoo.layers import initialise
from senet_zoo.network import ConvNet
from senet_zoo.specs import SE
from senet_zoo.training import cifar10
from senet_zoo.training.loop import fit
from senet_zoo.training.recipe import CIFAR10_EMBEDDED


def main() -> None:
    """Train one model, or go on where the last run stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=["se_resnet20", "resnet20"])
    parser.add_argument("--data", type=Path, required=True, help="folder of the CIFAR-10 npz files")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the run's state is kept")
    args = parser.parse_args()
    args.runs.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(CIFAR10_EMBEDDED.seed)
    model = ConvNet(resnet_cifar(20, SE() if args.model.startswith("se_") else None), num_classes=10)
    initialise(model)
    train, validation = cifar10.train_and_validation(args.data)
    fit(
        model,
        CIFAR10_EMBEDDED,
        train,
        validation,
        args.runs / f"{args.model}.safetensors",
        lambda line: print(line, flush=True),
    )


if __name__ == "__main__":
    main()
