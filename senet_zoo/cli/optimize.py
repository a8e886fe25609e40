"""``senet-zoo optimize``: how much faster a network gets on this machine."""

import argparse

from senet_zoo.cli.output import print_folded, print_json
from senet_zoo.cli.parser import MODEL, WEIGHTS, model_and_weights, positive
from senet_zoo.errors import UsageError

SUMMARY = "measure how much faster a network gets on this machine"
DESCRIPTION = """\
Rewrite a network for inference on this machine, check that its logits stay the
same, measure it in turns with the original, and print what was done.

Nothing is written: in a program, senet_zoo.optimize(model) gives the network
that was measured here. Without --weights and without a tag the weights are
random, because they do not change the speed."""
EXAMPLE = """\
senet-zoo optimize --model se_resnet50
  senet-zoo optimize --model senet154 --batch 16 --bf16 --backend auto"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="NAME|FOLDER", help=MODEL)
    parser.add_argument("--weights", metavar="PLACE", help=WEIGHTS)
    parser.add_argument("--compile", action="store_true", help="with torch.compile: a minute or more")
    parser.add_argument("--bf16", action="store_true", help="in bfloat16")
    parser.add_argument(
        "--backend",
        choices=("torch", "compiled", "onnxruntime", "openvino", "auto"),
        default="torch",
        help="what runs it; auto: the fastest of them. Default: torch",
    )
    parser.add_argument("--kernels", action="store_true", help="on CUDA, with Triton kernels of the zoo")
    parser.add_argument(
        "--size", type=positive, metavar="PIXELS", help="side of the pictures; default: the model's own"
    )
    parser.add_argument("--batch", type=positive, default=1, metavar="N", help="pictures at once; default: 1")
    parser.add_argument("--rounds", type=positive, default=15, metavar="N", help="of the measurement; default: 15")
    parser.add_argument("--device", metavar="NAME", default="cpu", help="such as cpu or cuda:1; default: cpu")


def run(arguments: argparse.Namespace) -> int:
    import torch

    from senet_zoo import create_model, optimize
    from senet_zoo.inference.optimize import default_sizes
    from senet_zoo.support.machine import describe_machine, format_machine

    name, weights = model_and_weights(arguments)
    if name is None:
        raise UsageError("nothing says which network to measure: add --model NAME or --weights FOLDER")
    tagged = "." in name
    model = create_model(name, pretrained=tagged, weights=weights, device=arguments.device)
    size = arguments.size or default_sizes(model)[0]
    fast = optimize(
        model.eval(),  # the network of a name starts in training mode
        dtype=torch.bfloat16 if arguments.bf16 else None,
        compile=arguments.compile,
        backend=arguments.backend,
        kernels=arguments.kernels,
        sizes=(size, size * 3 // 4 | 1),
        batch=arguments.batch,
        rounds=arguments.rounds,
    )
    machine = describe_machine(fast.device)
    if arguments.json:
        print_json({"model": name, "weights": weights, "machine": machine, "report": fast.report})
        return 0
    of = "" if tagged or weights else " with random weights, which do not change the speed"
    for line in f"{name}{of}: {fast.report}".splitlines():
        print_folded(line.lstrip(), start=" " * (len(line) - len(line.lstrip())))
    print()
    print_folded(format_machine(machine))
    made = _network(name, tagged, weights, arguments.device)
    print_folded(f"In a program: senet_zoo.inference.keep_freed_memory(); model = {made}; fast = {fast.report.call}")
    return 0


def _network(name: str, pretrained: bool, weights: str | None, device: str) -> str:
    """Python that makes the network that was measured."""
    options = ", pretrained=True" if pretrained else f", weights={weights!r}" if weights else ""
    options += f", device={device!r}" if device != "cpu" else ""
    return f"senet_zoo.create_model({name!r}{options}).eval()"
