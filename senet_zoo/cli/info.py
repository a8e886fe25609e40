"""``senet-zoo info``: what is known of a model and of its weights, or of a saved network."""

import argparse
import dataclasses
import textwrap
from typing import TYPE_CHECKING

from senet_zoo.cli.output import print_folded, print_json, print_table
from senet_zoo.cli.parser import positive
from senet_zoo.errors import UsageError
from senet_zoo.support.terminal import visible

if TYPE_CHECKING:
    from senet_zoo import ModelInfo, Preprocessing
    from senet_zoo.weights.rows import Metric, Source, WeightsRow

SUMMARY = "print what is known of a model and its weights"
DESCRIPTION = """\
Print what a model is and costs, where it is defined, and of each checkpoint
the licence, the accuracy and who measured it, and how its bytes are checked.
Nothing is downloaded. Of a saved folder: what its network is and costs, pruned
or not, a variant or not.

--se puts another gate in place of the model's own: words with commas between,
out of
  reduction   a whole number            activation  relu silu gelu leaky_relu
  bias        true false                gate        sigmoid hard_sigmoid tanh
  placement   standard pre post                     relu
              identity inner            start       random identity
  squeeze     mean max both none        stages      such as 3, 2-4 or 2+5
  without     single blocks: 4_6+5_1    hidden      units of each gate, in
                                                    place of a reduction
What is not named is as released: 16, with biases, standard, mean, sigmoid.

--layers prints any network layer by layer, as the paper's table 1 does for
three: what a layer writes, and what it costs for one picture."""
EXAMPLE = """\
senet-zoo info se_resnet50
  senet-zoo info se_resnet50 --se reduction=8,placement=pre,stages=2-4
  senet-zoo info se_resnet50 --layers
  senet-zoo info ./slim"""


MOST_LISTED = 20  # classes of a saved network that are named


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME[.TAG]", help="a model, one of its checkpoints, or a saved folder")
    parser.add_argument("--layers", action="store_true", help="layer by layer: shape, parameters, multiply-adds")
    parser.add_argument("--size", type=positive, metavar="PIXELS", help="side of the picture, with --layers")
    parser.add_argument("--se", metavar="WORDS", help="a variant of the gate, such as reduction=8,placement=pre")
    parser.add_argument(
        "--dims", type=int, choices=(1, 2, 3), help="over signals (1) or volumes (3); default: pictures"
    )


def run(arguments: argparse.Namespace) -> int:
    from senet_zoo import get_weights, model_info
    from senet_zoo.weights import variant
    from senet_zoo.weights.create import is_place

    if arguments.size is not None and not arguments.layers:
        raise UsageError("--size is of the picture that --layers follows; add --layers")
    if arguments.dims is not None and (arguments.layers or is_place(arguments.name)):
        raise UsageError("--dims chooses among the forms of a model; leave it out with --layers or a saved folder")
    if arguments.layers:
        return _layers(arguments)
    if is_place(arguments.name):
        return _folder(arguments)
    model, _, tag = arguments.name.partition(".")
    if tag and arguments.se is not None:
        raise UsageError(f"weights have the gate that they were trained with; drop --se, or the tag {tag!r}")
    row = get_weights(arguments.name).row if tag else None
    gate = None if arguments.se is None else variant.parse(arguments.se)
    info = model_info(model, gate if row is None else row.se, arguments.dims or 2)
    rows = info.weights if row is None else (row,)
    if arguments.json:
        print_json(dataclasses.replace(info, weights=rows))
        return 0
    print(f"{info.name}\n{textwrap.indent(_first_line(info.doc), '  ')}\n")
    _print_facts(_model_facts(info), indent="  ")
    for row in rows:
        default = " (default)" if (row,) == info.weights[:1] else ""
        print(f"\nweights {row.name}{default}")
        _print_facts(_weights_facts(row), indent="  ")
    if not rows:
        print(f"\nNo public weights are known{' with this gate' if arguments.se is not None else ''}.")
    return 0


def _layers(arguments: argparse.Namespace) -> int:
    from senet_zoo.analysis.info import layers
    from senet_zoo.weights import variant

    se = None if arguments.se is None else variant.parse(arguments.se)
    cost = layers(arguments.name, se, arguments.size)
    if arguments.json:
        print_json({"name": arguments.name, "size": cost.size, "layers": cost.layers})
        return 0
    total = (
        "total",
        "",
        f"{cost.size}x{cost.size} px",
        sum(layer.parameters for layer in cost.layers),
        cost.multiply_adds,
    )
    rows = [
        (layer.name, layer.kind, "x".join(map(str, layer.shape[1:])), layer.parameters, layer.multiply_adds)
        for layer in cost.layers
    ]
    numbers = [[f"{number:,}" if number else "-" for number in row[3:]] for row in (*rows, total)]
    widths = [max(map(len, (head, *column))) for head, column in zip(_NUMBERS, zip(*numbers, strict=True), strict=True)]
    print_table(
        ("layer", "kind", "output", *(head.rjust(width) for head, width in zip(_NUMBERS, widths, strict=True))),
        [
            (*row[:3], *(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)))
            for row, cells in zip((*rows, total), numbers, strict=True)
        ],
    )
    return 0


_NUMBERS = ("parameters", "multiply-adds")


def _folder(arguments: argparse.Namespace) -> int:
    from senet_zoo.analysis.info import saved_info
    from senet_zoo.weights.config import SavedTask
    from senet_zoo.weights.task_folders import task_at

    if arguments.se is not None:
        raise UsageError(
            f"a saved network has the gate that it was saved with; drop --se, or name a model instead of "
            f"{arguments.name}"
        )
    if task_at(arguments.name) is not SavedTask.CLASSIFICATION:
        return _task_folder(arguments)
    info = saved_info(arguments.name)
    if arguments.json:
        print_json(info)
        return 0
    print(f"{visible(arguments.name)}\n  {info.name}: {_first_line(info.doc)}\n")
    _print_facts(_model_facts(info) + _config_facts(info), indent="  ")
    return 0


def _task_folder(arguments: argparse.Namespace) -> int:
    """A detector's or a segmenter's folder."""
    from senet_zoo.tasks import saved_card

    card = saved_card(arguments.name)
    if arguments.json:
        print_json(card)
        return 0
    names, provenance = card.classes, card.provenance
    listed = f": {', '.join(names)}" if len(names) <= MOST_LISTED else ""
    print(f"{visible(arguments.name)}\n  {card.title}\n")
    _print_facts(
        [
            ("task", card.task.value),
            ("parameters", f"{card.parameters:,}"),
            *((name, value.replace("`", "")) for name, value in card.network),
            ("pictures", card.pictures),
            ("classes", f"{len(names)}{listed}"),
            *([("measured on", card.measured[0]), *card.measured[1]] if card.measured else [("accuracy", "not known")]),
            ("licence", (provenance and provenance.license) or "not chosen"),
            *([("trained from", provenance.base)] if provenance and provenance.base else []),
        ],
        indent="  ",
    )
    return 0


def _model_facts(info: "ModelInfo") -> list[tuple[str, str]]:
    from senet_zoo.weights import variant

    gates = f"{info.gates}, with {info.gate_parameters:,} of the parameters" if info.gates else "none"
    return [
        ("parameters", f"{info.parameters:,}"),
        ("multiply-adds", f"{info.multiply_adds:,} for {_input(info)}"),
        *([("dimensions", str(info.dims))] if info.dims else []),
        ("gates", gates),
        *([("variant", variant.to_text(info.se))] if info.se else []),
        *(
            [("channels", ", ".join(map(str, info.widths)) + ": the stem's map, then each stage's")]
            if info.widths
            else []
        ),
        *([("weights of gates", _weights_of_gates(info))] if info.se else []),
        ("defined in", info.defined_in),
        *([("also called", ", ".join(info.aliases))] if info.aliases else []),
        ("twin" if info.gates else "gated twin", info.twin),
    ]


def _input(info: "ModelInfo") -> str:
    side = info.input_size
    if info.dims is None:
        return f"a picture of {side}x{side} pixels"
    return f"a signal of {side} samples" if info.dims.count == 1 else f"a volume of {side}x{side}x{side} voxels"


def _config_facts(info: "ModelInfo") -> list[tuple[str, str]]:
    """What a saved folder says of its network."""
    config = info.config
    if config is None:
        return []
    names, p, provenance = config.categories or (), config.preprocessing, config.provenance
    listed = f": {', '.join(names)}" if 0 < len(names) <= MOST_LISTED else ""
    unnamed = "" if names else ", without names"
    metrics = provenance.metrics if provenance else ()
    return [
        ("classes", f"{config.num_classes}{unnamed}{listed}" if config.num_classes else "none: pooled features"),
        ("pictures", "not known" if p is None else _pictures(p))
        if config.volumes is None
        else ("resampled to", " x ".join(map(str, config.volumes.sides))),
        *((metric.name, _metric(metric)) for metric in metrics),
        *([] if metrics else [("accuracy", "not known")]),
        ("licence", (provenance and provenance.license) or "not chosen"),
        *([("trained from", provenance.base)] if provenance and provenance.base else []),
    ]


def _pictures(p: "Preprocessing") -> str:
    return f"shorter side to {p.resize} px ({p.interpolation.value}), centre {p.size}x{p.size}"


def _weights_of_gates(info: "ModelInfo") -> str:
    if info.formula is None:
        return f"{info.gate_weights:,} without biases"
    same = "" if info.formula.value == info.gate_weights else f", but counted {info.gate_weights:,}"
    return f"{info.formula} = {info.formula.value:,} without biases{same}"


def _weights_facts(row: "WeightsRow") -> list[tuple[str, str]]:
    from senet_zoo.weights import variant

    return [
        *((("gate", variant.to_text(row.se)),) if row.se else ()),
        ("labels", f"{row.labels}, {row.num_classes} classes"),
        ("pictures", _pictures(row.preprocessing)),
        *((metric.name, _metric(metric)) for metric in row.metrics),
        ("licence", f"{row.license or 'not known'}, according to {row.license_source}"),
        ("files", row.pin_state.value),
        ("origin", row.origin or "this project"),
        ("paper", row.citation),
        *((("made by", row.training.command),) if row.training else ()),
        *(fact for source in row.sources for fact in _source_facts(source)),
    ]


def _metric(metric: "Metric") -> str:
    value = "not known" if metric.value is None else f"{metric.value:.2f}%"
    who = "measured by us: " if metric.measured_by_us else "measured by "
    return f"{value} on {metric.dataset} at {metric.size} px, {who}{metric.who}"


def _source_facts(source: "Source") -> list[tuple[str, str]]:
    from senet_zoo.weights.rows import HubFile, PackageFile

    size = "size not known" if source.size is None else f"{source.size:,} bytes"
    if isinstance(source, PackageFile):
        return [("file", f"{source.path} inside the package, {size}"), ("sha256", source.sha256)]
    if isinstance(source, HubFile):
        commit = source.revision or "not known; the hub's newest is resolved once and remembered"
        sha256 = source.sha256 or "not known; the bytes are checked against the sha256 that the hub itself reports"
        place = f"{source.repo}, {source.filename}, {size}"
        return [("hub file", place), ("commit", commit), ("sha256", sha256)]
    return [("release file", f"{source.url}, {size}"), ("sha256", source.proof)]


def _print_facts(facts: list[tuple[str, str]], indent: str) -> None:
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        print_folded(visible(value), f"{indent}{name:{width}}  ")


def _first_line(doc: str) -> str:
    return doc.strip().partition("\n")[0]
