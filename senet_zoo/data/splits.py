"""The parts of a data set, train, val and test, by all the names that data sets give them."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
SPLIT_WORDS: Mapping[str, Split] = MappingProxyType(
    {
        "train": "train",
        "training": "train",
        "val": "val",
        "valid": "val",
        "validation": "val",
        "validate": "val",
        "dev": "val",
        "test": "test",
        "testing": "test",
    }
)
"""In lower case."""
_NAME = re.compile(
    rf"(?:seg|img|imgs|image|images|data|dataset)?[ _-]*({'|'.join(SPLIT_WORDS)})"
    r"[ _-]*(?:set|data|dataset|split|img|imgs|image|images|pictures|folder)?[ _-]*\d*"
)


def split_of(name: str) -> Split | None:
    """The part that a name stands for, in any case and with the usual additions; None where it stands for none.

    Example:
        >>> split_of("Training"), split_of("valid"), split_of("seg_test"), split_of("train2017"), split_of("trainer")
        ('train', 'val', 'test', 'train', None)
    """
    found = _NAME.fullmatch(name.strip().casefold())
    return SPLIT_WORDS[found[1]] if found else None


def split_in(name: str) -> Split | None:
    """The part whose word stands anywhere in a name, such as ``01_train``; None where there is none, or several."""
    found = {SPLIT_WORDS[word] for word in re.findall(r"[a-z]+", name.casefold()) if word in SPLIT_WORDS}
    return found.pop() if len(found) == 1 else None
