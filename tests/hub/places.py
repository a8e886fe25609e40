"""Where things lie."""

from pathlib import Path

TREE = Path(__file__).parents[2]


def leftovers(cache: Path) -> list[str]:
    """Temporary files under a cache; there should be none."""
    return [str(path) for path in cache.rglob("*") if path.name.endswith((".part", ".incomplete", ".tmp"))]
