"""Names of other libraries, against those libraries' own networks."""

import pytest
import timm
import torch
import torchvision

from senet_zoo.errors import WeightsMismatch
from senet_zoo.hub.dialects import DIALECTS, match, recognise, translate
from senet_zoo.network import ConvNet
from senet_zoo.registry import MODELS

FOREIGN = {
    "legacy_seresnet18": ("cadene", "se_resnet18"),
    "legacy_seresnet50": ("cadene", "se_resnet50"),
    "legacy_seresnext50_32x4d": ("cadene", "se_resnext50_32x4d"),
    "legacy_senet154": ("cadene", "senet154"),
    "seresnet50": ("timm_resnet", "se_resnet50b"),
    "senet154": ("timm_resnet", "senet154b"),
    "seresnext26d_32x4d": ("timm_resnet", "se_resnext26d_32x4d"),
    "seresnextaa101d_32x8d": ("timm_resnet", "se_resnextaa101d_32x8d"),
    "resnet152d": ("timm_resnet", "resnet152d"),
    "torchvision resnet18": ("timm_resnet", "resnet18b"),
    "torchvision resnext50_32x4d": ("timm_resnet", "resnext50b_32x4d"),
}


def shapes(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def foreign(name: str) -> torch.nn.Module:
    with torch.device("meta"):
        if name.startswith("torchvision "):
            return torchvision.models.get_model(name.removeprefix("torchvision "), weights=None)
        return timm.create_model(name)


def native(name: str, **options) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        return shapes(ConvNet(MODELS[name].spec(), **options))


@pytest.mark.parametrize(("name", "expected"), FOREIGN.items(), ids=list(FOREIGN))
def test_another_librarys_tensors_are_exactly_ours(name, expected):
    dialect, model = expected
    theirs = shapes(foreign(name))
    assert recognise(theirs).name == dialect
    assert translate(theirs, DIALECTS[dialect]) == native(model)
    match(theirs, native(model), DIALECTS[dialect])


@pytest.mark.parametrize(("name", "expected"), FOREIGN.items(), ids=list(FOREIGN))
def test_a_map_can_be_turned_round(name, expected):
    theirs = shapes(foreign(name))
    names = DIALECTS[expected[0]].names(theirs)
    assert names.keys() == theirs.keys()
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize("name", ["se_resnet20", "resnet18b", "se_mobilenet", "se_shufflenet"])
def test_our_own_names_are_recognised(name):
    assert recognise(native(name)).name == "native"


def test_tensors_keep_their_values_and_gates_become_matrices():
    theirs = timm.create_model("legacy_seresnet18", num_classes=3).state_dict()
    ours = translate(theirs, DIALECTS["cadene"])
    gate = "layer1.0.se_module.fc1.weight"
    assert theirs[gate].shape == (4, 64, 1, 1)
    assert torch.equal(ours["stages.0.0.se.fc1.weight"], theirs[gate][:, :, 0, 0])
    assert torch.equal(ours["stages.3.1.branch.conv2.bn.running_var"], theirs["layer4.1.bn2.running_var"])
    assert torch.equal(ours["classifier.bias"], theirs["last_linear.bias"])


def test_files_older_than_the_counter_of_batch_norm_are_complete():
    theirs = {k: torch.zeros(s) for k, s in shapes(foreign("legacy_seresnet18")).items() if "num_batches" not in k}
    ours = translate(theirs, DIALECTS["cadene"])
    assert {key: tuple(value.shape) for key, value in ours.items()} == native("se_resnet18")
    assert ours["stem.0.bn.num_batches_tracked"].dtype == torch.int64
    match({key: tuple(value.shape) for key, value in theirs.items()}, native("se_resnet18"), DIALECTS["cadene"])


def test_a_deep_stems_last_batch_norm_is_not_a_plain_stems_first():
    assert DIALECTS["timm_resnet"].names(["conv1.weight", "bn1.weight"])["bn1.weight"] == "stem.0.bn.weight"
    assert DIALECTS["timm_resnet"].names(["conv1.0.weight", "bn1.weight"])["bn1.weight"] == "stem.2.bn.weight"


def spoilt(**changes) -> dict[str, tuple[int, ...]]:
    result = shapes(foreign("legacy_seresnet18"))
    for key, shape in changes.items():
        name = key.replace("__", ".")
        if shape is None:
            del result[name]
        else:
            result[name] = shape
    return result


MISMATCHES = {
    "a missing tensor": (spoilt(layer0__conv1__weight=None), "1 missing: stem.0.conv.weight"),
    "an unknown tensor": (spoilt(extra=(1,)), "1 unexpected: extra"),
    "another shape": (
        spoilt(last_linear__bias=(7,)),
        r"1 of another shape: classifier.bias \(7,\) instead of \(1000,\)",
    ),
    "DataParallel": ({f"module.{k}": v for k, v in spoilt().items()}, "'module.' were written by DataParallel: remove"),
    "torch.compile": ({f"_orig_mod.{k}": v for k, v in spoilt().items()}, "'_orig_mod.' were written by torch.compile"),
    "another network": (shapes(foreign("legacy_seresnet34")), r"unexpected: stages.0.2.*and \d+ more"),
    "another library": (shapes(foreign("seresnext26d_32x4d")), r"These look like timm_resnet names"),
}


@pytest.mark.parametrize(("file", "message"), MISMATCHES.values(), ids=list(MISMATCHES))
def test_weights_of_another_network_are_reported_at_once(file, message):
    with pytest.raises(
        WeightsMismatch, match=f"(?s)must be exactly the network's.*{message}.*Give weights of this network"
    ):
        match(file, native("se_resnet18"), DIALECTS["cadene"])


def test_a_replaced_classifier_may_differ_or_be_absent():
    head = {"classifier.weight", "classifier.bias"}
    ten = native("se_resnet18", num_classes=10)
    with pytest.raises(WeightsMismatch, match="2 of another shape"):
        match(spoilt(), ten, DIALECTS["cadene"])
    match(spoilt(), ten, DIALECTS["cadene"], allow_missing=head)
    match(spoilt(), native("se_resnet18", num_classes=0), DIALECTS["cadene"], allow_missing=head)
    match(spoilt(last_linear__weight=None, last_linear__bias=None), ten, DIALECTS["cadene"], allow_missing=head)
    with pytest.raises(WeightsMismatch, match="1 missing: stem"):
        match(spoilt(layer0__conv1__weight=None), ten, DIALECTS["cadene"], allow_missing=head)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["module.conv1.weight"], "'module.' were written by DataParallel"),
        (["conv1.weight", "se.weird"], r"timm_resnet \(timm resnet\*.*\): 1.*does not know se.weird"),
        ([], "of 0 names"),
    ],
)
def test_names_of_no_dialect_list_the_candidates(keys, message):
    with pytest.raises(WeightsMismatch, match=f"cadene .*timm_resnet.*{message}|{message}"):
        recognise(keys)
