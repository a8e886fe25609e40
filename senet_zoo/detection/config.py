"""What a detector's run is told: recipes by name, the paper's and three of this zoo's own, and the configuration."""

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from math import cos, pi
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Self

from senet_zoo.detection.design import STANDARD, Design, Kind
from senet_zoo.training.config_file import Form, config_of, read_values
from senet_zoo.training.step_config import StepConfig, StepRecipe, recipe_named


@dataclass(frozen=True)
class DetectionRecipe(StepRecipe):
    """SGD with a linear warm-up and drops; all that `StepRecipe` takes, and what belongs to detection.

    Args:
        design: sizes of the detector.
        drops: steps from which the rate is a tenth of what it was.
        warmup_from: share of the peak rate at which the warm-up starts.
        bias_factor: of the rate, for biases.
        trainable_stages: stages of the backbone that learn, counted from the last; None for all, the stem included.
        frozen_norm: whether the backbone's batch norms keep their statistics, scale and shift.
        scales: shares of the design's side; each training picture takes one of them, or the side itself, at random.
        photometric: probability of each random change of brightness, contrast, saturation, hue and order of channels.
        cosine: whether the rate falls as half a cosine, and not by ``drops``.

    Raises:
        UsageError: a value outside its range.
    """

    TASK: ClassVar[str] = "detection"

    design: Design
    drops: tuple[int, ...]
    warmup_from: float
    bias_factor: float
    trainable_stages: int | None
    frozen_norm: bool
    scales: tuple[float, ...] = ()
    photometric: float = 0.0
    cosine: bool = False

    def _own_rules(self) -> Iterable[tuple[str, bool, str]]:
        return (
            ("drops", self.drops == tuple(sorted(self.drops)), "in ascending order"),
            ("scales", all(0.1 <= scale <= 10.0 for scale in self.scales), "from 0.1 to 10 each"),
            ("photometric", 0.0 <= self.photometric <= 1.0, "from 0 to 1"),
        )

    def lasting(self, steps: int) -> Self:
        """The same recipe over another number of steps: every moment in it moves in proportion."""
        by = steps / self.steps
        return replace(
            self, steps=steps, drops=tuple(round(drop * by) for drop in self.drops), warmup=round(self.warmup * by)
        )

    def at(self, side: int) -> Self:
        """The same recipe for pictures whose shorter side has so many pixels, anchors in proportion."""
        return replace(self, design=self.design.at(side))

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if self.cosine:
            rate = self.rate * 0.5 * (1.0 + cos(pi * step / self.steps))
        else:
            rate = self.rate * 0.1 ** sum(step >= drop for drop in self.drops)
        if step < self.warmup:
            rate *= self.warmup_from + (1.0 - self.warmup_from) * step / self.warmup
        return rate


# SE paper, section 5.3: Faster R-CNN as in Detectron, end to end, its "2x" schedule. Detectron's values: 8 GPUs of 2
# pictures, warm-up over 500 steps from a third, biases at twice the rate and without decay; the stem and the first
# stage behind it stay as ImageNet left them, and so do all batch norms.
PAPER = DetectionRecipe(
    design=STANDARD,
    steps=180_000,
    batch=16,
    rate=0.02,
    drops=(120_000, 160_000),
    warmup=500,
    warmup_from=1 / 3,
    momentum=0.9,
    weight_decay=1e-4,
    bias_factor=2.0,
    flip=0.5,
    trainable_stages=3,
    frozen_norm=True,
)

# This zoo's own, for some hundreds of photographs and published weights: the paper's way in steps of 4 pictures.
FINETUNE = replace(PAPER, steps=2000, batch=4, rate=0.005, drops=(1400, 1800), warmup=200)

# The same with what torchvision's references call multiscale and photometric augmentation, and a cosine: sides from 640
# to 800 as in Detectron's later recipes, colours changed as in SSD's.
AUGMENTED = replace(FINETUNE, scales=(0.8, 0.84, 0.88, 0.92, 0.96), photometric=0.5, cosine=True)

# This zoo's own, for some hundreds of small pictures and a CPU, from random weights: everything learns.
SMALL = DetectionRecipe(
    design=Design(
        side=128, longest=213, anchors=(8.0, 16.0, 32.0, 64.0, 128.0), channels=64, proposals=300, samples=64
    ),
    steps=1200,
    batch=4,
    rate=0.01,
    drops=(800, 1100),
    warmup=100,
    warmup_from=0.1,
    momentum=0.9,
    weight_decay=1e-4,
    bias_factor=1.0,
    flip=0.5,
    trainable_stages=None,
    frozen_norm=False,
)

RECIPES: Mapping[str, DetectionRecipe] = MappingProxyType(
    {"finetune": FINETUNE, "augmented": AUGMENTED, "paper": PAPER, "small": SMALL}
)


def find_recipe(name: str) -> DetectionRecipe:
    """The recipe of that name.

    Raises:
        UsageError: there is none; the message lists them.
    """
    found: DetectionRecipe = recipe_named(name, RECIPES, "detection")
    return found


@dataclass(frozen=True)
class DetectionConfig(StepConfig[DetectionRecipe]):
    """What to train, on what, and where; all that `RunConfig` and `StepConfig` take.

    Args:
        data: a folder in COCO's format with train and val; `senet_zoo.detection.coco` says how it may be laid out.
        model: name of the backbone; ``pretrained`` is of its weights. ``weights`` are the backbone's, too, or a saved
            detector to go on from: all of it where the classes are the same, else all but what tells classes apart.
        kind: of detector.
        recipe: how.
        size: of a picture's shorter side, in pixels, anchors in proportion; None for the recipe's.

    Raises:
        UsageError: a number outside its range.
    """

    kind: Kind = Kind.FASTER_RCNN
    recipe: DetectionRecipe = FINETUNE
    _: KW_ONLY


DETECTION = Form("detection", DetectionConfig, DetectionRecipe, RECIPES, find_recipe, length="steps")
"""What a detector's configuration file holds."""


def load_config(file: str | Path) -> DetectionConfig:
    """The configuration in a file that a run wrote, or that was written by hand.

    Raises:
        TrainingError: it cannot be read.
        UsageError: a value in it breaks a rule.
    """
    return config_of(read_values(file), DETECTION)
