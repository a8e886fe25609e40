"""What the gate gives in published pairs of one recipe: weights of a gated network and of its plain twin."""

from collections.abc import Iterator
from dataclasses import dataclass

from senet_zoo.networks import registry
from senet_zoo.weights.manifest import Manifest, load_manifest
from senet_zoo.weights.rows import Metric, WeightsRow


@dataclass(frozen=True)
class RecipePair:
    """The top-1 accuracy of two published checkpoints that one publisher trained by one recipe.

    Args:
        gated: ``model.tag`` of the network with gates.
        plain: ``model.tag`` of its twin.
        gated_top1: percent of pictures.
        plain_top1: percent of the same pictures.
        difference: percentage points that the gate gives, or costs.
        dataset: the pictures.
        size: side of the square that both networks saw, in pixels.
        who: who measured both, and where it is written.
    """

    gated: str
    plain: str
    gated_top1: float
    plain_top1: float
    difference: float
    dataset: str
    size: int
    who: str


def recipe_pairs(manifest: Manifest | None = None) -> tuple[RecipePair, ...]:
    """Every such pair of the manifest, in the order of its models, at each size that was measured for both.

    Two rows are a pair where their tags are equal, because a tag names the recipe, and somebody measured both on the
    same pictures at the same size. Rows of pytorchcv are left out: their tags name who trained, not how. At 256 pixels
    timm cut 0.887 of the side for its ``cs3sedarknet_x``, and 0.95 for its plain ``cs3darknet_x``.

    Example:
        >>> [pair.difference for pair in recipe_pairs() if pair.gated == "se_resnet50b.a1_in1k"]
        [-0.126, -0.37]
    """
    manifest = manifest or load_manifest()
    pairs: list[RecipePair] = []
    for name, rows in manifest.models.items():
        model = registry.MODELS.get(name)
        if model is None or model.se is None:
            continue
        plain = {row.tag: row for row in manifest.rows(model.twin)}
        for row in rows:
            if row.tag in plain and not row.tag.startswith("osmr_"):
                pairs += _pairs(row, plain[row.tag])
    return tuple(pairs)


def _pairs(gated: WeightsRow, plain: WeightsRow) -> Iterator[RecipePair]:
    known = {_seen(metric): metric.value for metric in plain.metrics}
    for metric in gated.metrics:
        other = known.get(_seen(metric))
        if metric.name == "top1" and metric.value is not None and other is not None:
            difference = round(metric.value - other, 3)
            yield RecipePair(
                gated.name, plain.name, metric.value, other, difference, metric.dataset, metric.size, metric.who
            )


def _seen(metric: Metric) -> tuple[str, str, int, str]:
    return metric.name, metric.dataset, metric.size, metric.who
