"""How networks are trained and measured.

``fit(TrainConfig(...))`` trains one from pictures, ``fit(load_config("run.yaml"))`` as a file says, and
``evaluate(...)`` measures one on them; `senet_zoo.training.recipes` holds the recipes by name. `Run` drives any `Task`:
`senet_zoo.training.classification` is one, detection another.
"""

from senet_zoo.evaluation import Evaluation, evaluate
from senet_zoo.training.config import TrainConfig
from senet_zoo.training.config_file import load_config
from senet_zoo.training.fit import fit
from senet_zoo.training.recipes import RECIPES, TrainRecipe
from senet_zoo.training.result import TrainResult

__all__ = ["RECIPES", "Evaluation", "TrainConfig", "TrainRecipe", "TrainResult", "evaluate", "fit", "load_config"]
