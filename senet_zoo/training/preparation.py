"""From what a user says of a run to what the loop needs: network, batch, rate, preprocessing, weights of classes."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from senet_zoo.data.labelled import Labelled
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import UsageError
from senet_zoo.networks import registry
from senet_zoo.networks.layers import initialise
from senet_zoo.networks.network import ConvNet
from senet_zoo.training.config import CHECKPOINTS, TrainConfig
from senet_zoo.training.job import Job
from senet_zoo.training.progress import Progress
from senet_zoo.training.randomness import seeded
from senet_zoo.training.recipes import TrainRecipe, values_of
from senet_zoo.training.sharding import sharding_asked
from senet_zoo.weights.catalogue import Weights, default_preprocessing, split_name
from senet_zoo.weights.config import FolderConfig
from senet_zoo.weights.create import create_model


def prepare(config: TrainConfig, train: Labelled, val: Labelled, pieces: int, ranks: int, progress: Progress) -> Job:
    """The run that ``config`` asks for, with the network as it starts.

    Args:
        config: what to train.
        train: pictures to learn from.
        val: pictures to measure on, under the same classes.
        pieces: of each process's share of a step.
        ranks: processes that train together.
        progress: told of the learning rate and what was scaled.

    Raises:
        UsageError: a batch that cannot be divided, or all that `create_model` raises.
        WeightsError: the weights to start from could not be had.
    """
    batch = batch_size(config, len(train), pieces * ranks, progress)
    recipe = scaled(config, batch, progress)
    network = start(config, recipe, train.classes)
    preprocessing = preprocessing_of(config, network)
    return Job(
        network=network,
        recipe=recipe,
        train=train,
        val=val,
        preprocessing=preprocessing,
        class_weights=balance(train) if config.class_weights else None,
        patience=config.patience,
        seed=config.seed,
        pieces=pieces,
        workers=config.workers,
        checkpoint_steps=config.checkpoint_steps,
        folder=Path(config.output).expanduser() / CHECKPOINTS,
        sharded=sharding_asked(),
        sync_norm=config.sync_norm,
        compile=config.compile,
        fused=config.fused,
        identity={
            "model": config.model,
            "pretrained": config.pretrained,
            "weights": None if config.weights is None else str(config.weights),
            "data": config.data,
            "classes": len(train.classes),
            "training pictures": len(train),
            "validation pictures": len(val),
            "side": preprocessing.size,
            "class weights": config.class_weights,
            "patience": config.patience,
            "precision": config.precision,
            "seed": config.seed,
            # None as in checkpoints from before there were any.
            "synchronised norms": config.sync_norm or None,
            "fused units": config.fused or None,
            **values_of(recipe),
        },
    )


def batch_size(config: TrainConfig, pictures: int, parts: int, progress: Progress) -> int:
    """Pictures a step: as asked, or as many as there are where they are fewer.

    Raises:
        UsageError: they cannot be shared out equally among the processes and pieces.
    """
    batch = config.recipe.batch if config.batch is None else config.batch
    if batch > pictures:
        smaller = pictures // parts * parts
        progress.say(f"the batch is {smaller}, not {batch}, for there are {pictures} training pictures")
        batch = smaller
    if batch < parts or batch % parts:
        raise UsageError(
            f"a batch must be a multiple of processes x pieces ({parts}), so that each gets as many pictures, got "
            f"{batch}: choose {max(parts, batch // parts * parts)}"
        )
    return batch


def scaled(config: TrainConfig, batch: int, progress: Progress) -> TrainRecipe:
    """The recipe with the values that this run gives it."""
    recipe = config.recipe if config.epochs is None else config.recipe.lasting(config.epochs)
    if config.drop_path is not None:
        recipe = replace(recipe, drop_path=config.drop_path)
    rate = recipe.rate * batch / recipe.batch if config.rate is None else config.rate
    if config.rate is None and batch != recipe.batch:
        progress.say(
            f"learning rate {rate:.4g} at a batch of {batch}: in proportion to the recipe's {recipe.rate:.4g} at "
            f"{recipe.batch}"
        )
    else:
        progress.say(f"learning rate {rate:.4g} at a batch of {batch}")
    return replace(recipe, batch=batch, rate=rate)


def start(config: TrainConfig, recipe: TrainRecipe, classes: tuple[str, ...]) -> ConvNet:
    """The network before its first step, with a classifier of its own unless the weights know these very classes."""
    with seeded(config.seed, "start"):
        network = create_model(
            config.model,
            pretrained=config.pretrained,
            weights=config.weights,
            num_classes=len(classes),
            drop_path=recipe.drop_path,
        )
        known = network.weights.categories if isinstance(network.weights, Weights | FolderConfig) else None
        if known != classes:
            network.reset_classifier(len(classes))
            initialise(network.classifier)
    return network


def preprocessing_of(config: TrainConfig, network: ConvNet) -> Preprocessing:
    """That of the weights, or the model's usual one; at the size that was asked for, with the same margin."""
    record = network.weights
    known = record.preprocessing if isinstance(record, Weights | FolderConfig) else None
    usual = known or default_preprocessing(registry.find(split_name(config.model)[0]).name)
    if config.size is None or config.size == usual.size:
        return usual
    return replace(usual, size=config.size, resize=round(usual.resize * config.size / usual.size))


def balance(data: Labelled) -> Tensor:
    """Weights under which every class counts alike, and 1 on average over the pictures. Shape: (classes,)."""
    counts = torch.bincount(torch.tensor(data.labels), minlength=len(data.classes))
    present = int((counts > 0).sum())
    weights = len(data) / (present * counts.clamp(min=1))
    return torch.where(counts > 0, weights, 0.0)
