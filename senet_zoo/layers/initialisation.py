"""The random start of every network."""

from torch import nn

from senet_zoo.layers.squeeze_excite import SqueezeExcite


def initialise(module: nn.Module) -> None:
    """Set every parameter and buffer under ``module``: He for convolutions, ones and zeros for batch normalisation.

    The gates' fully connected layers and the classifier get PyTorch's own uniform start: the authors found that the
    choice does not matter there. Every layer that the zoo uses is covered, so that a network whose tensors hold
    anything is complete after this call.

    Source: He et al., Delving Deep into Rectifiers, arXiv:1502.01852; the paper, section 5.1.
    """
    if isinstance(module, SqueezeExcite):
        module.reset_parameters()  # its own layers included
        return
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.BatchNorm2d | nn.Linear):
        module.reset_parameters()
    elif [*module.parameters(recurse=False), *module.buffers(recurse=False)]:
        raise TypeError(f"initialise() does not know how {type(module).__name__} starts")
    for child in module.children():
        initialise(child)
