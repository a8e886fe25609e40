"""Names of classes, in the order of the logits."""

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def categories(labels: str, num_classes: int) -> tuple[str, ...]:
    """Class names of a label set.

    Args:
        labels: ``cifar10``, ``imagenet-1k``, or another set, whose classes are then named by number.
        num_classes: how many there are.

    Source: CIFAR-10's own names; torchvision's metadata for ImageNet-1k.
    """
    if labels == "cifar10":
        return CIFAR10
    if labels == "imagenet-1k":
        from torchvision.models import ResNet50_Weights

        names: list[str] = ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
        return tuple(names)
    return tuple(f"class {index}" for index in range(num_classes))
