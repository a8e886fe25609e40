"""A run's configuration as YAML: every value by its name, so that the file repeats the run.

Values of the configuration and of its recipe stand side by side, and one that is left out is the recipe's: a file of
``data``, ``model``, ``output`` and ``weight_decay`` is whole. What has values of its own is a mapping with a ``name``:
``schedule: {name: cosine, warmup: 1}``.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from difflib import get_close_matches
from enum import Enum
from math import isfinite
from pathlib import Path
from types import NoneType
from typing import Any, Generic, Literal, NoReturn, TypeVar, get_args, get_origin, get_type_hints

import yaml

from senet_zoo.errors import TrainingError, UsageError
from senet_zoo.support.files import atomic_file, open_regular
from senet_zoo.support.json_fields import shown
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
from senet_zoo.training.config import RunConfig, TrainConfig
from senet_zoo.training.optimizers import (
    SGD,
    AdamW,
    Cosine,
    Linear,
    Muon,
    OneCycle,
    OptimizerSpec,
    Plateau,
    Schedule,
    Steps,
)
from senet_zoo.training.recipes import RECIPES, TrainRecipe, find_recipe

CONFIG_FILE = "run.yaml"
HEAD = "# Written by senet_zoo; senet-zoo train --config THIS_FILE -o ANOTHER_FOLDER repeats the run.\n"
MADE = "made"  # what is said of the run that wrote a file, which the next one does not read
MOST_BYTES = 2**20

# What a value that is named by its class may be.
MEMBERS: Mapping[object, tuple[type, ...]] = {
    Schedule: (Steps, Cosine, Linear, OneCycle, Plateau),
    OptimizerSpec: (SGD, AdamW, Muon),
    Augmentation: (AreaCrop, PadCrop, Flip, AlternatingFlip, Rotate, RandAugment, PixelJitter, Erase, Cutout),
}
# As other trainers call them.
SYNONYMS: Mapping[str, str] = {
    "lr": "rate", "lr0": "rate", "learning_rate": "rate", "batch_size": "batch", "bs": "batch", "wd": "weight_decay",
    "decay": "weight_decay", "num_epochs": "epochs", "max_epochs": "epochs", "imgsz": "size", "img_size": "size",
    "image_size": "size", "input_size": "size", "num_workers": "workers", "amp": "precision", "dtype": "precision",
    "arch": "model", "checkpoint": "weights", "optim": "optimizer", "opt": "optimizer", "scheduler": "schedule",
    "lr_scheduler": "schedule", "sched": "schedule", "aug": "augmentation", "augment": "augmentation",
    "smoothing": "label_smoothing", "output_dir": "output", "project": "output", "track": "trackers",
    "detector": "kind",
}  # fmt: skip

ConfigT = TypeVar("ConfigT", bound=RunConfig)


@dataclass(frozen=True)
class Form(Generic[ConfigT]):
    """What a file of one task holds.

    Args:
        task: its name.
        config: class of the configuration.
        recipe: class of its recipe.
        recipes: by name.
        find_recipe: the one of a name, or an error.
        length: the recipe's value by which it is stretched.
    """

    task: str
    config: type[ConfigT]
    recipe: type
    recipes: Mapping[str, Any]
    find_recipe: Callable[[str], Any]
    length: str

    @property
    def keys(self) -> frozenset[str]:
        """The names of all values."""
        return frozenset(each.name for kind in (self.config, self.recipe) for each in fields(kind))


CLASSIFICATION: Form[TrainConfig] = Form(
    "classification", TrainConfig, TrainRecipe, RECIPES, find_recipe, length="epochs"
)


def load_config(file: str | Path) -> TrainConfig:
    """The configuration in a file that a run wrote, or that was written by hand.

    Raises:
        TrainingError: it cannot be read.
        UsageError: a value in it breaks a rule.

    Example:
        >>> load_config("run1/run.yaml")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        senet_zoo.errors.TrainingError: a run's configuration must be ... cannot be read: No such file or directory
    """
    return config_of(read_values(file), CLASSIFICATION)


def read_values(file: str | Path) -> dict[str, object]:
    """The values in a file, by name, as they stand there.

    Raises:
        TrainingError: it cannot be read.
        UsageError: it is no YAML, or no mapping of names to values.
    """
    path = Path(file).expanduser()
    try:
        with open_regular(path) as stream:
            text = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise TrainingError(
            f"a run's configuration must be a file of YAML, and {path} cannot be read: {error.strerror or error}"
        ) from error
    if len(text) > MOST_BYTES:
        raise UsageError(f"a run's configuration must have at most {MOST_BYTES} bytes, and {path} has more")
    try:
        values = yaml.load(text, _Loader)  # noqa: S506 (a SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} must be YAML, and is not: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise UsageError(f"{path} must hold names and values, such as `epochs: 12`, got {shown(values)}")
    return {name.replace("-", "_"): value for name, value in values.items()}


def config_of(values: Mapping[str, object], form: Form[ConfigT]) -> ConfigT:
    """The configuration that values by name describe; what they do not name is the recipe's or the default.

    Raises:
        UsageError: a name that is none, a value of another kind, or one that breaks a rule.
    """
    values = {name: value for name, value in values.items() if name not in (MADE, "task")}
    base = form.find_recipe(str(values.pop("recipe", None) or "finetune"))
    for name in values.keys() - form.keys:
        raise UsageError(f"no value of a run is named {name!r}{_meant(name, form.keys)}")
    of_config, of_recipe = get_type_hints(form.config), get_type_hints(form.recipe)
    hints = {name: of_config.get(name) or of_recipe[name] for name in values}
    found = {
        name: _read(hints[name], value, name)
        for name, value in values.items()
        if value is not None or NoneType in get_args(hints[name])  # `seed:` says nothing of the seed
    }
    if found.get(form.length) is not None:
        _positive(found[form.length], form.length)
        base = base.lasting(found[form.length])
        if form.length in of_recipe:
            found.pop(form.length)
    recipe = replace(base, **{name: found.pop(name) for name in [*found] if name not in of_config})
    for name in ("data", "model", "output"):
        if found.get(name) is None:
            raise UsageError(f"a run must be told its {name}, and nothing is")
    make: Callable[..., ConfigT] = form.config
    return make(**found, recipe=recipe)


def values_of_config(config: ConfigT, form: Form[ConfigT], base: object = None) -> dict[str, object]:
    """Every value of a configuration by its name, as numbers, texts, lists and mappings: what `config_of` reads.

    Args:
        config: the configuration.
        form: of its task.
        base: the recipe that it began with, if it is another one now.
    """
    own = {each.name: plain(getattr(config, each.name)) for each in fields(config)}
    recipe = own.pop("recipe")
    assert isinstance(recipe, dict)
    base = base or vars(config)["recipe"]
    name = next((name for name, known in form.recipes.items() if known == base), None)
    told = {key: value for key, value in own.items() if key not in recipe or value is not None}
    first = {key: told.pop(key) for key in ("data", "model", "output", "pretrained", "weights")}
    start: dict[str, object] = {"task": form.task, **first}
    return {**start, **({"recipe": name} if name else {}), **recipe, **told}


def as_yaml(values: Mapping[str, object]) -> str:
    """Values by name as a document, in their order."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def write_config(path: Path, values: Mapping[str, object]) -> None:
    """Write a configuration, whole or not at all.

    Raises:
        OSError: the disk did not take it.
    """
    with atomic_file(path) as file:
        file.write((HEAD + as_yaml(values)).encode())


def is_config(path: Path) -> bool:
    """Whether a run wrote the file."""
    try:
        with path.open("rb") as file:
            return file.read(len(HEAD.encode())).startswith(b"# Written by senet_zoo")
    except OSError:
        return False


def _meant(name: str, keys: frozenset[str]) -> str:
    near = [SYNONYMS[name]] if SYNONYMS.get(name) in keys else get_close_matches(name, sorted(keys), n=2, cutoff=0.7)
    return f"; did you mean {' or '.join(near)}?" if near else f"; they are {', '.join(sorted(keys))}"


def _positive(value: Any, name: str) -> None:
    if value < 1:
        raise UsageError(f"a run's {name} must be at least 1, got {value}")


def plain(value: object) -> object:
    """A value as YAML and JSON have it."""
    if is_dataclass(value) and not isinstance(value, type):
        named = {"name": _name_of(type(value))} if any(type(value) in each for each in MEMBERS.values()) else {}
        return {**named, **{each.name: plain(getattr(value, each.name)) for each in fields(value)}}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def _name_of(kind: type) -> str:
    """``area_crop`` for AreaCrop, ``sgd`` for SGD."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


def _read(hint: Any, value: object, path: str) -> Any:
    """A value as a type's hint asks for it."""
    if hint in MEMBERS:
        return _member(MEMBERS[hint], value, path)
    origin, inner = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and is_dataclass(hint):
        return _object(hint, value, path)
    if origin is tuple:
        if isinstance(value, list | tuple):
            kinds = (inner[0],) * len(value) if inner[-1] is Ellipsis else inner
            if len(kinds) == len(value):
                pairs = enumerate(zip(kinds, value, strict=True), 1)
                return tuple(_read(kind, each, f"{path}, entry {number}") for number, (kind, each) in pairs)
        _refuse(path, "a list" if inner[-1] is Ellipsis else f"a list of {len(inner)}", value)
    if origin is Literal and any(value == each and type(value) is type(each) for each in inner):
        return value
    if inner and origin is not Literal:  # a union
        for kind in inner:
            if _fits(kind, value):
                return _read(kind, value, path)
    elif _fits(hint, value):
        make: Callable[[object], object] | None = hint if isinstance(hint, type) else None
        return make(value) if make and issubclass(hint, Enum | Path) else value
    return _refuse(path, _described(hint), value)


def _fits(hint: Any, value: object) -> bool:
    """Whether a value is of a simple type, or may be read as another."""
    if hint is float:  # a whole number stays one, so that it is written as it was read
        return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return value in [each.value for each in hint]
    if hint is Path:
        return isinstance(value, str | Path)
    if hint in (bool, str, NoneType):
        return isinstance(value, hint)
    return value is not None


def _object(kind: Any, value: object, path: str) -> Any:
    if not isinstance(value, dict):
        _refuse(path, "values by their names", value)
    hints = get_type_hints(kind)
    for name in value.keys() - hints.keys():
        raise UsageError(f"{path} has no {name!r}{_meant(str(name), frozenset(hints))}")
    try:
        return kind(**{name: _read(hints[name], each, f"{path}.{name}") for name, each in value.items()})
    except TypeError as error:
        raise UsageError(f"{path} must be whole: {error}") from error


def _member(kinds: tuple[type, ...], value: object, path: str) -> Any:
    known = {_name_of(kind): kind for kind in kinds}
    described: Any = {"name": value} if isinstance(value, str) else value
    if not isinstance(described, dict) or described.get("name") not in known:
        _refuse(path, f"a mapping whose name is one of {', '.join(known)}", value)
    return _object(known[described["name"]], {key: each for key, each in described.items() if key != "name"}, path)


def _described(hint: Any) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}
    if get_origin(hint) is Literal:
        return " or ".join(map(str, get_args(hint)))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return " or ".join(str(each.value) for each in hint)
    if get_args(hint):
        kinds = dict.fromkeys("null" if each is NoneType else _described(each) for each in get_args(hint))
        return " or ".join(kinds)
    return names.get(hint, "of another kind")


def _refuse(path: str, rule: str, value: object) -> NoReturn:
    raise UsageError(f"a run's {path} must be {rule}, got {shown(value)}")


class _Loader(yaml.SafeLoader):
    """YAML as people write it: 1e-3 is a number, a name stands once, and nothing is an alias of anything."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias (*) stands in it; write out what it stands for")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        twice = next((str(name) for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise yaml.YAMLError(f"{twice!r} stands twice")
        return dict(super().construct_mapping(node, deep=deep))


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


class _Dumper(yaml.SafeDumper):
    """Lists of numbers and mappings of a few stand on one line."""


def _list(dumper: yaml.SafeDumper, value: list[object]) -> yaml.Node:
    flat = not any(isinstance(each, dict) for each in value)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=flat)


def _mapping(dumper: yaml.SafeDumper, value: dict[str, object]) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", value, flow_style="name" in value)


_Dumper.add_representer(list, _list)
_Dumper.add_representer(dict, _mapping)
