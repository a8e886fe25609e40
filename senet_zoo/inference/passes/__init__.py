"""Rewrites of a network's graph, one idea a file.

`trace`, `canonical`, `gates`, `fold` and `early_gate` are exact algebra in PyTorch's standard operations
(`senet_zoo.inference.rewriting`). `tail`, `onednn`, `in_place` and `lean_gate` are for this machine's PyTorch
(`senet_zoo.inference.lowering`).
"""
