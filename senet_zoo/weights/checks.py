"""What a verification found, as frozen values."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Check:
    """One check: what was asked, whether it held, and what was found."""

    name: str
    ok: bool
    found: str


@dataclass(frozen=True)
class Verification:
    """The checks of one checkpoint, of a kit of them, or of a manifest, in order.

    Args:
        name: what was asked for: ``model.tag``, or a path.
        path: the file or the kit's folder, or None where there is none that can be read.
        sha256: of the file's bytes, or of a kit's sums, hashed now; None where there is no file.
        checks: in order; of a checkpoint, those that build on one that did not hold are not made.
    """

    name: str
    path: Path | None
    sha256: str | None
    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether every check held."""
        return all(check.ok for check in self.checks)
