"""What a segmenter's run is told: recipes by name, and the configuration."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from types import MappingProxyType

from senet_zoo.errors import UsageError
from senet_zoo.segmentation.design import Segmenter
from senet_zoo.segmentation.masks import IGNORED
from senet_zoo.training.config import RunConfig
from senet_zoo.training.config_file import Form, config_of, read_values


@dataclass(frozen=True)
class SegmentationRecipe:
    """SGD with a rate that falls as a power of what is left of the run, counted in steps.

    Args:
        steps: of the run.
        batch: pictures a step, all processes together, for which ``rate`` is stated.
        rate: peak learning rate of the segmenter's head at that batch; it is scaled in proportion for another.
        backbone_rate: of the backbone, as a share of the head's.
        power: of the fall.
        warmup: first steps, over which the rate grows to its peak.
        momentum: of SGD.
        weight_decay: of the weights of convolutions; biases and norms have none.
        side: of the square that is cut out of a training picture, and of the shorter side of a measured one, in pixels.
        scales: least and greatest size of a training picture's shorter side, as shares of ``side``.
        flip: probability of a picture being mirrored.
        colour: strength of random brightness, contrast, saturation and hue, from 0 to 1.
        output_stride: of the backbone's last map, 8 or 16; a Unet has its own.
        auxiliary: share of the loss of a second classifier on the stage before the last; 0 for none.

    Raises:
        UsageError: a value outside its range.
    """

    steps: int
    batch: int
    rate: float
    backbone_rate: float
    power: float
    warmup: int
    momentum: float
    weight_decay: float
    side: int
    scales: tuple[float, float]
    flip: float
    colour: float
    output_stride: int
    auxiliary: float

    def __post_init__(self) -> None:
        for name, holds, rule in (
            ("steps", self.steps >= 1, "at least 1"),
            ("batch", self.batch >= 1, "at least 1"),
            ("rate", self.rate > 0.0, "above 0"),
            ("warmup", self.warmup >= 0, "at least 0"),
            ("side", self.side >= 32, "at least 32 pixels"),
            ("scales", 0.0 < self.scales[0] <= self.scales[1], "two numbers above 0 in ascending order"),
            ("flip", 0.0 <= self.flip <= 1.0, "from 0 to 1"),
            ("colour", 0.0 <= self.colour <= 1.0, "from 0 to 1"),
            ("output_stride", self.output_stride in (8, 16), "8 or 16"),
            ("auxiliary", 0.0 <= self.auxiliary <= 1.0, "from 0 to 1"),
        ):
            if not holds:
                raise UsageError(f"a segmentation recipe's {name} must be {rule}, got {getattr(self, name)}")

    def lasting(self, steps: int) -> "SegmentationRecipe":
        """The same recipe over another number of steps: every moment in it moves in proportion."""
        return replace(self, steps=steps, warmup=round(self.warmup * steps / self.steps))

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
    if name not in RECIPES:
        raise UsageError(f"the recipes for segmentation are {', '.join(RECIPES)}, got {name!r}")
    return RECIPES[name]


@dataclass(frozen=True)
class SegmentationConfig(RunConfig):
    """What to train, on what, and where; all that `RunConfig` takes, and what belongs to segmentation.

    Args:
        data: a folder of pictures with masks; `senet_zoo.segmentation.layouts` says how it may be laid out.
        model: name of the backbone; ``pretrained`` is of its weights. ``weights`` are the backbone's, too, or a saved
            segmenter to go on from: all of it where the classes are the same, else all but what tells classes apart.
        kind: of segmenter.
        recipe: how.
        size: of the training crop and of a measured picture's shorter side, in pixels; None for the recipe's.
        checkpoint_steps: steps between two checkpoints, besides the one after each measurement.
        measure_steps: steps between two measurements on val; None for one at the end.
        ignore_index: number in the masks of pixels that are neither learnt nor measured.
        license: SPDX name for the card; None for that of the weights trained on from.

    Raises:
        UsageError: a number outside its range.
    """

    kind: Segmenter = Segmenter.DEEPLABV3
    recipe: SegmentationRecipe = FINETUNE
    _: KW_ONLY
    checkpoint_steps: int | None = 500
    measure_steps: int | None = None
    ignore_index: int = IGNORED
    license: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_least({"size": 32, "measure_steps": 1})
        if not -1 <= self.ignore_index <= 65535:
            raise UsageError(f"ignore_index must be from 0 to 65535, or -1 for none, got {self.ignore_index}")

    def own_recipe(self, pictures: int | None = None) -> SegmentationRecipe:
        """The recipe with the size, length, batch and rate that this configuration asks for.

        Args:
            pictures: to train on, without which epochs are not known as steps.
        """
        recipe, batch = self.recipe, self.batch or self.recipe.batch
        if self.size is not None:
            recipe = replace(recipe, side=self.size)
        if self.epochs is not None and pictures is not None:
            recipe = recipe.lasting(max(1, self.epochs * pictures // batch))
        rate = recipe.rate * batch / recipe.batch if self.rate is None else self.rate
        return replace(recipe, batch=batch, rate=rate)


SEGMENTATION = Form("segmentation", SegmentationConfig, SegmentationRecipe, RECIPES, find_recipe, length="steps")
"""What a segmenter's configuration file holds."""


def load_config(file: str | Path) -> SegmentationConfig:
    """The configuration in a file that a run wrote, or that was written by hand.

    Raises:
        UsageError: there is no such file, or a value in it breaks a rule.
    """
    return config_of(read_values(file), SEGMENTATION)
