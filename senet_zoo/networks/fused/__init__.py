"""The end of a residual unit as one operation: batch norm, squeeze, excitation, scale, sum and ReLU.

::

    relu(shortcut + s * bn(y)),    s = sigmoid(W2 relu(W1 mean of bn(y)))

Layer by layer this reads and writes its maps 11 times forward and about 18 times backward, and keeps three of them for
the backward pass. Batch norm is affine and the mean is linear, so that the mean of ``bn(y)`` follows from the mean of
``y``: two passes forward and two backward are enough, and only ``y`` and the output are kept.

Reading order: `reference` has the formulas, in plain PyTorch; `triton_kernels` the same passes for a GPU; `compiled`
the implementation for a CPU, and the choice among all; `custom_op` what PyTorch sees; `set_fused` what a user calls.
"""
