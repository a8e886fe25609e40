"""Names of classes, in the order of the logits."""

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

IMAGENETTE = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
"""Ten of ImageNet's classes by their WordNet ids, which name the folders of the data set."""


def categories(labels: str, num_classes: int) -> tuple[str, ...]:
    """Class names of a label set.

    Args:
        labels: ``cifar10``, ``imagenette``, ``imagenet-1k``, or another set, whose classes are then named by number.
        num_classes: how many there are.

    Source: CIFAR-10's own names; torchvision's metadata for ImageNet-1k, from which Imagenette's names are, too.
    """
    if labels == "cifar10":
        return CIFAR10
    if labels == "imagenette":
        return tuple(IMAGENETTE.values())
    if labels == "imagenet-1k":
        from torchvision.models import ResNet50_Weights

        names: list[str] = ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
        return tuple(names)
    return tuple(f"class {index}" for index in range(num_classes))
