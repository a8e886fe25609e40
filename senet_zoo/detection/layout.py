"""Where the files of a folder in COCO's format lie.

Three layouts are known, and found by themselves; SPLIT is train or val (also valid, or test where there is no val):

- COCO's own: ``annotations/instances_SPLIT2017.json`` (any year, or none) and pictures in ``SPLIT2017/``;
- pictures and ``annotations.json`` in ``SPLIT/``, the pictures perhaps in ``SPLIT/images/``;
- the same with ``_annotations.coco.json``, as labelling services export it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from senet_zoo.errors import DataError

Split = Literal["train", "val"]
WORDS: Mapping[Split, tuple[str, ...]] = {"train": ("train",), "val": ("val", "valid", "test")}
BESIDE = ("annotations.json", "_annotations.coco.json")  # names of an annotations file beside its pictures


def located(root: Path, split: Split) -> tuple[Path, Path]:
    """The annotations file of a split, and the folder of its pictures.

    Raises:
        DataError: there is none, or there are two.
    """
    for word in WORDS[split]:
        own = sorted((root / "annotations").glob(f"instances_{word}*.json"))
        own = [
            path for path in own if path.stem.removeprefix(f"instances_{word}").isdecimal() or path.stem.endswith(word)
        ]
        if len(own) > 1:
            names = ", ".join(path.name for path in own)
            raise DataError(f"{root / 'annotations'} must have one file of annotations for {word}, and has {names}")
        if own:
            return own[0], root / own[0].stem.removeprefix("instances_")
        for name in BESIDE:
            path = root / word / name
            if path.is_file():
                inner = root / word / "images"
                return path, inner if inner.is_dir() else root / word
    raise DataError(
        f"a COCO folder must have annotations/instances_{split}*.json with pictures in {split}*/, or "
        f"{split}/{BESIDE[0]} or {split}/{BESIDE[1]} beside the pictures; {root} has none of them"
    )
