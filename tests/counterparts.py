"""Networks of other libraries that are the functions of the zoo's names; tests and the documentation site read this."""

TIMM = {
    "se_resnet18": "legacy_seresnet18",
    "se_resnet34": "legacy_seresnet34",
    "se_resnet50": "legacy_seresnet50",
    "se_resnet101": "legacy_seresnet101",
    "se_resnet152": "legacy_seresnet152",
    "se_resnext26_32x4d": "legacy_seresnext26_32x4d",
    "se_resnext50_32x4d": "legacy_seresnext50_32x4d",
    "se_resnext101_32x4d": "legacy_seresnext101_32x4d",
    "senet154": "legacy_senet154",
    "senet154b": "senet154",
    "se_resnet50b": "seresnet50",
    "se_resnet101b": "seresnet101",
    "se_resnet152b": "seresnet152",
    "se_resnext50b_32x4d": "seresnext50_32x4d",
    "se_resnext101b_32x4d": "seresnext101_32x4d",
    "se_resnext101b_64x4d": "seresnext101_64x4d",
    "se_resnext101b_32x8d": "seresnext101_32x8d",
    "se_resnet50t": "seresnet50t",
    "se_resnet152d": "seresnet152d",
    "se_resnet200d": "seresnet200d",
    "se_resnet269d": "seresnet269d",
    "se_resnext26d_32x4d": "seresnext26d_32x4d",
    "se_resnext101d_32x8d": "seresnext101d_32x8d",
    "se_resnextaa101d_32x8d": "seresnextaa101d_32x8d",
    "se_resnextaa201d_32x8d": "seresnextaa201d_32x8d",
    "resnet50d": "resnet50d",
    "resnet101d": "resnet101d",
    "resnet50t": "resnet50t",
    "resnet152d": "resnet152d",
    "resnet200d": "resnet200d",
    "resnext50d_32x4d": "resnext50d_32x4d",
    "se_mnasnet": "semnasnet_100",
    "se_mnasnet_050": "semnasnet_050",
    "se_mnasnet_075": "semnasnet_075",
    "se_mnasnet_140": "semnasnet_140",
    "se_resnext26t_32x4d": "seresnext26t_32x4d",
    "se_resnet18b_round8": "seresnet18",
    "se_resnet34b_round8": "seresnet34",
    "se_resnext26ts": "seresnext26ts",
    "se_resnet33ts": "seresnet33ts",
    "se_cs3darknet_l": "cs3sedarknet_l",
    "se_cs3darknet_x": "cs3sedarknet_x",
    "se_cs3edgenet_x": "cs3se_edgenet_x",
    **{name: name for name in ("cs3darknet_l", "cs3darknet_x", "cs3edgenet_x")},
    "inception_v4": "inception_v4",
    "inception_resnet_v2": "inception_resnet_v2",
}

LEGACY_WITHOUT_GATES = {
    "resnet50": "legacy_seresnet50",
    "resnet101": "legacy_seresnet101",
    "resnet152": "legacy_seresnet152",
    "resnext26_32x4d": "legacy_seresnext26_32x4d",
    "resnext50_32x4d": "legacy_seresnext50_32x4d",
    "resnext101_32x4d": "legacy_seresnext101_32x4d",
    "net154": "legacy_senet154",
}

TORCHVISION = {
    "resnet18b": "resnet18",
    "resnet34b": "resnet34",
    "resnet50b": "resnet50",
    "resnet101b": "resnet101",
    "resnet152b": "resnet152",
    "resnext50b_32x4d": "resnext50_32x4d",
    "resnext101b_32x8d": "resnext101_32x8d",
    "resnext101b_64x4d": "resnext101_64x4d",
    "vgg11_bn": "vgg11_bn",
    "vgg13_bn": "vgg13_bn",
    "vgg16_bn": "vgg16_bn",
    "vgg19_bn": "vgg19_bn",
    "alexnet": "alexnet",
    "densenet121": "densenet121",
    "densenet169": "densenet169",
    "densenet201": "densenet201",
}

PYTORCHCV = {
    "mobilenet": "mobilenet_w1",
    "shufflenet": "shufflenet_g3_w1",
    "se_resnet20": "seresnet20_cifar10",
    "se_resnet56": "seresnet56_cifar10",
    "se_resnet110": "seresnet110_cifar10",
    "resnet20": "resnet20_cifar10",
    "resnet56": "resnet56_cifar10",
    "resnet110": "resnet110_cifar10",
    "nin": "nin_cifar10",
    "preresnet20": "preresnet20_cifar10",
    "preresnet56": "preresnet56_cifar10",
    "preresnet110": "preresnet110_cifar10",
    "preresnet164": "preresnet164bn_cifar10",
    "wrn28_10": "wrn28_10_cifar10",
}

PYTORCHCV_PREACTIVATION = {
    f"{gated}preresnet{depth}": f"{gated.removesuffix('_')}preresnet{depth}"
    for gated in ("se_", "")
    for depth in ("18", "34", "50", "101", "152", "200", "200b")
}

PYTORCHCV_DEPTHS = {
    f"{gated}{ours}": f"{gated.removesuffix('_')}{theirs}"
    for gated in ("se_", "")
    for ours, theirs in (
        *((f"resnet{depth}b", f"resnet{depth}") for depth in ("10", "12", "14", "16", "26")),
        *((f"resnetbc{depth}b", f"resnetbc{depth}b") for depth in ("14", "26", "38")),
        *((f"resnet{depth}a", f"resnet{depth}") for depth in ("50", "101", "152")),
        *((f"preresnet{depth}", f"preresnet{depth}") for depth in ("10", "12", "14", "16", "26")),
        *((f"preresnet{depth}b", f"preresnet{depth}b") for depth in ("bc14", "bc26", "bc38", "50", "101", "152")),
    )
} | {"senet16b": "senet16", "senet28b": "senet28"}

PYTORCHCV_CIFAR_DEPTHS = {
    **{f"{gated}resnet{depth}": f"{gated.removesuffix('_')}resnet{depth}bn_cifar10"
       for gated in ("se_", "") for depth in ("164", "272", "542")},
    **{f"se_preresnet{depth}_cv": f"sepreresnet{depth}_cifar10" for depth in ("20", "56", "110")},
    **{f"se_preresnet{depth}_cv": f"sepreresnet{depth}bn_cifar10" for depth in ("164", "272", "542")},
}  # fmt: skip

PYRAMIDAL_CIFAR = {
    "pyramidnet110_a48": "pyramidnet110_a48_cifar10",
    "pyramidnet110_a84": "pyramidnet110_a84_cifar10",
    "pyramidnet110_a270": "pyramidnet110_a270_cifar10",
    "pyramidnet164_a270": "pyramidnet164_a270_bn_cifar10",
    "pyramidnet200_a240": "pyramidnet200_a240_bn_cifar10",
    "pyramidnet236_a220": "pyramidnet236_a220_bn_cifar10",
    "pyramidnet272_a200": "pyramidnet272_a200_bn_cifar10",
}


def counterparts(name: str) -> list[str]:
    """The networks of other libraries whose logits the tests compare with this one's, by library and name."""
    found = [f"timm `{TIMM[name]}`"] if name in TIMM else []
    found += [f"timm `{LEGACY_WITHOUT_GATES[name]}` without its gates"] if name in LEGACY_WITHOUT_GATES else []
    found += [f"torchvision `{TORCHVISION[name]}`"] if name in TORCHVISION else []
    tables = (PYTORCHCV, PYTORCHCV_PREACTIVATION, PYTORCHCV_DEPTHS, PYTORCHCV_CIFAR_DEPTHS, PYRAMIDAL_CIFAR)
    return found + [f"pytorchcv `{table[name]}`" for table in tables if name in table]
