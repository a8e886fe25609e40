"""Environment variables of the package, read at every call, so that setting them late works.

======================  ======================================================================================
SENET_ZOO_HUB           address of the hub to ask instead of HF_ENDPOINT or https://huggingface.co
SENET_ZOO_WEIGHTS_DIR   folder that is looked in first: MODEL/TAG/model.safetensors or SHA256.safetensors below it
SENET_ZOO_MANIFEST      a manifest of your own weights, read beside the zoo's; it adds weights and changes none
SENET_ZOO_CACHE         folder for everything that is kept, hub files too; otherwise ~/.cache/senet_zoo, and hub
                        files where huggingface_hub keeps them (HF_HOME, HF_HUB_CACHE)
SENET_ZOO_VERIFY        once (default): hash a file when it changed; always: at every load; never: compare sizes only
SENET_ZOO_URLS          pictures of the web: https (default); any: http: and the own network, too; none
SENET_ZOO_MMAP          1: map tensors from their file instead of copying them: a load takes less time and memory, but
                        who writes to the file changes the loaded network
SENET_ZOO_KEY_PASSWORD  of an encrypted private key that `senet-zoo sign` and `publish --sign` use
======================  ======================================================================================

huggingface_hub reads its own variables (HF_ENDPOINT, HF_HUB_OFFLINE, HF_TOKEN, HF_HOME, ...) when it is first imported.
"""

import os
from pathlib import Path

from senet_zoo.errors import UsageError
from senet_zoo.support.files import expanded, is_folder


def zoo_cache() -> Path:
    """The folder of what the zoo keeps: which files are verified, resolved commits, converted release files."""
    chosen = os.environ.get("SENET_ZOO_CACHE")
    if chosen:
        return expanded(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else _home() / ".cache") / "senet_zoo"


def hub_cache() -> Path | None:
    """The folder of hub files; None for huggingface_hub's own."""
    if os.environ.get("SENET_ZOO_CACHE"):
        return zoo_cache() / "hub"
    if not any(os.environ.get(name) for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")):
        _home()
    return None


def weights_dir() -> Path | None:
    """The user's own folder of weights, if one is set.

    Raises:
        UsageError, WeightsUnavailable: there is no such folder, or it cannot be entered. What was looked for there
            must not come from elsewhere without a word.
    """
    chosen = os.environ.get("SENET_ZOO_WEIGHTS_DIR")
    if not chosen:
        return None
    folder = expanded(chosen)
    if not (is_folder(folder) and os.access(folder, os.X_OK)):
        raise UsageError(
            f"SENET_ZOO_WEIGHTS_DIR must be a folder that this user may enter, got {chosen!r}; correct it, or unset it"
        )
    return folder


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as e:
        raise UsageError(
            "weights are kept in the user's home folder, and this user has none; set HOME, or SENET_ZOO_CACHE to a "
            "folder that can be written"
        ) from e


def private_manifest() -> Path | None:
    """The user's own manifest, if one is set."""
    chosen = os.environ.get("SENET_ZOO_MANIFEST")
    if chosen and "://" in chosen:
        raise UsageError(f"SENET_ZOO_MANIFEST must be the path of a file on this machine, got {chosen!r}; download it")
    return expanded(chosen) if chosen else None


def hub_endpoint() -> str | None:
    """Address of the hub without a slash at the end; None for huggingface_hub's own."""
    for name in ("SENET_ZOO_HUB", "HF_ENDPOINT"):
        if "@" in os.environ.get(name, "").partition("://")[2].partition("/")[0]:  # clients would log it
            raise UsageError(f"{name} must hold no name and password: write the address alone, and set HF_TOKEN")
    return os.environ.get("SENET_ZOO_HUB", "").rstrip("/") or None


def hub_token() -> str | bool | None:
    """The token for the hub; the login that ``hf auth login`` saved goes to https://huggingface.co alone."""
    address = hub_endpoint() or os.environ.get("HF_ENDPOINT", "").rstrip("/")
    if address in ("", "https://huggingface.co"):
        return None
    return os.environ.get("HF_TOKEN") or False


def maps_weights() -> bool:
    """Whether tensors are mapped from their file."""
    chosen = os.environ.get("SENET_ZOO_MMAP", "0")
    if chosen not in ("", "0", "1"):
        raise UsageError(f"SENET_ZOO_MMAP must be 0 or 1, got {chosen!r}")
    return chosen == "1"


def key_password() -> bytes | None:
    """The password of an encrypted private key, if one is set."""
    chosen = os.environ.get("SENET_ZOO_KEY_PASSWORD")
    return os.fsencode(chosen) if chosen else None


def verify_mode() -> str:
    """``once``, ``always`` or ``never``."""
    mode = os.environ.get("SENET_ZOO_VERIFY", "once")
    if mode not in ("once", "always", "never"):
        raise UsageError(f"SENET_ZOO_VERIFY must be once, always or never, got {mode!r}")
    return mode
