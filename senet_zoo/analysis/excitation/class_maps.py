"""Where a network looks: class activation maps of its last stages for one picture, drawn beside their gates.

The maps are Grad-CAM's (Selvaraju et al., arXiv:1610.02391), computed by Captum.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import UsageError
from senet_zoo.networks.excitations import paper_names, recorded_excitations
from senet_zoo.networks.network import ConvNet
from senet_zoo.support.files import atomic_file
from senet_zoo.weights.foreign_files import MARK, is_own_picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL.Image import Image

STAGES = 3
"""How many of the last stages have a map."""


@dataclass(frozen=True, eq=False)
class StageMap:
    """What one stage says of a picture.

    Args:
        stage: its number in the paper.
        map: how much each place speaks for the class, from 0 to 1, (h, w); zeros where none does.
        gate: the paper's name of its last gate; None where it has none.
        values: what that gate says, (channels,).
    """

    stage: int
    map: Tensor
    gate: str | None
    values: Tensor


@dataclass(frozen=True, eq=False)
class ActivationMaps:
    """What a network sees in a picture, and where.

    Args:
        classes: (label, probability), the likeliest first; the maps are of the first.
        picture: as the network sees it, (3, H, W), from 0 to 1.
        stages: from the first to the last.
    """

    classes: tuple[tuple[str, float], ...]
    picture: Tensor
    stages: tuple[StageMap, ...]


def check_maps(file: Path) -> None:
    """Refuse, before any work is done, a figure that could not be drawn.

    Raises:
        UsageError: Captum or matplotlib is missing, or the file is somebody else's.
    """
    for name in ("captum", "matplotlib"):
        if find_spec(name) is None:
            raise UsageError(f"class activation maps need {name}: pip install 'senet-zoo[maps]'")
    if file.exists() and not is_own_picture(file):
        raise UsageError(f"{file} is no figure of this command, and stays: move it, or name a folder (-o)")


def class_maps(
    model: ConvNet, picture: "Image", preprocessing: Preprocessing, categories: Sequence[str], *, top: int = 5
) -> ActivationMaps:
    """The maps of the last stages for the class that the network finds likeliest.

    Args:
        model: in eval mode, with a classifier.
        picture: as `senet_zoo.data.pictures.read_picture` reads it.
        preprocessing: what the model's weights were trained with.
        categories: names of the classes.
        top: classes in the result.

    Raises:
        UsageError: the network has no classifier.
    """
    from captum.attr import LayerGradCam

    if not model.num_classes:
        raise UsageError("a class activation map is of a class, and this network has no classifier")
    like = next(model.parameters())
    x = preprocessing.transforms()(picture)[None]
    seen = x.to(like.device, like.dtype)
    with torch.no_grad():
        probabilities, best = model(seen)[0].float().softmax(0).sort(descending=True, stable=True)
        excitations = recorded_excitations(model, seen)
    names = paper_names(model, model.spec.stage_numbers)
    stages = []
    for index in range(max(0, len(model.stages) - STAGES), len(model.stages)):
        found = LayerGradCam(model, model.stages[index]).attribute(seen, target=int(best[0]), relu_attributions=True)
        heat = found[0, 0].detach().float().cpu()
        own = [name for name in excitations if name.startswith(f"stages.{index}.")]
        values = excitations[own[-1]][0].float().cpu() if own else torch.empty(0)
        stages.append(
            StageMap(
                model.spec.stage_numbers[index],
                heat / heat.max().clamp(min=1e-12),
                names[own[-1]] if own else None,
                values.flatten(1).mean(1) if values.ndim == 3 else values,
            )
        )
    mean, std = (torch.tensor(value)[:, None, None] for value in (preprocessing.mean, preprocessing.std))
    pairs = zip(best[:top].tolist(), probabilities[:top].tolist(), strict=True)
    return ActivationMaps(
        tuple((categories[number], p) for number, p in pairs), (x[0] * std + mean).clamp(0.0, 1.0), tuple(stages)
    )


def draw_maps(file: Path, maps: ActivationMaps, title: str) -> None:
    """Draw the picture and its classes, and of each stage the map over the picture and the gate below it.

    Raises:
        UsageError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    from senet_zoo.evaluation.tables import plot_label

    columns = 1 + len(maps.stages)
    figure = Figure(figsize=(2.9 * columns + 0.4, 5.4), layout="constrained")
    grid = figure.subplots(2, columns, squeeze=False, height_ratios=(3, 2))
    shown = maps.picture.permute(1, 2, 0).numpy()
    (label, probability), side = maps.classes[0], maps.picture.shape[-1]
    for axes in grid[0]:
        axes.imshow(shown)
        axes.set_axis_off()
    grid[0, 0].set_title(f"{plot_label(label)}, {probability:.1%}")
    classes = maps.classes[::-1]
    grid[1, 0].barh([plot_label(name) for name, _ in classes], [p for _, p in classes], color="#4477aa")
    grid[1, 0].set_xlim(0.0, 1.0)
    grid[1, 0].set_xlabel("probability")
    for above, below, stage in zip(grid[0, 1:], grid[1, 1:], maps.stages, strict=True):
        height, width = stage.map.shape
        above.imshow(
            stage.map.numpy(), cmap="inferno", alpha=0.55, vmin=0.0, vmax=1.0, interpolation="bilinear",
            extent=(-0.5, side - 0.5, maps.picture.shape[-2] - 0.5, -0.5),
        )  # fmt: skip
        above.set_title(f"stage {stage.stage}, {width} x {height}")
        _draw_gate(below, stage)
    figure.suptitle(plot_label(title) if len(title) > 80 else title.replace("$", r"\$"))
    try:
        with atomic_file(file) as stream:
            figure.savefig(stream, format="png", dpi=110, metadata={"Software": MARK})
    except OSError as error:
        raise UsageError(f"{file} must be a file that can be written, and is not: {error}") from error


def _draw_gate(axes: "Axes", stage: StageMap) -> None:
    if stage.gate is None:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no gate", ha="center", va="center", transform=axes.transAxes)
        return
    axes.plot(range(len(stage.values)), stage.values.numpy(), linewidth=0.8, color="#4477aa")
    axes.set_ylim(min(0.0, float(stage.values.min())), max(1.0, float(stage.values.max())))
    axes.set_title(stage.gate)
    axes.set_xlabel("channel")
    axes.set_ylabel("gate")
    axes.grid(alpha=0.3)
