"""A page on this machine that shows what networks see in a picture, two beside each other, and what their gates say."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from senet_zoo.data.pictures import read_picture
from senet_zoo.errors import PictureError, UsageError
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.squeeze_excite import gates as gates_of
from senet_zoo.prediction.predictor import Predictor

if TYPE_CHECKING:
    import gradio

EMBEDDED = (
    "se_resnet20.cifar10",
    "resnet20.cifar10",
    "se_cifarnet.cifar10",
    "se_mobilenet.imagenette",
    "se_shufflenet.imagenette",
)
MOST_BYTES = 20_000_000  # of a file that is sent
MOST_PIXELS = 50_000_000
KEPT = 3000  # seconds that a picture lies on this machine at least; it is gone ten minutes later
WAITING = 16  # visitors whose pictures wait; the next one is told to come back
NONE = "none"
STYLE = """
.gates { display: grid; gap: 2px; }
.gates div { display: flex; align-items: end; height: 34px; background: var(--background-fill-secondary); }
.gates i { flex: 1; min-width: 0; background: var(--color-accent); }
.gates p { margin: 6px 0 0; font-size: 0.85em; }
"""


def build_demo(models: Sequence[str | Path] = EMBEDDED) -> "gradio.Blocks":
    """The page, which answers with these networks and no others: a visitor chooses among them and names no file.

    Args:
        models: published weights, saved folders or ``hf://org/name``, as `senet_zoo.Predictor` takes them.

    Raises:
        UsageError: no model, a detector, or gradio is not installed.
        WeightsError: weights that cannot be loaded.
    """
    try:
        import gradio
    except ImportError as error:
        raise UsageError("the demo needs gradio: pip install 'senet-zoo[demo]'") from error
    if not models:
        raise UsageError("the demo needs a network: name one")
    predictors = {predictor.name: predictor for predictor in map(Predictor, models)}
    if wrong := [name for name, predictor in predictors.items() if not isinstance(predictor.model, ConvNet)]:
        raise UsageError(f"the demo shows classifiers, and {wrong[0]} is none")

    def answer(path: str | None, first: str, second: str) -> tuple[Any, ...]:
        if path is None:
            return None, "", None, ""
        return (*_answer(gradio, predictors, path, first), *_answer(gradio, predictors, path, second))

    with gradio.Blocks(title="senet_zoo", analytics_enabled=False, delete_cache=(600, KEPT)) as page:
        gradio.Markdown("# What networks see, and what their gates say\n\nPictures stay on this machine.")
        with gradio.Row():
            picture = gradio.Image(  # image_mode: the file as it was sent, not converted
                type="filepath", image_mode=None, label="Picture", sources=["upload", "webcam", "clipboard"]
            )
            shown = []
            for label, chosen in (("Network", next(iter(predictors))), ("Beside it", NONE)):
                with gradio.Column():
                    choices = [*predictors] if chosen != NONE else [NONE, *predictors]
                    name = gradio.Dropdown(choices, value=chosen, label=label)
                    shown.append((name, gradio.Label(label="Classes", num_top_classes=5), gradio.HTML()))
        inputs = [picture, *(name for name, _, _ in shown)]
        outputs = [part for _, *parts in shown for part in parts]
        gradio.on([each.change for each in inputs], answer, inputs, outputs, api_visibility="private")
    return page.queue(max_size=WAITING, default_concurrency_limit=1)


def serve(page: "gradio.Blocks", host: str = "127.0.0.1", port: int = 7860, *, wait: bool = True) -> str:
    """Serve the page, without reports, addresses of others or files but its own, and return its address.

    Args:
        page: of `build_demo`.
        host: the address to listen on; the default is reached from this machine alone.
        port: to listen on.
        wait: until the process is interrupted.

    Raises:
        UsageError: the port is taken.
    """
    import gradio

    theme = gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"])  # none is fetched
    address: str
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            ssr_mode=False,
            mcp_server=False,
            enable_monitoring=False,
            run_history=False,
            footer_links=[],
            max_file_size=MOST_BYTES,
            theme=theme,
            css=STYLE,
            prevent_thread_lock=not wait,
        )
    except OSError as error:
        raise UsageError(f"the page needs a free port, and {port} at {host} is not one: choose another") from error
    return address


def _answer(gradio: Any, predictors: dict[str, Predictor], path: str, name: str) -> tuple[dict[str, float] | None, str]:
    """Probabilities and gates of one network; a sentence to the visitor where the picture cannot be read."""
    if name == NONE:
        return None, ""
    predictor = predictors[name]
    try:
        _require_small(path)
        (result,) = predictor.predict([path], top=5)
        return dict(result.top), _gates(predictor, path)
    except PictureError as error:
        raise gradio.Error(str(error).replace(path, "The picture"), print_exception=False) from error


def _require_small(path: str) -> None:
    from PIL import Image

    if Path(path).stat().st_size > MOST_BYTES:
        raise PictureError(f"a picture may have {MOST_BYTES // 10**6} MB here: make it smaller")
    try:
        with Image.open(path) as picture:
            pixels = picture.width * picture.height
    except (OSError, ValueError, Image.DecompressionBombError):
        pixels = 0  # the reader says what is wrong
    if pixels > MOST_PIXELS:
        raise PictureError(f"a picture may have {MOST_PIXELS // 10**6} million pixels here: make it smaller")


@torch.inference_mode()
def _gates(predictor: Predictor, path: str) -> str:
    """A row of bars for each gate."""
    if not gates_of(predictor.model):
        return "<p>This network has no gates.</p>"
    x = predictor.preprocessing.transforms()(read_picture(path))[None]
    rows = []
    for name, values in predictor.model.excitations(x.to(next(predictor.model.parameters()).device)).items():
        means = values[0].flatten(1).mean(1) if values.ndim > 2 else values[0]
        bars = "".join(f'<i style="height:{100 * min(1.0, max(0.0, value)):.0f}%"></i>' for value in means.tolist())
        text = f"{name}: {len(means)} channels, mean {means.mean():.2f}, from {means.min():.2f} to {means.max():.2f}"
        rows.append(f'<p>{escape(text)}</p><div aria-hidden="true">{bars}</div>')
    return f'<section class="gates">{"".join(rows)}</section>'
