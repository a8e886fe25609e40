"""The end of a residual unit as one operation: batch norm, squeeze, excitation, scale, sum and ReLU.

::

    relu(shortcut + s * bn(y)),    s = sigmoid(W2 relu(W1 mean of bn(y)))

Layer by layer this reads and writes its maps 11 times forward and about 18 times backward, and keeps three of them for
the backward pass. Batch norm is affine and the mean is linear, so that the mean of ``bn(y)`` follows from the mean of
``y``: two passes forward and two backward are enough, and only ``y`` and the output are kept.

`passes` is the four passes in plain PyTorch, `triton_passes` the same for a GPU, `formulas` the arithmetic between
them, `steps` both together, `compiled` the steps for a CPU, `choice` which of all that runs, `operator` what PyTorch
sees, `module` what a unit calls, `payoff` whether it is faster here.
"""
