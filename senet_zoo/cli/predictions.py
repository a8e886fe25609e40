"""How ``senet-zoo predict`` prints answers: tables, tabs, CSV, JSON and JSON Lines, for classes and for boxes."""

import csv
import json
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from senet_zoo.cli.output import Style, percent, print_json, print_styled
from senet_zoo.support.terminal import visible

if TYPE_CHECKING:
    from senet_zoo.prediction.pipeline import Box, Failure, Prediction

    Networks = Mapping[str, Sequence[str]]
    """Names of the classes of each network that answers, by its name."""

MOST_LISTED = 20  # classes named before the table
TABLE, TABS, CSV, JSONL, JSON, COCO = "table", "tabs", "csv", "jsonl", "json", "coco"
FORMATS = (TABLE, TABS, CSV, JSONL, JSON, COCO)
CORNERS = ("left", "top", "right", "bottom")


def print_predictions(
    form: str,
    networks: "Networks",
    predictions: "Iterator[Prediction]",
    failures: "list[Failure]",
    group: int,
    *,
    boxes: bool,
    coco: "Callable[[Prediction], list[dict[str, object]]]",
) -> None:
    """Print all answers.

    Args:
        form: one of `FORMATS`.
        networks: those that answer.
        predictions: printed as they come, but for JSON.
        failures: filled meanwhile.
        group: rows of a table that are aligned together.
        boxes: whether a detector answers.
        coco: makes COCO's results of an answer.
    """
    if form == JSON:
        _print_json(networks, list(predictions), failures)
    elif form == COCO:
        print(json.dumps([result for each in predictions for result in coco(each)]))
    elif form == TABLE:
        for name, classes in networks.items():
            print(class_names(name, classes))
        if boxes:
            _print_box_table(predictions, group)
        else:
            _print_table(predictions, group)
    elif form == CSV:
        _print_csv(predictions, boxes=boxes)
    elif form == JSONL:
        for each in predictions:
            print(json.dumps(_document(each)), flush=True)
        for failure in failures:
            print(json.dumps({"path": failure.path, "error": failure.error.for_command_line}))
    elif boxes:
        for each in predictions:
            for box in each.boxes or ():
                print(visible(each.path), visible(box.label), f"{box.score:.6f}", *_corners(box), sep="\t", flush=True)
            if not each.boxes:
                print(visible(each.path), flush=True)
    else:
        for each in predictions:
            cells = (cell for label, p in each.classes for cell in (visible(label), f"{p:.6f}"))
            print(visible(each.path), *cells, sep="\t", flush=True)


def class_names(name: str, names: Sequence[str]) -> str:
    """The classes that the network knows: every answer is one of them."""
    listed = f": {', '.join(names)}" if len(names) <= MOST_LISTED else ""
    text = visible(f"{name} knows {len(names)} classes{listed}")
    return textwrap.fill(text, shutil.get_terminal_size().columns, subsequent_indent="  ", break_long_words=False)


def _print_csv(predictions: "Iterable[Prediction]", *, boxes: bool) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    if boxes:
        writer.writerow(("file", "label", "score", *CORNERS, "network"))
        for each in predictions:
            for box in each.boxes or ():
                writer.writerow((each.path, box.label, f"{box.score:.6f}", *_corners(box), each.network))
        return
    writer.writerow(("file", "rank", "label", "probability", "network"))
    for each in predictions:
        for rank, (label, p) in enumerate(each.classes, 1):
            writer.writerow((each.path, rank, label, f"{p:.6f}", each.network))


def _corners(box: "Box") -> list[str]:
    return [f"{value:.2f}" for value in box.corners]


def _document(prediction: "Prediction") -> dict[str, object]:
    if prediction.boxes is None:
        classes = [{"label": label, "probability": p} for label, p in prediction.classes]
        return {"path": prediction.path, "network": prediction.network, "classes": classes}
    width, height = prediction.size or (None, None)
    boxes = [
        {
            "label": box.label,
            "score": round(box.score, 6),
            **{name: round(value, 2) for name, value in zip(CORNERS, box.corners, strict=True)},
        }
        for box in prediction.boxes
    ]
    picture: dict[str, object] = {"path": prediction.path, "network": prediction.network}
    return {**picture, "width": width, "height": height, "boxes": boxes}


def _print_json(networks: "Networks", predictions: "list[Prediction]", failures: "list[Failure]") -> None:
    print_json(
        {
            "weights": ", ".join(networks),
            "num_classes": len(next(iter(networks.values()))) if len(networks) == 1 else None,
            "networks": [{"name": name, "classes": classes} for name, classes in networks.items()],
            "predictions": [_document(each) for each in predictions],
            "failures": [{"path": failure.path, "error": failure.error.for_command_line} for failure in failures],
        }
    )


def _print_table(predictions: "Iterator[Prediction]", group: int) -> None:
    # rows are printed while later pictures are computed: columns are aligned group by group and never shrink
    head, file_width, label_width = True, len("file"), len("class")
    while rows := list(islice(predictions, group)):
        file_width = max(file_width, *(len(visible(row.path)) for row in rows))
        label_width = max(label_width, *(len(visible(row.label)) for row in rows))
        if head:
            print_styled(f"{'file':{file_width}}  {'class':{label_width}}  {'prob.':>6}  runners-up", Style.HEAD)
            head = False
        for row in rows:
            start = (
                f"{visible(row.path):{file_width}}  {visible(row.label):{label_width}}  {percent(row.probability):>6}  "
            )
            print(_with_margin(start, [f"{visible(label)} {percent(p)}" for label, p in row.classes[1:]]), flush=True)


def _print_box_table(predictions: "Iterator[Prediction]", group: int) -> None:
    head, file_width, label_width = True, len("file"), len("class")
    while rows := list(islice(predictions, group)):
        file_width = max(file_width, *(len(visible(row.path)) for row in rows))
        label_width = max(label_width, *(len(visible(box.label)) for row in rows for box in row.boxes or ()), 0)
        if head:
            print(f"{'file':{file_width}}  {'class':{label_width}}  {'score':>6}  left, top, right, bottom")
            head = False
        for row in rows:
            for box in row.boxes or ():
                corners = ", ".join(f"{value:.0f}" for value in box.corners)
                start = f"{visible(row.path):{file_width}}  {visible(box.label):{label_width}}"
                print(f"{start}  {percent(box.score):>6}  {corners}", flush=True)
            if not row.boxes:
                print(f"{visible(row.path):{file_width}}  nothing found", flush=True)


def _with_margin(start: str, cells: list[str]) -> str:
    width = max(shutil.get_terminal_size().columns - len(start), 20)
    text = ", ".join(cell.replace(" ", "\N{NO-BREAK SPACE}") for cell in cells)
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return (start + f"\n{' ' * len(start)}".join(lines)).replace("\N{NO-BREAK SPACE}", " ").rstrip()
