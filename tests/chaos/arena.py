"""A schedule carried out: the faults, then a clean load and one offline from the same cache; and what must hold."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from chaos import weights
from chaos.damage import allow_writing, damage, forbid_writing, needs_a_load, vacate
from chaos.loader import Order
from chaos.nursery import Nursery
from chaos.schedule import Schedule
from chaos.tally import KILLED, LATE, RIGHT, UNTYPED, WRONG, Answer, Tally
from hub.loopback import Loopback

from senet_zoo.errors import WeightsError
from senet_zoo.formats import safetensors

BOUND = 60.0
"""Seconds within which a faulty loader must have answered; with pauses and timeouts as short as they are, ten suffice
on an idle machine."""
PATIENCE = 60.0
"""Seconds for a loader that nothing befalls, on a machine that is busy."""
DAY = 86400.0


def carry_out(schedule: Schedule, nursery: Nursery, tell: Callable[[str], None] = lambda _: None) -> Tally:
    """Run one schedule; what does not hold is in the tally's failures.

    Args:
        schedule: what goes wrong.
        nursery: makes the processes.
        tell: is given each answer in words.
    """
    with Loopback() as hub:
        place = Path(tempfile.mkdtemp(prefix="chaos-"))
        try:
            return _Round(schedule, nursery, hub, place, tell).run()
        finally:
            allow_writing(place)
            shutil.rmtree(place)


class _Round:
    def __init__(
        self, schedule: Schedule, nursery: Nursery, hub: Loopback, place: Path, tell: Callable[[str], None]
    ) -> None:
        self.schedule, self.nursery, self.hub, self.place, self.tell = schedule, nursery, hub, place, tell
        self.cache, self.folder = place / "cache", place / "weights"
        self.tally = Tally(schedules=1)
        place.chmod(0o755)  # for loaders that are nobody
        manifest = place / "manifest.json"
        manifest.write_text(weights.manifest(hub.url))
        environment = {
            "SENET_ZOO_HUB": hub.url,
            "SENET_ZOO_CACHE": str(self.cache),
            "SENET_ZOO_MANIFEST": str(manifest),
        }
        if schedule.source == "folder":
            environment["SENET_ZOO_WEIGHTS_DIR"] = str(self.folder)
        self.order = Order(schedule.source, hub.url, self.cache, environment)

    def run(self) -> Tally:
        self._publish()
        self._prepare()
        self.hub.faults.extend(self.schedule.faults)
        orders = [
            replace(self.order, loader=loader, unprivileged=self.schedule.read_only) for loader in self.schedule.loaders
        ]
        answers = self.nursery.raise_all(orders, BOUND)
        self._judge(answers)
        self._look_for_halves()
        self._put_right()
        self._must_be_right("a clean load afterwards", replace(self.order, then_offline=True))
        self._look_for_leaks(killed=sum(answer.word == KILLED for answer in answers))
        return self.tally

    def _publish(self) -> None:
        if self.schedule.source in ("whole", "saved"):
            self.hub.add(weights.WHOLE, weights.whole_bytes(), weights.COMMIT)
            self.hub.add(weights.WHOLE, weights.config_bytes(), weights.COMMIT, weights.CONFIG)
        else:
            self.hub.add(weights.FEW, weights.few_bytes(), weights.COMMIT)
        self.hub.files[weights.release_name()] = weights.release_bytes()

    def _fill_folder(self) -> None:
        path = self.folder / "se_resnet20" / "chaos" / weights.TENSORS
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(weights.few_bytes())

    def _prepare(self) -> None:
        self.cache.mkdir()
        self._fill_folder()
        if needs_a_load(self.schedule.cache):
            self._must_be_right("a load before", self.order)
        damaged = self.folder if self.schedule.source == "folder" else self.cache
        damage(self.schedule.cache, damaged, self.schedule.seed)
        if self.schedule.read_only and self.cache.is_dir():
            forbid_writing(self.cache)

    def _put_right(self) -> None:
        self.hub.lift()
        allow_writing(self.place)
        vacate(self.cache)
        if self.folder.is_file():
            self.folder.unlink()
        self._fill_folder()

    def _judge(self, answers: list[Answer]) -> None:
        for loader, answer in zip(self.schedule.loaders, answers, strict=True):
            self._note(str(loader), answer)
            self.tally.words[answer.word] += 1
            self.tally.wrong += answer.word == WRONG
            self.tally.slowest = max(self.tally.slowest, answer.seconds)
            if answer.word in (WRONG, UNTYPED, LATE) or (answer.word == KILLED and not loader.dies):
                self._fail(f"{loader} answered {answer.word} after {answer.seconds:.2f} s: {answer.text}")

    def _must_be_right(self, what: str, order: Order) -> None:
        (answer,) = self.nursery.raise_all([order], PATIENCE)
        self._note(what, answer)
        self.tally.wrong += answer.word == WRONG
        if answer.word != RIGHT:
            self._fail(f"{what} answered {answer.word} after {answer.seconds:.2f} s: {answer.text}")

    def _look_for_halves(self) -> None:
        """Nothing of ours is half-written under its own name, whoever was killed or found the disk full."""
        if self.schedule.cache not in ("empty", "warm", "aged"):
            return  # there are spoilt files from the start
        for path in (*self.cache.glob("pins/*.json"), *self.cache.glob("verified/*.json")):
            if not path.read_bytes().endswith(b"}"):
                self._fail(f"{path.relative_to(self.place)} is half-written")
        for path in self.cache.glob("releases/*.safetensors"):
            try:
                safetensors.check(path)
            except WeightsError as e:
                self._fail(f"{path.relative_to(self.place)} is half-written: {e}")

    def _look_for_leaks(self, killed: int) -> None:
        """Who is killed leaves a download and a conversion at most; who writes beside them a day later removes them."""
        parts = self._parts()
        self.tally.orphans += len(list(self.cache.rglob("*.incomplete")))
        if len(parts) > 2 * killed:
            self._fail(f"{killed} loaders were killed, but there are {[part.name for part in parts]}")
        if parts:
            before = time.time() - 2 * DAY
            for part in parts:
                os.utime(part, (before, before))
            for kept in self.cache.rglob("*"):
                if kept.is_file() and kept.suffix != ".part":
                    kept.unlink()
            self._must_be_right("a load a day later", self.order)
        for part in self._parts():
            self.tally.leaked += 1
            self._fail(f"{part.relative_to(self.place)} was never removed")

    def _parts(self) -> list[Path]:
        return [path for path in self.place.rglob("*") if path.name.endswith(".part")]

    def _note(self, what: str, answer: Answer) -> None:
        self.tell(f"  {what}: {answer.word} after {answer.seconds:.2f} s {answer.text}\n")

    def _fail(self, text: str) -> None:
        again = f"cd tests && python -m chaos.run {self.schedule.seed}"
        self.tally.failures.append(f"{self.schedule}\n  {text}\n  again: {again}")
