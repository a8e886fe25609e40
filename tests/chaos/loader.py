"""One process that loads: what befalls it, and what it says in the end."""

import errno
import gc
import os
import resource
import signal
import ssl
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import torch
from chaos import weights
from chaos.schedule import Loader
from chaos.tally import REFUSED, RIGHT, UNTYPED, WRONG
from torch import Tensor

import senet_zoo
from senet_zoo.errors import SenetZooError
from senet_zoo.formats import safetensors
from senet_zoo.formats.dialects import translate
from senet_zoo.weights import file_hashes, manifest
from senet_zoo.weights.download import VerifiedCheckpoint, locate, locate_hub
from senet_zoo.weights.hub_errors import http_library

HASTE = 50
"""What the pauses of faulty loaders are divided by; how often they try, and how each pause grows, stays as it is."""
TIMEOUT = 0.5
"""Seconds without a byte after which a faulty loader gives up; 10 in real life."""
NOBODY = 65534

_FILE_CALLS = {"open", "write", "flush", "fsync", "close", "rename", "unlink", "symlink", "chmod", "mkdir", "scandir"}
_CALLS = _FILE_CALLS | {"flock", "connect", "send", "recv"}
_NEW = {"os.mkdir", "os.rename", "os.link", "os.symlink"}


@dataclass(frozen=True)
class Order:
    """What a process is to do.

    Args:
        source: one of `chaos.schedule.SOURCES`.
        url: address of the hub.
        place: holds the cache.
        environment: variables to set.
        loader: what befalls it; None: nothing does, and it waits for as long as the library does.
        then_offline: once more, as a new process would under HF_HUB_OFFLINE, and without any connection.
        unprivileged: must not write where the modes forbid it, even where a superuser runs the tests.
    """

    source: str
    url: str
    place: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    loader: Loader | None = None
    then_offline: bool = False
    unprivileged: bool = False


def carry_out(order: Order) -> tuple[str, str]:
    """Load, in a process made for it: one of RIGHT, WRONG, REFUSED and UNTYPED, and what there is to say."""
    os.environ.update(order.environment)
    if order.unprivileged and os.geteuid() == 0:
        os.setuid(NOBODY)
    if order.loader is not None:
        _befall(order.loader, order.place)
    word, text = _try(order)
    if order.then_offline and word == RIGHT:
        _go_offline()
        word, text = _try(order)
        return word, f"offline: {text}"
    return word, text


def warm_up() -> None:
    """Import and compute here what every loader needs, so that the processes made from this one start at once."""
    import encodings.idna  # noqa: F401

    import huggingface_hub.file_download
    import huggingface_hub.hf_api
    import huggingface_hub.utils  # noqa: F401

    import senet_zoo.weights.hub_repository

    ssl.SSLContext.load_verify_locations = lambda *_, **__: None  # takes 0.1 s, and nobody here speaks TLS
    http_library().Client().close()
    weights.few_tensors()
    weights.manifest("http://localhost")
    senet_zoo.create_model("se_resnet20", pretrained=True)
    weights.config_bytes()
    package = manifest.default_path()
    manifest.default_path = lambda: package  # nobody (`NOBODY`) may not enter a tree below a home of mode 700
    gc.freeze()  # its objects are not looked at in each process again


def _try(order: Order) -> tuple[str, str]:
    try:
        tensors = _load(order.source, order.url)
    except SenetZooError as e:
        return REFUSED, f"{type(e).__name__}: {e}"
    except Exception:
        return UNTYPED, traceback.format_exc()[-20_000:]
    expected = weights.whole_network() if order.source in ("whole", "saved") else weights.few_tensors()
    same = tensors.keys() == expected.keys() and all(torch.equal(tensors[name], expected[name]) for name in expected)
    return (RIGHT, "") if same else (WRONG, "other tensors than published")


def _load(source: str, url: str) -> Mapping[str, Tensor]:
    match source:
        case "whole":
            return senet_zoo.create_model("se_resnet20.chaos", pretrained=True).state_dict()
        case "saved":
            return senet_zoo.from_pretrained(f"hf://{weights.WHOLE}@{weights.COMMIT}").state_dict()
        case "newest":
            return _read(locate_hub(weights.FEW))
        case "folder":  # SENET_ZOO_WEIGHTS_DIR is set
            return _read(locate(weights.row(url, "pinned")))
        case _:
            return _read(locate(weights.row(url, source)))


def _read(located: VerifiedCheckpoint) -> Mapping[str, Tensor]:
    return translate(safetensors.read(located.path, located.header), located.dialect)


def _go_offline() -> None:
    from huggingface_hub import constants

    def refuse(event: str, _: tuple) -> None:
        if event == "socket.connect":
            raise AssertionError("a connection while offline")

    constants.HF_HUB_OFFLINE = True
    sys.addaudithook(refuse)
    file_hashes._stamped_here.clear()


def _befall(loader: Loader, place: Path) -> None:
    from huggingface_hub import constants, file_download

    constants.HF_HUB_DOWNLOAD_TIMEOUT = constants.HF_HUB_ETAG_TIMEOUT = TIMEOUT
    file_download._ETAG_RETRY_TIMEOUT = TIMEOUT
    sleep, now = time.sleep, time.time
    time.sleep = lambda seconds: sleep(seconds / HASTE)
    if loader.clock:
        time.time = lambda: now() + loader.clock
    if loader.disk_takes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (loader.disk_takes, loader.disk_takes))
    if loader.dies_at_call is not None:
        _die_at(loader.dies_at_call)
    if loader.full_at is not None:
        _fill_at(loader.full_at, place)


def _die_at(call: int) -> None:
    left = call

    def count(_: FrameType, event: str, function: object) -> None:
        nonlocal left
        if event == "c_return" and (function is os.replace or getattr(function, "__name__", "") in _CALLS):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)


def _fill_at(file: int, place: Path) -> None:
    left = file

    def refuse(event: str, arguments: tuple) -> None:
        nonlocal left
        makes = event in _NEW or (event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT)
        if makes and any(str(argument).startswith(str(place)) for argument in arguments[:2]):
            left -= 1
            if left <= 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))

    sys.addaudithook(refuse)
