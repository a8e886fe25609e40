"""Public checkpoints of the zoo's functions in timm and pytorchcv, against the rows of the manifest.

python tools/public_weights.py                                  # counts them, with and without a row
python tools/public_weights.py --write --results results-imagenet.csv    # makes the rows that are missing

timm's accuracies stand in ``results/results-imagenet.csv`` of its repository, pytorchcv's in its package. What neither
says is null. A model's default row stays what it is.
"""

import argparse
import csv
import json
import math
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from pytorchcv.model_provider import get_model
from pytorchcv.models.common import model_store
from timm.models import get_pretrained_cfg

from senet_zoo.formats.dialects import recognise
from senet_zoo.formats.metadata import LABELS
from senet_zoo.networks import registry
from senet_zoo.weights.libraries import TARGETS
from senet_zoo.weights.manifest import default_path, load_manifest, text_of
from senet_zoo.weights.manifest_edit import parameters_of_spec, tag_from

OSMR = "https://github.com/osmr/imgclsmob"
COMMIT = "aa4b5850"  # of timm's repository, whose results are quoted
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
ORIGINS = {
    "fb_": "https://github.com/facebookresearch/semi-supervised-ImageNet1K-models",
    "gluon": "https://github.com/dmlc/gluon-cv",
    "tv": "https://github.com/pytorch/vision",
    "mx": "https://github.com/cypw/DPNs",
}
PAGE = Path(__file__).parents[1] / "docs" / "from-other-libraries.md"
ELSEWHERE = {
    "mmpretrain, gated": {"se_resnet50b.mm_in1k", "se_resnet101b.mm_in1k"},
    "moskomule, gated": {"se_resnet50b.moskomule_in1k"},
}
"""Rows of libraries whose lists of checkpoints no package holds."""
TIMM = "https://github.com/huggingface/pytorch-image-models"
OF_TIMM = {theirs: ours for ours, theirs in TARGETS["timm"].items()} | {
    name: name
    for name in ("vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn", "dpn68", "dpn92", "dpn98", "dpn107", "dpn131")
}
OF_OSMR = {
    **{f"{se}resnet{d}": f"{se and 'se_'}resnet{d}b" for se in ("se", "") for d in (10, 12, 14, 16, 18, 26, 34)},
    **{f"{se}resnet{d}": f"{se and 'se_'}resnet{d}a" for se in ("se", "") for d in (50, 101, 152)},
    **{f"{se}resnet{d}b": f"{se and 'se_'}resnet{d}b" for se in ("se", "") for d in (50, 101, 152)},
    **{f"{se}resnetbc{d}b": f"{se and 'se_'}resnetbc{d}b" for se in ("se", "") for d in (14, 26, 38)},
    **{f"{se}preresnet{d}": f"{se and 'se_'}preresnet{d}" for se in ("se", "")
       for d in (10, 12, 14, 16, 18, 26, 34, 50, 101, 152, 200)},
    **{f"{se}preresnet{d}b": f"{se and 'se_'}preresnet{d}b" for se in ("se", "")
       for d in ("bc14", "bc26", "bc38", 50, 101, 152, 200)},
    **{f"{se}resnext{d}": f"{se and 'se_'}resnext{d.replace('_', 'b_', 1)}" for se in ("se", "")
       for d in ("50_32x4d", "101_32x4d", "101_64x4d")},
    **{f"senet{d}": f"senet{d}b" for d in (16, 28, 154)},
    **{f"resneta{d}b": f"resnet{d}d" for d in (50, 101, 152)},
    **{f"densenet{d}": f"densenet{d}" for d in (121, 169, 201)},
    **{f"bn_vgg{d}b": f"vgg{d}_bn" for d in (11, 13, 16, 19)},
    **{name: name for name in ("pyramidnet101_a360", "dpn68", "dpn98", "dpn107", "dpn131", "xception")},
    "alexnetb": "alexnet", "inceptionv3": "inception_v3", "inceptionv4": "inception_v4",
    "inceptionresnetv2": "inception_resnet_v2", "mobilenet_w1": "mobilenet", "shufflenet_g3_w1": "shufflenet",
    "mnasnet_a1": "se_mnasnet",
}  # fmt: skip
OF_OSMR_CIFAR = {
    **{f"{se}resnet{d}": f"{se and 'se_'}resnet{d}" for se in ("se", "") for d in (20, 56, 110)},
    **{f"{se}resnet{d}bn": f"{se and 'se_'}resnet{d}" for se in ("se", "") for d in (164, 272, 542)},
    **{f"preresnet{d}": f"preresnet{d}" for d in (20, 56, 110)},
    "preresnet164bn": "preresnet164", "nin": "nin", "wrn28_10": "wrn28_10",
    **{f"sepreresnet{d}": f"se_preresnet{d}_cv" for d in (20, 56, 110)},
    **{f"sepreresnet{d}bn": f"se_preresnet{d}_cv" for d in (164, 272, 542)},
    **{f"pyramidnet{d}": f"pyramidnet{d}" for d in ("110_a48", "110_a84", "110_a270")},
    **{f"pyramidnet{d}_bn": f"pyramidnet{d}" for d in ("164_a270", "200_a240", "236_a220", "272_a200")},
}  # fmt: skip
DATA = {"cifar10": "cifar10 test", "cifar100": "cifar100 test", "svhn": "svhn test", "cub": "cub-200-2011 test"}


@dataclass(frozen=True)
class Found:
    """A public checkpoint of a function of the zoo.

    Args:
        library: that publishes it.
        model: our name of the function.
        address: where it lies: a hub's repository or an address.
        row: the manifest's row, without what only the network knows.
        tag: of the row.
    """

    library: str
    model: str
    address: str
    tag: str
    row: dict[str, Any]


def main() -> int:
    """Count or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="add the missing rows to the manifest")
    parser.add_argument("--results", type=Path, metavar="CSV", help=f"timm's results-imagenet.csv at {COMMIT}")
    args = parser.parse_args()
    if args.write and args.results is None:
        parser.error("--write needs --results, because rows quote timm's accuracies")
    found = [*_of_timm(_results(args.results)), *_of_pytorchcv()]
    have = {
        getattr(source, "repo", None) or getattr(source, "url", None)
        for rows in load_manifest().models.values()
        for row in rows
        for source in row.sources
    }
    found += _of_torchvision()
    missing = [each for each in found if each.address not in have]
    gated = {name for name, model in registry.MODELS.items() if model.se is not None}
    for library in ("timm", "torchvision", "pytorchcv"):
        for what, names in (("gated", gated), ("plain", registry.MODELS.keys() - gated)):
            all_ = [each for each in found if each.library == library and each.model in names]
            left = sum(each in missing for each in all_)
            print(f"{library}, {what}: {len(all_)} public checkpoints of functions here, {left} without a row")
    names = {row.name for rows in load_manifest().models.values() for row in rows}
    for library, rows in ELSEWHERE.items():
        print(f"{library}: {len(rows)} public checkpoints of functions here, {len(rows - names)} without a row")
    for library, checkpoints in _without_row():
        print(f"{library}: without a row, for the reason in {PAGE.name}: {', '.join(checkpoints)}")
    if args.write:
        _write([each for each in missing if each.row])
    return int(bool(missing) and not args.write)


def _without_row() -> Iterator[tuple[str, list[str]]]:
    """Publisher and checkpoints of each line of the page's table."""
    table = PAGE.read_text().partition("| published by | checkpoint | why there is no row |")[2]
    for line in table.strip().splitlines()[1:]:
        if not line.startswith("|"):
            return
        publisher, checkpoints = (cell.strip() for cell in line.split("|")[1:3])
        yield publisher, re.findall("`([^`]+)`", checkpoints) or [checkpoints]


def _of_torchvision() -> Iterator[Found]:
    for ours, theirs in TARGETS["torchvision"].items():
        for weights in torchvision.models.get_model_weights(theirs):
            yield Found("torchvision", ours, weights.url, tag_from(weights.name), {})


def _results(path: Path | None) -> dict[tuple[str, int], tuple[float, float]]:
    if path is None:
        return {}
    with path.open(newline="") as file:
        return {
            (row["model"], int(row["img_size"])): (float(row["top1"]), float(row["top5"]))
            for row in csv.DictReader(file)
        }


def _metric(name: str, value: float, dataset: str, size: int, who: str) -> dict[str, Any]:
    return {"name": name, "value": value, "dataset": dataset, "size": size, "who": who, "measured_by_us": False}


def _of_timm(results: dict[tuple[str, int], tuple[float, float]]) -> Iterator[Found]:
    for theirs, ours in sorted(OF_TIMM.items()):
        for full in timm.list_models(f"{theirs}.*", pretrained=True):
            if full.partition(".")[0] != theirs:
                continue
            config = get_pretrained_cfg(full)
            if config.num_classes != 1000 or not (config.hf_hub_id or config.url):
                continue
            with torch.device("meta"):
                dialect = recognise(timm.create_model(theirs).state_dict().keys()).name
            size = (config.test_input_size or config.input_size)[-1]
            who = f"timm, results-imagenet.csv at {COMMIT}"
            if theirs.startswith("dpn"):
                who += ", with an ELU before the mean"
            sizes = [size, *sorted({s for (name, s) in results if name == full} - {size}, reverse=True)]
            measured = [(s, results[full, s]) for s in sizes if (full, s) in results]
            sources: list[dict[str, Any]] = []
            if config.hf_hub_id:
                sources.append(
                    {
                        "kind": "hub",
                        "repo": config.hf_hub_id,
                        "revision": None,
                        "filename": "model.safetensors",
                        "sha256": None,
                        "size": None,
                        "dialect": dialect,
                    }
                )
            digits = Path(config.url or "").stem.rpartition("-")[2]
            if config.url and len(digits) >= 8 and set(digits) <= set("0123456789abcdef"):
                sources.append({"kind": "release", "url": config.url, "sha256_prefix": digits, "size": None,
                                "dialect": dialect})  # fmt: skip
            if not sources:
                continue
            tag = tag_from(config.tag or full.partition(".")[2])
            origin = next((url for start, url in ORIGINS.items() if tag.startswith(start)), TIMM)
            row = {
                "num_classes": 1000, "labels": "imagenet-1k", "in_channels": config.input_size[0],
                "preprocessing": {
                    "size": size, "resize": math.floor(size / (config.test_crop_pct or config.crop_pct)),
                    "interpolation": config.interpolation, "mean": [*config.mean], "std": [*config.std],
                },
                "sources": sources,
                "metrics": [_metric(name, value, "imagenet-1k val", s, who) for s, values in measured
                            for name, value in zip(("top1", "top5"), values, strict=True)],
                "license": config.license, "license_source": f"timm {timm.__version__}, pretrained_cfg",
                "origin": config.origin_url or origin,
            }  # fmt: skip
            yield Found("timm", ours, config.hf_hub_id or config.url, tag, row)


def _of_pytorchcv() -> Iterator[Found]:
    who = "pytorchcv 0.0.74, model_metainfos.csv"
    for line in model_store.load_csv(model_store.get_model_metainfos_file_path())[1:]:
        name, _, error, sha1, release, _, paper, dataset, size, scale, *_ = line
        if error == "NA" or dataset not in ("in1k", "cf", "cub"):
            continue
        base, _, labels = name.rpartition("_")
        ours = {"in1k": OF_OSMR.get(name), "cf": OF_OSMR_CIFAR.get(base), "cub": OF_OSMR.get(base)}[dataset]
        if ours is None:
            continue
        labels = "imagenet-1k" if dataset == "in1k" else labels
        accuracy = round(100.0 - int(error) / 100.0, 2)
        if dataset == "cf":
            seen = {"size": 32, "resize": 32, "interpolation": "bilinear",
                    "mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.2010]}  # fmt: skip
            metric = _metric("top1", accuracy, DATA[labels], 32, who)
        else:
            pixels = registry.find(ours).spec().input_size if size == "NA" else int(size)
            resize = math.ceil(pixels / (0.875 if scale == "NA" else float(scale)))
            seen = {"size": pixels, "resize": resize, "interpolation": "bilinear", **IMAGENET}
            of_cub, of_imagenet = ("top1", accuracy, DATA["cub"]), ("top5", accuracy, "imagenet-1k val")
            metric = _metric(*(of_cub if dataset == "cub" else of_imagenet), pixels, who)
        url = f"{OSMR}/releases/download/{release}/{name}-{error}-{sha1[:8]}.pth.zip"
        with torch.device("meta"):
            dialect = recognise(get_model(name).state_dict().keys()).name
        row = {
            "num_classes": LABELS[labels], "labels": labels, "in_channels": 3, "preprocessing": seen,
            "sources": [{"kind": "release", "url": url, "sha256_prefix": None, "size": None, "dialect": dialect,
                         "sha1": sha1}],
            "metrics": [metric], "license": "mit", "license_source": f"the licence of {OSMR}", "origin": OSMR,
            "citation": f"arXiv:{paper}" if paper != "NA" else None,
        }  # fmt: skip
        yield Found("pytorchcv", ours, url, f"osmr_{'in1k' if dataset == 'in1k' else labels}", row)


def _write(missing: list[Found]) -> None:
    path = default_path()
    content = json.loads(path.read_text())
    before = set(content["models"])
    for each in missing:
        model = registry.find(each.model)
        parameters = parameters_of_spec(model.spec(), each.row["num_classes"], each.row["in_channels"])
        entry = content["models"].setdefault(model.name, {"default": each.tag, "weights": {}})
        known = entry["weights"].get(each.tag)
        if known is not None:  # the same weights, of which a pickle was known
            known["sources"][:0] = [source for source in each.row["sources"] if source["kind"] == "hub"]
            continue
        twin = next((row for row in entry["weights"].values()), None)
        citation = each.row.pop("citation", None) or (twin or {}).get("citation") or _citation(model.name)
        ordered = {name: each.row[name] for name in ("num_classes", "labels", "in_channels")}
        ordered |= {"parameters": parameters}
        ordered |= {name: each.row[name] for name in ("preprocessing", "sources", "metrics", "license")}
        ordered |= {name: each.row[name] for name in ("license_source", "origin")}
        entry["weights"][each.tag] = {**ordered, "citation": citation, "training": None}
    for name in content["models"].keys() - before:
        weights = content["models"][name]["weights"]
        content["models"][name]["default"] = max(weights, key=lambda tag: _rank(weights[tag]))  # the first of several
    path.write_text(text_of(content))


def _rank(row: dict[str, Any]) -> tuple[bool, float]:
    """Classes that a bare name should know come first, then the better weights."""
    top1 = [metric["value"] for metric in row["metrics"] if metric["name"] == "top1"]
    return row["labels"] in ("imagenet-1k", "cifar10"), max(top1, default=0.0)


def _citation(model: str) -> str:
    papers = {
        "dpn": "1707.01629",
        "xception": "1610.02357",
        "pyramid": "1610.02915",
        "cs3": "1911.11929",
        "resnext": "1611.05431",
    }
    paper = "1709.01507" if model.startswith("se") else "1512.03385"
    return "arXiv:" + next((paper for start, paper in papers.items() if model.startswith(start)), paper)


if __name__ == "__main__":
    sys.exit(main())
