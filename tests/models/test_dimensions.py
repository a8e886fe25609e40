"""Networks over signals and volumes: the same tables, the same functions, and what is refused."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from networks import randomise, thin, tiny
from torch import nn

from senet_zoo import (
    DepthPadding,
    Dimensions,
    Inflation,
    ManifestError,
    SenetZooError,
    SpecError,
    UsageError,
    create_model,
    from_pretrained,
    model_info,
    save_pretrained,
    verify_deep,
)
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS, model_of
from senet_zoo.networks.specs import NetworkSpec
from senet_zoo.weights.inflation import inflated

NAMES = [name for name, model in MODELS.items() if 3 in model.dimensions and model.se is not None]
QUICK = [
    "se_resnet18",
    "se_resnet50d",
    "se_preresnet18",
    "se_densenet121",
    "se_vgg11",
    "se_mnasnet",
    "se_shufflenet",
    "se_shakeshake26_2x96d",
]
REPLICATED = Dimensions(3, depth_padding=DepthPadding.REPLICATE)
THIN = Dimensions(3, depth_kernel=3, depth_stride=1, depth_padding=DepthPadding.REPLICATE)


KINDS = [pytest.param(name, thin, id=f"{name}, thin") for name in QUICK]
WHOLE = [pytest.param(name, lambda spec: spec, marks=pytest.mark.slow, id=name) for name in NAMES]
each_network = pytest.mark.parametrize(("name", "part"), [*KINDS, *WHOLE])


def build(name: str, dimensions: Dimensions, part: Callable[[NetworkSpec], NetworkSpec] = lambda spec: spec) -> ConvNet:
    spec = dataclasses.replace(part(tiny(MODELS[name].spec())), dimensions=dimensions)
    return ConvNet(spec, in_channels=1).double().eval()


@each_network
@pytest.mark.parametrize("dims", [1, 3])
def test_every_layer_has_the_networks_dimensions(
    name: str, part: Callable[[NetworkSpec], NetworkSpec], dims: int
) -> None:
    net = ConvNet(dataclasses.replace(part(tiny(MODELS[name].spec())), dimensions=Dimensions(dims)), in_channels=2)
    net.train()(torch.rand(2, 2, *(40,) * dims)).square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    kinds = {type(part).__name__ for part in net.modules() if type(part).__module__.startswith("torch.nn")}
    assert not [kind for kind in kinds if kind[-1] == "d" and kind[-2].isdigit() and kind[-2] != str(dims)]
    found = model_of(MODELS[name].spec(None, None, Dimensions(dims)))
    assert found is not None
    assert found[0].name == name


@each_network
@pytest.mark.parametrize(
    ("inflation", "dimensions"),
    [
        (Inflation.CENTRE, Dimensions(3)),
        (Inflation.CENTRE, REPLICATED),
        (Inflation.MEAN, REPLICATED),
        (Inflation.CENTRE, Dimensions(3, depth_stride=1)),
        (Inflation.MEAN, THIN),
    ],
)
def test_a_volume_of_equal_planes_has_the_logits_of_one(
    name: str, part: Callable[[NetworkSpec], NetworkSpec], inflation: Inflation, dimensions: Dimensions
) -> None:
    if name.startswith("se_vgg") and dimensions.reads_depth_its_way:
        pytest.skip("VGG has no stem")
    flat = randomise(build(name, Dimensions(), part))
    deep = build(name, dimensions, part)
    deep.load_state_dict(inflated(flat.state_dict(), deep, inflation))
    x = torch.rand(1, 1, 40, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, got = flat(x), deep(x[:, :, None].expand(-1, -1, 33, -1, -1))
    assert (got - expected).abs().max() <= 1e-10 * expected.abs().max()


def test_the_mean_is_not_exact_where_zeros_lie_beyond_the_outer_planes() -> None:
    flat, deep = randomise(build("se_resnet18", Dimensions())), build("se_resnet18", Dimensions(3))
    deep.load_state_dict(inflated(flat.state_dict(), deep, Inflation.MEAN))
    x = torch.rand(1, 1, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        ours, theirs = deep.stem(x[:, :, None].expand(-1, -1, 33, -1, -1)), flat.stem(x)
    assert torch.allclose(ours[:, :, 2:-2], theirs[:, :, None].expand_as(ours[:, :, 2:-2]), rtol=0, atol=1e-10)
    assert not torch.allclose(ours[:, :, 0], theirs)


def test_a_signal_has_the_logits_of_a_picture_of_one_row() -> None:
    flat, line = randomise(build("se_resnet18b", Dimensions())), build("se_resnet18b", Dimensions(1))
    line.load_state_dict(inflated(flat.state_dict(), line, Inflation.CENTRE))
    x = torch.rand(2, 1, 90, dtype=torch.float64)
    with torch.no_grad():
        assert torch.allclose(line(x), flat(x[:, :, None]), rtol=0, atol=1e-10)


def test_summed_rows_give_the_map_of_a_picture_of_equal_rows_far_from_its_edges() -> None:
    flat, line = randomise(build("se_resnet18", Dimensions())), build("se_resnet18", Dimensions(1))
    line.load_state_dict(inflated(flat.state_dict(), line, Inflation.MEAN))
    x = torch.rand(1, 1, 90, dtype=torch.float64)
    with torch.no_grad():
        rows = flat.stem(x[:, :, None].expand(-1, -1, 90, -1))[:, :, 20]
        assert torch.allclose(line.stem(x), rows, rtol=0, atol=1e-10)


def test_created_with_weights_saved_and_read_back(tmp_path: Path) -> None:
    model = create_model("se_resnet20", pretrained=True, dims=THIN, in_channels=1, inflation=Inflation.MEAN)
    x = torch.rand(1, 1, 4, 32, 32)
    flat = create_model("se_resnet20", pretrained=True, in_channels=1)
    with torch.no_grad():
        assert torch.allclose(model(x[:, :, :1].expand_as(x)), flat(x[:, :, 0]), atol=1e-4)
    save_pretrained(model, tmp_path / "m")
    again = from_pretrained(tmp_path / "m")
    assert again.spec == model.spec
    assert torch.equal(again(x), model(x))
    assert verify_deep(tmp_path / "m").ok
    assert again.feature_channels == flat.feature_channels
    assert list(model.excitations(x)) == list(flat.excitations(x[:, :, 0]))
    assert [tuple(each.shape) for each in model.features(x, (1, 4))] == [(1, 16, 4, 32, 32), (1, 64, 1, 8, 8)]


def test_saved_pictures_become_volumes_and_signals(tmp_path: Path) -> None:
    save_pretrained(create_model("se_resnet20", num_classes=3, in_channels=2), tmp_path / "m")
    assert create_model("se_resnet20", weights=tmp_path / "m", dims=3, in_channels=1).in_channels == 1
    assert create_model("se_resnet20", weights=tmp_path / "m", dims=1)(torch.rand(1, 2, 64)).shape == (1, 3)


def refused(error: type[SenetZooError], match: str, **options: object) -> None:
    with pytest.raises(error, match=match):
        create_model("se_resnet20", **options)  # type: ignore[call-overload]


def test_refused_before_anything_is_built(tmp_path: Path) -> None:
    refused(UsageError, "no weights are loaded here; pass pretrained=True", dims=3, inflation=Inflation.CENTRE)
    refused(UsageError, "pass dims=1 or dims=3, or leave inflation out", pretrained=True, inflation=Inflation.CENTRE)
    refused(UsageError, "inflation must be one of", pretrained=True, dims=3, inflation="mean")
    refused(SpecError, "a film is a volume", dims=4)
    refused(UsageError, "dims must be 1, 2, 3 or a senet_zoo.Dimensions", dims="3")
    with pytest.raises(SpecError, match=r"se_googlenet is defined for pictures.*such as se_resnet50"):
        create_model("se_googlenet", dims=3)
    with pytest.raises(SpecError, match="this network has no stem; leave them out"):
        create_model("se_vgg11", dims=Dimensions(3, depth_stride=1))
    for options, words in (
        ({"depth_kernel": 4}, "an odd number from 1 to 15"),
        ({"depth_stride": 0}, "a whole number from 1 to 8"),
        ({"depth_padding": "zeros"}, "depth_padding must be one of"),
    ):
        with pytest.raises(SpecError, match=words):
            Dimensions(3, **options)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="a network of 1 dimensions has none"):
        Dimensions(1, depth_stride=1)


def test_weights_of_volumes_make_no_network_of_pictures(tmp_path: Path) -> None:
    save_pretrained(create_model("se_resnet20", dims=3), tmp_path / "m")
    refused(UsageError, "not the reverse.*leave dims out", weights=tmp_path / "m", dims=2)
    refused(
        UsageError,
        "; not 3: volumes .*depth_stride 1, zeros.*Leave dims out",
        weights=tmp_path / "m",
        dims=Dimensions(3, depth_stride=1),
    )
    file = (tmp_path / "m" / "model.safetensors").rename(tmp_path / "alone.safetensors")
    refused(UsageError, "does not say how a volume's depth is read; say so: dims=3", weights=file)
    assert create_model("se_resnet20", weights=file, dims=3).spec.dimensions == Dimensions(3)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 16, 64, 64), r"add the axis of channels: x\[:, None\]"),
        ((64, 64), "created by dims=1, 2 or 3"),
        ((1, 16, 64, 64, 1), r"channels lie last: x.movedim\(-1, 1\)"),
        ((1, 3, 16, 64, 64), "create it with in_channels"),
        ((1, 1, 2, 64, 64), r"nothing of less than 3 x 3 x 3 voxels, got 2 x 64 x 64; .*depth_stride=1"),
        ((1, 1, 64, 64, 2), r"where the planes lie last, x.movedim\(-1, 2\)"),
    ],
)
def test_inputs_of_the_wrong_axes_are_refused_with_the_way_out(shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        create_model("se_resnet18", dims=3, in_channels=1).eval()(torch.zeros(shape))


def test_the_networks_of_pictures_keep_their_layers() -> None:
    model = create_model("se_resnet18")
    assert type(model.stem[0].conv) is nn.Conv2d
    assert model_info("se_resnet18").parameters == 11_778_592


def test_what_is_for_pictures_alone_says_so(tmp_path: Path) -> None:
    from senet_zoo import Predictor, dilate
    from senet_zoo.analysis.pruning.activity import observe

    model = create_model("se_resnet50", dims=3, in_channels=1).eval()
    for work in (
        lambda: dilate(model, 8),
        lambda: Predictor(model),
        lambda: observe(model, torch.zeros(1, 1, 32, 32, 32)),
    ):
        with pytest.raises(UsageError, match="is for networks over pictures, and this one has 3 dimensions"):
            work()
    assert model.pretrained_cfg["first_conv"] == "stem.0.conv"


def test_costs_are_those_of_volumes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from senet_zoo.cli import main

    info = model_info("se_resnet50", dims=3)
    assert info.parameters == sum(p.numel() for p in create_model("se_resnet50", dims=3).parameters())
    assert info.multiply_adds > 10**9
    assert main(["info", "se_resnet50", "--dims", "3"]) == 0
    out = capsys.readouterr().out
    assert "a volume of 64x64x64 voxels" in out
    assert "3: volumes (N, C, D, H, W), zeros beyond the outer planes" in out
    assert main(["list", "googlenet", "--dims", "3"]) == 1
    assert main(["list", "se_resnet50", "--dims", "3"]) == 0
    save_pretrained(create_model("se_resnet20", dims=THIN, in_channels=1), tmp_path / "m")
    assert main(["info", str(tmp_path / "m")]) == 0
    assert "depth_kernel 3, depth_stride 1, replicate beyond" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"dims": 3}, "dims must be a JSON object"),
        ({"dims": {"count": 5}}, "dims.count must be a whole number from 1 to 3"),
        ({"dims": {"count": 1, "depth_stride": 2}}, "a network of 1 dimensions has none"),
        ({"dims": {"depth_kernel": 2}}, "depth_kernel must be an odd number"),
        ({"dims": {"depth_padding": "mirror"}}, "depth_padding must be one of zeros, replicate"),
        ({"volumes": {"sides": [8, 8], "channels": 1}}, r"volumes.sides must be a side for each axis of the network"),
        ({"volumes": {"sides": [10**6, 1, 1]}}, "must be a whole number from 1 to 4096"),
        ({"architecture": "se_googlenet"}, "dims: se_googlenet is defined for pictures"),
    ],
)
def test_a_config_that_no_network_has_is_refused(changed: dict[str, object], words: str, tmp_path: Path) -> None:
    save_pretrained(create_model("se_resnet20", dims=3, in_channels=1), tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    config = json.loads(path.read_text())
    for name, value in changed.items():
        partial = name == "dims" and isinstance(value, dict)
        config[name] = {**config["dims"], **value} if partial else value  # type: ignore[dict-item]
    path.write_text(json.dumps(config))
    with pytest.raises(ManifestError, match=words):
        from_pretrained(tmp_path / "m")
