"""Build the page that recognises pictures in a browser: `senet_zoo.export` writes its networks, npm brings the runtime.

npm ci --prefix browser --ignore-scripts     # the pinned runtime, once
python tools/browser.py --output site/app    # then any file server shows it: python -m http.server -d site

Each exported network gets its gates as further outputs, named as the paper names them, and an input ``live``: 1 for
gates as they answer, 0 for each held at its mean over the sample pictures. Weights are stored in float16, as those
inside of the package are, and computed with in float32: the same function.
"""

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

import senet_zoo
from senet_zoo.prediction.exported_model import load_exported

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "browser"
RUNTIME = PAGE / "node_modules" / "onnxruntime-web" / "dist"
RUNTIME_FILES = {  # many file servers do not know .mjs, and a browser runs no script of an unknown kind
    "ort.wasm.min.mjs": "ort.wasm.min.js",
    "ort-wasm-simd-threaded.mjs": "ort-wasm-simd-threaded.js",
    "ort-wasm-simd-threaded.wasm": "ort-wasm-simd-threaded.wasm",
}
PAGE_FILES = ("index.html", "style.css", "app.js", "network.js", "resize.js")
NETWORKS = ("se_mobilenet.imagenette", "se_shufflenet.imagenette", "se_resnet20.cifar10")
TWINS = {"se_resnet20.cifar10": "resnet20.cifar10"}
ABOUT = {
    "imagenette": "For photographs of ten kinds of things.",
    "cifar10": "Made for pictures of 32 pixels; larger ones are made that small.",
}
MOST_BYTES = 30_000_000
SMALL = 1024  # values of a tensor that is left in float32


def main() -> int:
    """Build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER")
    args = parser.parse_args()
    if not RUNTIME.is_dir():
        print("the runtime is missing: npm ci --prefix browser --ignore-scripts", file=sys.stderr)
        return 1
    if args.output.exists() and any(args.output.iterdir()) and not (args.output / "networks.json").is_file():
        print(f"{args.output} would be replaced, and holds something else: name another folder", file=sys.stderr)
        return 1
    build(args.output)
    size = sum(path.stat().st_size for path in args.output.rglob("*") if path.is_file())
    print(f"{args.output}: {size / 1e6:.1f} MB")
    if size > MOST_BYTES:
        print(f"the page may take {MOST_BYTES / 1e6:.0f} MB", file=sys.stderr)
    return int(size > MOST_BYTES)


def build(output: Path) -> None:
    """Write the whole page into a folder, which is made anew."""
    shutil.rmtree(output, ignore_errors=True)
    for folder in ("ort", "networks", "samples"):
        (output / folder).mkdir(parents=True)
    for name, served in RUNTIME_FILES.items():
        shutil.copy(RUNTIME / name, output / "ort" / served)
    for name in PAGE_FILES:
        shutil.copy(PAGE / name, output / name)
    pictures = [ROOT / "docs" / "cat.jpg", *sorted((ROOT / "samples").glob("*.png"))]
    for picture in pictures:
        name = "chelsea.jpg" if picture.name == "cat.jpg" else picture.name
        shutil.copy(picture, output / "samples" / name)
    networks = [described(name, pictures, output) for name in NETWORKS]
    runtime = json.loads((RUNTIME.parent / "package.json").read_text(encoding="utf-8"))["version"]
    made = (
        f"Made by senet_zoo {senet_zoo.__version__}; ONNX Runtime Web {runtime} (MIT). The small samples are of "
        "CIFAR-10's test set, of each class the first, not chosen for the answer; the large cat is Chelsea by "
        "Stéfan van der Walt (CC0)."
    )
    samples = sorted(f"samples/{path.name}" for path in (output / "samples").iterdir())
    page = {"networks": networks, "samples": samples, "samplesFor": "se_resnet20", "made": made}
    (output / "networks.json").write_text(json.dumps(page), encoding="utf-8")
    write_worker(output)


def write_worker(output: Path) -> None:
    """The service worker with the files that it keeps at once; networks are kept when they were opened."""
    files = sorted(
        path.relative_to(output).as_posix()
        for path in output.rglob("*")
        if path.is_file() and path.parent.name != "networks"
    )
    digest = hashlib.sha256()
    for path in sorted(path for path in output.rglob("*") if path.is_file()):
        digest.update(path.read_bytes())
    text = (PAGE / "worker.js").read_text(encoding="utf-8")
    text = text.replace("@VERSION@", digest.hexdigest()[:16]).replace("@FILES@", json.dumps(["./", *files]))
    (output / "worker.js").write_text(text, encoding="utf-8")


def described(name: str, pictures: list[Path], output: Path) -> dict[str, object]:
    """Export a network and say what the page needs to know of it."""
    model = senet_zoo.create_model(name, pretrained=True)
    weights = senet_zoo.get_weights(name)
    prepare = weights.transforms()
    gates: dict[str, torch.Tensor] = {}
    with torch.inference_mode():
        for picture in pictures:
            for key, value in excitations(model, prepare(picture)[None]).items():
                gates[key] = gates.get(key, 0) + value[0] / len(pictures)
    path = output / "networks" / f"{name}.onnx"
    with tempfile.TemporaryDirectory() as folder:
        plain = Path(folder) / "plain.onnx"
        senet_zoo.export(model, plain)
        preprocessing = json.loads(load_exported(plain).metadata.text())["preprocessing"]
        graph = onnx.load(plain)
    with_gates(graph, {key: value.numpy() for key, value in gates.items()})
    onnx.save(halved(graph, model.state_dict()), path)
    require_same(path, model, prepare(pictures[0])[None])
    found = {
        "name": name.partition(".")[0],
        "title": name.partition(".")[0] + (" with gates" if gates else " without gates"),
        "about": ABOUT[name.partition(".")[2]],
        "file": f"networks/{path.name}",
        "preprocessing": preprocessing,
        "categories": list(weights.categories),
        "gates": [
            {"name": key, "stage": key.split("_")[1], "means": [round(x, 4) for x in value.tolist()]}
            for key, value in gates.items()
        ],
    }
    if name in TWINS:
        found["twin"] = described(TWINS[name], pictures, output)
    return found


def excitations(model: torch.nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """The gates by the paper's names; of a plain twin none."""
    return model.excitations(x) if senet_zoo.gates(model) else {}


def with_gates(model: onnx.ModelProto, means: dict[str, np.ndarray]) -> None:
    """Make every gate an output, and let an input ``live`` hold it at its mean."""
    graph, nodes = model.graph, []
    names = iter(means)
    if means:
        graph.input.append(helper.make_tensor_value_info("live", TensorProto.FLOAT, []))
        graph.initializer.append(numpy_helper.from_array(np.array(1.0, np.float32), "one"))
        nodes.append(helper.make_node("Sub", ["one", "live"], ["held"]))
    for node in graph.node:
        nodes.append(node)
        if node.op_type != "Sigmoid":
            continue
        name, target = next(names), node.output[0]
        node.output[0] = name
        graph.initializer.append(numpy_helper.from_array(means[name][None], f"{name}_mean"))
        nodes += [
            helper.make_node("Mul", [name, "live"], [f"{name}_live"]),
            helper.make_node("Mul", [f"{name}_mean", "held"], [f"{name}_held"]),
            helper.make_node("Add", [f"{name}_live", f"{name}_held"], [target]),
        ]
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", means[name].size]))
    if next(names, None) is not None:
        raise RuntimeError(f"the exported graph has fewer gates than the {len(means)} of the network")
    del graph.node[:]
    graph.node.extend(nodes)


def halved(model: onnx.ModelProto, state: dict[str, torch.Tensor]) -> onnx.ModelProto:
    """Large tensors stored as the checkpoint has them, in float16, with the factors that folding a norm brought."""
    graph, nodes = model.graph, []
    originals = [tensor.numpy() for tensor in state.values() if tensor.numel() >= SMALL]
    for tensor in list(graph.initializer):
        values = numpy_helper.to_array(tensor)
        found = None if values.size < SMALL else factored(values, originals)
        if found is None:
            continue
        name, (half, factors) = tensor.name, found
        graph.initializer.remove(tensor)
        graph.initializer.append(numpy_helper.from_array(half, f"{name}_half"))
        graph.initializer.append(numpy_helper.from_array(factors, f"{name}_factors"))
        nodes.append(helper.make_node("Cast", [f"{name}_half"], [f"{name}_wide"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Mul", [f"{name}_wide", f"{name}_factors"], [name]))
    nodes += graph.node
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model


def factored(values: np.ndarray, originals: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """A tensor of the checkpoint in float16, and a factor for each output channel, whose product the values are."""
    rows = values.reshape(len(values), -1).astype(np.float64)
    for original in originals:
        half = original.astype(np.float16)
        if original.shape != values.shape or not np.array_equal(half.astype(np.float32), original):
            continue
        same = original.reshape(rows.shape).astype(np.float64)
        factors = (rows * same).sum(1) / (same * same).sum(1)
        if np.allclose(same * factors[:, None], rows, rtol=1e-6, atol=1e-7 * np.abs(rows).max()):
            return half, factors.astype(np.float32).reshape(-1, *[1] * (values.ndim - 1))
    return None


def require_same(path: Path, model: torch.nn.Module, x: torch.Tensor) -> None:
    """Refuse a file whose probabilities or gates are not the network's."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    feeds = {"pictures": x.numpy()}
    with torch.inference_mode():
        wanted = {"logits": model(x), **excitations(model, x)}
    if len(wanted) > 1:
        feeds["live"] = np.array(1.0, np.float32)
    for output, found in zip(session.get_outputs(), session.run(None, feeds), strict=True):
        expected = wanted[output.name]
        got = torch.from_numpy(found)
        if output.name == "logits":
            expected, got = expected.softmax(1), got.softmax(1)
        far = float((expected.reshape(got.shape) - got).abs().max())
        if far > 1e-5:
            raise RuntimeError(f"{path.name}: {output.name} deviates by {far:.1e} from the network's")


if __name__ == "__main__":
    sys.exit(main())
