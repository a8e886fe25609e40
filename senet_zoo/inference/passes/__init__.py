"""Rewrites of a network's graph, one idea a file.

`graph`, `gates`, `fold` and `early_gate` are exact algebra in PyTorch's standard operations
(`senet_zoo.inference.rewriting`). `onednn`, `cuda` and `in_place` are for this machine and its PyTorch
(`senet_zoo.inference.lowering`).
"""
