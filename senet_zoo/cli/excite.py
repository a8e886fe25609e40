"""``senet-zoo excite``: what the gates of a network say of pictures."""

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
    from senet_zoo.analysis.excitation import GateExcitations, Measures, Report
    from senet_zoo.data.labelled import Labelled, Unlabelled
    from senet_zoo.prediction.predictor import Predictor

SUMMARY = "look inside the gates: the paper's analysis of excitations"
DESCRIPTION = """\
Show a network pictures, and print what its gates say of them, of each class
where the pictures are labelled. With -o FOLDER, write:

  excitations.csv     mean and spread of each gate, class and channel
  summary.json        of each gate: saturation, class separability (eta
                      squared), entropy, channels that never move, spread
                      within the classes
  classes.png, .svg   the paper's figure: the last gate of each stage, and the
                      last three of the last stage
  spread.png, .svg    the same with the spread within the first two classes
  index.html          one page to look at every gate; it needs no network

DATA is one picture, also by https:, a folder of pictures, or labelled pictures
as `senet-zoo evaluate` takes them; their classes need not be the network's.

With --map and one picture, maps.png in that folder (without -o, a file
NAME.maps.png here) shows where the last stages look: class activation maps
(Grad-CAM) of the likeliest class, and the gates below them. It needs
pip install 'senet-zoo[maps]'.

A picture that cannot be read is left out and named on standard error; the exit
status is then 1."""
EXAMPLE = """\
senet-zoo excite cat.jpg --model se_resnet50 --map
  senet-zoo excite photographs/val --model se_resnet50 -o gates \\
      --classes goldfish,pug,plane,cliff
  senet-zoo excite CIFAR10 --download -o gates --limit 100"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help="a picture, or many")
    add_network_options(parser)
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="where the files go; default: none are written"
    )
    parser.add_argument("--map", action="store_true", help="of one picture: class activation maps beside the gates")
    group = parser.add_argument_group("what is shown")
    group.add_argument(
        "--classes",
        metavar="WORD,...",
        help="those drawn, by name, part of a name or number; default: all of up to ten",
    )
    group.add_argument(
        "--channels", type=_channels, default=50, metavar="N|all", help="evenly spaced ones of each gate; default: 50"
    )
    group = parser.add_argument_group("the data")
    group.add_argument(
        "--limit", type=positive, metavar="N", help="pictures of each class, the first ones; without classes, of all"
    )
    add_data_options(group, class_names="--class-names")


def run(arguments: argparse.Namespace) -> int:
    from senet_zoo.analysis.excitation import Report, check_folder, choose_classes, excite, name_classes, write_report
    from senet_zoo.data.labelled import Labelled, first_of_each_class, subset
    from senet_zoo.data.picture_paths import decoded
    from senet_zoo.evaluation import logits_of

    if arguments.output:
        check_folder(arguments.output)
    data = open_any_pictures(arguments)
    if arguments.limit and isinstance(data, Labelled):
        data = first_of_each_class(data, arguments.limit)
    elif arguments.limit:
        data = subset(data, range(min(arguments.limit, len(data))))
    map_file = _map_file(arguments, len(data)) if arguments.map else None
    if arguments.model is None and arguments.weights is None and len(data) == 1:
        from senet_zoo.prediction.predictor import default_network

        arguments.model = default_network(data.read(0))
    predictor = load_network(arguments, arguments.device)
    names = name_classes(data.classes, logits_of(predictor.categories)) if isinstance(data, Labelled) else ()
    chosen = choose_classes(arguments.classes.split(",") if arguments.classes is not None else None, names)
    with progress_bar(len(data)) as bar:
        found = excite(
            predictor.model,
            data,
            predictor.preprocessing,
            batch=arguments.batch,
            workers=number_of_workers(arguments),
            progress=bar.update,
        )
    print_problems("excite", found.unreadable)
    report = Report(decoded(predictor.name), decoded(arguments.data), found, names, chosen, arguments.channels)
    files = write_report(arguments.output, report) if arguments.output else ()
    if map_file is not None:
        _draw_maps(map_file, predictor, data, report)
    _print(arguments, report, files, map_file)
    return 1 if found.unreadable else 0


def _map_file(arguments: argparse.Namespace, pictures: int) -> Path:
    from senet_zoo.analysis.excitation.class_maps import check_maps

    if pictures != 1:
        raise UsageError(f"--map shows one picture, and {arguments.data} has {pictures}: name a file, or add --limit 1")
    name = Path(arguments.data).name
    file = arguments.output / "maps.png" if arguments.output else Path(f"{Path(name).stem or 'picture'}.maps.png")
    check_maps(file)
    return Path(file)


def _draw_maps(file: Path, predictor: "Predictor", data: "Labelled | Unlabelled", report: "Report") -> None:
    from senet_zoo.analysis.excitation.class_maps import class_maps, draw_maps

    maps = class_maps(predictor.model, data.read(0), predictor.preprocessing, predictor.categories)
    draw_maps(file, maps, f"{report.network} on {Path(report.data).name}")


def _channels(text: str) -> int | None:
    return None if text == "all" else positive(text)


def _print(arguments: argparse.Namespace, report: "Report", files: tuple[str, ...], map_file: Path | None) -> None:
    from senet_zoo.analysis.excitation import describe_network, measures

    if arguments.json:
        written = [str(arguments.output / name) for name in files]
        print_json({**report.document, "files": [*written, *([str(map_file)] if map_file else [])]})
        return
    count = sum(report.found.count)
    print(f"{visible(report.network)} on {visible(report.data)}, {count} picture{'s' * (count != 1)}")
    numbers = [measures(gate) for gate in report.found.gates]
    if count == 1:
        rows = [_row_of_one(gate, each) for gate, each in zip(report.found.gates, numbers, strict=True)]
        print_table(("gate", "channels", "mean", "saturated", "least", "most"), rows)
    else:
        rows = [_row(gate, each) for gate, each in zip(report.found.gates, numbers, strict=True)]
        print_table(("gate", "channels", "mean", "saturated", "eta²", "entropy", "still", "within"), rows)
    for sentence in describe_network(report.found.gates, numbers):
        print(sentence)
    if map_file is not None:
        print(f"class activation maps: {visible(str(map_file))}")
    if arguments.output:
        print(f"look at {visible(str(arguments.output / 'index.html'))}")
    else:
        print("-o FOLDER draws them, and writes every channel as CSV")


def _row(gate: "GateExcitations", found: "Measures") -> tuple[str, ...]:
    return (
        visible(gate.name),
        f"{gate.channels}",
        f"{found.mean:.3f}",
        f"{found.saturated:.1%}",
        "-" if found.separability is None else f"{found.separability:.3f}",
        f"{found.entropy:.2f}",
        f"{found.still}",
        f"{found.within_class:.3f}",
    )


def _row_of_one(gate: "GateExcitations", found: "Measures") -> tuple[str, ...]:
    values = gate.moments.overall_mean
    return (
        visible(gate.name),
        f"{gate.channels}",
        f"{found.mean:.3f}",
        f"{found.saturated:.1%}",
        f"{values.min():.3f} (channel {int(values.argmin())})",
        f"{values.max():.3f} (channel {int(values.argmax())})",
    )
