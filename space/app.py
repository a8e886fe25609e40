"""The demo as a Space of Hugging Face, or wherever GRADIO_SERVER_NAME and GRADIO_SERVER_PORT say."""

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before gradio is imported

from senet_zoo.demo import build_demo, serve

if __name__ == "__main__":
    host = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
    serve(build_demo(), host, int(os.environ.get("GRADIO_SERVER_PORT", "7860")))
