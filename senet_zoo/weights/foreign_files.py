"""Whose files lie where a model is to be saved: ours carry a mark each, and all others are left alone."""

from collections.abc import Callable, Mapping
from pathlib import Path

from senet_zoo.errors import SenetZooError, UsageError
from senet_zoo.formats import safetensors
from senet_zoo.support.files import stat_of
from senet_zoo.support.json_fields import read_json
from senet_zoo.weights.card import CARD
from senet_zoo.weights.config import CONFIG, PROCESSOR, PROCESSOR_TYPE, TENSORS
from senet_zoo.weights.timm_config import OURS

MARK = "senet_zoo"
"""What a picture of ours names as its software."""
PICTURES = ("curves.png", "confusion.png", "predictions.png")

_FIRST_BYTES = 4096


def refuse_foreign(folder: Path) -> None:
    """Refuse a folder with a file that saving would replace, and that this zoo did not write.

    Raises:
        UsageError: it has one; all are named.
    """
    foreign = [name for name, is_ours in _MARKS.items() if stat_of(folder / name) and not is_ours(folder / name)]
    if foreign == [TENSORS] and stat_of(folder / CONFIG):
        foreign = []  # our config speaks of it, whatever tool wrote its tensors again
    if foreign:
        raise UsageError(
            f"saving a model replaces only files that senet_zoo wrote, and {' and '.join(foreign)} in {folder} "
            f"{'are' if foreign[1:] else 'is'} not of them; choose another folder, or move what is there"
        )


def _is_card(path: Path) -> bool:
    head = _start(path).partition(b"\n---\n")[0] + b"\n"
    return head.startswith(b"---\n") and b"\nlibrary_name: senet_zoo\n" in head


def _is_config(path: Path) -> bool:
    data = _json(path)
    return OURS in data or {"architecture", "se"} <= data.keys() or {"task", "backbone", "se"} <= data.keys()


def _is_processor(path: Path) -> bool:
    return _json(path).get("image_processor_type") == PROCESSOR_TYPE


def _is_tensors(path: Path) -> bool:
    try:
        return "model" in safetensors.check(path).metadata
    except SenetZooError:
        return False


def is_own_picture(path: Path) -> bool:
    """Whether a PNG says that this zoo drew it."""
    return f"Software\0{MARK}".encode() in _start(path)


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_FIRST_BYTES)
    except OSError:
        return b""


def _json(path: Path) -> Mapping[str, object]:
    try:
        data = read_json(path)
    except SenetZooError:
        return {}
    return data if isinstance(data, Mapping) else {}


_MARKS: Mapping[str, Callable[[Path], bool]] = {
    CARD: _is_card,
    CONFIG: _is_config,
    PROCESSOR: _is_processor,
    TENSORS: _is_tensors,
    **dict.fromkeys(PICTURES, is_own_picture),
}
