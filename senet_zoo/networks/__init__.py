"""The networks: one gate, the blocks that carry it, and one file a family that reads like the paper's table.

Reading order:

- `gate`: `SqueezeExcite` and the choices it is made of; `layers`: convolution with batch norm, stochastic depth, ...
- `specs`: `SE`, and an architecture as frozen values: stem, pool, stages of blocks, head.
- `blocks`: the units, each a frozen spec and the module it builds; begin with `blocks.residual`.
- `families`: names and tables; begin with `families.resnet`.
- `network`: `ConvNet` builds a spec and runs it; `registry`: every model by its name.

Beside them: `excitations` (what the gates say), `widths` (networks with fewer channels), `dilation` (finer last maps),
`insertion` (gates in networks of others), `fused` (the end of a unit as one operation in training).
"""
