"""``senet-zoo convert``: another library's checkpoint as a safetensors file."""

import argparse

from senet_zoo.cli.output import print_json, visible

SUMMARY = "turn any library's checkpoint into safetensors"
DESCRIPTION = """\
Read a checkpoint of any library that the zoo knows (timm, Cadene, torchvision,
pytorchcv, mmpretrain, moskomule, NVIDIA, segmentation_models.pytorch), check
that its tensors are exactly a network's, and write them as safetensors.

The network is found by the tensors' names and shapes. Where they fit several,
the message names them: choose one with --model. Pickles (.pth, .pt, .pkl,
.pth.zip) are opened so that they run nothing; one that wants to is refused."""
EXAMPLE = "senet-zoo convert se_resnet50-ce0d4300.pth -o se_resnet50.safetensors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's words."""
    parser.add_argument("file", metavar="FILE", help="the checkpoint to read")
    parser.add_argument("-o", "--out", metavar="OUT", required=True, help="the .safetensors file to write")
    parser.add_argument("--model", metavar="NAME", help="the network that FILE holds, where it cannot be told")
    parser.add_argument(
        "--to", choices=("timm", "cadene", "torchvision"), help="write that library's names instead of the zoo's"
    )


def run(arguments: argparse.Namespace) -> int:
    """Convert one file."""
    from senet_zoo.zoo.conversion import convert

    done = convert(arguments.file, arguments.out, model=arguments.model, to=arguments.to)
    if arguments.json:
        print_json(done)
        return 0
    gate = f" with the gate {done.variant}" if done.variant else ""
    print(f"{visible(arguments.file)}: {done.model}{gate}, {done.num_classes} classes, names of {done.read_as}")
    called = f", there {done.foreign_model}" if done.foreign_model else ""
    print(f"{visible(str(done.path))}: names of {done.written_as}{called}, {done.size} bytes, sha256 {done.sha256}")
    return 0
