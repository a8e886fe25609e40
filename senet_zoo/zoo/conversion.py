"""Checkpoints of other libraries: recognised, checked, loaded, and written as safetensors."""

import dataclasses
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from senet_zoo import registry
from senet_zoo.errors import UsageError, WeightsMismatch
from senet_zoo.families.family import Model
from senet_zoo.hub import tensor_files
from senet_zoo.hub.containers import read_container
from senet_zoo.hub.dialects import DIALECTS, NATIVE, Dialect, Shape, match, recognise, translate, translate_back
from senet_zoo.hub.verified import digest
from senet_zoo.network import ConvNet
from senet_zoo.specs import SE, NetworkSpec
from senet_zoo.zoo.folders import name_of
from senet_zoo.zoo.loading import CLASSIFIER, first_convolution, require_function
from senet_zoo.zoo.variant import words

_log = logging.getLogger("senet_zoo")

_HEAD = ("classifier.weight", "classifier.bias")

_SHARED = {
    "resnet18b": "resnet18",
    "resnet34b": "resnet34",
    "resnet50b": "resnet50",
    "resnet101b": "resnet101",
    "resnet152b": "resnet152",
    "resnext50b_32x4d": "resnext50_32x4d",
    "resnext101b_32x8d": "resnext101_32x8d",
    "resnext101b_64x4d": "resnext101_64x4d",
    **{name: name for name in ("densenet121", "densenet169", "densenet201")},
}
_CADENE = ("se_resnet50", "se_resnet101", "se_resnet152", "se_resnext50_32x4d", "se_resnext101_32x4d", "senet154")

TARGETS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "timm": {
            **{ours: theirs for theirs, ours in registry.ALIASES.items()},
            **_SHARED,
            "resnext101b_32x4d": "resnext101_32x4d",
            **{name: name for name in ("resnet50d", "resnet101d", "resnet152d", "resnext50d_32x4d")},
        },
        "cadene": {name: name for name in _CADENE},
        "torchvision": {
            **_SHARED,
            **{name: name for name in ("vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn", "alexnet")},
        },
    }
)
"""Libraries whose names can be written: of each of our functions that they have, what they call it."""


@dataclass(frozen=True)
class Conversion:
    """What was converted, and to what.

    Args:
        model: the network's name here.
        variant: the gate it carries, as words for `senet_zoo.zoo.variant.parse`; None where it is the name's own.
        num_classes: logits; 0 where the file had no classifier.
        in_channels: channels of the pictures.
        read_as: dialect of the file that was read.
        written_as: dialect of the file that was written.
        foreign_model: what the other library calls the network; None for our own names.
        path: the file that was written.
        sha256: of it.
        size: of it, in bytes.
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


@dataclass(frozen=True)
class _Foreign:
    """A file that was read and recognised.

    Args:
        path: the file.
        dialect: how its tensors are named.
        tensors: under its own names.
        metadata: its own remarks.
    """

    path: Path
    dialect: Dialect
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]

    @property
    def shapes(self) -> dict[str, Shape]:
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}

    @property
    def native_shapes(self) -> dict[str, Shape]:
        return translate(self.shapes, self.dialect)

    @property
    def num_classes(self) -> int:
        return self.native_shapes.get(CLASSIFIER, (0,))[0]


def load_checkpoint(model_or_name: ConvNet | str, file: str | Path) -> ConvNet:
    """Weights from a file of any library that the zoo can read: safetensors, ``.pth``, ``.pt``, ``.pkl``, ``.pth.zip``.

    Every tensor is loaded, or none: names and shapes are compared before the first is copied. Only a classifier of
    another size, or one that the file lacks, is left as the given network has it; that is logged. Pickles are opened
    with ``weights_only=True`` and run nothing.

    Args:
        model_or_name: a network of the zoo, which is filled where it stands; or a model's name, for a new network in
            eval mode, with the file's number of classes (0 without a classifier) and the gate that the file has.
        file: path of the file.

    Returns:
        The network.

    Raises:
        UnknownModelError: no model of that name.
        WeightsUnsafe: the file wants to run code.
        WeightsMismatch: its tensors are not exactly the network's, or another function's of the same shapes.
        WeightsError: it cannot be read.

    Example:
        >>> import tempfile
        >>> model = load_checkpoint("se_resnet20", "senet_zoo/weights/se_resnet20.cifar10.safetensors")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save({"state_dict": model.state_dict()}, f"{folder}/run.pth")
        ...     again = load_checkpoint("se_resnet20", f"{folder}/run.pth")
        >>> torch.equal(again.classifier.weight, model.classifier.weight)
        True
    """
    if isinstance(model_or_name, str):
        entry = registry.find(model_or_name)
        return _new(entry, _open(file))
    foreign = _open(file)
    net = model_or_name
    expected = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    found = foreign.native_shapes
    head = [name for name in _HEAD if found.get(name) != expected.get(name)]
    match(foreign.shapes, expected, foreign.dialect, allow_missing=_HEAD if head else ())
    if foreign.dialect is not NATIVE or "model" in foreign.metadata:
        entry = registry.MODELS[name_of(net.spec)]
        require_function(entry, foreign.path, foreign.dialect, foreign.metadata)
    tensors = translate(foreign.tensors, foreign.dialect)
    if head:
        own = net.state_dict()
        tensors = {name: own[name] if name in _HEAD else tensors[name] for name in expected}
        _log.info(
            "classifier of %d classes left as it was: that of %s has %d", net.num_classes, file, foreign.num_classes
        )
    net.load_state_dict(tensors, strict=True)
    net.weights = None  # a record of weights that it had before is no longer true
    return net


def convert(file: str | Path, out: str | Path, *, model: str | None = None, to: str | None = None) -> Conversion:
    """Write the weights of a file that `load_checkpoint` reads as safetensors.

    The bytes depend on the tensors and their names alone: converting twice gives the same file.

    Args:
        file: to read.
        out: to write, ending in ``.safetensors``; one that is there is replaced, whole or not at all.
        model: the network's name, needed only where names and shapes of the tensors fit several.
        to: ``timm``, ``cadene`` or ``torchvision`` for the names of that library; by default the zoo's own.

    Raises:
        UsageError: no ``.safetensors`` file, several networks fit, or the other library has no such network.
        WeightsError: as of `load_checkpoint`; or the disk did not take the file.
    """
    target = Path(out).expanduser()
    if target.suffix != ".safetensors":
        raise UsageError(f"weights are converted to a .safetensors file, got {str(out)!r}; end its name so")
    if target.exists() and target.samefile(Path(file).expanduser()):
        raise UsageError(f"{file} is not converted onto itself; name another file")
    if to is not None and to not in TARGETS:
        raise UsageError(f"to=... takes {', '.join(TARGETS)}, or nothing for the zoo's own names, got {to!r}")
    named = None if model is None else registry.find(model)
    foreign = _open(file)
    entry = named or _identify(foreign)
    net = _new(entry, foreign)
    tensors, written, theirs = translate(foreign.tensors, foreign.dialect), NATIVE, None
    if to is not None:
        theirs, written = _target(entry, net.spec, to)
        pools = [name for name, part in net.named_modules() if isinstance(part, nn.AvgPool2d)]
        tensors = translate_back(tensors, written, pools)
    # Tensors that share memory would otherwise be refused.
    copies = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    tensor_files.write(target, copies, {"format": "pt", "model": entry.name})
    return Conversion(
        model=entry.name,
        variant=None if net.spec.se == entry.se or net.spec.se is None else words(net.spec.se),
        num_classes=net.num_classes,
        in_channels=net.in_channels,
        read_as=foreign.dialect.name,
        written_as=written.name,
        foreign_model=theirs,
        path=target,
        sha256=digest(target),
        size=target.stat().st_size,
    )


def _open(file: str | Path) -> _Foreign:
    path = Path(file).expanduser()
    contents = read_container(path)
    for name, tensor in contents.tensors.items():
        if not (tensor.is_floating_point() or tensor.dtype == torch.int64) or tensor.layout != torch.strided:
            raise WeightsMismatch(
                f"weights must be plain tensors of floating-point numbers, but {name} of {path} is {tensor.dtype}, "
                f"{tensor.layout}; save the network before it is quantised"
            )
    return _Foreign(path, contents.dialect or recognise(contents.tensors), contents.tensors, contents.metadata)


def _new(entry: Model, foreign: _Foreign) -> ConvNet:
    """The network that the file holds, by its name; every tensor of it is the file's."""
    spec = _spec(entry, foreign)
    net = _on_meta(spec, foreign)
    expected = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    match(foreign.shapes, expected, foreign.dialect)
    require_function(entry, foreign.path, foreign.dialect, foreign.metadata)
    doubt = foreign.dialect.doubt(foreign.shapes)
    if doubt:
        _log.warning("%s: %s; taken for %s, as asked", foreign.path, doubt, entry.name)
    net.load_state_dict(translate(foreign.tensors, foreign.dialect), strict=True, assign=True)
    return net.float().eval()


def _spec(entry: Model, foreign: _Foreign) -> NetworkSpec:
    return entry.spec(_gate(entry, foreign.native_shapes))


def _gate(entry: Model, shapes: Mapping[str, Shape]) -> SE | None:
    """The gate that a file's tensors show: that of the name, without biases where the file has none."""
    gates = [name for name in shapes if re.search(r"\.se\.fc1\.weight$", name)]
    if entry.se is None or not gates or gates[0].replace("weight", "bias") in shapes:
        return entry.se
    return dataclasses.replace(entry.se, bias=False)


def _on_meta(spec: NetworkSpec, foreign: _Foreign) -> ConvNet:
    shape = foreign.native_shapes.get(first_convolution(spec), ())
    with torch.device("meta"):
        return ConvNet(spec, num_classes=foreign.num_classes, in_channels=shape[1] if len(shape) == 4 else 3)


def _identify(foreign: _Foreign) -> Model:
    """The one network that has the file's tensors and that its library publishes."""
    said = foreign.metadata.get("model")
    if said is not None and said in registry.MODELS:
        return registry.find(said)
    candidates = _candidates(foreign)
    doubt = foreign.dialect.doubt(foreign.shapes)
    if len(candidates) == 1 and not doubt:
        return candidates[0]
    if candidates:
        reason = doubt or "they share names and shapes of all tensors"
        raise UsageError(
            f"the tensors of {foreign.path} (names of {foreign.dialect.name}) fit "
            f"{', '.join(each.name for each in candidates)}, but do not say whose function they are: {reason}. Name "
            f"the network: --model {candidates[0].name}, or model=... in Python"
        )
    raise WeightsMismatch(
        f"{foreign.path} holds {len(foreign.tensors)} tensors named as by {foreign.dialect.used_by}, but no network of "
        f"the zoo has exactly these names and shapes and that library's function. Name the network that they should "
        f"be (--model NAME) to see what differs"
    )


def _candidates(foreign: _Foreign) -> list[Model]:
    shapes = foreign.native_shapes
    return [
        entry
        for entry in registry.MODELS.values()
        if (foreign.dialect is NATIVE or foreign.dialect.name in entry.published_as)
        and _may_fit(entry, shapes)
        and _shapes(_on_meta(_spec(entry, foreign), foreign)) == shapes
    ]


def _may_fit(entry: Model, shapes: Mapping[str, Shape]) -> bool:
    """Whether the file has as many blocks in each stage, which is quicker to see than whether all shapes agree."""
    last: dict[int, int] = {}
    for name in shapes:
        place = re.match(r"stages\.(\d+)\.(\d+)\.", name)
        if place:
            last[int(place[1])] = max(last.get(int(place[1]), 0), int(place[2]))
    gated = any(".se.fc1." in name for name in shapes)
    stages = entry.spec().stages
    return gated == (entry.se is not None) and [last.get(i, 0) for i in range(len(stages))] == [
        len(stage.blocks) - 1 for stage in stages
    ]


def _shapes(net: ConvNet) -> dict[str, Shape]:
    return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}


def _target(entry: Model, spec: NetworkSpec, to: str) -> tuple[str, Dialect]:
    theirs = TARGETS[to].get(entry.name)
    dialects = [DIALECTS[name] for name in entry.published_as if DIALECTS[name].foreign is not None]
    if theirs is None or spec.se != entry.se or not dialects:
        gate = "" if spec.se == entry.se or spec.se is None else f" with {words(spec.se)}"
        raise UsageError(
            f"{to} has no network that is the function of {entry.name}{gate}, or its names for it are not known here; "
            f"leave --to out"
        )
    return theirs, dialects[0]
