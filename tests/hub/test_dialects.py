"""Names of other libraries, against those libraries' own networks."""

import functools
import re

import pytest
import timm
import torch
import torchvision
from pytorchcv.model_provider import get_model

from senet_zoo.errors import UsageError, WeightsMismatch
from senet_zoo.formats.dialects import DIALECTS, match, recognise, translate, translate_back
from senet_zoo.formats.dialects.dialect import Rule, backward, forward
from senet_zoo.networks.network import ConvNet
from senet_zoo.networks.registry import MODELS
from senet_zoo.networks.specs import SE

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
    "torchvision vgg11_bn": ("torchvision_chain", "vgg11_bn"),
    "torchvision vgg16_bn": ("torchvision_chain", "vgg16_bn"),
    "torchvision vgg19_bn": ("torchvision_chain", "vgg19_bn"),
    "torchvision alexnet": ("torchvision_chain", "alexnet"),
    "torchvision densenet121": ("torchvision_densenet", "densenet121"),
    "densenet201": ("torchvision_densenet", "densenet201"),
    "pytorchcv seresnet18": ("pytorchcv", "se_resnet18b"),
    "pytorchcv seresnet50b": ("pytorchcv", "se_resnet50b"),
    "pytorchcv resnet50b": ("pytorchcv", "resnet50b"),
    "pytorchcv resneta50b": ("pytorchcv", "resnet50d"),
    "pytorchcv resneta152b": ("pytorchcv", "resnet152d"),
    "pytorchcv seresnext50_32x4d": ("pytorchcv", "se_resnext50b_32x4d"),
    "pytorchcv senet154": ("pytorchcv", "senet154b"),
    "pytorchcv resnet20_cifar10": ("pytorchcv", "resnet20"),
    "pytorchcv seresnet110_cifar10": ("pytorchcv", "se_resnet110"),
    "pytorchcv preresnet20_cifar10": ("pytorchcv", "preresnet20"),
    "pytorchcv preresnet164bn_cifar10": ("pytorchcv", "preresnet164"),
    "pytorchcv wrn28_10_cifar10": ("pytorchcv", "wrn28_10"),
    "pytorchcv sepreresnet18": ("pytorchcv", "se_preresnet18"),
    "pytorchcv sepreresnet50": ("pytorchcv", "se_preresnet50"),
    "pytorchcv mobilenet_w1": ("pytorchcv", "mobilenet"),
    "pytorchcv shufflenet_g3_w1": ("pytorchcv", "shufflenet"),
    "pytorchcv nin_cifar10": ("pytorchcv", "nin"),
    "pytorchcv mnasnet_a1": ("pytorchcv", "se_mnasnet"),
    "pytorchcv densenet201": ("pytorchcv", "densenet201"),
    "pytorchcv bn_vgg19b": ("pytorchcv", "vgg19_bn"),
    "pytorchcv alexnetb": ("pytorchcv", "alexnet"),
    "pytorchcv inceptionv3": ("pytorchcv", "inception_v3"),
    "pytorchcv inceptionv4": ("pytorchcv", "inception_v4"),
    "pytorchcv inceptionresnetv2": ("pytorchcv", "inception_resnet_v2"),
    "inception_v3": ("torchvision_inception", "inception_v3"),
    "inception_v4": ("timm_inception_v4", "inception_v4"),
    "inception_resnet_v2": ("timm_inception_resnet", "inception_resnet_v2"),
    "semnasnet_100": ("timm_mnasnet", "se_mnasnet"),
    "vgg19_bn": ("timm_vgg", "vgg19_bn"),
    "pytorchcv pyramidnet101_a360": ("pytorchcv", "pyramidnet101_a360"),
    "pytorchcv pyramidnet110_a48_cifar10": ("pytorchcv", "pyramidnet110_a48"),
    "pytorchcv pyramidnet164_a270_bn_cifar10": ("pytorchcv", "pyramidnet164_a270"),
    "pytorchcv dpn68": ("pytorchcv", "dpn68"),
    "pytorchcv dpn131": ("pytorchcv", "dpn131"),
    "pytorchcv resattnet92": ("pytorchcv", "attention92"),
    "pytorchcv xception": ("pytorchcv", "xception"),
    "dpn92": ("timm_dpn", "dpn92"),
    "dpn107": ("timm_dpn", "dpn107"),
    "legacy_xception": ("timm_xception", "xception"),
    "pytorchcv seresnet10": ("pytorchcv", "se_resnet10b"),
    "pytorchcv seresnetbc38b": ("pytorchcv", "se_resnetbc38b"),
    "pytorchcv seresnet50": ("pytorchcv", "se_resnet50a"),
    "pytorchcv resnet152": ("pytorchcv", "resnet152a"),
    "pytorchcv senet28": ("pytorchcv", "senet28b"),
    "pytorchcv sepreresnet16": ("pytorchcv", "se_preresnet16"),
    "pytorchcv sepreresnet50b": ("pytorchcv", "se_preresnet50b"),
    "pytorchcv seresnet164bn_cifar10": ("pytorchcv", "se_resnet164"),
    "pytorchcv sepreresnet20_cifar10": ("pytorchcv", "se_preresnet20_cv"),
    "pytorchcv sepreresnet164bn_cifar10": ("pytorchcv", "se_preresnet164_cv"),
    "seresnet18": ("timm_resnet", "se_resnet18b_round8"),
    "seresnext26t_32x4d": ("timm_resnet", "se_resnext26t_32x4d"),
    "semnasnet_075": ("timm_mnasnet", "se_mnasnet_075"),
    "seresnext26ts": ("timm_byobnet", "se_resnext26ts"),
    "seresnet33ts": ("timm_byobnet", "se_resnet33ts"),
    "resnet33ts": ("timm_byobnet", "resnet33ts"),
    "cs3sedarknet_l": ("timm_cspnet", "se_cs3darknet_l"),
    "cs3sedarknet_x": ("timm_cspnet", "se_cs3darknet_x"),
    "cs3se_edgenet_x": ("timm_cspnet", "se_cs3edgenet_x"),
    "cs3edgenet_x": ("timm_cspnet", "cs3edgenet_x"),
}
# Their parts are defined in another order; tests/zoo/test_libraries.py compares their logits.
REORDERED = ("pytorchcv resattnet92", "pytorchcv xception", "legacy_xception", "seresnext26ts", "seresnet33ts",
             "resnet33ts")  # fmt: skip


def shapes(model: torch.nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


@functools.cache
def foreign(name: str) -> torch.nn.Module:
    with torch.device("meta"):
        if name.startswith("torchvision "):
            return torchvision.models.get_model(name.removeprefix("torchvision "), weights=None)
        if name.startswith("pytorchcv "):
            return get_model(name.removeprefix("pytorchcv "))
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


@pytest.mark.parametrize(("name", "expected"), [each for each in FOREIGN.items() if each[0] not in REORDERED])
def test_each_layer_becomes_the_one_of_the_same_place(name, expected):
    """In order of definition the two networks are the same function: tests/models/test_oracles.py proves that."""
    dialect, model = expected
    theirs = shapes(foreign(name))
    names = DIALECTS[dialect].names(theirs)
    assert [names[key] for key in theirs] == list(native(model))


@pytest.mark.parametrize(
    "name", [name for name, (dialect, _) in FOREIGN.items() if DIALECTS[dialect].foreign is not None]
)
def test_a_librarys_own_names_are_written_back(name):
    dialect, model = FOREIGN[name]
    with torch.device("meta"):
        net = ConvNet(MODELS[model].spec())
    pools = [name for name, part in net.named_modules() if isinstance(part, torch.nn.AvgPool2d)]
    back = translate_back(net.state_dict(), DIALECTS[dialect], pools)
    assert {key: tuple(value.shape) for key, value in back.items()} == shapes(foreign(name))


@pytest.mark.parametrize(("name", "expected"), FOREIGN.items(), ids=list(FOREIGN))
def test_a_map_can_be_turned_round(name, expected):
    theirs = shapes(foreign(name))
    names = DIALECTS[expected[0]].names(theirs)
    assert names.keys() == theirs.keys()
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize("name", list(MODELS))
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


LAYER_LISTS = {
    "mmpretrain": lambda key: (
        ("head." if key.startswith("fc") else "backbone.")
        + key.replace(".se.fc1", ".se_layer.conv1.conv").replace(".se.fc2", ".se_layer.conv2.conv")
    ),
    "moskomule": lambda key: key.replace(".se.fc1", ".se.fc.0").replace(".se.fc2", ".se.fc.2"),
    "nvidia": lambda key: re.sub(
        r"^layer(\d)", lambda m: f"layers.{int(m[1]) - 1}", key.replace("se.fc1", "squeeze.squeeze")
    ).replace("se.fc2", "squeeze.expand"),
    "mmpretrain backbone": lambda key: key.replace(".se.fc1", ".se_layer.conv1.conv").replace(
        ".se.fc2", ".se_layer.conv2.conv"
    ),
    "nvidia 20.06": lambda key: key.replace("se.fc1", "squeeze.squeeze").replace("se.fc2", "squeeze.expand"),
}


def renamed(library: str, theirs: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """timm's tensors as a library without installation has them: its published layer list differs in these names."""
    convolved = library.startswith("mmpretrain")
    result = {}
    for key, shape in theirs.items():
        gate = ".se.fc" in key
        if library == "mmpretrain backbone" and key.startswith("fc."):
            continue
        if library == "moskomule" and gate and key.endswith("bias"):
            continue  # its gates have none
        result[LAYER_LISTS[library](key)] = shape[:2] if gate and not convolved else shape
    return result


@pytest.mark.parametrize("library", LAYER_LISTS)
def test_published_layer_lists_are_read(library):
    theirs = renamed(library, shapes(foreign("seresnet50")))
    dialect = recognise(theirs)
    assert dialect.name == library.partition(" ")[0]
    spec = MODELS["se_resnet50b"].spec(SE(bias=False) if library == "moskomule" else None)
    with torch.device("meta"):
        expected = shapes(ConvNet(spec, num_classes=0 if library.endswith("backbone") else 1000))
    assert translate(theirs, dialect) == expected
    assert [dialect.names(theirs)[key] for key in theirs] == list(expected)


def test_moskomules_file_has_as_many_tensors_as_published():
    assert len(renamed("moskomule", shapes(foreign("seresnet50")))) == 352


def test_densenets_of_before_torchvision_0_3_are_read():
    theirs = shapes(foreign("torchvision densenet121"))
    old = {re.sub(r"(denselayer\d+\.)(norm|conv)(\d)", r"\1\2.\3", key): shape for key, shape in theirs.items()}
    assert old != theirs
    assert translate(old, recognise(old)) == native("densenet121")


@pytest.mark.parametrize(
    ("name", "doubt"),
    {
        "pytorchcv resneta50b": "stride in the first 1x1",
        "pytorchcv seresnet50": None,
        "pytorchcv sepreresnet50b": None,
        "pytorchcv seresnet18": None,
        "pytorchcv seresnext50_32x4d": None,
        "pytorchcv preresnet164bn_cifar10": None,
        "pytorchcv shakedropresnet20_cifar10": "shakedropresnet20",
        "pytorchcv preresnet20_cifar10": None,
        "pytorchcv seresnet20_cifar10": None,
        "pytorchcv resnet56_cifar10": None,
        "resnetblur18": "resnetblur18",
        "resnetaa50": "resnetaa50 and resnetblur50",
        "resnetblur50d": "resnetaa50d and resnetblur50d",
        "seresnetaa50d": "seresnetaa50d",
        "resnetaa101d": "resnetaa101d and resnetblur101d",
        "resnet34": None,
        "resnet101": None,
        "resnet152d": None,
        "seresnet50": None,
        "resnext50_32x4d": None,
        "inception_v4": None,
        "dpn68": "an ELU",
        "pytorchcv dpn68": None,
    }.items(),
)
def test_two_functions_of_one_library_under_the_same_names_are_doubted(name, doubt):
    theirs = shapes(foreign(name))
    said = recognise(theirs).ambiguity(theirs)
    assert said is None if doubt is None else doubt in said


def test_a_number_that_would_be_negative_is_no_name():
    rules = [Rule("layer{l+1}.{b}.weight", "stages.{l}.{b}.weight")]
    assert forward(rules, ["layer0.1.weight", "layer01.1.weight", "layer2.0.weight"]) == {
        "layer2.0.weight": "stages.1.0.weight"
    }
    assert backward(rules, ["stages.1.0.weight"]) == {"stages.1.0.weight": "layer2.0.weight"}


def test_two_spellings_of_one_tensor_in_one_file_are_refused():
    theirs = shapes(foreign("torchvision densenet121"))
    theirs["features.denseblock1.denselayer1.norm.1.weight"] = (64,)
    with pytest.raises(WeightsMismatch, match=r"does not know features\.denseblock1\.denselayer1\.norm\.1\.weight"):
        recognise(theirs)


def test_names_that_a_library_lacks_are_not_written():
    net = {key: torch.zeros(shape, device="meta") for key, shape in native("se_mobilenet").items()}
    with pytest.raises(UsageError, match="no such network has tensors for stages"):
        translate_back(net, DIALECTS["timm_resnet"])
    with pytest.raises(UsageError, match="read, not written"):
        translate_back(net, DIALECTS["pytorchcv"])


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
        ([], "of these 0 are known: none"),
    ],
)
def test_names_of_no_dialect_list_the_candidates(keys, message):
    with pytest.raises(WeightsMismatch, match=f"cadene .*timm_resnet.*{message}|{message}"):
        recognise(keys)
