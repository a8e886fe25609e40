"""Gates that see a tile of the map and not all of it, in weights trained without tiles: accuracy, and time.

    python benchmarks/tiles.py imagenette/val --model se_mobilenet.imagenette
    python benchmarks/tiles.py imagenette/val --rows 2 4 8 --pictures 500

A tile is that many rows of the map, as wide as it; each has the mean of its own pixels, and a gate. Maps of no more
rows have one gate, as trained. One thread, one picture, processor time, all forms in turns.

Source: Vosco et al., Tiled Squeeze-and-Excite, arXiv:2107.02145, section 3.
"""

import argparse
import copy
import math
import time
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import senet_zoo
from senet_zoo.data import open_data, subset
from senet_zoo.evaluation import evaluate, logits_of
from senet_zoo.support.machine import describe_machine, format_machine
from senet_zoo.support.timing import interleaved, timed

WHOLE = "whole maps"


class TiledGate(nn.Module):
    """A gate for each tile of ``rows`` rows.

    Args:
        gate: the gate that was trained, over means of whole maps.
        rows: of a tile; the last may be lower.
    """

    def __init__(self, gate: senet_zoo.SqueezeExcite, rows: int) -> None:
        super().__init__()
        self.gate, self.rows = gate, rows

    def forward(self, x: Tensor) -> Tensor:
        height = x.shape[2]
        if height <= self.rows:
            return self.gate(x)
        means = torch.cat([part.mean((2, 3), keepdim=True) for part in x.split(self.rows, 2)], 2)  # (N, C, tiles, 1)
        z = means.squeeze(3).transpose(1, 2)  # (N, tiles, C)
        s = torch.sigmoid(F.linear(torch.relu(self.gate.fc1(z)), self.gate.fc2.weight, self.gate.fc2.bias))
        s = s.transpose(1, 2)[..., None].repeat_interleave(self.rows, 2)[:, :, :height]
        return x * s


def tiled(model: nn.Module, rows: int) -> nn.Module:
    """The same weights with such gates."""
    model = copy.deepcopy(model)
    for part in list(model.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, senet_zoo.SqueezeExcite):
                setattr(part, name, TiledGate(child, rows))
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA", help="labelled pictures, as `senet-zoo evaluate` takes them")
    parser.add_argument("--model", default="se_mobilenet.imagenette", metavar="NAME.TAG")
    parser.add_argument("--rows", type=int, nargs="+", default=[4, 8, 16, 32], metavar="K")
    parser.add_argument("--pictures", type=int, metavar="N", help="evenly spread; default: all")
    parser.add_argument("--rounds", type=int, default=15, metavar="N")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(format_machine(describe_machine(torch.device("cpu"))))
    model = senet_zoo.create_model(args.model, pretrained=True).eval()
    weights = model.weights
    data = open_data(args.data)
    data = subset(data, range(0, len(data), max(1, len(data) // (args.pictures or len(data)))))
    models = {WHOLE: model} | {f"tiles of {rows} rows": tiled(model, rows) for rows in args.rows}
    x = torch.randn(1, 3, weights.preprocessing.size, weights.preprocessing.size)
    with torch.inference_mode():
        work = {name: partial(timed, partial(each, x), x.device, 3, time.process_time) for name, each in models.items()}
        rounds = interleaved(work, args.rounds, disturbed=math.inf)
    print(f"{args.model}, {len(data)} pictures, {rounds}")
    for name, each in models.items():
        top1 = evaluate(each, data, weights.preprocessing, logits_of(weights.categories)).top1
        print(f"  {name:18} top-1 {top1:.2f} %, time {rounds.ratio(name, WHOLE):.3f} of {WHOLE}", flush=True)


if __name__ == "__main__":
    main()
