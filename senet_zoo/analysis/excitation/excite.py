"""`excite`: what every gate of a network says of pictures, class by class where they are labelled, in one pass."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from senet_zoo.analysis.excitation.statistics import GateExcitations, Histogram, Moments, range_of
from senet_zoo.data.labelled import Labelled, Unlabelled
from senet_zoo.data.loader import load_batches
from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.errors import DataError, UsageError, WeightsError
from senet_zoo.networks.excitations import paper_names, recorded_excitations
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.squeeze_excite import gates


@dataclass(frozen=True, eq=False)
class Excitations:
    """What the gates of a network said of pictures.

    Args:
        classes: of the data, in the order of its labels; none where nothing says what the pictures show.
        count: pictures of each class that were read; without classes, of all.
        gates: first to last.
        unreadable: why each picture that was left out could not be read.
    """

    classes: tuple[str, ...]
    count: tuple[int, ...]
    gates: tuple[GateExcitations, ...]
    unreadable: tuple[str, ...]


def excite(
    model: nn.Module,
    data: Labelled | Unlabelled,
    preprocessing: Preprocessing,
    *,
    batch: int = 64,
    workers: int = 0,
    progress: Callable[[int], None] = lambda _: None,
) -> Excitations:
    """Show a network pictures and add up what its gates say, on the device and in the dtype of its parameters.

    Memory does not grow with the number of pictures. A picture that cannot be read is left out and named in the result.
    A gate without squeeze counts with its mean over the pixels of each picture.

    Args:
        model: in eval mode; a network of the zoo, or any with inserted gates.
        data: its classes may be others than the network's. One picture without a label is enough.
        preprocessing: what the model's weights were trained with.
        batch: pictures that the network sees at once.
        workers: processes that read pictures; 0 reads in this one.
        progress: called with the number of pictures after each batch.

    Raises:
        UsageError: a number out of range, a model in training mode or without gates.
        DataError: no picture can be read, or of labelled ones those of fewer than two classes.
        WeightsError: a gate says what is no finite number.

    Source: the paper, section 7.2.
    """
    if model.training:
        raise UsageError("excite needs a model in eval mode, and this one is in training mode: call model.eval()")
    own = gates(model)
    if not own:
        raise UsageError(
            "excitations are those of gates, and this network has none: name a model that starts with se_, or add "
            "gates by insert_se(model)"
        )
    names = paper_names(model, model.spec.stage_numbers) if isinstance(model, ConvNet) else {name: name for name in own}
    all_labels = data.labels if isinstance(data, Labelled) else (0,) * len(data)
    classes = data.classes if isinstance(data, Labelled) else ()
    if classes:
        _require_two(classes, all_labels)
    unreadable: list[str] = []
    seen: set[int] = set()
    found: dict[str, GateExcitations] = {}
    for loaded in load_batches(data, preprocessing.transforms(), batch, workers):
        unreadable += [reason for _, reason in loaded.unreadable]
        labels = torch.tensor([all_labels[index] for index in loaded.indices])
        seen.update(labels.tolist())
        excitations = finite_excitations(model, torch.stack(loaded.tensors), names) if loaded.indices else {}
        for module, values in excitations.items():
            rows = values.flatten(2).mean(2) if values.ndim == 4 else values  # (N, channels)
            if module not in found:
                span, channels = range_of(own[module]), rows.shape[1]
                moments = Moments(max(len(classes), 1), channels, rows.device)
                found[module] = GateExcitations(names[module], span, moments, Histogram(span, channels, rows.device))
            found[module].moments.add(rows, labels.to(rows.device))
            found[module].histogram.add(rows)
        progress(len(loaded))
    if not seen:
        raise DataError(f"a picture must be readable, and none of {len(data)} is: {unreadable[0]}")
    if classes:
        _require_two(classes, seen)
    said = tuple(found.values())
    return Excitations(classes, tuple(said[0].moments.count.tolist()), said, tuple(unreadable))


@torch.no_grad()
def finite_excitations(model: nn.Module, pictures: Tensor, names: Mapping[str, str]) -> dict[str, Tensor]:
    """What each gate says of a batch, by module: (N, channels), or (N, channels, H, W) without squeeze.

    Raises:
        WeightsError: a gate says what is no finite number.
    """
    like = next(model.parameters(), torch.empty(0))
    found = recorded_excitations(model, pictures.to(like.device, like.dtype, memory_format=torch.channels_last))
    for module, values in found.items():
        if not values.isfinite().all():
            raise WeightsError(
                f"a gate must say finite numbers, and {names[module]} does not: check the weights with "
                "`senet-zoo verify`, and use float32 if they are whole"
            )
    return found


def _require_two(classes: Sequence[str], labels: Iterable[int]) -> None:
    shown = sorted(set(labels))
    if len(shown) < 2:
        raise DataError(
            f"classes are compared, so two must have a picture that can be read, and only {classes[shown[0]]} has: add "
            "a folder of another class, or give the pictures' own folder to look at them without classes"
        )
