"""`short_repr`: a network as PyTorch prints modules, with a line a layer and one entry for blocks that are alike.

What does nothing (an identity, a drop path of rate 0) is left out; `named_modules` has it, and
`senet-zoo info --layers` prints every layer.
"""

from itertools import groupby

from torch import nn

from senet_zoo.networks.layers import ConvNorm, DropPath
from senet_zoo.networks.squeeze_excite import SqueezeExcite

# PyTorch's own, and not what a tool has put in their place.
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
EPS = 1e-5  # of a batch norm whose line does not say otherwise


def short_repr(module: nn.Module) -> str:
    """The text; a layer of ours in which a tool has put another one is printed as PyTorch does."""
    if type(module) is ConvNorm and type(module.conv) in CONVOLUTIONS and type(module.bn) in NORMS:
        return _conv_norm(module)
    if type(module) is SqueezeExcite and type(module.fc1) is type(module.fc2) is nn.Linear:
        return _gate(module)
    entries = [(name, short_repr(child)) for name, child in module.named_children() if not _does_nothing(child)]
    name, extra = module._get_name(), module.extra_repr()
    if not entries:
        return f"{name}({extra})"
    lines = [extra] if extra else []
    for text, group in groupby(entries, key=lambda entry: entry[1]):
        names = [name for name, _ in group]
        if isinstance(module, nn.Sequential | nn.ModuleList) and len(names) > 1:
            lines.append(f"({names[0]}-{names[-1]}): {len(names)} x {text}")
        else:
            lines += [f"({name}): {text}" for name in names]
    inner = "\n".join(lines).replace("\n", "\n  ")
    return f"{name}(\n  {inner}\n)"


def _does_nothing(module: nn.Module) -> bool:
    return type(module) is nn.Identity or (type(module) is DropPath and module.rate == 0.0)


def _conv_norm(module: ConvNorm) -> str:
    eps = f", eps={module.bn.eps:g}" if module.bn.eps != EPS else ""
    act = "" if type(module.act) is nn.Identity else f", act={module.act._get_name()}"
    return f"ConvNorm({module.conv.extra_repr().removesuffix(', bias=False')}{eps}{act})"


def _gate(module: SqueezeExcite) -> str:
    layers = f"{module.fc1.in_features}, hidden={module.fc1.out_features}, bias={module.fc1.bias is not None}"
    return f"SqueezeExcite({layers}, {module.extra_repr()})"
