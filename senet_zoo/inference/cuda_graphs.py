"""A network as one launch: its kernels are recorded once for each shape of the input, and replayed."""

from dataclasses import dataclass

import torch
from torch import Tensor

from senet_zoo.inference.measuring import Network

MOST_SHAPES = 8
"""A recording keeps all its maps; inputs of further shapes run kernel by kernel."""


@dataclass(frozen=True)
class _Recording:
    graph: torch.cuda.CUDAGraph
    x: Tensor
    y: Tensor


class CudaGraphs:
    """The same function as ``network``; single pictures are replayed, larger batches run as they come.

    Args:
        network: on a CUDA device; it must do the same kernels for every input of a shape.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self._recordings: dict[tuple[int, ...], _Recording] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """Logits of the pictures."""
        if x.shape[0] != 1 or (tuple(x.shape) not in self._recordings and len(self._recordings) >= MOST_SHAPES):
            return self.network(x)
        if tuple(x.shape) not in self._recordings:
            self._recordings[tuple(x.shape)] = self._record(x)
        recording = self._recordings[tuple(x.shape)]
        recording.x.copy_(x)
        recording.graph.replay()
        return recording.y.clone()  # the next replay writes over it

    def _record(self, x: Tensor) -> _Recording:
        own = x.clone()
        stream = torch.cuda.Stream(x.device)
        stream.wait_stream(torch.cuda.current_stream(x.device))
        with torch.cuda.stream(stream):  # kernels are chosen and memory is taken before the recording
            for _ in range(3):
                self.network(own)
        torch.cuda.current_stream(x.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            y = self.network(own)
        return _Recording(graph, own, y)
