"""What the zoo holds: names of models, names of weights, and what is published with each."""

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from senet_zoo.data.labels import categories
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import UnknownModelError, UsageError
from senet_zoo.networks import registry

if TYPE_CHECKING:
    from torchvision.transforms.v2 import Transform

    from senet_zoo.weights.rows import Metric, WeightsRow


@dataclass(frozen=True)
class Weights:
    """A published checkpoint and all that travels with it.

    Args:
        row: the manifest's record: sources, hashes, licence, provenance.
        fresh_head: whether the network that they were loaded into has another classifier since.
    """

    row: "WeightsRow"
    fresh_head: bool = False

    @property
    def name(self) -> str:
        """``model.tag``."""
        return self.row.name

    @property
    def preprocessing(self) -> Preprocessing:
        """Size, interpolation, mean and standard deviation that the weights were made for."""
        return self.row.preprocessing

    @property
    def categories(self) -> tuple[str, ...]:
        """Class names in the order of the logits; none under a fresh classifier."""
        if self.fresh_head:
            return ()
        return self.row.categories or categories(self.row.labels, self.row.num_classes)

    @property
    def metrics(self) -> tuple["Metric", ...]:
        """Published accuracies, each with who measured it."""
        return self.row.metrics

    def without_classes(self) -> "Weights":
        """The record for a network with a fresh classifier, whose classes have no names yet."""
        return replace(self, fresh_head=True)

    def transforms(self) -> "Transform":
        """A torchvision v2 transform from a picture, or uint8 tensor (..., 3, H, W), to the network's input."""
        return self.row.preprocessing.transforms()


def list_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """Names of models in natural order (50 before 101).

    Args:
        pattern: shell wildcards, such as ``se_*``.
        pretrained: only those with published weights.

    Example:
        >>> list_models("se_resnet??")
        ['se_resnet18', 'se_resnet20', 'se_resnet32', 'se_resnet34', 'se_resnet44', 'se_resnet50', 'se_resnet56']
    """
    from senet_zoo.weights.manifest import load_manifest

    names = registry.matching_names(pattern)
    return [name for name in names if load_manifest().rows(name)] if pretrained else names


def list_weights(pattern: str = "*") -> list[str]:
    """Names of checkpoints, ``model.tag``, in natural order; a model's default comes first among its own.

    Args:
        pattern: shell wildcards over ``model.tag``; a pattern without a dot is matched against the model's name too.
    """
    from senet_zoo.weights.manifest import load_manifest

    rows = [row for model in registry.matching_names("*") for row in load_manifest().rows(model)]
    return [row.name for row in rows if fnmatchcase(row.name, pattern) or fnmatchcase(row.model, pattern)]


def get_weights(name: str) -> Weights:
    """The checkpoint of that name: ``model.tag``, or ``model`` for its default.

    Raises:
        UnknownModelError: no such model.
        UnknownWeightsError: the model has no weights, or none of that tag.
    """
    from senet_zoo.weights.manifest import load_manifest

    model, tag = split_name(name)
    return Weights(load_manifest().row(registry.find(model).name, tag))


def default_preprocessing(name: str) -> Preprocessing:
    """What pictures go through for a network without a record of its own: its default weights' way, else ImageNet's.

    Args:
        name: of the model.
    """
    from senet_zoo.weights.manifest import load_manifest

    model = registry.find(name)
    rows = load_manifest().rows(model.name)
    if rows:
        return rows[0].preprocessing
    size = model.spec().input_size
    return Preprocessing(size=size, resize=round(size * 256 / 224) if size >= 224 else size)


def is_model(name: str) -> bool:
    """Whether `create_model` knows the name, with or without a tag.

    Example:
        >>> is_model("se_resnet50"), is_model("seresnet50.a1_in1k"), is_model("vit_base")
        (True, True, False)
    """
    try:
        registry.find(split_name(name)[0])
    except (UnknownModelError, UsageError):
        return False
    return True


def list_pretrained(pattern: str = "*") -> list[str]:
    """`list_weights` under timm's name."""
    return list_weights(pattern)


HUB_PREFIXES = ("hf-hub:", "hf_hub:")


def split_name(name: str) -> tuple[str, str | None]:
    """``model.tag`` in its two parts; the tag is None where there is none.

    Args:
        name: ``model``, ``model.tag``, or as timm writes an address, ``hf-hub:org/name`` of weights in the manifest.

    Raises:
        UnknownModelError: no text, or nothing before the dot.
        UsageError: no weights of the manifest lie at the address.
    """
    if not isinstance(name, str) or not name.partition(".")[0]:
        raise UnknownModelError(f"a model is asked for by its name, such as se_resnet50, got {name!r}")
    for prefix in HUB_PREFIXES:
        if name.startswith(prefix):
            name = _published_at(name.removeprefix(prefix))
    model, _, tag = name.partition(".")
    return model, tag or None


def _published_at(repo: str) -> str:
    """``model.tag`` of the weights that are published in a repository."""
    from senet_zoo.weights.manifest import load_manifest

    for name in list_weights():
        row = load_manifest().row(*name.split(".", 1))
        if any(getattr(source, "repo", None) == repo for source in row.sources):
            return name
    raise UsageError(
        f"no weights of the manifest lie in the repository {repo!r}; list_weights() names those that there are, and a "
        f'folder that save_pretrained or timm wrote is read by from_pretrained("hf://{repo}")'
    )
