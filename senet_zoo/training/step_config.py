"""What detectors and segmenters are told alike: a recipe that is counted in steps, and the configuration of its run."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, replace
from enum import Enum
from typing import Any, ClassVar, Generic, Self, TypeVar

from senet_zoo.errors import UsageError
from senet_zoo.training.config import RunConfig


@dataclass(frozen=True)
class StepRecipe(ABC):
    """SGD with a warm-up, counted in steps.

    Args:
        steps: of the run.
        batch: pictures a step, all processes together, for which ``rate`` is stated.
        rate: peak learning rate at that batch; it is scaled in proportion for another.
        warmup: first steps, over which the rate grows to its peak.
        momentum: of SGD.
        weight_decay: of the weights of convolutions and fully connected layers; biases and norms have none.
        flip: probability of a picture being mirrored.

    Raises:
        UsageError: a value outside its range.
    """

    TASK: ClassVar[str]  # the word in messages

    steps: int
    batch: int
    rate: float
    warmup: int
    momentum: float
    weight_decay: float
    flip: float

    def __post_init__(self) -> None:
        self._check(
            ("steps", self.steps >= 1, "at least 1"),
            ("batch", self.batch >= 1, "at least 1"),
            ("rate", self.rate > 0.0, "above 0"),
            ("warmup", self.warmup >= 0, "at least 0"),
            ("flip", 0.0 <= self.flip <= 1.0, "from 0 to 1"),
            *self._own_rules(),
        )

    def _check(self, *rules: tuple[str, bool, str]) -> None:
        for name, holds, rule in rules:
            if not holds:
                raise UsageError(f"a {self.TASK} recipe's {name} must be {rule}, got {getattr(self, name)}")

    @abstractmethod
    def _own_rules(self) -> Iterable[tuple[str, bool, str]]:
        """Name, whether it holds, and rule of the values that the task adds."""

    @abstractmethod
    def lasting(self, steps: int) -> Self:
        """The same recipe over another number of steps: every moment in it moves in proportion."""

    @abstractmethod
    def at(self, side: int) -> Self:
        """The same recipe for pictures of another size."""

    @abstractmethod
    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""


Recipe = TypeVar("Recipe", bound=StepRecipe)


@dataclass(frozen=True)
class StepConfig(RunConfig, Generic[Recipe]):
    """What to train, on what, and where; all that `RunConfig` takes, and what belongs to detectors and segmenters.

    Args:
        kind: of detector or segmenter.
        recipe: how.
        size: of a picture, in pixels, as the recipe counts it; None for the recipe's.
        checkpoint_steps: steps between two checkpoints, besides the one after each measurement.
        measure_steps: steps between two measurements on val; None for one at the end.
        license: SPDX name for the card; None for that of the weights trained on from.

    Raises:
        UsageError: a number outside its range.
    """

    kind: Enum
    recipe: Recipe
    _: KW_ONLY
    checkpoint_steps: int | None = 500
    measure_steps: int | None = None
    license: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_least({"size": 32, "measure_steps": 1})

    def own_recipe(self, pictures: int | None = None) -> Recipe:
        """The recipe with the size, length, batch and rate that this configuration asks for.

        Args:
            pictures: to train on, without which epochs are not known as steps.
        """
        recipe, batch = self.recipe, self.batch or self.recipe.batch
        if self.size is not None:
            recipe = recipe.at(self.size)
        if self.epochs is not None and pictures is not None:
            recipe = recipe.lasting(max(1, self.epochs * pictures // batch))
        rate = recipe.rate * batch / recipe.batch if self.rate is None else self.rate
        return replace(recipe, batch=batch, rate=rate)


def recipe_named(name: str, recipes: Mapping[str, Any], task: str) -> Any:
    """The recipe of that name.

    Raises:
        UsageError: there is none; the message lists them.
    """
    if name not in recipes:
        raise UsageError(f"the recipes for {task} are {', '.join(recipes)}, got {name!r}")
    return recipes[name]
