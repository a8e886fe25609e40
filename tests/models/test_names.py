"""Names: found, listed, refused with near misses, and known to the networks that were built from them."""

import dataclasses
from pathlib import Path

import pytest

import senet_zoo
from senet_zoo.errors import UnknownModelError
from senet_zoo.networks import registry
from senet_zoo.networks.families.family import Family
from senet_zoo.networks.specs import SE, NetworkSpec


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("se_resnet5", "se_resnet50"),
        ("SE-ResNet50", "se_resnet50"),
        ("seresnext50_32x4", "seresnext50_32x4d"),
        ("senet_154", "senet154"),
        ("se_mobilnet", "se_mobilenet"),
    ],
)
def test_an_unknown_name_gets_its_near_misses(wrong: str, near: str) -> None:
    with pytest.raises(
        UnknownModelError, match=rf"no model is named '{wrong}'; did you mean .*\b{near}\b.*list_models"
    ):
        senet_zoo.create_model(wrong)


def test_a_name_like_no_other_gets_no_guess() -> None:
    with pytest.raises(UnknownModelError, match=r"no model is named 'vit_b_16'; senet_zoo.list_models\(\) lists all"):
        senet_zoo.create_model("vit_b_16")


def test_lists_are_in_natural_order_and_take_wildcards() -> None:
    assert senet_zoo.list_models("se_resnet1[!0]*b") == [
        "se_resnet12b", "se_resnet14b", "se_resnet16b", "se_resnet18b", "se_resnet152b",
    ]  # fmt: skip
    assert senet_zoo.list_models("nothing*") == []
    assert set(senet_zoo.list_models()) == set(registry.MODELS)


def test_pretrained_lists_only_models_with_weights() -> None:
    names = senet_zoo.list_models(pretrained=True)
    assert "senet154" in names
    assert "resnet44" not in names
    assert set(names) == {name.partition(".")[0] for name in senet_zoo.list_weights()}


def test_weights_are_listed_by_model_or_by_tag() -> None:
    assert "se_resnet50b.ra2_in1k" in senet_zoo.list_weights("se_resnet50b")
    assert senet_zoo.list_weights("*.caffe_in1k") == [
        f"{name}.caffe_in1k"
        for name in (
            "se_resnet50",
            "se_resnet101",
            "se_resnet152",
            "se_resnext50_32x4d",
            "se_resnext101_32x4d",
            "senet154",
        )
    ]


def test_an_alias_is_the_same_model() -> None:
    assert senet_zoo.model_info("legacy_seresnet50").name == "se_resnet50"
    assert senet_zoo.model_info("se_resnet50").aliases == ("legacy_seresnet50",)


def test_no_alias_hides_a_model_or_leads_nowhere() -> None:
    assert not set(registry.ALIASES) & set(registry.MODELS)
    assert set(registry.ALIASES.values()) <= set(registry.MODELS)


def test_two_models_of_one_name_are_refused() -> None:
    def build(se: SE | None) -> NetworkSpec:
        raise NotImplementedError

    one, other = Family(), Family()
    one.register("a", "b")(build)
    other.register("c", "a")(build)
    with pytest.raises(ValueError, match="a is registered by"):
        registry.models_by_name((one, other))


@pytest.mark.parametrize("name", registry.MODELS)
def test_every_model_has_a_twin_and_a_docstring(name: str) -> None:
    model = registry.MODELS[name]
    twins = registry.MODELS[model.twin].twin
    assert twins == name or name in ("se_resnet18b_round8", "se_resnet34b_round8")  # a plain network of two gated ones
    assert registry.MODELS[twins].twin == model.twin
    assert (model.se is None) != (registry.MODELS[model.twin].se is None)
    assert model.doc.strip()
    assert model.defined_in.startswith("senet_zoo/networks/families/")
    assert f'"{name}"' in (Path(senet_zoo.__file__).parents[1] / model.defined_in).read_text()


def test_info_counts_what_the_paper_counts() -> None:
    info = senet_zoo.model_info("se_resnet50")
    assert (info.parameters, info.gates, info.input_size) == (28_088_024, 16, 224)
    assert info.multiply_adds == 3_860_488_192
    assert info.gate_parameters == info.parameters - senet_zoo.model_info("resnet50").parameters
    assert info.feature_channels == {2: 64, 4: 256, 8: 512, 16: 1024, 32: 2048}


def test_a_network_knows_its_name_without_asking_other_models(monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [
        senet_zoo.create_model("se_resnet20").spec,
        senet_zoo.create_model("legacy_seresnet18", se=SE(reduction=8)).spec,
        registry.MODELS["resnet20"].spec(widths=(16, 16, 24, 48)),
    ]
    names = {"se_resnet20", "se_resnet18", "resnet20"}
    monkeypatch.setattr(registry, "MODELS", {name: registry.MODELS[name] for name in sorted(names)})
    found = [registry.model_of(spec) for spec in specs]
    assert [(model.name, widths) for model, widths in found] == [
        ("se_resnet20", None),
        ("se_resnet18", None),
        ("resnet20", (16, 16, 24, 48)),
    ]


def test_a_spec_of_another_name_or_of_none_is_found_by_what_it_is() -> None:
    spec = registry.MODELS["se_resnet20"].spec()
    by_hand = NetworkSpec(**{f.name: getattr(spec, f.name) for f in dataclasses.fields(spec) if f.name != "name"})
    assert by_hand == spec
    for changed, name in ((by_hand, "se_resnet20"), (dataclasses.replace(spec, se=None), "resnet20")):
        model, widths = registry.model_of(changed)
        assert (model.name, widths) == (name, None)
    assert registry.model_of(dataclasses.replace(spec, stages=spec.stages[:2])) is None
    assert registry.model_of(senet_zoo.dilate(senet_zoo.create_model("se_resnet18"), 8).spec) is None
