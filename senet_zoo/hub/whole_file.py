"""Files of other frameworks, read in one piece before they are taken apart."""

from pathlib import Path

from senet_zoo.errors import WeightsCorrupted, WeightsNotFound, WeightsUnavailable, WeightsUnsafe

MOST_BYTES = 2**31 - 1  # what protobuf itself allows; the authors' largest file, SENet-154, has 440 MiB


def read_whole(path: Path, kind: str) -> bytes:
    """The bytes of a file.

    Args:
        path: the file.
        kind: what it should be, for messages: ``a .caffemodel file``.

    Raises:
        WeightsNotFound: there is no file.
        WeightsUnavailable: the system does not let it be read.
        WeightsCorrupted: it is empty.
        WeightsUnsafe: it has more than 2 GiB.
    """
    if path.is_dir():
        raise WeightsNotFound(f"weights must be {kind}, but {path} is a folder; name the file inside")
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise WeightsUnsafe(f"{kind} may have {MOST_BYTES} bytes at most, but {path} has {size}; it is not opened")
        content = path.read_bytes()
    except FileNotFoundError as e:
        raise WeightsNotFound(f"weights must be {kind}, but there is no {path}") from e
    except OSError as e:
        raise WeightsUnavailable(
            f"{path} cannot be read: {e.strerror}; check the file's permissions and its disk"
        ) from e
    if not content:
        raise WeightsCorrupted(f"{path} must be {kind}, but is empty; fetch it again")
    return content
