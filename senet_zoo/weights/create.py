"""`create_model`: from a name to a network, with weights or without."""

import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypedDict, Unpack, overload

import torch

from senet_zoo.errors import UsageError, WeightsMismatch, WeightsNotFound
from senet_zoo.networks import registry
from senet_zoo.networks.dimensions import PLANE, DepthPadding, Dimensions
from senet_zoo.networks.families.family import Model
from senet_zoo.networks.feature_maps import FeatureListNet, with_output_stride
from senet_zoo.networks.layers import initialise
from senet_zoo.networks.network import ConvNet, on_meta, unfilled
from senet_zoo.networks.specs import SE, NetworkSpec
from senet_zoo.networks.timm_interface import one_of
from senet_zoo.support.machine import find_device
from senet_zoo.support.memory import enough_memory
from senet_zoo.weights.catalogue import Weights, get_weights, list_weights, split_name
from senet_zoo.weights.config import CONFIG, FolderConfig, config_beside, config_inside, require_saved
from senet_zoo.weights.download import Failures, candidates, resolve
from senet_zoo.weights.inflation import Inflation, usual_inflation
from senet_zoo.weights.load import Checkpoint, identify, open_checkpoint

_log = logging.getLogger("senet_zoo")


class ModelOptions(TypedDict, total=False):
    """The options of `create_model` that do not change what kind of module it returns; it says what they mean."""

    pretrained: bool | None
    weights: str | Path | None
    num_classes: int | None
    in_channels: int | None
    se: SE | None
    dropout: float | None
    drop_path: float
    device: str | torch.device
    dtype: torch.dtype
    output_stride: int | None
    in_chans: int | None
    drop_rate: float | None
    drop_path_rate: float | None
    checkpoint_path: str | Path | None
    global_pool: str | None
    dims: int | Dimensions | None
    inflation: Inflation | None
    spatial_dims: int | None
    dropout_prob: float | None
    classes: int | None


@overload
def create_model(
    name: str, *, features_only: Literal[False] = False, out_indices: None = None, **options: Unpack[ModelOptions]
) -> ConvNet: ...
@overload
def create_model(
    name: str,
    *,
    features_only: Literal[True],
    out_indices: int | Sequence[int] | None = None,
    **options: Unpack[ModelOptions],
) -> FeatureListNet: ...
def create_model(
    name: str,
    *,
    pretrained: bool | None = False,
    weights: str | Path | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    se: SE | None = None,
    dropout: float | None = None,
    drop_path: float = 0.0,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    features_only: bool = False,
    out_indices: int | Sequence[int] | None = None,
    output_stride: int | None = None,
    in_chans: int | None = None,
    drop_rate: float | None = None,
    drop_path_rate: float | None = None,
    checkpoint_path: str | Path | None = None,
    global_pool: str | None = None,
    dims: int | Dimensions | None = None,
    inflation: Inflation | None = None,
    spatial_dims: int | None = None,
    dropout_prob: float | None = None,
    classes: int | None = None,
) -> ConvNet | FeatureListNet:
    """A network of the zoo: in eval mode with weights, ready to train without.

    A network whose weights are drawn at random is in training mode, as those of timm and torchvision are: a loop that
    does not call ``train()`` would otherwise learn with batch norms that stand still. With ``pretrained=True`` or
    ``weights=...`` it is in eval mode: call ``model.train()`` before a fine-tune.

    Args:
        name: ``model``, an alias of it, or ``model.tag`` to choose among its weights; also ``hf-hub:org/name``, as timm
            writes the address of weights that the manifest lists.
        pretrained: load the published weights, every tensor of them; the default tag where the name has none.
        weights: instead, a safetensors file, a folder with ``model.safetensors``, or ``hf://org/name@revision``. A
            folder's ``config.json``, where it has one, says which gate its network carries and, after pruning, how
            wide its maps are. "DEFAULT", torchvision's word, is ``pretrained=True``.
        num_classes: logits; 0 for pooled features. A number other than the weights' own replaces the classifier by a
            fresh one. Default: the weights' number, or the network's.
        in_channels: channels of the pictures. Where the weights have another number, the stem's filters are adapted:
            summed for one channel, repeated in turn and rescaled for others. Default: the weights' number, or 3.
        se: another gate in place of the standard one.
        dropout: rate in the head, in training. Default: the network's own.
        drop_path: stochastic depth, the rate of the last block, growing linearly from 0.
        device: where the parameters live.
        dtype: of the parameters and running statistics.
        features_only: leave out the head and return maps, as in timm; `senet_zoo.ConvNet.features` gives them by
            stride.
        out_indices: numbers of these maps in ``model.feature_info``, or how many of the last ones. Default: all.
        output_stride: 8 or 16 where the last map is to be finer than 1 / 32 of a side; see `senet_zoo.dilate`.
        in_chans: timm's word for ``in_channels``.
        drop_rate: timm's word for ``dropout``.
        drop_path_rate: timm's word for ``drop_path``.
        checkpoint_path: timm's word for ``weights``.
        global_pool: "" with ``num_classes=0`` leaves out the head; see `senet_zoo.ConvNet.reset_classifier`.
        dims: 1 for signals (N, C, L), 3 for volumes (N, C, D, H, W), or a `Dimensions` that says how depth is read.
            Default: the weights' number, or 2.
        inflation: how filters that were learnt on pictures become those of volumes or signals; `Inflation` says which
            is exact where. Default: the middle plane for volumes, the sum of the rows for signals.
        spatial_dims: MONAI's word for ``dims``.
        dropout_prob: MONAI's word for ``dropout``.
        classes: the word of segmentation_models.pytorch and Keras for ``num_classes``.

    Returns:
        The network; ``model.weights`` is the record of what was loaded, or None.

    Raises:
        UnknownModelError: no model of that name; the message lists the near misses.
        UnknownWeightsError: pretrained weights were asked for and there are none, or none of that tag.
        UsageError: arguments that contradict each other, a device that is not there, a dtype that holds no fractions.
        SpecError: the network cannot honour ``se``, ``drop_path``, ``output_stride`` or ``dims``.
        WeightsError: the weights could not be had, or are not what they should be. Never a random start instead.

    Example:
        >>> model = create_model("se_resnet20", pretrained=True)
        >>> model(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 10])
    """
    device = find_device(device)
    _check_dtype(dtype)
    weights = one_of("weights", weights, "checkpoint_path", checkpoint_path)
    if weights == "DEFAULT" and not os.path.lexists(weights):
        pretrained, weights = True, None
    num_classes = one_of("num_classes", num_classes, "classes", classes)
    in_channels = one_of("in_channels", in_channels, "in_chans", in_chans)
    dropout = one_of("dropout", one_of("dropout", dropout, "drop_rate", drop_rate), "dropout_prob", dropout_prob)
    drop_path = one_of("drop_path", drop_path or None, "drop_path_rate", drop_path_rate) or 0.0
    if out_indices is not None and not features_only:
        raise UsageError("out_indices=... chooses among the maps of features_only=True; pass both, or call features()")
    dims = one_of("dims", dims, "spatial_dims", spatial_dims)
    space = Dimensions(dims) if isinstance(dims, int) else dims
    if space is not None and not isinstance(space, Dimensions):
        raise UsageError(f"dims must be 1, 2, 3 or a senet_zoo.Dimensions, got {dims!r}")
    pretrained = False if pretrained is None else pretrained
    network = _network(
        name, pretrained, weights, num_classes, in_channels, se, dropout, drop_path, device, dtype, space, inflation
    )
    if global_pool not in (None, "avg"):  # "avg" is as it is, classifier included
        network.reset_classifier(network.num_classes, global_pool)
    if features_only:
        return FeatureListNet(network, out_indices, output_stride)
    return network if output_stride is None else with_output_stride(network, output_stride)


def _network(
    name: str,
    pretrained: bool,
    weights: str | Path | None,
    num_classes: int | None,
    in_channels: int | None,
    se: SE | None,
    dropout: float | None,
    drop_path: float,
    device: torch.device,
    dtype: torch.dtype,
    dims: Dimensions | None,
    inflation: Inflation | None,
) -> ConvNet:
    model_name, tag = split_name(name)
    model = registry.find(model_name)
    _check_where_from(model.name, pretrained, weights)
    if pretrained and weights is not None:
        raise UsageError(
            "weights come from one place, and two were named",
            python=", by pretrained=True and by weights=...; pass one of them",
            command_line=": use --pretrained or --weights, not both",
        )
    if tag and not pretrained:
        raise UsageError(
            f"{name!r} names the weights {tag!r}",
            python=f"; add pretrained=True, or ask for {model.name!r}",
            command_line="; leave the tag out where --weights names a file, or --weights where the tag is meant",
        )
    if inflation is not None and not pretrained and weights is None:
        raise UsageError(
            "an inflation turns the filters of loaded weights into those of volumes or signals, and no weights are "
            "loaded here; pass pretrained=True or weights=..., or leave inflation out"
        )
    spec = model.spec(se, None, dims or PLANE)
    record = get_weights(f"{model.name}.{tag}" if tag else model.name) if pretrained else None
    if record is not None:
        own = record.row.se or model.se
        if se not in (None, own):
            raise UsageError(f"the published weights {record.name} were trained with {own}, not {se}; drop one of them")
        spec = model.spec(record.row.se, None, dims or PLANE)
    config = None if weights is None else config_beside(weights)
    if config is not None:
        _agree(config, model, se)
        spec = config.spec if dims is None else replace(config.spec, dimensions=dims)

    if record is not None:
        own_spec = replace(spec, dimensions=PLANE)
        checkpoint, net = _published(record, model, own_spec, dropout, drop_path)
    elif weights is not None:
        checkpoint = open_checkpoint(*resolve(weights))
        own_spec = _spec_of_weights(checkpoint, config, spec, asked=dims is not None)
        net = checkpoint.matching_network(model, own_spec, dropout=dropout, drop_path=drop_path)
    else:
        channels = 3 if in_channels is None else in_channels
        with unfilled(device):
            net = ConvNet(spec, num_classes=num_classes, in_channels=channels, dropout=dropout, drop_path=drop_path)
        initialise(net)
        return net.to(dtype)
    if config is not None:
        _agree_in_size(config, checkpoint, own_spec)
        require_saved(config, checkpoint.path, checkpoint.header.state)
    chosen = _chosen_inflation(inflation, own_spec.dimensions, spec.dimensions)
    channels = net.in_channels if in_channels is None else in_channels
    if channels != net.in_channels or chosen is not None:
        classes = net.num_classes
        net = on_meta(spec, num_classes=classes, in_channels=channels, dropout=dropout, drop_path=drop_path)
    shown = FolderConfig(
        model.name,
        spec.se,
        checkpoint.num_classes,
        checkpoint.in_channels(own_spec),
        dims=None if spec.dimensions == PLANE else spec.dimensions,
    )
    net.weights = record or config or config_inside(shown, checkpoint.metadata)
    with enough_memory(f"the weights of {model.name}"):
        checkpoint.load_into(net, chosen)
        if num_classes not in (None, net.num_classes):
            _log.info("classifier of %d classes replaced by a fresh one of %d", net.num_classes, num_classes)
            net.reset_classifier(num_classes)
        return net.to(device=device, dtype=dtype).eval()


def _spec_of_weights(
    checkpoint: Checkpoint, config: FolderConfig | None, spec: NetworkSpec, asked: bool
) -> NetworkSpec:
    """The architecture of the file itself, which may be of other dimensions than the network that is asked for.

    Raises:
        UsageError: no network of the asked dimensions comes from weights of these, or the file does not say how its
            depth is read.
    """
    count = checkpoint.dimensions if config is None else config.spec.dimensions.count
    if count == spec.dimensions.count:
        if config is not None and config.spec.dimensions != spec.dimensions:
            raise UsageError(
                f"{CONFIG} beside the weights says {config.spec.dimensions}; not {spec.dimensions}. Leave dims out"
            )
        return spec
    if count == 2:
        return replace(spec, dimensions=PLANE)
    if not asked:
        raise UsageError(
            f"{checkpoint.path} holds a network of {count} dimensions, and does not say how a volume's depth is read; "
            f"say so",
            python=f": dims={count}, or dims=senet_zoo.Dimensions({count}, ...)",
            command_line=": save it with a config.json, by senet_zoo.save_pretrained",
        )
    raise UsageError(
        f"filters over pictures become filters over volumes or signals, not the reverse: the weights are of {count} "
        f"dimensions, and {spec.dimensions.count} are asked for; leave dims out"
    )


def _chosen_inflation(asked: Inflation | None, own: Dimensions, wanted: Dimensions) -> Inflation | None:
    """How the filters change; None where the weights are of the network's own dimensions."""
    if asked is not None and not isinstance(asked, Inflation):
        raise UsageError(f"inflation must be one of {', '.join(map(str, Inflation))}, got {asked!r}")
    if own.count == wanted.count:
        if asked is not None:
            raise UsageError(
                f"an inflation adds or takes an axis, and these weights are of {own.count} dimensions as the network "
                f"is; pass dims=1 or dims=3, or leave inflation out"
            )
        return None
    chosen = usual_inflation(wanted.count) if asked is None else asked
    _log.info("filters over pictures become filters of %d dimensions: %s", wanted.count, chosen.value)
    if wanted.count == 3 and chosen is Inflation.MEAN and wanted.depth_padding is DepthPadding.ZEROS:
        _log.info("zeros beyond the outer planes weaken the maps there; depth_padding=DepthPadding.REPLICATE does not")
    return chosen


def is_place(name: str) -> bool:
    """Whether a word leads to weights, as a folder, a file or a hub's repository does, and is not a model's name."""
    if "/" in name or os.sep in name or name.startswith("~") or name.endswith(".safetensors"):
        return True
    model = name.partition(".")[0]
    return model not in registry.MODELS and model not in registry.ALIASES and bool(name) and os.path.exists(name)  # noqa: PTH110 (no error of a name too long)


def model_at(weights: str | Path) -> str:
    """Name of the model whose weights lie there: as they or the ``config.json`` beside them say, else as they show.

    Args:
        weights: a safetensors file, a folder, or ``hf://org/name@revision``.

    Raises:
        UsageError: tensors of several models have these names and shapes.
        WeightsError: there are no weights, or of no model.
    """
    config = config_beside(weights)
    return identify(open_checkpoint(*resolve(weights))).name if config is None else config.architecture


def _check_where_from(model: str, pretrained: object, weights: object) -> None:
    """Refuse the words by which other libraries choose published weights."""
    known = ", ".join(list_weights(model)) or f"{model} has none"
    way_out = f"published weights are chosen by pretrained=True and the network's name ({known})"
    if pretrained not in (True, False):
        raise UsageError(f"pretrained must be True or False, got {pretrained!r}; {way_out}")
    if not isinstance(weights, str | os.PathLike | None):
        raise UsageError(f"weights=... takes a file, a folder or hf://org/name@revision, got {weights!r}; {way_out}")
    if isinstance(weights, str) and not is_place(weights) and not os.path.exists(weights):  # noqa: PTH110
        raise WeightsNotFound(
            f"weights must be a file, a folder or hf://org/name@revision, but there is no {weights}",
            python=f"; {way_out}",
            command_line=f"; published weights are chosen by --pretrained and --model ({known})",
        )


def _check_dtype(dtype: object) -> None:
    """Refuse a word such as ``float16``, which is no dtype of PyTorch's, and dtypes without fractions."""
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise UsageError(f"dtype must be one of PyTorch's floating-point types, such as torch.float16, got {dtype!r}")


def _published(
    record: Weights, model: Model, spec: NetworkSpec, dropout: float | None, drop_path: float
) -> tuple[Checkpoint, ConvNet]:
    """The first of the published files that fits, and the network that it fills, on the meta device."""
    failures = Failures(record.name)
    for source, checkpoint in candidates(record.row, failures):
        with failures.recorded(source):
            classes = record.row.num_classes
            return checkpoint, checkpoint.matching_network(model, spec, classes, dropout=dropout, drop_path=drop_path)
    raise failures.error()


def _agree(config: FolderConfig, model: Model, se: SE | None) -> None:
    """Refuse a saved folder whose config is not what was asked for."""
    if config.architecture != model.name:
        raise WeightsMismatch(
            f"weights load only into the function that they were trained in: {CONFIG} says {config.architecture}, not "
            f"{model.name}",
            python=f". Ask for create_model({config.architecture!r}, weights=...)",
            command_line=f". Leave --model out, or write --model {config.architecture}",
        )
    if se is not None and se != config.se:
        raise UsageError(f"{CONFIG} beside the weights says {config.se}, not {se}; drop se=...")


def _agree_in_size(config: FolderConfig, checkpoint: Checkpoint, spec: NetworkSpec) -> None:
    """Refuse a config whose classes or channels are not those of the tensors beside it."""
    for field, stated, found in (
        ("num_classes", config.num_classes, checkpoint.num_classes),
        ("in_channels", config.in_channels, checkpoint.in_channels(spec)),
    ):
        if stated != found:
            raise WeightsMismatch(
                f"{CONFIG} must say what the tensors beside it are, but {field} is {stated} there and {found} in the "
                f"file; save the model again"
            )
