"""``senet-zoo convert``: another library's checkpoint as a safetensors file."""

import argparse
import textwrap

from senet_zoo.cli.output import print_json
from senet_zoo.formats.libraries import READ, WRITTEN
from senet_zoo.support.terminal import visible

SUMMARY = "turn any library's checkpoint into safetensors"
DESCRIPTION = f"""\
Read a checkpoint of another library, check that its tensors are exactly a
network's, and write them as safetensors. The libraries are:

{textwrap.fill(", ".join(READ), 80)}.

The network is found by the tensors' names and shapes. Where they fit several,
the message names them: choose one with --model. Reduction and biases of gates
are read from the shapes, too. The names may start with those of modules around
the network (module., net., backbone.), and stand beside an optimizer's state, a
loss or a decoder, which are left out. An index of shards
(model.safetensors.index.json) stands for all of them. Pickles (.pth, .pt, .pkl,
.pth.zip, .pdparams) are read without running them; one that wants to run code
is refused.

A .caffemodel takes BGR pixels and has its classes in the order of ILSVRC-2017.
What is written takes RGB and has them in the usual order, and says how pictures
are prepared: create_model and predict read that from the file."""
EXAMPLE = "senet-zoo convert se_resnet50-ce0d4300.pth -o se_resnet50.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the checkpoint to read")
    parser.add_argument("-o", "--out", metavar="OUT", required=True, help="the .safetensors file to write")
    parser.add_argument("--model", metavar="NAME", help="the network that FILE holds, where it cannot be told")
    parser.add_argument(
        "--se", metavar="WORDS", help="the gate of --model, as in info, where the tensors' shapes do not tell it"
    )
    parser.add_argument(
        "--prefix", metavar="TEXT", help="what the network's names start with, such as net.; found where it can be"
    )
    parser.add_argument(
        "--to",
        choices=WRITTEN,
        help="write that library's names instead of the zoo's",
    )


def run(arguments: argparse.Namespace) -> int:
    from senet_zoo.support.json_fields import as_json
    from senet_zoo.weights.convert import convert
    from senet_zoo.weights.variant import parse

    done = convert(
        arguments.file,
        arguments.out,
        model=arguments.model,
        to=arguments.to,
        se=None if arguments.se is None else parse(arguments.se),
        prefix=arguments.prefix,
    )
    made = done.fingerprint
    if arguments.json:
        print_json({**vars(done), "fingerprint": None if made is None else as_json(made)})
        return 0
    gate = f" with the gate {done.variant}" if done.variant else ""
    print(f"{visible(arguments.file)}: {done.model}{gate}, {done.num_classes} classes, names of {done.read_as}")
    called = f", there {done.foreign_model}" if done.foreign_model else ""
    print(f"{visible(str(done.path))}: names of {done.written_as}{called}, {done.size} bytes, sha256 {done.sha256}")
    if made is None:
        print("no fingerprint: what the network answers is all 0 or not finite")
    else:
        of = "logits" if done.num_classes else "features"
        print(f"fingerprint of {of} of scale {made.scale:g}: senet-zoo verify --deep compares it on any machine")
    if done.preprocessing is not None:
        p = done.preprocessing
        print(
            f"pictures: RGB, shorter side to {p.resize} px ({p.interpolation.value}), centre {p.size}x{p.size}, scaled "
            f"to [0, 1], mean {_channels(p.mean)}, std {_channels(p.std)}"
        )
    return 0


def _channels(values: tuple[float, float, float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
