"""Checkpoints of other libraries: checked, loaded, and written as safetensors."""

import dataclasses
import logging
from dataclasses import dataclass
from pathlib import Path

import torch

from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import UsageError
from senet_zoo.formats import safetensors
from senet_zoo.formats.dialects import MONAI, NATIVE, match
from senet_zoo.formats.libraries import WRITTEN
from senet_zoo.formats.metadata import Fingerprint
from senet_zoo.networks import registry
from senet_zoo.networks.dimensions import PLANE
from senet_zoo.networks.families.family import Model
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.specs import SE, NetworkSpec
from senet_zoo.weights.config import TENSORS, FolderConfig, config_beside, config_inside, require_saved
from senet_zoo.weights.fingerprint import fingerprint_if_any
from senet_zoo.weights.libraries import Target, target_of
from senet_zoo.weights.load import Checkpoint, identify, read_checkpoint, shapes_of, spec_of
from senet_zoo.weights.save import architecture_of
from senet_zoo.weights.variant import to_text

_log = logging.getLogger("senet_zoo")

_HEAD = ("classifier.weight", "classifier.bias")


@dataclass(frozen=True)
class Conversion:
    """What was converted, and to what.

    Args:
        model: the network's name here.
        variant: the gate it carries, as words for `senet_zoo.weights.variant.parse`; None where it is the name's own.
        num_classes: logits; 0 where the file had no classifier.
        in_channels: channels of the pictures.
        read_as: dialect of the file that was read.
        written_as: dialect of the file that was written.
        foreign_model: what the other library calls the network; None for our own names.
        path: the file that was written.
        sha256: of it.
        size: of it, in bytes.
        preprocessing: how pictures become the network's input, which the file that was written says too; None where
            the file that was read did not settle it.
        fingerprint: what the network answers to a fixed picture, which the file says too; None where it has no logits,
            or none that make one.
    """

    model: str
    variant: str | None
    num_classes: int
    in_channels: int
    read_as: str
    written_as: str
    foreign_model: str | None
    path: Path
    sha256: str
    size: int
    preprocessing: Preprocessing | None
    fingerprint: Fingerprint | None


def load_checkpoint(model_or_name: ConvNet | str, file: str | Path, *, prefix: str | None = None) -> ConvNet:
    """Weights from a file of any library that the zoo can read.

    That is safetensors, also in shards, ``.pth``, ``.pt``, ``.pkl``, ``.pth.zip``, Paddle's ``.pdparams``, Gluon's
    ``.params``, Keras' ``.h5`` and the ``.caffemodel`` of the authors, which takes RGB pictures and has its classes in
    the usual order once it is loaded.

    Every tensor is loaded, or none: names and shapes are compared before the first is copied. Only a classifier of
    another size, or one that the file lacks, is left as the given network has it; that is logged. Pickles are read
    without running anything in them.

    Args:
        model_or_name: a network of the zoo, which is filled where it stands; or a model's name, for a new network in
            eval mode, with the file's number of classes (0 without a classifier) and the gate that the file has.
        file: path of the file.
        prefix: with which the names of the network's tensors start, such as ``net.``; None for the longest below which
            all names are known. What lies outside of it is left out.

    Returns:
        The network; ``model.weights`` says how to prepare pictures where the file, or its kind, settles it.

    Raises:
        UnknownModelError: no model of that name.
        UsageError: no name starts with the prefix, or the file holds two networks.
        WeightsUnsafe: the file wants to run code.
        WeightsMismatch: its tensors are not exactly the network's, or another function's of the same shapes.
        WeightsError: it cannot be read.

    Example:
        >>> import tempfile
        >>> model = load_checkpoint("se_resnet20", "senet_zoo/checkpoints/se_resnet20.cifar10.safetensors")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save({"state_dict": model.state_dict()}, f"{folder}/run.pth")
        ...     again = load_checkpoint("se_resnet20", f"{folder}/run.pth")
        >>> torch.equal(again.classifier.weight, model.classifier.weight)
        True
    """
    if isinstance(model_or_name, str):
        entry, checkpoint = registry.find(model_or_name), _read(file, prefix)
        net = _new(entry, checkpoint)
        net.weights = _record(net, checkpoint)
        return net
    checkpoint = _read(file, prefix)
    net, expected = model_or_name, shapes_of(model_or_name)
    head = [name for name in _HEAD if checkpoint.native_shapes.get(name) != expected.get(name)]
    match(checkpoint.header.shapes, expected, checkpoint.dialect, allow_missing=_HEAD if head else ())
    if checkpoint.dialect is not NATIVE or "model" in checkpoint.header.metadata:
        checkpoint.require_function(architecture_of(net.spec)[0])
    tensors = checkpoint.tensors()
    if head:
        own = net.state_dict()
        tensors = {name: own[name] if name in _HEAD else tensors[name] for name in expected}
        _log.info(
            "classifier of %d classes left as it was: that of %s has %d", net.num_classes, file, checkpoint.num_classes
        )
    net.load_state_dict(tensors, strict=True)
    net.weights = _record(net, checkpoint)  # that of weights that it had before is no longer true
    return net


def convert(
    file: str | Path,
    out: str | Path,
    *,
    model: str | None = None,
    to: str | None = None,
    se: SE | None = None,
    prefix: str | None = None,
) -> Conversion:
    """Write the weights of a file that `load_checkpoint` reads as safetensors.

    The bytes depend on the tensors and their names alone: converting twice gives the same file.

    Args:
        file: to read.
        out: to write, ending in ``.safetensors``; one that is there is replaced, whole or not at all.
        model: the network's name, needed only where names and shapes of the tensors fit several.
        to: one of `senet_zoo.formats.libraries.WRITTEN`, such as ``timm``, for its names; by default the zoo's own.
        se: the gate of ``model``, where shapes do not tell it; None for the reduction and biases that they show.
        prefix: as in `load_checkpoint`.

    Raises:
        UsageError: a gate without a model or for a plain twin, no ``.safetensors`` file, several networks fit, or
            the other library has no such network.
        WeightsError: as of `load_checkpoint`; or the disk did not take the file.
    """
    target = Path(out).expanduser()
    if target.suffix != ".safetensors":
        raise UsageError(f"weights are converted to a .safetensors file, got {str(out)!r}; end its name so")
    if target.exists() and target.samefile(Path(file).expanduser()):
        raise UsageError(f"{file} is not converted onto itself; name another file")
    if to is not None and to not in WRITTEN:
        raise UsageError(f"to=... takes {', '.join(WRITTEN)}, or nothing for the zoo's own names, got {to!r}")
    if se is not None and model is None:
        raise UsageError(
            f"a gate ({to_text(se)}) is that of a network; name it",
            python=": model=NAME",
            command_line=": --model NAME",
        )
    named = None if model is None else registry.find(model)
    checkpoint = _read(file, prefix)
    entry = named or identify(checkpoint)
    net = _new(entry, checkpoint, se)
    tensors, library = checkpoint.tensors(), None if to is None else _target(entry, net.spec, to)
    if library is not None:
        tensors = library.tensors(net, tensors)
    # Tensors that share memory would otherwise be refused.
    copies = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    metadata = checkpoint.metadata
    metadata = dataclasses.replace(metadata, fingerprint=fingerprint_if_any(net, metadata.preprocessing))
    sha256 = safetensors.write(target, copies, {"format": "pt", "model": entry.name, **metadata.texts()})
    return Conversion(
        model=entry.name,
        variant=None if net.spec.se == entry.se or net.spec.se is None else to_text(net.spec.se),
        num_classes=net.num_classes,
        in_channels=net.in_channels,
        read_as=checkpoint.dialect.name,
        written_as=NATIVE.name if library is None else library.dialect.name,
        foreign_model=None if library is None else library.name,
        path=target,
        sha256=sha256,
        size=target.stat().st_size,
        preprocessing=metadata.preprocessing,
        fingerprint=metadata.fingerprint,
    )


def _read(file: str | Path, prefix: str | None) -> Checkpoint:
    """The file's tensors; those of a saved folder only where they are what its ``config.json`` was written for."""
    checkpoint = read_checkpoint(file, prefix)
    config = config_beside(checkpoint.path) if checkpoint.path.name == TENSORS else None
    if config is not None:
        require_saved(config, checkpoint.path, checkpoint.header.state)
    return checkpoint


def _new(entry: Model, checkpoint: Checkpoint, se: SE | None = None) -> ConvNet:
    """The network that the file holds, by its name and gate; every tensor of it is the file's."""
    net = checkpoint.matching_network(entry, spec_of(entry, checkpoint) if se is None else entry.spec(se))
    ambiguity = checkpoint.dialect.ambiguity(checkpoint.header.shapes)
    if ambiguity:
        _log.warning("%s: %s; taken for %s, as asked", checkpoint.path, ambiguity, entry.name)
    checkpoint.load_into(net)
    return net.float().eval()


def _record(net: ConvNet, checkpoint: Checkpoint) -> FolderConfig | None:
    entry, widths = architecture_of(net.spec)
    dims = None if net.spec.dimensions == PLANE else net.spec.dimensions
    shown = FolderConfig(entry.name, net.spec.se, checkpoint.num_classes, net.in_channels, widths=widths, dims=dims)
    return config_inside(shown, checkpoint.metadata)


def _target(entry: Model, spec: NetworkSpec, to: str) -> Target:
    target = target_of(to, entry, spec.se)
    if spec.dimensions != PLANE and to != MONAI.name:
        raise UsageError(
            f"of the libraries whose names are written, MONAI alone has networks of {spec.dimensions.count} "
            f"dimensions; leave --to out"
        )
    if target is None:
        gate = "" if spec.se == entry.se or spec.se is None else f" with {to_text(spec.se)}"
        raise UsageError(
            f"{to} has no network that is the function of {entry.name}{gate}, or its names for it are not known here; "
            f"leave --to out"
        )
    return target
