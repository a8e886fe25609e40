"""Training on volumes and signals: NIfTI folders, arrays, and what is refused of them."""

import dataclasses
import gzip
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from senet_zoo import DataError, PictureError, SenetZooError, UsageError, from_pretrained
from senet_zoo.data.datasets import train_and_val
from senet_zoo.data.volumes import VolumePreprocessing, read_volume, volume_source
from senet_zoo.training import RECIPES, TrainConfig, fit

QUICK = dataclasses.replace(RECIPES["finetune"], batch=4, head_epochs=0, ema=0.0, mixup=0.0, label_smoothing=0.0)


def balls(count: int = 24, side: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Volumes that are bright in the middle, or at the rim."""
    rng = np.random.default_rng(0)
    z, y, x = np.meshgrid(*(np.arange(side) - side / 2,) * 3, indexing="ij")
    inside = (z**2 + y**2 + x**2 < (side / 4) ** 2).astype(np.float32)
    labels = np.arange(count) % 2
    volumes = np.stack([inside if label else 1 - inside for label in labels])
    return volumes + 0.1 * rng.standard_normal(volumes.shape).astype(np.float32), labels


def write_nifti(path: Path, values: np.ndarray, affine: np.ndarray | None = None) -> None:
    nibabel = pytest.importorskip("nibabel")
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4) if affine is None else affine), path)


def config(data: Path, output: Path, **options: Any) -> TrainConfig:
    return TrainConfig(
        str(data), "se_resnet20.cifar10", output, recipe=QUICK, pretrained=True, epochs=2, workers=0, device="cpu",
        **options,
    )  # fmt: skip


def test_a_folder_of_nifti_is_learnt_saved_and_read_again(tmp_path: Path) -> None:
    for number, (volume, label) in enumerate(zip(*balls(), strict=True)):
        write_nifti(tmp_path / "data" / ("ball" if label else "rim") / f"{number}.nii.gz", volume[..., :8])
    result = fit(config(tmp_path / "data", tmp_path / "run", dims=3, val_share=0.25, depth_stride=1))
    assert result.classes == ("ball", "rim")
    assert result.val_top1 > 60.0
    model = from_pretrained(tmp_path / "run")
    assert (model.spec.dimensions.count, model.spec.dimensions.depth_stride, model.in_channels) == (3, 1, 1)
    x = model.weights.transforms()(read_volume(tmp_path / "data" / "ball" / "1.nii.gz"))  # type: ignore[union-attr]
    assert x.shape == (1, 8, 12, 12)
    assert model(x[None]).argmax() in (0, 1)
    card = (tmp_path / "run" / "README.md").read_text()
    assert "| dimensions | 3: volumes (N, C, D, H, W), depth_stride 1, zeros beyond the outer planes |" in card
    assert "Resampled to 8 x 12 x 12" in card
    again = fit(dataclasses.replace(config(tmp_path / "data", tmp_path / "run2", dims=3), pretrained=False,
                                    weights=tmp_path / "run", model="se_resnet20", epochs=1))  # fmt: skip
    assert from_pretrained(again.folder).spec == model.spec


def test_the_same_run_twice_gives_the_same_bits(tmp_path: Path) -> None:
    volumes, labels = balls()
    np.savez(tmp_path / "v.npz", volumes=volumes, labels=labels, classes=np.array(["rim", "ball"]))
    for name in ("a", "b"):
        fit(config(tmp_path / "v.npz", tmp_path / name, dims=3, sides=(8, 10, 12)))
    a, b = (from_pretrained(tmp_path / name).state_dict() for name in ("a", "b"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_signals_are_learnt_from_an_array(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(32) % 2
    signals = np.sin(np.arange(100) * (0.2 + 0.4 * labels[:, None])) + 0.1 * rng.standard_normal((32, 100))
    np.savez(tmp_path / "s.npz", signals=signals, labels=labels)
    result = fit(config(tmp_path / "s.npz", tmp_path / "run", dims=1))
    assert from_pretrained(tmp_path / "run")(torch.rand(1, 1, 100)).shape == (1, 2)
    assert result.classes == ("0", "1")


def test_medmnists_arrays_are_read_by_their_parts(tmp_path: Path) -> None:
    volumes, labels = balls(8)
    parts = {f"{part}_images": (volumes * 100).clip(0, 255).astype(np.uint8) for part in ("train", "val", "test")}
    np.savez(tmp_path / "m.npz", **parts, **{f"{part}_labels": labels[:, None] for part in ("train", "val", "test")})
    train, val = train_and_val(str(tmp_path / "m.npz"), dims=3)
    assert (len(train), len(val), train.classes) == (8, 8, ("0", "1"))
    assert train.read(0).shape == (1, 12, 12, 12)  # type: ignore[attr-defined]


def test_axes_follow_the_patient_not_the_scanner(tmp_path: Path) -> None:
    values = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    write_nifti(tmp_path / "ras.nii", values)
    turned = np.array([[0, 0, 1.0, 0], [-1.0, 0, 0, 1], [0, 1.0, 0, 0], [0, 0, 0, 1]])  # its axes are -Y, Z, X
    write_nifti(tmp_path / "turned.nii", values.transpose(1, 2, 0)[::-1], turned)
    assert read_volume(tmp_path / "ras.nii").shape == (1, 4, 3, 2)
    assert read_volume(tmp_path / "turned.nii").shape == (1, 4, 3, 2)
    assert np.array_equal(read_volume(tmp_path / "turned.nii"), read_volume(tmp_path / "ras.nii"))


def test_a_fourth_axis_is_that_of_channels(tmp_path: Path) -> None:
    write_nifti(tmp_path / "c.nii", np.zeros((2, 3, 4, 5), np.float32))
    write_nifti(tmp_path / "one.nii", np.zeros((2, 3, 4, 1, 1), np.float32))
    assert read_volume(tmp_path / "c.nii").shape == (5, 4, 3, 2)
    assert read_volume(tmp_path / "one.nii").shape == (1, 4, 3, 2)


def nifti_header(shape: tuple[int, ...], datatype: int = 16, bits: int = 32) -> bytes:
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, len(shape), *shape, *(1,) * (7 - len(shape)))
    struct.pack_into("<2h", header, 70, datatype, bits)
    struct.pack_into("<8f", header, 76, *(1.0,) * 8)
    struct.pack_into("<f", header, 108, 352.0)
    header[344:348] = b"n+1\0"
    return bytes(header)


HOSTILE = {
    "huge": (nifti_header((32767, 32767, 32767)), "at most 268435456 values"),
    "cut short": (nifti_header((20, 20, 20)) + bytes(100), "must be a whole NIfTI"),
    "complex": (nifti_header((2, 2, 2), 32, 64) + bytes(64), "holds real numbers"),
    "colours": (nifti_header((2, 2, 2), 128, 24) + bytes(24), "holds real numbers"),
    "negative": (nifti_header((-2, 2, 2)) + bytes(32), "this is none|finite numbers"),
    "nothing": (b"", "this is none"),
    "text": (b"import os; os.system('true')" * 20, "this is none"),
    "not finite": (nifti_header((2, 2, 2)) + struct.pack("<8f", *[float("nan")] * 8), "NaN, infinity"),
    "flat": (nifti_header((4, 4)) + bytes(64), "the axes X, Y, Z"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_nifti_is_refused_by_its_name(case: str, packed: bool, tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    data, words = HOSTILE[case]
    path = tmp_path / ("v.nii.gz" if packed else "v.nii")
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(PictureError, match=words) as error:
        read_volume(path)
    assert str(path) in str(error.value)


def test_pipes_pickles_and_folders_are_no_volumes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.nii")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    (tmp_path / "folder.nii").mkdir()
    for name in ("pipe.nii", "objects.npy", "folder.nii", "absent.npy"):
        with pytest.raises(PictureError, match="this is none"):
            read_volume(tmp_path / name)


def test_an_unreadable_volume_is_named_and_passed_over(tmp_path: Path) -> None:
    for number, (volume, label) in enumerate(zip(*balls(16), strict=True)):
        path = tmp_path / "data" / str(label) / f"{number}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, volume)
    (tmp_path / "data" / "1" / "5.npy").write_bytes(b"\x93NUMPY broken")
    np.save(tmp_path / "data" / "1" / "7.npy", np.zeros((2, 12, 12, 12)))  # of other channels
    np.save(tmp_path / "data" / "1" / "9.npy", np.zeros((12, 12)))  # of other axes
    result = fit(config(tmp_path / "data", tmp_path / "run", dims=3))
    assert sorted(result.unreadable) == ["1/5.npy", "1/7.npy", "1/9.npy"]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": np.zeros((4, 8, 8, 3), np.uint8)}, "must hold the arrays volumes and labels, and holds images"),
        ({"volumes": np.zeros((4, 8, 8)), "labels": np.arange(4)}, r"must be volumes \(N, D, H, W\)"),
        ({"volumes": np.zeros((4, 8, 8, 8)), "labels": np.zeros(4)}, "must be 4 whole numbers"),
        ({"volumes": np.zeros((4, 8, 8, 8)), "labels": np.arange(3)}, "must be 4 whole numbers"),
        ({"volumes": np.zeros((4, 0, 8, 8)), "labels": np.arange(4)}, r"must be volumes \(N, D, H, W\)"),
        ({"volumes": np.zeros((2, 4, 4, 4)), "labels": np.array([0, -1])}, "a label must be an index"),
    ],
)
def test_arrays_that_are_no_labelled_volumes_are_refused(arrays: Any, words: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "v.npz", **arrays)
    with pytest.raises(DataError, match=words):
        volume_source(str(tmp_path / "v.npz"), 3).open(None)


def refused(error: type[SenetZooError], words: str, data: Path, output: Path, **options: Any) -> None:
    with pytest.raises(error, match=words):
        fit(config(data, output, **options))
    assert not output.exists() or not any(output.iterdir())


def test_what_cannot_be_learnt_from_is_refused_before_work_begins(tmp_path: Path) -> None:
    volumes, labels = balls(8)
    np.savez(tmp_path / "v.npz", volumes=volumes, labels=labels)
    (tmp_path / "empty" / "a").mkdir(parents=True)
    refused(DataError, "is neither: check the path", tmp_path / "absent", tmp_path / "o", dims=3)
    refused(DataError, r"a in .* hold none", tmp_path / "empty", tmp_path / "o", dims=3)
    refused(UsageError, "sides must be 3 numbers", tmp_path / "v.npz", tmp_path / "o", dims=3, sides=(8, 8))
    refused(DataError, "holds volumes, which are learnt with --dims 3", tmp_path / "v.npz", tmp_path / "o")
    refused(DataError, "must hold the arrays signals", tmp_path / "v.npz", tmp_path / "o", dims=1)
    with pytest.raises(UsageError, match="are of volumes: add dims"):
        config(tmp_path / "v.npz", tmp_path / "o", sides=(8, 8, 8))
    with pytest.raises(UsageError, match="volumes and signals have sides"):
        config(tmp_path / "v.npz", tmp_path / "o", dims=3, size=32)
    with pytest.raises(PictureError, match=r"an input must be \(1, D, H, W\)"):
        VolumePreprocessing((8, 8, 8)).transforms()(np.zeros((8, 8)))
