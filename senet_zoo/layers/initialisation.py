"""The random start of every network."""

from torch import nn


def initialise(module: nn.Module) -> None:
    """Set every parameter and buffer under ``module``: He for convolutions, ones and zeros for batch normalisation.

    The gates' fully connected layers and the classifier get PyTorch's own uniform start: the authors found that the
    choice does not matter there. Every layer that the zoo uses is covered, so that a network built on the meta device
    and then given empty memory is complete after this call.

    Source: He et al., Delving Deep into Rectifiers, arXiv:1502.01852; the paper, section 5.1.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.BatchNorm2d | nn.Linear):
            part.reset_parameters()
        elif (
            next(part.parameters(recurse=False), None) is not None
            or next(part.buffers(recurse=False), None) is not None
        ):
            raise TypeError(f"initialise() does not know how {type(part).__name__} starts")
