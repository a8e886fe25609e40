"""Pictures a second of decoding and augmenting beside those of the training step that waits for them.

    python benchmarks/data.py FOLDER [--model se_resnet50] [--recipe finetune] [--workers 0 1 2] [--device cpu]

Both in turns, ``--rounds`` times in one process; the table gives medians and, in brackets, the quartiles. The data
never holds the step up where the last column is above 1.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

import senet_zoo
from senet_zoo.data.datasets import train_and_val
from senet_zoo.support.timing import Spread
from senet_zoo.training.batches import Share, StepSampler, TrainingPictures, training_batches
from senet_zoo.training.recipes import find_recipe
from senet_zoo.weights.catalogue import default_preprocessing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="labelled pictures, as senet-zoo train takes them")
    parser.add_argument("--model", default="se_resnet50")
    parser.add_argument("--recipe", default="finetune", help="whose augmentation")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--bf16", action="store_true", help="the step in bfloat16")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="in each round")
    args = parser.parse_args()

    train, _ = train_and_val(args.data)
    preprocessing, device = default_preprocessing(args.model), torch.device(args.device)
    pictures = TrainingPictures(train, find_recipe(args.recipe), preprocessing, seed=0)
    if len(train) < args.batch:
        parser.error(f"a batch of {args.batch} needs as many training pictures, and there are {len(train)}")
    epochs = -(-(args.rounds + 1) * args.steps * args.batch // len(train)) + 1
    feeds = {
        workers: training_batches(
            pictures, StepSampler(len(train), args.batch, epochs, 0, Share(0, 1, 1)), workers, pin=device.type == "cuda"
        )
        for workers in args.workers
    }
    step = a_step(args.model, len(train.classes), args.batch, preprocessing.size, device, args.bf16)

    fed, stepped = {workers: [] for workers in feeds}, []
    for number in range(args.rounds + 1):
        stepped.append(rate(step, args.steps, args.batch, device))
        for workers, batches in feeds.items():
            # The workers fill their queue while others are timed, so that it is emptied first.
            for _ in range(2 * workers):
                next(batches)
            fed[workers].append(rate(lambda batches=batches: next(batches), args.steps, args.batch, device))
        if number == 0:  # cold
            stepped.clear()
            for rates in fed.values():
                rates.clear()
    print(f"{args.model} at {preprocessing.size} px, batch {args.batch}, augmentation of {args.recipe}, {device},")
    print(f"{torch.get_num_threads()} threads for the step, {args.rounds} rounds, pictures a second\n")
    print(f"{'workers':>7}  {'decode + augment':>24}  {'step':>24}  {'data / step':>11}")
    for workers, rates in fed.items():
        ratio = statistics.median(rates) / statistics.median(stepped)
        print(f"{workers:7}  {spread(rates):>24}  {spread(stepped):>24}  {ratio:11.2f}")


def a_step(name: str, classes: int, batch: int, side: int, device: torch.device, bf16: bool) -> Callable[[], object]:
    """Forward, backward and update on pictures that are already there."""
    model = senet_zoo.create_model(name, num_classes=classes).train().to(device).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    images = torch.randn(batch, 3, side, side, device=device).to(memory_format=torch.channels_last)
    labels = torch.arange(batch, device=device) % classes

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def rate(work: Callable[[], object], times: int, batch: int, device: torch.device) -> float:
    start = time.perf_counter()
    for _ in range(times):
        work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return times * batch / (time.perf_counter() - start)


def spread(values: list[float]) -> str:
    return format(Spread.of(values), ".1f")


if __name__ == "__main__":
    main()
