"""What a segmenter's run is told: recipes by name, and the configuration."""

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Self

from senet_zoo.errors import UsageError
from senet_zoo.segmentation.design import Segmenter
from senet_zoo.segmentation.masks import IGNORED
from senet_zoo.training.config_file import Form, config_of, read_values
from senet_zoo.training.step_config import StepConfig, StepRecipe, recipe_named


@dataclass(frozen=True)
class SegmentationRecipe(StepRecipe):
    """SGD with a rate that falls as a power of what is left of the run; all that `StepRecipe` takes, and more.

    Args:
        backbone_rate: of the backbone, as a share of ``rate``, which is the head's.
        power: of the fall.
        side: of the square that is cut out of a training picture, and of the shorter side of a measured one, in pixels.
        scales: least and greatest size of a training picture's shorter side, as shares of ``side``.
        colour: strength of random brightness, contrast, saturation and hue, from 0 to 1.
        output_stride: of the backbone's last map, 8 or 16; a Unet has its own.
        auxiliary: share of the loss of a second classifier on the stage before the last; 0 for none.

    Raises:
        UsageError: a value outside its range.
    """

    TASK: ClassVar[str] = "segmentation"

    backbone_rate: float
    power: float
    side: int
    scales: tuple[float, float]
    colour: float
    output_stride: int
    auxiliary: float

    def _own_rules(self) -> Iterable[tuple[str, bool, str]]:
        return (
            ("side", self.side >= 32, "at least 32 pixels"),
            ("scales", 0.0 < self.scales[0] <= self.scales[1], "two numbers above 0 in ascending order"),
            ("colour", 0.0 <= self.colour <= 1.0, "from 0 to 1"),
            ("output_stride", self.output_stride in (8, 16), "8 or 16"),
            ("auxiliary", 0.0 <= self.auxiliary <= 1.0, "from 0 to 1"),
        )

    def lasting(self, steps: int) -> Self:
        """The same recipe over another number of steps: every moment in it moves in proportion."""
        return replace(self, steps=steps, warmup=round(self.warmup * steps / self.steps))

    def at(self, side: int) -> Self:
        """The same recipe for crops of so many pixels a side."""
        return replace(self, side=side)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        rate: float = self.rate * (1.0 - step / self.steps) ** self.power
        return rate * (step + 1) / self.warmup if step < self.warmup else rate


# This zoo's own, after torchvision's references/segmentation: crops of 480 out of pictures from half to twice as large,
# a rate that falls with power 0.9, a second loss of half the weight; the backbone, already trained, learns slower.
FINETUNE = SegmentationRecipe(
    steps=4000,
    batch=8,
    rate=0.01,
    backbone_rate=0.1,
    power=0.9,
    warmup=100,
    momentum=0.9,
    weight_decay=1e-4,
    side=480,
    scales=(0.5, 2.0),
    flip=0.5,
    colour=0.0,
    output_stride=8,
    auxiliary=0.5,
)

# This zoo's own, for some hundreds of small pictures and a CPU, from random weights: everything learns alike.
SMALL = replace(
    FINETUNE,
    steps=800,
    rate=0.05,
    backbone_rate=1.0,
    warmup=50,
    side=96,
    scales=(0.75, 1.5),
    output_stride=16,
    auxiliary=0.0,
)

RECIPES: Mapping[str, SegmentationRecipe] = MappingProxyType({"finetune": FINETUNE, "small": SMALL})


def find_recipe(name: str) -> SegmentationRecipe:
    """The recipe of that name.

    Raises:
        UsageError: there is none; the message lists them.
    """
    found: SegmentationRecipe = recipe_named(name, RECIPES, "segmentation")
    return found


@dataclass(frozen=True)
class SegmentationConfig(StepConfig[SegmentationRecipe]):
    """What to train, on what, and where; all that `RunConfig` and `StepConfig` take, and what belongs to segmentation.

    Args:
        data: a folder of pictures with masks; `senet_zoo.segmentation.layouts` says how it may be laid out.
        model: name of the backbone; ``pretrained`` is of its weights. ``weights`` are the backbone's, too, or a saved
            segmenter to go on from: all of it where the classes are the same, else all but what tells classes apart.
        kind: of segmenter.
        recipe: how.
        size: of the training crop and of a measured picture's shorter side, in pixels; None for the recipe's.
        ignore_index: number in the masks of pixels that are neither learnt nor measured.

    Raises:
        UsageError: a number outside its range.
    """

    kind: Segmenter = Segmenter.DEEPLABV3
    recipe: SegmentationRecipe = FINETUNE
    _: KW_ONLY
    ignore_index: int = IGNORED

    def __post_init__(self) -> None:
        super().__post_init__()
        if not -1 <= self.ignore_index <= 65535:
            raise UsageError(f"ignore_index must be from 0 to 65535, or -1 for none, got {self.ignore_index}")


SEGMENTATION = Form("segmentation", SegmentationConfig, SegmentationRecipe, RECIPES, find_recipe, length="steps")
"""What a segmenter's configuration file holds."""


def load_config(file: str | Path) -> SegmentationConfig:
    """The configuration in a file that a run wrote, or that was written by hand.

    Raises:
        UsageError: there is no such file, or a value in it breaks a rule.
    """
    return config_of(read_values(file), SEGMENTATION)
