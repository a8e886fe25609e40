"""What loaders answered, counted."""

from collections import Counter
from dataclasses import asdict, dataclass, field

RIGHT, WRONG = "right", "wrong"
"""The tensors that were published, or others."""
REFUSED, UNTYPED = "refused", "untyped"
"""A `SenetZooError`, or any other error."""
KILLED, LATE = "killed", "late"
"""No answer, for it was killed, or was still under way when its time was up."""


@dataclass(frozen=True)
class Answer:
    """What became of a loader: one of the words above, what there is to say, and its seconds."""

    word: str
    text: str
    seconds: float


@dataclass
class Tally:
    """The figures of some schedules.

    Args:
        schedules: how many were carried out.
        words: how often loaders answered what.
        wrong: loads of other tensors than published, clean and offline ones included.
        leaked: temporary files of ours that were there at the end, after survivors and a day.
        orphans: temporary files of huggingface_hub that its killed processes left.
        slowest: seconds of the slowest loader that something befell.
        failures: what did not hold, a text each.
    """

    schedules: int = 0
    words: Counter = field(default_factory=Counter)
    wrong: int = 0
    leaked: int = 0
    orphans: int = 0
    slowest: float = 0.0
    failures: list[str] = field(default_factory=list)

    def add(self, other: "Tally") -> None:
        self.schedules += other.schedules
        self.words.update(other.words)
        self.wrong += other.wrong
        self.leaked += other.leaked
        self.orphans += other.orphans
        self.slowest = max(self.slowest, other.slowest)
        self.failures += other.failures

    def as_properties(self) -> dict[str, object]:
        """The same as values that a report of pytest carries from one process to another."""
        return {**asdict(self), "words": dict(self.words)}

    @staticmethod
    def from_properties(values: dict) -> "Tally":
        """What `as_properties` gave."""
        return Tally(**{**values, "words": Counter(values["words"])})

    def __str__(self) -> str:
        words = ", ".join(f"{self.words[word]} {word}" for word in (RIGHT, REFUSED, KILLED))
        return (
            f"{self.schedules} schedules ({words}; slowest answer {self.slowest:.1f} s): wrong loads = {self.wrong}, "
            f"leaked temporary files = {self.leaked}, broken promises = {len(self.failures)}; "
            f"left by killed processes of huggingface_hub: {self.orphans} *.incomplete"
        )
