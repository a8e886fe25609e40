"""What pretrained weights are worth on few photographs: one network fine-tuned, and trained from random, alike.

    python benchmarks/finetune.py IMAGENETTE [--train 200] [--val 50] [--size 64] [--model se_resnet20]

IMAGENETTE is a folder with train/ and val/ above folders of photographs, or one with zip archives of them. The first so
many of each class by name are taken. Both runs use the recipe ``finetune`` and the same seed, one after the other; both
keep the network of the last epoch, and the figures are its accuracy on the photographs of val.
"""

import argparse
import tempfile
import zipfile
from pathlib import Path

from senet_zoo.training import TrainConfig, TrainResult, fit
from senet_zoo.training.progress import Progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("imagenette", type=Path)
    parser.add_argument("--model", default="se_resnet20")
    parser.add_argument("--train", type=int, default=200, help="photographs of each class to learn from")
    parser.add_argument("--val", type=int, default=50, help="photographs of each class to measure on")
    parser.add_argument("--size", type=int, default=64, help="side of the pictures in pixels")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "photographs"
        for part, count in (("train", args.train), ("val", args.val)):
            take(args.imagenette, data, part, count)
        print(f"{args.train} photographs a class, {args.model} at {args.size} px")
        for start, pretrained in (("published weights", True), ("random", False)):
            result = run(args.model, data, Path(folder) / start.split()[0], args.size, pretrained)
            seconds = sum(row.seconds for row in result.history)
            print(
                f"from {start:17}  top-1 {result.val_top1:.1f} % of {result.val_pictures}, loss {result.val_loss:.3f}, "
                f"{len(result.history)} epochs in {seconds:.0f} s",
                flush=True,
            )


def run(model: str, data: Path, output: Path, size: int, pretrained: bool) -> TrainResult:
    config = TrainConfig(str(data), model, output, pretrained=pretrained, size=size, workers=0)
    return fit(config, Progress(silent=True))


def take(imagenette: Path, target: Path, part: str, count: int) -> None:
    """Copy the first ``count`` photographs of each class."""
    files = {str(path.relative_to(imagenette)): path.read_bytes for path in imagenette.glob(f"{part}/*/*.JPEG")}
    for archive in imagenette.glob("*.zip"):
        opened = zipfile.ZipFile(archive)
        files |= {
            name: lambda name=name, opened=opened: opened.read(name)
            for name in opened.namelist()
            if name.startswith(f"{part}/") and name.endswith(".JPEG")
        }
    if not files:
        raise SystemExit(f"{imagenette} holds neither {part}/CLASS/*.JPEG nor a zip archive of them")
    taken: dict[str, int] = {}
    for name in sorted(files):
        label = Path(name).parent.name
        taken[label] = taken.get(label, 0) + 1
        if taken[label] <= count:
            file = target / part / label / Path(name).name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(files[name]())


if __name__ == "__main__":
    main()
