"""The command line ``senet-zoo``: it parses arguments, calls the other rooms, and prints what they return.

Exit status: 0 done, 1 the work failed or a check did not hold, 2 wrong usage.
"""

import argparse
import contextlib
import io
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Protocol, TextIO, cast

from senet_zoo import __version__
from senet_zoo.cli import (
    benchmark,
    cache,
    compare,
    convert,
    demo,
    download,
    embed,
    evaluate,
    excite,
    export,
    info,
    list_names,
    manifest,
    optimize,
    predict,
    prune,
    publish,
    sign,
    tables,
    train,
    verify,
)
from senet_zoo.cli.output import VisibleStream, print_error
from senet_zoo.cli.parser import Parser, add_command, near_misses
from senet_zoo.errors import SenetZooError, UsageError
from senet_zoo.support.memory import keep_freed_memory


class Command(Protocol):
    """What the module of each command has."""

    SUMMARY: str
    """One line for the list of commands."""
    DESCRIPTION: str
    """What ``--help`` says above the options, wrapped at 80 columns."""
    EXAMPLE: str
    """Commands that can be copied."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the command's arguments; all commands have ``--json`` already."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do the work, print the result, and return the exit status."""
        ...


COMMANDS: Mapping[str, Command] = {
    "list": list_names,
    "info": info,
    "predict": predict,
    "download": download,
    "verify": verify,
    "cache": cache,
    "publish": publish,
    "sign": sign,
    "convert": convert,
    "manifest": manifest,
    "train": train,
    "evaluate": evaluate,
    "excite": excite,
    "embed": embed,
    "prune": prune,
    "optimize": optimize,
    "benchmark": benchmark,
    "export": export,
    "demo": demo,
    "tables": tables,
    "compare": compare,
}


DEPENDENCIES = frozenset(["torch", "torchvision", "huggingface_hub", "safetensors", "yaml", "tqdm", "filelock"])
"""What an installation with ``pip install --no-deps``, which only predicts from exported files, does not have."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.

    Args:
        argv: the arguments after the program's name; by default those of this process.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may hold what the terminal cannot spell
    keep_freed_memory()  # many pictures at once are answered sooner so on a CPU
    with contextlib.redirect_stdout(cast("TextIO", VisibleStream(sys.stdout))):
        try:
            status = _status(sys.argv[1:] if argv is None else list(argv))
            sys.stdout.flush()
        except BrokenPipeError:  # the reader has seen enough (`| head`)
            _forget_output()
            status = 1
        except OSError as error:  # such as a full disk under standard output
            _forget_output()
            print_error("senet-zoo", str(error))
            status = 1
    return status


def _status(words: list[str]) -> int:
    """Run one command; an error of the zoo's is a line on standard error and an exit status."""
    command = "senet-zoo"
    try:
        parser = _parser(words)
        arguments, unknown = parser.parse_known_args(parser.understood(words))
        command += f" {arguments.command}"
        if unknown:
            arguments.parser.refuse(unknown[0])
        if getattr(arguments, "device", None):
            from senet_zoo.support.machine import find_device

            find_device(arguments.device)
        arguments.command_line = shlex.join(["senet-zoo", *words])
        status: int = arguments.run(arguments)
    except SystemExit as error:  # argparse has printed its help or its complaint
        return error.code if isinstance(error.code, int) else 1
    except SenetZooError as error:
        print_error(command, error.for_command_line)
        return 2 if isinstance(error, UsageError) else 1
    except ModuleNotFoundError as error:
        if error.name not in DEPENDENCIES:
            raise
        print_error(
            command,
            f"this needs {error.name}, which is not installed: pip install senet-zoo with its dependencies; without "
            "them, senet-zoo predict --exported FILE answers",
        )
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _forget_output() -> None:
    """What could not be written is not tried again when Python ends."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser(words: Sequence[str]) -> Parser:
    parser = Parser(
        prog="senet-zoo",
        description="Squeeze-and-Excitation networks: look them up, fetch their weights, classify pictures.",
        epilog="example:\n  senet-zoo predict samples/",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("-V", "--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        command = add_command(commands, name, module.SUMMARY, module.DESCRIPTION, f"example:\n  {module.EXAMPLE}")
        command.add_argument("--json", action="store_true", help="print one JSON document instead")
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        near = near_misses(words[0], COMMANDS) or f"; the commands are {', '.join(COMMANDS)}"
        parser.error(f"no command is named {words[0]!r}{near}")
    return parser
