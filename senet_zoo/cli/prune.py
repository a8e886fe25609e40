"""``senet-zoo prune``: a network without the gates or the channels that it can do without."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from senet_zoo.cli.output import print_json, print_problems, print_table, progress_bar
from senet_zoo.cli.parser import (
    add_data_options,
    add_network_options,
    load_network,
    number_of_workers,
    open_any_pictures,
    positive,
)
from senet_zoo.errors import UsageError
from senet_zoo.support.terminal import visible

if TYPE_CHECKING:
    from senet_zoo.analysis.pruning import NetworkFigures, PruneReport, Pruning
    from senet_zoo.data.labelled import Labelled, Unlabelled

MOST_CALIBRATED = 1000  # pictures, unless another number is named

SUMMARY = "drop gates or channels that a network can do without"
DESCRIPTION = """\
Make a network smaller by what its gates say over calibration pictures; save it
as a folder that create_model, evaluate and train read; and print parameters,
multiply-adds, latency and accuracy before and after.

--stages and --threshold drop gates, each replaced by its mean, which is folded
into the layers beside it. --stages drops all gates of some stages: without its
last stage's, SE-ResNet-50 has 4 % more parameters than its twin, and not 10 %.
--threshold drops each gate whose spread is under a number. The spread is the
coefficient of variation over pictures: the standard deviation of its channels
in parts of their mean (root mean squares over the channels). A gate that is
constant has spread 0, and goes without a change of the logits.

--channels removes channels of residual networks (ResNet, ResNeXt, SENet-154,
pre-activation and wide ResNets): of each sum of residual branches a share,
those with the lowest mean excitation over the gates of its stage, from every
layer that writes, scales or reads them. The share is rounded down to a multiple
of 1 / reduction. Fine-tune the network afterwards. It needs torch-pruning:
pip install 'senet-zoo[prune]'.

DATA is what `senet-zoo evaluate` takes. --calibrate pictures of it (1000, or
half of a small set), drawn at random, are not measured on; with --calibrate-on
they are drawn from other data, and all of DATA is measured. DATA may also be
one picture or a folder without classes: gates are calibrated on it, and
accuracy is not measured. Latency is that of one picture, both networks timed
in turn.

To fine-tune: senet-zoo train DATA --model NAME --weights FOLDER -o FOLDER2,
where FOLDER is what this command saved; FOLDER2 is as small.

A picture that cannot be read is left out and named on standard error; the exit
status is then 1."""
EXAMPLE = """\
senet-zoo prune photographs/val --model se_resnet50 --stages 5 -o slim
  senet-zoo prune cifar10_test.npz --calibrate-on 'cifar10_train_*.npz' \\
      --threshold 0.05 -o slim
  senet-zoo prune photographs/val --model se_resnet50 --channels 0.25 -o slim
  senet-zoo train photographs --model se_resnet50 --weights slim -o tuned"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="pictures, labelled to measure accuracy")
    add_network_options(parser)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="where the network goes")
    which = parser.add_argument_group("what goes").add_mutually_exclusive_group(required=True)
    which.add_argument("--stages", type=_stages, metavar="N,...", help="gates of these stages; a ResNet has 2 to 5")
    which.add_argument("--threshold", type=float, metavar="X", help="gates whose spread is under it")
    which.add_argument("--channels", type=float, metavar="SHARE", help="a share of the sums' channels, such as 0.25")
    group = parser.add_argument_group("the data")
    group.add_argument(
        "--calibrate", type=positive, metavar="N", help="pictures; default: 1000, or half of DATA where that is fewer"
    )
    group.add_argument("--calibrate-on", metavar="DATA", help="other data for it, such as training pictures")
    add_data_options(group)


def run(arguments: argparse.Namespace) -> int:
    """Prune, save and print; status 1 if a picture could not be read."""
    from senet_zoo.analysis.pruning import prune
    from senet_zoo.evaluation import logits_of
    from senet_zoo.weights.save import save_pretrained

    if arguments.output.exists() and not arguments.output.is_dir():
        raise UsageError(f"--output must be a folder, and {arguments.output} is a file")
    calibration, measured = _data(arguments)
    predictor = load_network(arguments, arguments.device)
    with progress_bar(len(calibration) + 2 * (0 if measured is None else len(measured))) as bar:
        pruned, report = prune(
            predictor.model,
            _pruning(arguments),
            calibration,
            measured,
            predictor.preprocessing,
            logits_of(predictor.categories),
            batch=arguments.batch,
            workers=number_of_workers(arguments),
            progress=bar.update,
        )
    print_problems("prune", report.unreadable)
    save_pretrained(pruned, arguments.output, preprocessing=predictor.preprocessing)
    _print(arguments, predictor.name, report)
    return 1 if report.unreadable else 0


def _pruning(arguments: argparse.Namespace) -> "Pruning":
    from senet_zoo.analysis.pruning import DropGates, OfStages, RemoveChannels, SpreadUnder

    if arguments.channels is not None:
        return RemoveChannels(arguments.channels)
    return DropGates(SpreadUnder(arguments.threshold) if arguments.stages is None else OfStages(arguments.stages))


def _data(arguments: argparse.Namespace) -> "tuple[Labelled | Unlabelled, Labelled | None]":
    """Pictures to calibrate on, and others to measure on, of which there may be none."""
    from senet_zoo.analysis.pruning import calibration_split
    from senet_zoo.data.datasets import open_data, unlabelled_pictures
    from senet_zoo.data.labelled import Unlabelled

    data = open_any_pictures(arguments)
    if arguments.calibrate_on is None:
        if isinstance(data, Unlabelled):
            return _calibration(data, arguments.calibrate), None
        if len(data) == 1 and arguments.calibrate in (None, 1):
            return data, None
        return calibration_split(data, arguments.calibrate or min(MOST_CALIBRATED, len(data) // 2))
    if arguments.calibrate_on == arguments.data:
        raise UsageError("--calibrate-on takes other pictures than those measured on: leave it out to divide DATA")
    if isinstance(data, Unlabelled):
        raise UsageError(
            f"accuracy is measured on labelled pictures, and nothing says what {arguments.data} shows: leave "
            "--calibrate-on out to calibrate on it"
        )
    other = unlabelled_pictures(arguments.calibrate_on) or open_data(
        arguments.calibrate_on, root=arguments.root, download=arguments.download
    )
    return _calibration(other, arguments.calibrate), data


def _calibration(data: "Labelled | Unlabelled", count: int | None) -> "Labelled | Unlabelled":
    """``count`` pictures drawn at random, or all where there are no more."""
    from senet_zoo.analysis.pruning import calibration_split

    count = count or MOST_CALIBRATED
    return data if len(data) <= count else calibration_split(data, count)[0]


def _stages(text: str) -> tuple[int, ...]:
    return tuple(sorted({positive(part.strip()) for part in text.split(",")}))


def _print(arguments: argparse.Namespace, name: str, report: "PruneReport") -> None:
    if arguments.json:
        print_json(
            {"weights": name, "data": arguments.data, "report": report, "folder": str(arguments.output)},
        )
        return
    if report.measured_on:
        others = f"{report.calibrated_on} other{'s' * (report.calibrated_on != 1)}"
        print(f"{visible(name)} on {_pictures(report.measured_on)}, calibrated on {others}")
    else:
        on = _pictures(report.calibrated_on)
        print(f"{visible(name)}, calibrated on {on}; no labelled picture is left to measure accuracy on")
    if arguments.channels is None:
        several = report.calibrated_on > 1
        gates = [
            (gate.name, f"{gate.spread:.4f}" if several else "-", "dropped" if gate.dropped else "")
            for gate in report.gates
        ]
        print_table(("gate", "spread", ""), gates)
    else:
        maps = [_change(each.name, each.before, each.after) for each in report.maps]
        print_table(("channels of", "before", "after", "change"), maps)
    print()
    before, after, time = report.before, report.after, report.latency
    print_table(
        ("", "before", "after", "change"),
        [
            _change("gates", before.gates, after.gates),
            _change("  parameters", before.gate_parameters, after.gate_parameters),
            _change("parameters", before.parameters, after.parameters),
            _change("multiply-adds", before.multiply_adds, after.multiply_adds),
            (
                "latency",
                f"{time.before:.2f} ms",
                f"{time.after:.2f} ms",
                f"x{time.ratio:.3f} ({time.lower:.3f} to {time.upper:.3f}, {time.rounds} rounds)",
            ),
            *_accuracy(before, after),
        ],
    )
    folder = visible(str(arguments.output))
    print(f"saved in {folder}")
    if arguments.channels is not None:
        model = name.partition(" ")[0].partition(".")[0]  # of `model.tag`, or of the model and its file
        print(f"it needs training:\n  senet-zoo train DATA --model {model} --weights {folder} -o FOLDER")


def _pictures(count: int) -> str:
    return f"{count} picture{'s' * (count != 1)}"


def _accuracy(before: "NetworkFigures", after: "NetworkFigures") -> list[tuple[str, ...]]:
    """The rows of what was measured; none where nothing was."""
    if before.top1 is None or after.top1 is None or before.loss is None or after.loss is None:
        return []
    return [
        ("top-1", f"{before.top1:.2f} %", f"{after.top1:.2f} %", f"{after.top1 - before.top1:+.2f} points"),
        ("loss", f"{before.loss:.4f}", f"{after.loss:.4f}", f"{after.loss - before.loss:+.4f}"),
    ]


def _change(word: str, before: int, after: int) -> tuple[str, ...]:
    return word, f"{before:,}", f"{after:,}", f"{after - before:+,}"
