"""A training step to be timed: forward, backward and an update, on pictures that are already there."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TrainingStep:
    """SGD with momentum on one batch, over and over; what is learnt does not matter.

    Args:
        model: it is trained, and laid out as it shall be.
        images: the batch, (N, C, H, W); all of class 0.
        dtype: of autocast; float32 for none.
    """

    def __init__(self, model: nn.Module, images: Tensor, dtype: torch.dtype) -> None:
        self.model, self.images, self.dtype = model, images, dtype
        self.labels = torch.zeros(images.shape[0], dtype=torch.long, device=images.device)
        self.optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)

    def __call__(self) -> None:
        """One step."""
        self.loss().backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def loss(self) -> Tensor:
        """The forward half."""
        with torch.autocast(self.images.device.type, self.dtype, enabled=self.dtype is not torch.float32):
            return F.cross_entropy(self.model(self.images), self.labels)
