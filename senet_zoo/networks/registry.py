"""Every model of the zoo by its name, the names used elsewhere, and the model that a spec is of.

A family enters its models by `families.family.Family.register`; ``senet_zoo.list_models`` is in `weights.catalogue`.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from re import split
from types import MappingProxyType

from senet_zoo.errors import UnknownModelError
from senet_zoo.networks.families import (
    alexnet,
    attention,
    bn_inception,
    cifarnet,
    cs3,
    densenet,
    dpn,
    face,
    googlenet,
    highway,
    inception,
    mnasnet,
    mobilenet,
    nin,
    preresnet,
    pyramidnet,
    resnet,
    resnet_cifar,
    resnet_depths,
    resnet_ts,
    resnet_vd,
    shakeshake,
    shufflenet,
    vgg,
    wide_resnet,
    xception,
)
from senet_zoo.networks.families.family import Family, Model
from senet_zoo.networks.specs import NetworkSpec
from senet_zoo.networks.widths import Widths, widths_of

FAMILIES = (
    resnet.RELEASED,
    resnet.B_FORM,
    resnet.D_FORM,
    resnet_ts.TIERED,
    resnet_ts.ROUNDED,
    resnet_vd.FAMILY,
    mobilenet.FAMILY,
    shufflenet.FAMILY,
    resnet_cifar.FAMILY,
    cifarnet.FAMILY,
    vgg.FAMILY,
    alexnet.FAMILY,
    nin.FAMILY,
    densenet.FAMILY,
    mnasnet.FAMILY,
    preresnet.FAMILY,
    preresnet.TORCH,
    wide_resnet.FAMILY,
    shakeshake.FAMILY,
    googlenet.FAMILY,
    bn_inception.FAMILY,
    inception.INCEPTION_V3,
    inception.INCEPTION_V4,
    inception.INCEPTION_RESNET,
    pyramidnet.FAMILY,
    dpn.FAMILY,
    attention.FAMILY,
    xception.FAMILY,
    highway.FAMILY,
    cs3.FAMILY,
    resnet_depths.FAMILY,
    face.FAMILY,
)


def models_by_name(families: tuple[Family, ...]) -> Mapping[str, Model]:
    """All models of the families by name, read-only.

    Raises:
        ValueError: two models have one name.
    """
    models: dict[str, Model] = {}
    for family in families:
        for model in family.models:
            if model.name in models:
                raise ValueError(
                    f"{model.name} is registered by {models[model.name].defined_in} and {model.defined_in}"
                )
            models[model.name] = model
    return MappingProxyType(models)


MODELS = models_by_name(FAMILIES)

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        # timm's legacy_*: the authors' form
        "legacy_seresnet18": "se_resnet18",
        "legacy_seresnet34": "se_resnet34",
        "legacy_seresnet50": "se_resnet50",
        "legacy_seresnet101": "se_resnet101",
        "legacy_seresnet152": "se_resnet152",
        "legacy_seresnext26_32x4d": "se_resnext26_32x4d",
        "legacy_seresnext50_32x4d": "se_resnext50_32x4d",
        "legacy_seresnext101_32x4d": "se_resnext101_32x4d",
        "legacy_senet154": "senet154",
        # timm's seresnet*: the B, D and aa forms, and those whose gates are wider
        "seresnet18": "se_resnet18b_round8",
        "seresnet34": "se_resnet34b_round8",
        "seresnet50": "se_resnet50b",
        "seresnet101": "se_resnet101b",
        "seresnet152": "se_resnet152b",
        "seresnet50t": "se_resnet50t",
        "seresnet152d": "se_resnet152d",
        "seresnet200d": "se_resnet200d",
        "seresnet269d": "se_resnet269d",
        "seresnext26d_32x4d": "se_resnext26d_32x4d",
        "seresnext50_32x4d": "se_resnext50b_32x4d",
        "seresnext101_32x4d": "se_resnext101b_32x4d",
        "seresnext101_64x4d": "se_resnext101b_64x4d",
        "seresnext101_32x8d": "se_resnext101b_32x8d",
        "seresnext101d_32x8d": "se_resnext101d_32x8d",
        "seresnextaa101d_32x8d": "se_resnextaa101d_32x8d",
        "seresnextaa201d_32x8d": "se_resnextaa201d_32x8d",
        "seresnext26t_32x4d": "se_resnext26t_32x4d",
        "seresnext26ts": "se_resnext26ts",
        "seresnet33ts": "se_resnet33ts",
        "cs3sedarknet_l": "se_cs3darknet_l",
        "cs3sedarknet_x": "se_cs3darknet_x",
        "cs3se_edgenet_x": "se_cs3edgenet_x",
        # timm's names of MnasNet-A1
        "semnasnet_100": "se_mnasnet",
        "semnasnet_050": "se_mnasnet_050",
        "semnasnet_075": "se_mnasnet_075",
        "semnasnet_140": "se_mnasnet_140",
    }
)
"""Names used elsewhere, only where the function is the same."""


def find(name: str) -> Model:
    """The model of that name or alias.

    Raises:
        UnknownModelError: there is none; the message lists the near misses.
    """
    listed = {"python": "; senet_zoo.list_models() lists all", "command_line": "; senet-zoo list prints all"}
    if not isinstance(name, str) or not name:
        raise UnknownModelError(f"a model is asked for by its name, such as se_resnet50, got {name!r}", **listed)
    model = MODELS.get(ALIASES.get(name, name))
    if model is None:
        raise UnknownModelError(f"no model is named {name!r}{_near(name)}", **listed)
    return model


def model_of(spec: NetworkSpec) -> tuple[Model, Widths | None] | None:
    """The model that a spec is of, whatever its gate, and its widths where they are not the model's own.

    The spec's own name is asked first. A spec that was made by hand, or changed until its name no longer holds, is
    compared with every model.

    Returns:
        None where no model of the zoo has this architecture.
    """
    named, widths = MODELS.get(spec.name or ""), widths_of(spec)
    for models in ([named] if named else [], MODELS.values()):
        for changed in (None, widths):
            for model in models:
                if model.matches(spec, changed):
                    return model, changed
    return None


def matching_names(pattern: str) -> list[str]:
    """Names that match a shell pattern (``*``, ``?``, ``[...]``), in natural order: 50 before 101."""
    return sorted((name for name in MODELS if fnmatchcase(name, pattern)), key=natural_order)


def natural_order(name: str) -> list[tuple[int, str]]:
    """Sort key under which numbers inside names compare as numbers."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in split(r"(\d+)", name)]


def _near(name: str) -> str:
    close = get_close_matches(name.lower().replace("-", "_"), [*MODELS, *ALIASES], n=4, cutoff=0.75)
    return f"; did you mean {' or '.join(close)}?" if close else ""
