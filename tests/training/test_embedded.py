"""Training: the recipe's values, and a run that an interruption does not change."""

from pathlib import Path

import pytest
import torch
from networks import tiny

from senet_zoo.errors import UsageError
from senet_zoo.networks.layers import initialise
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS
from senet_zoo.training.embedded import cifar10
from senet_zoo.training.embedded.cifar10 import Pictures, augment
from senet_zoo.training.embedded.loop import fit, top1
from senet_zoo.training.embedded.recipe import CIFAR10_EMBEDDED, Linear, OneCycle, Phase, Recipe

TINY = Recipe(
    phases=(Phase(2, 8, OneCycle(peak=0.1, warmup=1, length=4)), Phase(1, 16, Linear(start=0.05, length=1))),
    batch=8,
    momentum=0.9,
    weight_decay=1e-4,
    label_smoothing=0.1,
    pad=2,
    seed=3,
)


def pictures(count: int) -> Pictures:
    generator = torch.Generator().manual_seed(1)
    labels = torch.arange(count) % 2
    images = torch.randn(count, 3, 16, 16, generator=generator) + 2.0 * labels[:, None, None, None]
    return Pictures(images, labels)


def fresh() -> ConvNet:
    torch.manual_seed(0)
    model = ConvNet(tiny(MODELS["se_resnet20"].spec()), num_classes=2)
    initialise(model)
    return model


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eager: what is tested is the loop, not the compiler."""
    monkeypatch.setattr(torch, "compile", lambda model, dynamic: model)


def test_a_run_that_was_interrupted_equals_one_that_was_not(tmp_path: Path) -> None:
    whole, broken = fresh(), fresh()
    history = fit(whole, TINY, pictures(24), pictures(8), tmp_path / "a.safetensors", log=lambda line: None)

    class Stop(Exception):
        pass

    def stop(line: str) -> None:
        raise Stop

    with pytest.raises(Stop):
        fit(broken, TINY, pictures(24), pictures(8), tmp_path / "b.safetensors", log=stop)
    resumed = fresh()
    again = fit(resumed, TINY, pictures(24), pictures(8), tmp_path / "b.safetensors", log=lambda line: None)
    for one, other in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert [row["loss"] for row in again] == [row["loss"] for row in history]
    assert not list(tmp_path.glob("*.part"))


def test_it_learns_what_can_be_learnt(tmp_path: Path) -> None:
    model = fresh()
    fit(model, TINY, pictures(64), pictures(32), tmp_path / "a.safetensors", log=lambda line: None)
    assert top1(model, pictures(32)) == 100.0


def test_another_recipe_does_not_continue_a_run(tmp_path: Path) -> None:
    import dataclasses

    file = tmp_path / "a.safetensors"
    fit(fresh(), TINY, pictures(24), pictures(8), file, log=lambda line: None)
    with pytest.raises(UsageError, match=r"another recipe.*another output folder"):
        fit(fresh(), dataclasses.replace(TINY, batch=4), pictures(24), pictures(8), file, log=lambda line: None)


def test_the_embedded_recipe_warms_up_and_ends_at_zero() -> None:
    first, *_, last = CIFAR10_EMBEDDED.phases
    assert first.schedule.rate(0) == pytest.approx(0.02)
    assert first.schedule.rate(6) == pytest.approx(0.2)
    assert last.schedule.rate(last.epochs) == 0
    assert [CIFAR10_EMBEDDED.at(epoch)[0].side for epoch in (0, 21, 22, 36)] == [24, 24, 32, 32]
    with pytest.raises(IndexError):
        CIFAR10_EMBEDDED.at(CIFAR10_EMBEDDED.epochs)


def test_augmentation_only_moves_and_mirrors() -> None:
    images = torch.arange(2 * 3 * 6 * 6, dtype=torch.float32).view(2, 3, 6, 6)
    mirrored = torch.tensor([False, True])
    same = augment(images, mirrored, pad=0, side=6, generator=torch.Generator())
    assert torch.equal(same[0], images[0])
    assert torch.equal(same[1], images[1].flip(-1))
    moved = augment(images + 1, mirrored, pad=2, side=6, generator=torch.Generator().manual_seed(0))
    assert set(moved.flatten().tolist()) <= {0.0, *(images + 1).flatten().tolist()}
    assert augment(images, mirrored, pad=1, side=3, generator=torch.Generator()).shape == (2, 3, 3, 3)


def test_pictures_that_are_not_cifar10_are_refused(tmp_path: Path) -> None:
    import numpy as np

    with pytest.raises(UsageError, match=r"cifar10_test\.npz, not found in"):
        cifar10.test(tmp_path)
    np.savez(tmp_path / "cifar10_test.npz", images=np.zeros((4, 32, 32, 3), np.uint8), labels=np.zeros(4, np.uint8))
    with pytest.raises(UsageError, match="are not CIFAR-10's: sha256"):
        cifar10.test(tmp_path)
