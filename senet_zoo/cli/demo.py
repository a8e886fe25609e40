"""``senet-zoo demo``: a page on this machine that shows what networks see."""

import argparse
import os

SUMMARY = "open a page that shows what networks see"
DESCRIPTION = """\
Serve a page on this machine: pictures in, classes out, two networks beside each
other, and what their gates say. It needs pip install 'senet-zoo[demo]'.

The page answers with the networks of --model and no others; by default those
inside the package. It listens on the loopback address alone, so that no other
machine reaches it; --host 0.0.0.0 opens it to the network. Pictures are limited
to 20 MB and 50 million pixels, and what was sent is deleted within the hour."""
EXAMPLE = """\
senet-zoo demo
  senet-zoo demo --model run7 --model se_resnet50 --port 8080"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", action="append", metavar="NAME|FOLDER", help="a model, model.tag or a saved folder; repeatable"
    )
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="to listen on; default: 127.0.0.1")
    parser.add_argument("--port", type=int, default=7860, metavar="N", help="default: 7860")


def run(arguments: argparse.Namespace) -> int:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before gradio is imported, which would report its start
    from senet_zoo.demo import EMBEDDED, build_demo, serve

    serve(build_demo(arguments.model or EMBEDDED), arguments.host, arguments.port)
    return 0
