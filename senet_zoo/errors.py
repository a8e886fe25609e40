"""Every error that senet_zoo raises on purpose, under one tree.

::

    SenetZooError
    ├── UsageError (ValueError)             an argument that no call can honour
    │   ├── UnknownModelError               no model of that name; the near misses are listed
    │   ├── UnknownWeightsError             the model has no checkpoint of that tag
    │   └── SpecError                       an architecture asks for what a block cannot do
    ├── ManifestError (ValueError)          weights_manifest.json or a config.json breaks a rule
    ├── PictureError (ValueError)           a file that is no readable picture
    ├── DataError (ValueError)              labelled pictures that nothing can be learnt from or measured on
    ├── TrainingError (RuntimeError)        a training run that cannot go on; its last checkpoint is named
    ├── OptimizationError (RuntimeError)    a network that cannot be made faster, or an optimised one asked to learn
    ├── ExportError (RuntimeError)          a network that cannot be exported, or an exported file that does not answer
    ├── PublishError (RuntimeError)         a hub does not take a model as it is, or stands otherwise than was seen
    └── WeightsError (RuntimeError)         a checkpoint could not be used
        ├── WeightsNotFound                 nothing lies where the weights should be
        ├── WeightsUnavailable              the hub or the network did not deliver
        ├── WeightsAccessDenied             the hub refuses this user
        ├── WeightsCorrupted                the bytes are not the published ones
        ├── WeightsUnsafe                   a file of a kind that is never opened (pickle, oversize header)
        ├── WeightsMismatch                 tensors of another network
        └── SignatureError                  not signed, by another key, or other files than those that were signed

Each message names the rule, the value that broke it and the way out. A password inside an address is left out.
"""

import re


class SenetZooError(Exception):
    """Root of the tree: catch it to catch everything senet_zoo raises on purpose.

    Args:
        message: the rule and the value that broke it.
        python: the end of the message where the way out is a call of Python.
        command_line: the same way out as ``senet-zoo`` prints it, in options and commands.
    """

    def __init__(self, message: str = "", *, python: str = "", command_line: str = "") -> None:
        super().__init__(_without_passwords(message + python))
        self.for_command_line = _without_passwords(message + command_line)
        """The message in the words of the command line."""


def _without_passwords(text: str) -> str:
    """Neither the password of an address nor a token, which a server may have sent back."""
    text = re.sub(r"(?<=://)[^/\s]*@", "", text)
    return re.sub(r"\b((?i:bearer|basic) [^\s,;]+|hf_[A-Za-z0-9]{4,})", "TOKEN", text)


class UsageError(SenetZooError, ValueError):
    """An argument that no call can honour."""


class UnknownModelError(UsageError):
    """No model of that name is registered."""


class UnknownWeightsError(UsageError):
    """The model exists, but has no checkpoint of that tag."""


class SpecError(UsageError):
    """An architecture asks a block for what it cannot do."""


class ManifestError(SenetZooError, ValueError):
    """The weights manifest, or a model's ``config.json``, breaks a rule."""


class PictureError(SenetZooError, ValueError):
    """A file that cannot be read as a picture."""


class DataError(SenetZooError, ValueError):
    """Labelled pictures that are not where or what they should be: no such data set, an empty class, a wrong label."""


class TrainingError(SenetZooError, RuntimeError):
    """A training run that cannot go on: its loss is not finite, its memory or disk is full, another process ended."""


class OptimizationError(SenetZooError, RuntimeError):
    """A network that cannot be made faster and stay the same function, or an optimised one asked for what it lost."""


class ExportError(SenetZooError, RuntimeError):
    """A network that cannot be exported and stay the same function, or a file that is no exported network."""


class PublishError(SenetZooError, RuntimeError):
    """A model that a hub does not take as it is, or a hub that has changed since it was looked at."""


class WeightsError(SenetZooError, RuntimeError):
    """A checkpoint could not be used."""


class WeightsNotFound(WeightsError):
    """Nothing lies where the weights should be."""


class WeightsUnavailable(WeightsError):
    """The hub, the network or the disk did not deliver the file."""


class WeightsAccessDenied(WeightsError):
    """The hub refuses this user: gated, private, or a refused token."""


class WeightsCorrupted(WeightsError):
    """The bytes are not the published ones: wrong size, wrong sha256, or not a safetensors file."""


class WeightsUnsafe(WeightsError):
    """A file that is never opened: a pickle, or a header made to exhaust memory."""


class WeightsMismatch(WeightsError):
    """The tensors belong to another network: missing or unexpected names, or other shapes."""


class SignatureError(WeightsError):
    """A folder is not signed, or not by that key, or holds other files than those that were signed."""
