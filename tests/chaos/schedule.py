"""What goes wrong, drawn from a seed: the same seed is the same schedule."""

from dataclasses import MISSING, dataclass, fields
from random import Random

from hub.faults import Fault

YEAR = 365 * 86400.0

SOURCES = {
    "pinned": 7,
    "dated": 3,
    "unpinned": 4,
    "newest": 3,
    "release": 7,
    "spare": 3,
    "folder": 3,
    "whole": 1,
    "saved": 1,
}
"""Where the weights come from, and how often; see `chaos.weights.row`, and `chaos.loader` for the others."""

CACHES = {"empty": 10, "warm": 2, "rotten": 2, "disguised": 1, "truncated": 1, "torn": 2, "aged": 1, "occupied": 1}
"""What the cache is before, and how often; see `chaos.damage`."""


@dataclass(frozen=True)
class Loader:
    """What befalls one process that loads.

    Args:
        start: seconds after the first one.
        dies_at_call: kill -9 after the so-manieth call that opens, writes, makes, moves, links or removes a file, or
            speaks to the hub; a load takes about fifty.
        dies_after: kill -9 so many seconds after its start.
        disk_takes: no file grows beyond so many bytes: the system refuses to write more (RLIMIT_FSIZE).
        full_at: no space is left for the so-manieth new file or folder and all after it.
        clock: seconds that its clock is off.
    """

    start: float = 0.0
    dies_at_call: int | None = None
    dies_after: float | None = None
    disk_takes: int | None = None
    full_at: int | None = None
    clock: float = 0.0

    def __str__(self) -> str:
        return _brief(self)

    @property
    def dies(self) -> bool:
        """Whether it may not live to answer."""
        return self.dies_at_call is not None or self.dies_after is not None


@dataclass(frozen=True)
class Schedule:
    """Loaders, what befalls each, and what the hub and the cache do to them.

    Args:
        seed: what it was drawn from.
        source: one of SOURCES.
        cache: one of CACHES.
        read_only: whether nobody may write to the cache.
        faults: of the hub, in this order on each route.
        loaders: at once, all on one cache.
    """

    seed: int
    source: str
    cache: str
    read_only: bool
    faults: tuple[Fault, ...]
    loaders: tuple[Loader, ...]

    def __str__(self) -> str:
        faults = ", ".join(map(_brief, self.faults)) or "none"
        loaders = ", ".join(map(_brief, self.loaders))
        cache = f"{'read-only ' if self.read_only else ''}{self.cache}"
        return f"seed {self.seed}: {self.source} into a {cache} cache; hub faults: {faults}; loaders: {loaders}"


def draw(seed: int, size: int) -> Schedule:
    """The schedule of a seed.

    Args:
        seed: any whole number.
        size: bytes of a published file, about; cuts and full disks fall inside.
    """
    random = Random(seed)
    source, cache = _one(random, SOURCES), _one(random, CACHES)
    routes = {"release": ("file",), "spare": ("resolve", "cdn", "file")}.get(source, ("resolve", "cdn", "cdn", "api"))
    faults = tuple(_fault(random, random.choice(routes), size) for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3))))
    count = random.choice((1,) * 8 + (2, 2, 2, 2, 3, 4, 5, 6))
    return Schedule(
        seed=seed,
        source=source,
        cache=cache,
        read_only=random.random() < 0.06,
        faults=faults,
        loaders=tuple(_loader(random, size) for _ in range(count)),
    )


def _fault(random: Random, route: str, size: int) -> Fault:
    times = random.choice((1, 1, 1, 2, 2, 3, None))
    match random.choice(
        ("cut", "cut", "flip", "flip", "short", "miscount", "status", "status", "page", "drip", "stall", "restart")
    ):
        case "cut":
            # What always breaks off at once is drawn too, but not what gains a byte a second for hours.
            return Fault(route, times, cut=random.choice((0, random.randrange(size // 4, size))))
        case "flip":
            return Fault(route, times, flip=random.random())
        case "short":
            return Fault(route, times, short=random.randint(1, size - 1))
        case "miscount":
            return Fault(route, times, miscount=random.choice((-1, 1)) * random.randint(1, size))
        case "status":
            status = random.choice((403, 404, 408, 429, 429, 500, 502, 503, 503, 504))
            return Fault(route, times, status, random.choice(({}, {"Retry-After": str(random.randint(0, 20))})))
        case "page":
            return Fault(route, times, 200, {"Content-Type": "text/html"}, b"<html>please log in</html>")
        case "drip":
            return Fault(route, times, drip=random.choice((0.002, 0.01)))
        case "stall":
            return Fault(route, times or 2, stall=random.choice((0.05, 0.7)))
        case _:
            return Fault(route, 1, restart=random.choice((0.0, 0.05, 0.3)))


def _loader(random: Random, size: int) -> Loader:
    start = random.choice((0.0, 0.0, random.uniform(0, 0.1)))
    match random.choice(("well",) * 5 + ("call", "call", "time", "limit", "full", "clock")):
        case "call":
            return Loader(start, dies_at_call=random.randint(1, 60))
        case "time":
            return Loader(start, dies_after=random.uniform(0, 0.15))
        case "limit":
            return Loader(start, disk_takes=random.randrange(size + size // 4))
        case "full":
            return Loader(start, full_at=random.randint(1, 30))
        case "clock":
            return Loader(start, clock=random.choice((-40, -1, 1, 40)) * YEAR)
        case _:
            return Loader(start)


def _one(random: Random, words: dict[str, int]) -> str:
    return random.choices(list(words), list(words.values()))[0]


def _brief(value: Fault | Loader) -> str:
    """A value in one line, without what is as usual."""
    said = []
    for field in fields(value):
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if getattr(value, field.name) != default:
            said.append(f"{field.name}={getattr(value, field.name)!r}")
    return f"{type(value).__name__}({', '.join(said)})"
