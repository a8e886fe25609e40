"""Training recipes by name: the papers' tables as values, and this zoo's own.

Where a paper is silent the value is this zoo's choice, and a comment says so. None of these runs has been repeated here
on ImageNet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from types import MappingProxyType

from senet_zoo.errors import UsageError
from senet_zoo.training.augmentation import (
    AlternatingFlip,
    AreaCrop,
    Augmentation,
    Cutout,
    Erase,
    Flip,
    PadCrop,
    PixelJitter,
    RandAugment,
    Rotate,
)
from senet_zoo.training.optimizers import SGD, Cosine, Linear, Muon, OptimizerSpec, Plateau, Schedule, Steps
from senet_zoo.training.whitening import WhitenedStart


@dataclass(frozen=True)
class TrainRecipe:
    """How a network is trained, whatever the data and the machine.

    Args:
        epochs: passes over the training pictures.
        batch: pictures a step, all processes together, for which ``rate`` is stated.
        rate: peak learning rate at that batch; it is scaled in proportion for another.
        schedule: of the rate.
        optimizer: what takes the steps.
        weight_decay: of the weights of convolutions and fully connected layers.
        vector_decay: of biases and batch norms.
        augmentation: of the training pictures, from left to right.
        label_smoothing: probability moved from the true class to all classes.
        mixup: parameter of the Beta distribution that two pictures are blended by; 0 for never.
        cutmix: the same for a rectangle of one picture in another; where both are above 0, each batch gets one of them.
        drop_path: stochastic depth, the rate of the last block.
        ema: length of the running average of all tensors, as a share of the run; it is what is saved; 0 for none.
        frozen_norm_epochs: last epochs in which batch norms use their running statistics and keep them.
        sizes: ``(share of the run from which it holds, share of the side)``: smaller pictures at first cost less.
        head_epochs: first epochs, in which the classifier alone learns, at the peak rate; the schedule begins after.
        layer_decay: factor of the rate from one stage to the next towards the stem.
        start: what is computed from training pictures before the first step, and stays; None for nothing.

    Raises:
        UsageError: a value outside its range.
    """

    epochs: int
    batch: int
    rate: float
    schedule: Schedule
    optimizer: OptimizerSpec
    weight_decay: float
    vector_decay: float
    augmentation: tuple[Augmentation, ...]
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    drop_path: float = 0.0
    ema: float = 0.0
    frozen_norm_epochs: int = 0
    sizes: tuple[tuple[float, float], ...] = ((0.0, 1.0),)
    head_epochs: int = 0
    layer_decay: float = 1.0
    start: WhitenedStart | None = None

    def __post_init__(self) -> None:
        for name, holds, rule in (
            ("epochs", self.epochs >= 1, "at least 1"),
            ("batch", self.batch >= 1, "at least 1"),
            ("rate", self.rate > 0.0, "above 0"),
            ("head_epochs", 0 <= self.head_epochs < self.epochs, f"at least 0 and below epochs ({self.epochs})"),
            ("ema", 0.0 <= self.ema < 1.0, "at least 0 and below 1"),
            ("label_smoothing", 0.0 <= self.label_smoothing < 1.0, "at least 0 and below 1"),
            ("layer_decay", 0.0 < self.layer_decay <= 1.0, "above 0 and at most 1"),
            ("weight_decay", self.weight_decay >= 0.0, "at least 0"),
            ("vector_decay", self.vector_decay >= 0.0, "at least 0"),
            ("mixup", self.mixup >= 0.0, "at least 0"),
            ("cutmix", self.cutmix >= 0.0, "at least 0"),
            ("frozen_norm_epochs", self.frozen_norm_epochs >= 0, "at least 0"),
            ("sizes", bool(self.sizes) and self.sizes[0][0] == 0.0, "pairs, of which the first holds from 0"),
            ("sizes", all(0.0 < share <= 2.0 for _, share in self.sizes), "shares above 0 and at most 2"),
        ):
            if not holds:
                raise UsageError(f"a recipe's {name} must be {rule}, got {getattr(self, name)}")

    def lasting(self, epochs: int) -> "TrainRecipe":
        """The same recipe over another number of epochs: every moment in it moves in proportion."""
        by = epochs / self.epochs
        return replace(
            self,
            epochs=epochs,
            schedule=self.schedule.stretched(by),
            frozen_norm_epochs=round(self.frozen_norm_epochs * by),
            head_epochs=min(round(self.head_epochs * by), epochs - 1),
        )

    def side(self, epoch: int, full: int) -> int:
        """Side of the training pictures in an epoch, in pixels: a multiple of 8 where it is not ``full``."""
        share = next(share for start, share in reversed(self.sizes) if epoch >= start * self.epochs)
        return full if share == 1.0 else max(8, round(full * share / 8) * 8)

    def factor(self, epoch: float, losses: tuple[float, ...]) -> float:
        """What the peak rate is multiplied by, counted from 0; see `Schedule.factor`."""
        if epoch < self.head_epochs:
            return 1.0
        return self.schedule.factor(epoch - self.head_epochs, self.epochs - self.head_epochs, losses)


# SE paper, section 5.1: area 8-100 %, aspect 3/4-4/3, flip; / 10 every 30 epochs. He initialisation is every network's
# start here. The weight decay is an author's answer (hujie-frank/SENet, issue 37): that of the plain network.
PAPER = TrainRecipe(
    epochs=100,
    batch=1024,
    rate=0.6,
    schedule=Steps(((0, 1.0), (30, 0.1), (60, 0.01), (90, 0.001))),
    optimizer=SGD(momentum=0.9),
    weight_decay=1e-4,
    vector_decay=1e-4,
    augmentation=(AreaCrop(area=(0.08, 1.0), aspect=(3 / 4, 4 / 3)), Flip()),
)

# The released weights: README of hujie-frank/SENet, and issue 62 for the schedule.
AUTHORS_RELEASE = TrainRecipe(
    epochs=270,
    batch=256,
    rate=0.1,
    schedule=Steps(((0, 1.0), (125, 0.1), (200, 0.01), (250, 0.001))),
    optimizer=SGD(momentum=0.9),
    weight_decay=1e-4,
    vector_decay=1e-4,
    augmentation=(AreaCrop(), Flip(), Rotate(degrees=10), PixelJitter(most=20)),
)

# SE paper, section 5.1: about 400 epochs, / 10 on a plateau of the validation loss, milder augmentation and
# regularisation as in ShuffleNet (arXiv:1707.01083: decay 4e-5). How mild, and the patience, are chosen here.
MOBILE = TrainRecipe(
    epochs=400,
    batch=256,
    rate=0.1,
    schedule=Plateau(patience=10),
    optimizer=SGD(momentum=0.9),
    weight_decay=4e-5,
    vector_decay=0.0,
    augmentation=(AreaCrop(area=(0.25, 1.0)), Flip()),
)

# SE paper, appendix: batch 2048, rate 1.0, label smoothing, batch norms frozen in the last epochs. The drops are those
# of `paper`; how many epochs are frozen, and that 0.1 is smoothed, are chosen here.
SENET154 = replace(PAPER, batch=2048, rate=1.0, label_smoothing=0.1, frozen_norm_epochs=5)

# He et al., Identity Mappings (arXiv:1603.05027): 64,000 steps, / 10 at 32,000 and 48,000, a tenth of the rate for the
# first 400 (an epoch here), with 391 steps an epoch.
CIFAR_RESNET = TrainRecipe(
    epochs=164,
    batch=128,
    rate=0.1,
    schedule=Steps(((0, 0.1), (1, 1.0), (82, 0.1), (123, 0.01))),
    optimizer=SGD(momentum=0.9),
    weight_decay=1e-4,
    vector_decay=1e-4,
    augmentation=(PadCrop(pad=4), Flip()),
)

# This zoo's own, for 32x32 pictures on a CPU: smaller ones at first, one arc of the rate, an average at the end.
CIFAR_QUICK = replace(
    CIFAR_RESNET,
    epochs=8,
    rate=0.2,
    schedule=Cosine(warmup=1),
    optimizer=SGD(momentum=0.9, nesterov=True),
    weight_decay=5e-4,
    vector_decay=0.0,
    label_smoothing=0.05,
    ema=0.02,
    sizes=((0.0, 0.75), (0.6, 1.0)),
)

# This zoo's own, for a network that knows 32x32 pictures already: the rate is too low to forget what it knows.
CIFAR_REFINE = replace(CIFAR_QUICK, epochs=14, rate=0.05, sizes=((0.0, 1.0),))

# After airbench94_muon (Jordan, 2024), for se_cifarnet and cifarnet: the whitened stem, the flip, the smoothing and the
# kinds of steps are theirs; smaller batches, the rise and the rates are this zoo's choice, seen to work on 9,000
# training pictures, 1,350 of them held out, for three epochs.
CIFAR_SPEED = TrainRecipe(
    epochs=8,
    batch=500,
    rate=0.12,
    schedule=Linear(rise=0.1),
    optimizer=Muon(vectors=100.0, gates=5.0, classifier=0.05),
    weight_decay=5e-4,
    vector_decay=5e-5,
    augmentation=(AlternatingFlip(), PadCrop(pad=2)),
    label_smoothing=0.2,
    start=WhitenedStart(),
)

# Zagoruyko and Komodakis, Wide Residual Networks (arXiv:1605.07146): x 0.2 at 60, 120 and 160.
CIFAR_WRN = replace(
    CIFAR_RESNET,
    epochs=200,
    schedule=Steps(((0, 1.0), (60, 0.2), (120, 0.04), (160, 0.008))),
    optimizer=SGD(momentum=0.9, nesterov=True),
    weight_decay=5e-4,
    vector_decay=5e-4,
)

# Gastaldi, Shake-Shake (arXiv:1705.07485), 26 2x96d on CIFAR-10, with Cutout as in the SE paper.
CIFAR_SHAKESHAKE = replace(
    CIFAR_RESNET,
    epochs=1800,
    rate=0.2,
    schedule=Cosine(),
    optimizer=SGD(momentum=0.9, nesterov=True),
    augmentation=(PadCrop(pad=4), Flip(), Cutout(length=16)),
)

# This zoo's own, after torchvision's "new recipe" of 2021: rate, decay, smoothing, mixing and erasing are theirs, the
# length, the sizes, the average and stochastic depth are chosen here.
MODERN = TrainRecipe(
    epochs=300,
    batch=1024,
    rate=0.5,
    schedule=Cosine(warmup=5),
    optimizer=SGD(momentum=0.9, nesterov=True),
    weight_decay=2e-5,
    vector_decay=0.0,
    augmentation=(AreaCrop(), Flip(), RandAugment(operations=2, strength=9), Erase(share=0.1)),
    label_smoothing=0.1,
    mixup=0.2,
    cutmix=1.0,
    drop_path=0.05,
    ema=0.03,
    sizes=((0.0, 0.57), (0.4, 0.79), (0.8, 1.0)),
)

# This zoo's own, for a few thousand photographs and no pretrained weights. The last pictures are smaller than those in
# use, because a crop shows things larger (Touvron et al., arXiv:1906.06423).
SCRATCH = TrainRecipe(
    epochs=36,
    batch=64,
    rate=0.1,
    schedule=Cosine(warmup=2),
    optimizer=SGD(momentum=0.9, nesterov=True),
    weight_decay=5e-4,
    vector_decay=0.0,
    augmentation=(AreaCrop(area=(0.35, 1.0)), Flip()),
    label_smoothing=0.1,
    ema=0.02,
    sizes=((0.0, 0.5), (0.4, 0.75), (0.75, 0.875)),
)

# This zoo's own, for pretrained weights and a few hundred to a few thousand pictures.
FINETUNE = TrainRecipe(
    epochs=12,
    batch=32,
    rate=0.01,
    schedule=Cosine(warmup=1),
    optimizer=SGD(momentum=0.9, nesterov=True),
    weight_decay=1e-4,
    vector_decay=0.0,
    augmentation=(AreaCrop(area=(0.35, 1.0)), Flip()),
    label_smoothing=0.1,
    head_epochs=1,
    layer_decay=0.8,
)

FROM_WEIGHTS = frozenset(["finetune", "cifar-refine"])
"""Recipes for a network that has learnt already; the others begin at random."""

RECIPES: Mapping[str, TrainRecipe] = MappingProxyType(
    {
        "paper": PAPER,
        "authors-release": AUTHORS_RELEASE,
        "mobile": MOBILE,
        "senet154": SENET154,
        "cifar-resnet": CIFAR_RESNET,
        "cifar-quick": CIFAR_QUICK,
        "cifar-refine": CIFAR_REFINE,
        "cifar-speed": CIFAR_SPEED,
        "cifar-wrn": CIFAR_WRN,
        "cifar-shakeshake": CIFAR_SHAKESHAKE,
        "modern": MODERN,
        "scratch": SCRATCH,
        "finetune": FINETUNE,
    }
)
"""Every recipe by its name on the command line."""


def find_recipe(name: str) -> TrainRecipe:
    """The recipe of that name.

    Raises:
        UsageError: there is none; the near misses are named.
    """
    if name not in RECIPES:
        near = get_close_matches(name.lower(), RECIPES, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"they are {', '.join(RECIPES)}"
        raise UsageError(f"no recipe is named {name!r}; {hint}")
    return RECIPES[name]


def values_of(recipe: TrainRecipe) -> dict[str, object]:
    """A recipe's values by name, each in words where it is no number or None, such as ``Cosine(warmup=5)``."""
    values = {field.name: getattr(recipe, field.name) for field in fields(recipe)}
    return {name: value if isinstance(value, int | float | None) else _words(value) for name, value in values.items()}


def _words(value: object) -> str:
    return ", ".join(map(repr, value)) if isinstance(value, tuple) else repr(value)
