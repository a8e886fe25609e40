"""Weights in several files, as Hugging Face's libraries write large ones: an index of names, and shards beside it.

Source: ``save_torch_state_dict`` of https://github.com/huggingface/huggingface_hub.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from senet_zoo.errors import ManifestError, WeightsCorrupted, WeightsMismatch, WeightsUnsafe
from senet_zoo.support.json_fields import read_json

SUFFIX = ".index.json"
MOST_SHARDS = 64
MOST_INDEX_BYTES = 2**22  # of 5000 names, each as long as a line
_SHARD = re.compile(r"(?P<stem>.+)-\d{5}-of-\d{5}(?P<suffix>\.\w+)")


def read_index(path: Path) -> dict[Path, list[str]]:
    """Which tensors each shard of an index holds.

    Raises:
        WeightsCorrupted: it is no index.
        WeightsUnsafe: it names files elsewhere, or more than any network has.
    """
    if path.stat().st_size > MOST_INDEX_BYTES:
        raise WeightsUnsafe(f"an index of shards may have {MOST_INDEX_BYTES} bytes at most, but {path} has more")
    try:
        index = read_json(path)
    except ManifestError as e:
        raise WeightsCorrupted(f"{path} must be an index of shards, but is no JSON: {str(e)[:200]}") from e
    places = index.get("weight_map") if isinstance(index, Mapping) else None
    if not isinstance(places, Mapping) or not places or not all(isinstance(file, str) for file in places.values()):
        raise WeightsCorrupted(
            f"{path} must be an index of shards, whose weight_map says in which file each tensor lies; name the file "
            f"of weights"
        )
    shards: dict[Path, list[str]] = {}
    for name, file in places.items():
        if Path(file).name != file or file in (".", "..") or "\\" in file or "\0" in file:
            raise WeightsUnsafe(f"the shards of an index must lie beside it, but {path} names {file[:80]!r}")
        shards.setdefault(path.with_name(file), []).append(name)
    if len(shards) > MOST_SHARDS:
        raise WeightsUnsafe(f"an index may name {MOST_SHARDS} shards at most, {path} names {len(shards)}")
    return shards


def require_whole(path: Path) -> None:
    """Refuse one shard alone where its index lies beside it.

    Raises:
        WeightsMismatch: the index should be named.
    """
    shard = _SHARD.fullmatch(path.name)
    index = path.with_name(f"{shard['stem']}{shard['suffix']}{SUFFIX}") if shard else path
    if shard and index.is_file():
        raise WeightsMismatch(f"{path} is one of several shards, a part of the weights; name their index, {index}")
