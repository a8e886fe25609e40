"""Torch files of public releases: fetched once, their hash checked, and kept as safetensors from then on."""

import hashlib
import logging
import pickle
import uuid
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from senet_zoo.errors import WeightsCorrupted, WeightsMismatch, WeightsUnavailable, WeightsUnsafe
from senet_zoo.hub import pins, settings, tensor_files
from senet_zoo.hub.atomic import disk_error
from senet_zoo.hub.client import http_library, progress_bar
from senet_zoo.hub.explain import explain_network
from senet_zoo.hub.hugging_face import Found
from senet_zoo.hub.sources import MOST_BYTES, ReleaseFile
from senet_zoo.hub.verified import digest, stamp, verify

TRIES = 3

_log = logging.getLogger("senet_zoo")


def cached(source: ReleaseFile) -> Found | None:
    """The converted file, verified, without any request; None where the release was not converted yet.

    Raises:
        WeightsCorrupted: it is there, but not as it was written.
    """
    pin, path = pins.recall(_pin_name(source)), _converted(source)
    if pin is None or not path.is_file():
        return None
    verify(path, pin.sha256, pin.size)
    return Found(path, pin.sha256, None)


def fetched(source: ReleaseFile) -> Found:
    """The release's tensors as a safetensors file: downloaded, hash checked, read with ``weights_only``, written.

    Raises:
        WeightsUnavailable, WeightsAccessDenied, WeightsNotFound: the server did not deliver; the message says why.
        WeightsCorrupted: it delivered other bytes than published, twice.
        WeightsUnsafe: the file holds more than tensors.
    """
    from huggingface_hub import constants

    if constants.is_offline_mode():
        raise WeightsUnavailable(
            f"{source.url}: HF_HUB_OFFLINE is set and the file was not converted before; unset it once to download, or "
            f"give a local file as weights="
        )
    path = _converted(source)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.pth.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sha256 = _download(source, part)
        tensors = _load(part, source)
    except OSError as e:
        raise disk_error(e, path.parent, "SENET_ZOO_CACHE") from e
    finally:
        part.unlink(missing_ok=True)
    tensor_files.write(path, tensors, {"format": "pt", "source": source.url, "source_sha256": sha256})
    found = Found(path, digest(path), None)
    stamp(path, found.sha256)
    pins.remember(pins.Pin(_pin_name(source), None, found.sha256, path.stat().st_size))
    _log.info("%s (sha256 %s) is kept as %s", source.url, sha256, path)
    return found


def _pin_name(source: ReleaseFile) -> str:
    return f"{source.url} {source.sha256_prefix}"


def _converted(source: ReleaseFile) -> Path:
    return settings.zoo_cache() / "releases" / f"{Path(source.filename).stem}.safetensors"


def _download(source: ReleaseFile, part: Path) -> str:
    """Write the release file to ``part`` and return its sha256, which has the published prefix."""
    httpx = http_library()
    transport_failures = 0
    mismatches: list[str] = []
    while len(mismatches) < 2:
        try:
            sha256 = _stream(source, part)
        except httpx.HTTPError as e:
            transport_failures += 1
            if isinstance(e, httpx.HTTPStatusError) or transport_failures == TRIES:
                raise explain_network(e, what=source.filename, endpoint=source.url) from e
            continue
        if sha256.startswith(source.sha256_prefix):
            return sha256
        mismatches.append(sha256)
    raise WeightsCorrupted(
        f"the sha256 of {source.url} must start with {source.sha256_prefix}, but two downloads gave "
        f"{' and '.join(mismatches)}: a proxy or a disk alters data, or the release was replaced; give a local "
        f"file as weights="
    )


def _stream(source: ReleaseFile, part: Path) -> str:
    httpx = http_library()
    _log.info("fetching %s", source.url)
    most, received, sha256 = source.size or MOST_BYTES, 0, hashlib.sha256()
    client = httpx.Client(follow_redirects=True, max_redirects=5, timeout=10.0, headers={"Accept-Encoding": "identity"})
    with client, client.stream("GET", source.url) as response, part.open("wb") as file:
        hops = [*response.history, response]
        if source.url.startswith("https:") and any(hop.url.scheme != "https" for hop in hops):
            raise WeightsUnavailable(f"{source.url}: https must not be redirected to {response.url}; check the network")
        response.raise_for_status()
        total = int(response.headers.get("Content-Length", 0)) or source.size
        with progress_bar(total, source.filename) as bar:
            for chunk in response.iter_raw():
                received += len(chunk)
                if received > most:
                    raise WeightsCorrupted(
                        f"{source.url} must have {most} bytes at most, but goes on; check the address"
                    )
                sha256.update(chunk)
                file.write(chunk)
                bar.update(len(chunk))
    return sha256.hexdigest()


def _load(part: Path, source: ReleaseFile) -> Mapping[str, Tensor]:
    try:
        content = torch.load(part, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as e:
        raise WeightsUnsafe(
            f"{source.url} must hold tensors only, but wants to run code; it was not opened: {e}"
        ) from e
    except (RuntimeError, EOFError, ValueError) as e:
        raise WeightsCorrupted(f"{source.url} must be a file of torch.save, but cannot be read: {e}") from e
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise WeightsMismatch(f"{source.url} must hold a dictionary of tensors, got {type(content).__name__}")
    return content
