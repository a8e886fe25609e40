"""Schedules by their seeds: ``cd tests && python -m chaos.run 17`` tells one, ``... 5000 6000`` counts a range."""

import sys

from chaos import weights
from chaos.arena import carry_out
from chaos.nursery import Nursery
from chaos.schedule import draw
from chaos.tally import Tally


def main() -> int:
    """Exit status 1 where something did not hold."""
    first, last = int(sys.argv[1]), int(sys.argv[-1])
    one = first == last
    tally = Tally()
    with Nursery(noisy=one) as nursery:
        for seed in range(first, last + 1):
            schedule = draw(seed, len(weights.few_bytes()))
            if one:
                sys.stdout.write(f"{schedule}\n")
            tally.add(carry_out(schedule, nursery, sys.stdout.write if one else lambda _: None))
    sys.stdout.write("\n".join([*tally.failures, str(tally), ""]))
    return bool(tally.failures)


if __name__ == "__main__":
    sys.exit(main())
