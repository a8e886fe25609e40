"""Triton kernels for inference on CUDA: the gate computed before its convolution, and the map written once.

A bottleneck whose gate is early runs its second half as cuDNN's 3x3 convolution and three kernels::

    h, t = relu(h + b2), sums of h over the pixels of each tile      `squeeze`
    s    = sigmoid(W2 relu(W1 sum of t + b1) + b2)                   `excitation`
    out  = relu(s * (W3 h + b3) + shortcut)                          `pointwise`

Maps are (N, C, H, W) with channels last; sums and gates are float32. `senet_zoo.inference.passes.on_cuda` puts them
into a network, and says where it could not.
"""

MOST_HIDDEN = 256
"""Units of a gate's hidden layer that a program of `excitation` holds."""
