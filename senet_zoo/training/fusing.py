"""Whether a run fuses its residual units: as it was told, as it did before, or as is measured at its start."""

from typing import TYPE_CHECKING, Literal

import torch

from senet_zoo.networks.fused.set_fused import auto_fusion, set_fused
from senet_zoo.training.checkpoints import Checkpoint
from senet_zoo.training.progress import Progress
from senet_zoo.training.trainee import Trainee

if TYPE_CHECKING:
    from accelerate import Accelerator

DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}  # of Accelerate's words


def fuse(
    trainee: Trainee,
    asked: bool | Literal["auto"],
    checkpoint: Checkpoint | None,
    accelerator: "Accelerator",
    progress: Progress,
) -> bool:
    """Fuse the trainee's units or leave them be, and say whether.

    Both round differently, so that a run that goes on does as it did before, whatever a new measurement would say.

    Args:
        trainee: where it will be trained; changed in place.
        asked: whether to, or "auto" to measure: in the first process, for all of them.
        checkpoint: that the run goes on from.
        accelerator: of this run.
        progress: told of a choice.

    Raises:
        UsageError: no unit can be fused, and it was not left to a measurement.
    """
    if asked != "auto":
        return bool(set_fused(trainee, asked).fused)
    if checkpoint is None:
        wanted, because = _measured(trainee, accelerator)
    else:
        wanted, because = bool(checkpoint.state["fused"]), "as at the start of this run"
    progress.say(f"residual units are {'' if wanted else 'not '}fused{because and f': {because}'}")
    return bool(set_fused(trainee, wanted).fused)


def _measured(trainee: Trainee, accelerator: "Accelerator") -> tuple[bool, str]:
    from accelerate.utils import broadcast

    chosen = torch.zeros(1, device=accelerator.device)
    because = ""
    if accelerator.is_main_process:
        found = auto_fusion(trainee, DTYPES[accelerator.mixed_precision])
        chosen, because = chosen + found.fuse, found.because
    return bool(broadcast(chosen).item()), because
