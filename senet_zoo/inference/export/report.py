"""What `senet_zoo.export` wrote, as values that read well when printed."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from senet_zoo.exported.metadata import Metadata
from senet_zoo.inference.export.parity import Parity


@dataclass(frozen=True)
class ExportReport:
    """A file that was written and has proven itself.

    Args:
        path: of the file; OpenVINO's weights lie beside it, ending in ``.bin``.
        bytes: of all its files.
        metadata: what it says of itself.
        parity: how its answers differ from the original's.
        early: gates that are computed before the convolution whose map they scale.
        late: every other gate by name, and why it stays behind its map; the function is the same.
        notes: what else there is to know.
    """

    path: Path
    bytes: int
    metadata: Metadata
    parity: Parity
    early: tuple[str, ...]
    late: Mapping[str, str]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        side = self.metadata.side
        lines = [
            ("file", f"{self.path}, {self.bytes / 1e6:.1f} MB, {self.metadata.precision.value}"),
            ("input", f"any number of pictures of {'any size' if side is None else f'{side}x{side} pixels'}"),
            ("gates", f"{len(self.early)} of {len(self.early) + len(self.late)} before their convolution"),
            *(("", f"{count} behind: {reason}") for reason, count in Counter(self.late.values()).items()),
            ("parity", str(self.parity)),
            *(("note", note) for note in self.notes),
        ]
        return "\n".join([f"{self.metadata.model}, exported", *(f"  {name:6}  {value}" for name, value in lines)])
