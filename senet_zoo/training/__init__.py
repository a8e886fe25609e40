"""How networks are trained and measured.

``fit(TrainConfig(...))`` trains one from pictures, ``evaluate(...)`` measures one on them; `senet_zoo.training.recipes`
holds the recipes by name. The CIFAR-10 checkpoints inside the package were made by `senet_zoo.training.embedded`.
"""

from senet_zoo.evaluation import Evaluation, evaluate
from senet_zoo.training.config import TrainConfig
from senet_zoo.training.finishing import TrainResult
from senet_zoo.training.fitting import fit
from senet_zoo.training.recipes import RECIPES, TrainRecipe

__all__ = ["RECIPES", "Evaluation", "TrainConfig", "TrainRecipe", "TrainResult", "evaluate", "fit"]
