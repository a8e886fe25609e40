"""One training run on one machine: resumable after every epoch, the same bits whether interrupted or not."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from senet_zoo.errors import UsageError
from senet_zoo.training.embedded.cifar10 import Pictures, augment
from senet_zoo.training.embedded.recipe import Recipe

History = list[dict[str, float]]


def fit(
    model: nn.Module,
    recipe: Recipe,
    train: Pictures,
    validation: Pictures,
    checkpoint: Path,
    log: Callable[[str], None] = print,
) -> History:
    """Train ``model`` in place and return one row an epoch; continues from ``checkpoint`` where that file exists.

    Args:
        model: a network on the CPU, in float32; it runs compiled and channels_last.
        recipe: what to do.
        train: pictures to learn from.
        validation: pictures to measure on after each epoch.
        checkpoint: state after the last whole epoch, written atomically: weights, momentum, history.
        log: receives a line an epoch.

    Raises:
        UsageError: ``checkpoint`` was written under another recipe.
    """
    model.to(memory_format=torch.channels_last)
    optimizer = _optimizer(model, recipe)
    history = _resume(checkpoint, model, optimizer, recipe) if checkpoint.exists() else []
    compiled = torch.compile(model, dynamic=False)  # once for each size of the pictures
    parity = torch.rand(len(train), generator=torch.Generator().manual_seed(recipe.seed)) < 0.5
    per_epoch = len(train) // recipe.batch
    for epoch in range(len(history), recipe.epochs):
        start = time.perf_counter()
        phase, done = recipe.at(epoch)
        generator = torch.Generator().manual_seed(recipe.seed * 100_003 + epoch)  # an epoch's draws depend on it alone
        order = torch.randperm(len(train), generator=generator)
        model.train()
        total = torch.zeros(())
        for i in range(per_epoch):
            for group in optimizer.param_groups:
                group["lr"] = phase.schedule.rate(done + i / per_epoch)
            batch = order[i * recipe.batch : (i + 1) * recipe.batch]
            # In every other epoch, not by chance: none is seen the same way twice in a row (Jordan, arXiv:2404.00498).
            mirrored = parity[batch] ^ (epoch % 2 == 1)
            images = augment(train.images[batch], mirrored, pad=recipe.pad, side=phase.side, generator=generator)
            loss = F.cross_entropy(compiled(images), train.labels[batch], label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            total += loss.detach()
        row = {
            "epoch": epoch + 1,
            "loss": round(float(total) / per_epoch, 4),
            "validation_top1": round(top1(model, validation), 2),
            "seconds": round(time.perf_counter() - start, 1),
        }
        history.append(row)
        _save(checkpoint, model, optimizer, recipe, history)
        log(json.dumps(row))
    return history


def write_state(checkpoint: Path, model: nn.Module, recipe: Recipe, history: History) -> None:
    """Write a state from which `fit` goes on after the epochs of ``history``, the optimizer's momentum at rest."""
    _save(checkpoint, model, _optimizer(model, recipe), recipe, history)


@torch.inference_mode()
def top1(model: nn.Module, pictures: Pictures, batch: int = 500) -> float:
    """Percentage of pictures whose first class is the right one, in float32 and eval mode."""
    model.eval()
    right = 0
    for images, labels in zip(pictures.images.split(batch), pictures.labels.split(batch), strict=True):
        right += int((model(images).argmax(1) == labels).sum())
    return 100.0 * right / len(pictures)


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.SGD:
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, momentum=recipe.momentum, nesterov=True)


def _save(file: Path, model: nn.Module, optimizer: torch.optim.SGD, recipe: Recipe, history: History) -> None:
    tensors: dict[str, Tensor] = {f"model.{k}": v.contiguous() for k, v in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        momentum = optimizer.state[parameter].get("momentum_buffer", torch.zeros_like(parameter))
        tensors[f"momentum.{name}"] = momentum.contiguous()
    part = file.with_suffix(".part")
    save_file(tensors, part, metadata={"state": json.dumps({"recipe": asdict(recipe), "history": history})})
    part.replace(file)


def _resume(file: Path, model: nn.Module, optimizer: torch.optim.SGD, recipe: Recipe) -> History:
    with safe_open(file, "pt") as opened:
        state = json.loads(opened.metadata()["state"])
        if state["recipe"] != json.loads(json.dumps(asdict(recipe))):
            raise UsageError(
                f"{file} was written under another recipe, {state['recipe']}; choose another output folder"
            )
        tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 - not a dict
    model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
    for name, parameter in model.named_parameters():
        buffer = torch.empty_like(parameter).copy_(tensors[f"momentum.{name}"])  # in the parameter's memory layout
        optimizer.state[parameter]["momentum_buffer"] = buffer
    history: History = state["history"]
    return history
