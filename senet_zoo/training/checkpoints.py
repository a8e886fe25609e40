"""What a run can go on from: tensors as safetensors, and everything else as JSON beside them.

A checkpoint is two files in the run's folder of checkpoints, ``00000120.safetensors`` and ``00000120.json``, named by
the steps taken. The JSON is written last and names the sha256 of the tensors: a checkpoint without it, or whose tensors
have other bytes, is none.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from senet_zoo.errors import TrainingError, UsageError, WeightsUnavailable
from senet_zoo.formats import safetensors as tensor_files
from senet_zoo.support.files import FileState, atomic_file, state_of
from senet_zoo.weights.file_hashes import digest

KEPT = 2  # checkpoints of a run; an older one serves where the newest is torn


@dataclass(frozen=True)
class TrainingCheckpoint:
    """The state after some steps.

    Args:
        step: how many.
        tensors: of the network, the optimizer and the average, by name.
        state: everything else, as JSON values.
    """

    step: int
    tensors: Mapping[str, Tensor]
    state: Mapping[str, object]

    def under(self, prefix: str) -> dict[str, Tensor]:
        """The tensors whose names begin with ``prefix``, without it."""
        return {key.removeprefix(prefix): tensor for key, tensor in self.tensors.items() if key.startswith(prefix)}


def write_checkpoint(folder: Path, checkpoint: TrainingCheckpoint) -> None:
    """Write a checkpoint, whole or not at all, and remove all except the newest `KEPT`.

    Raises:
        TrainingError: the disk did not take it; the newest good one is named.
    """
    path = folder / f"{checkpoint.step:08d}.safetensors"
    try:
        sha256 = tensor_files.write(path, checkpoint.tensors, {})
        record = {"step": checkpoint.step, "sha256": sha256, "state": checkpoint.state}
        with atomic_file(path.with_suffix(".json")) as file:
            file.write(json.dumps(record).encode())
    except (OSError, WeightsUnavailable) as error:
        path.with_suffix(".json").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise TrainingError(
            f"the checkpoint after step {checkpoint.step} could not be written: {error}. {last_good(folder)} Make room "
            "and run the same command again"
        ) from error
    for part in filter(is_part, folder.iterdir()):  # of a write that was killed
        part.unlink()
    records = [each for each in folder.glob("[0-9]*.json") if is_checkpoint(each)]
    for old in sorted(records, reverse=True)[KEPT:]:
        old.unlink()
        old.with_suffix(".safetensors").unlink(missing_ok=True)


def is_checkpoint(path: Path) -> bool:
    """Whether a file is called as the checkpoints of a run are; all others in their folder are somebody else's."""
    return re.fullmatch(r"\d{8}\.(json|safetensors)", path.name) is not None


def is_part(path: Path) -> bool:
    """Whether a file is called as one that a run did not write to its end."""
    return re.fullmatch(r"\..+\.[0-9a-f]{32}\.part", path.name) is not None


def newest_checkpoint(folder: Path) -> TrainingCheckpoint | None:
    """The newest whole checkpoint of a folder; None where there is none."""
    for path, record, state in _whole_ones(folder):
        tensors = safetensors.torch.load_file(path)
        if state_of(path.stat()) == state:  # what was hashed is what was read
            return TrainingCheckpoint(record["step"], tensors, record["state"])
    return None


def recorded_identity(folder: Path) -> Mapping[str, object] | None:
    """What the newest whole checkpoint says of its run; None where there is none."""
    for _, record, _ in _whole_ones(folder):
        found: Mapping[str, object] = record["state"].get("identity", {})
        return found
    return None


def refuse_other_run(folder: Path, found: Mapping[str, object], expected: Mapping[str, object]) -> None:
    """Refuse to go on from another run's checkpoint.

    Raises:
        UsageError: the two differ; the message says in what.
    """
    other = [key for key in expected if found.get(key) != expected[key]]
    if other:
        differences = "; ".join(f"{key} was {found.get(key)!r} and is {expected[key]!r}" for key in other)
        raise UsageError(f"{folder} holds the checkpoints of another run: {differences}. Choose another output folder")


def last_good(folder: Path) -> str:
    """A sentence that names the newest whole checkpoint."""
    for tensors, _, _ in _whole_ones(folder):
        return f"The last good checkpoint is {tensors}."
    return "There is no checkpoint yet."


def _whole_ones(folder: Path) -> Iterator[tuple[Path, dict[str, Any], FileState]]:
    """The files of tensors, the records and the files' states of the whole checkpoints, the newest first."""
    for path in sorted(folder.glob("[0-9]*.json"), reverse=True):
        tensors = path.with_suffix(".safetensors")
        try:
            record: dict[str, Any] = json.loads(path.read_bytes())
            state = state_of(tensors.stat())
            whole = record["sha256"] == digest(tensors)
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if whole:
            yield tensors, record, state
