"""Pictures of a batch blended with each other: mixup and CutMix."""

from torch import Tensor

from senet_zoo.training.recipes import TrainRecipe


def mixed(images: Tensor, labels: Tensor, num_classes: int, recipe: TrainRecipe) -> tuple[Tensor, Tensor]:
    """The batch as the recipe blends it; where it names both ways, one of them at random.

    Draws from torch's own generator on the CPU. A picture's partner is of the same batch, so that what is blended
    depends on how many processes and pieces share a step.

    Shape: images (N, 3, H, W), labels (N,) -> images of the same shape, and labels (N,) or probabilities
        (N, num_classes).

    Source: Zhang et al., mixup, arXiv:1710.09412; Yun et al., CutMix, arXiv:1905.04899.
    """
    if not (recipe.mixup or recipe.cutmix):
        return images, labels
    from torchvision.transforms import v2

    ways: list[v2.Transform] = [v2.MixUp(alpha=recipe.mixup, num_classes=num_classes)] if recipe.mixup else []
    ways += [v2.CutMix(alpha=recipe.cutmix, num_classes=num_classes)] if recipe.cutmix else []
    blended, probabilities = v2.RandomChoice(ways)(images, labels)
    return blended, probabilities
