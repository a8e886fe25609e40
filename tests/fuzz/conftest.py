"""How long the fuzzers try: the same few hundred examples every time, or with another profile new ones for hours.

pytest tests/fuzz --hypothesis-profile=long

An example that fails is printed, and tried first in the next run.
"""

from hypothesis import HealthCheck, Phase, settings

_SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example)
_PHASES = set(Phase) - {Phase.explain}  # it traces every line, which takes longer than a reader may
_COMMON = settings(deadline=None, phases=_PHASES, suppress_health_check=_SLOW)
settings.register_profile("quick", _COMMON, derandomize=True, max_examples=250)
settings.register_profile("long", _COMMON, max_examples=50_000, print_blob=True)
settings.load_profile("quick")
