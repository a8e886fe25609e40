"""Files that are made in a hidden folder beside their place, and moved there when they have proven themselves."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from senet_zoo.errors import ExportError


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A path of the same name in a folder of its own; what the block leaves there takes its place if it succeeds.

    Raises:
        ExportError: the folder does not take files.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent, ignore_cleanup_errors=True) as folder:
            yield Path(folder, path.name)
            # OpenVINO's weights go before the file that needs them.
            for made in sorted(Path(folder).iterdir(), key=lambda file: file.name == path.name):
                made.replace(path.parent / made.name)
    except OSError as error:
        raise ExportError(
            f"{path.parent} did not take {path.name}: {error}; choose a folder that can be written"
        ) from error
