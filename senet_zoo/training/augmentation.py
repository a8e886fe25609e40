"""What happens to a training picture, as frozen values over torchvision v2 transforms.

A recipe's augmentation is a tuple of them, applied from left to right. Those that change pixels rather than the view
come after the normalisation, wherever they stand.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from senet_zoo.data.preprocessing import Preprocessing
from senet_zoo.training.optimizers import require
from senet_zoo.training.randomness import seed_of

if TYPE_CHECKING:
    from torch import Tensor
    from torchvision.transforms.v2 import Transform


class Augmentation(Protocol):
    """One step."""

    normalised: ClassVar[bool] = False  # whether it takes the normalised tensor, and not the picture

    def build(self, side: int, preprocessing: Preprocessing) -> "Transform":
        """Its transform, for training pictures of ``side`` pixels."""
        ...


@dataclass(frozen=True)
class AreaCrop(Augmentation):
    """A rectangle of random area and aspect, resized to the square that the network sees.

    Args:
        area: least and greatest share of the picture.
        aspect: least and greatest ratio of width to height.

    Source: Szegedy et al., Going Deeper with Convolutions, arXiv:1409.4842, section 6.
    """

    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)

    def __post_init__(self) -> None:
        require(0.0 < self.area[0] <= self.area[1] <= 1.0, f"area must be two ascending shares, got {self.area}")
        require(0.0 < self.aspect[0] <= self.aspect[1], f"aspect must be two ascending ratios, got {self.aspect}")

    def build(self, side: int, preprocessing: Preprocessing) -> "Transform":
        from torchvision.transforms import v2

        mode = v2.InterpolationMode(preprocessing.interpolation.value)
        return v2.RandomResizedCrop(side, scale=self.area, ratio=self.aspect, interpolation=mode, antialias=True)


@dataclass(frozen=True)
class PadCrop(Augmentation):
    """The picture at the network's size, with zeros around it, and a square cut out at random.

    Args:
        pad: pixels of zeros on every side of a 32-pixel picture; in proportion for others.
    """

    pad: int = 4

    def __post_init__(self) -> None:
        require(self.pad >= 0, f"pad must be at least 0, got {self.pad}")

    def build(self, side: int, preprocessing: Preprocessing) -> "Transform":
        from torchvision.transforms import v2

        mode = v2.InterpolationMode(preprocessing.interpolation.value)
        resize = v2.Resize(side, interpolation=mode, antialias=True)
        return v2.Compose([resize, v2.CenterCrop(side), v2.RandomCrop(side, padding=round(self.pad * side / 32))])


@dataclass(frozen=True)
class Flip(Augmentation):
    """Left and right exchanged in half of the pictures."""

    def build(self, side: int, preprocessing: Preprocessing) -> "Transform":
        from torchvision.transforms import v2

        return v2.RandomHorizontalFlip()


@dataclass(frozen=True)
class AlternatingFlip(Augmentation):
    """Left and right exchanged in every second epoch of a picture; chance alone says which is its first.

    Two epochs in a row then show every picture both ways, where `Flip` shows half of them twice alike.

    Source: Jordan, 94% on CIFAR-10 in 3.29 Seconds on a Single GPU, arXiv:2404.00498, section 3.6.
    """

    def mirrors(self, seed: int, epoch: int, index: int) -> bool:
        """Whether a picture is mirrored in an epoch."""
        return (seed_of(seed, "first flip", index) + epoch) % 2 == 1

    def build(self, side: int, preprocessing: Preprocessing) -> "Transform":
        from torchvision.transforms import v2

        return v2.Identity()  # the picture comes mirrored: only who reads it knows the epoch


@dataclass(frozen=True)
class Rotate(Augmentation):
    """A turn by a random angle.

    Args:
        degrees: at most, either way.
    """

    degrees: float

    def __post_init__(self) -> None:
        require(0.0 <= self.degrees <= 180.0, f"degrees must be from 0 to 180, got {self.degrees}")

    def build(self, side: int, preprocessing: Preprocessing) -> "Transform":
        from torchvision.transforms import v2

        return v2.RandomRotation((-self.degrees, self.degrees), v2.InterpolationMode.BILINEAR)


@dataclass(frozen=True)
class RandAugment(Augmentation):
    """Some operations out of fourteen, each at one strength.

    Args:
        operations: applied to each picture.
        strength: from 0 to 30.

    Source: Cubuk et al., arXiv:1909.13719.
    """

    operations: int = 2
    strength: int = 9

    def __post_init__(self) -> None:
        require(self.operations >= 1, f"operations must be at least 1, got {self.operations}")
        require(0 <= self.strength <= 30, f"strength must be from 0 to 30, got {self.strength}")

    def build(self, side: int, preprocessing: Preprocessing) -> "Transform":
        from torchvision.transforms import v2

        return v2.RandAugment(self.operations, self.strength, interpolation=v2.InterpolationMode.BILINEAR)


@dataclass(frozen=True)
class PixelJitter(Augmentation):
    """One random value a channel, added to all its pixels.

    Args:
        most: of the value, either way, in steps of 1/255.
    """

    most: float
    normalised: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(0.0 <= self.most <= 255.0, f"most must be from 0 to 255, got {self.most}")

    def build(self, side: int, preprocessing: Preprocessing) -> "Transform":
        import torch
        from torchvision.transforms import v2

        most = self.most / 255.0 / torch.tensor(preprocessing.std)[:, None, None]
        return v2.Lambda(lambda x: x + most * (2.0 * torch.rand(3, 1, 1) - 1.0))


@dataclass(frozen=True)
class Erase(Augmentation):
    """A rectangle of random place and size, set to the mean colour, in some of the pictures.

    Args:
        share: of the pictures.

    Source: Zhong et al., Random Erasing, arXiv:1708.04896.
    """

    share: float
    normalised: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(0.0 <= self.share <= 1.0, f"share must be from 0 to 1, got {self.share}")

    def build(self, side: int, preprocessing: Preprocessing) -> "Transform":
        from torchvision.transforms import v2

        return v2.RandomErasing(self.share)


@dataclass(frozen=True)
class Cutout(Augmentation):
    """A square whose centre lies anywhere in the picture, set to the mean colour.

    Args:
        length: of its side in a 32-pixel picture; in proportion for others.

    Source: DeVries and Taylor, arXiv:1708.04552.
    """

    length: int
    normalised: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require(self.length >= 1, f"length must be at least 1, got {self.length}")

    def build(self, side: int, preprocessing: Preprocessing) -> "Transform":
        import torch
        from torch import Tensor
        from torchvision.transforms import v2

        length = round(self.length * side / 32)

        def cut(x: Tensor) -> Tensor:
            top, left = (int(torch.randint(size, ())) - length // 2 for size in x.shape[-2:])
            x[..., max(top, 0) : max(top + length, 0), max(left, 0) : max(left + length, 0)] = 0.0
            return x

        return v2.Lambda(cut)


def pipeline(steps: tuple[Augmentation, ...], side: int, preprocessing: Preprocessing) -> "Transform":
    """All steps as one transform.

    Shape: a PIL picture -> float32 (3, side, side).
    """
    import torch
    from torchvision.transforms import v2

    return v2.Compose(
        [
            *(step.build(side, preprocessing) for step in steps if not step.normalised),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(preprocessing.mean, preprocessing.std),
            v2.ToPureTensor(),
            *(step.build(side, preprocessing) for step in steps if step.normalised),
        ]
    )


def blended(
    images: "Tensor", labels: "Tensor", num_classes: int, *, mixup: float, cutmix: float
) -> tuple["Tensor", "Tensor"]:
    """A batch blended by mixup or CutMix; where both parameters are above 0, by one of them at random.

    Draws from torch's own generator on the CPU. A picture's partner is of the same batch, so that what is blended
    depends on how many processes and pieces share a step. ``mixup`` and ``cutmix`` are the parameters of their Beta
    distributions; 0 for none.

    Shape: images (N, 3, H, W), labels (N,) -> images of the same shape, and labels (N,) or probabilities
        (N, num_classes).

    Source: Zhang et al., mixup, arXiv:1710.09412; Yun et al., CutMix, arXiv:1905.04899.
    """
    if not (mixup or cutmix):
        return images, labels
    from torchvision.transforms import v2

    ways: list[v2.Transform] = [v2.MixUp(alpha=mixup, num_classes=num_classes)] if mixup else []
    ways += [v2.CutMix(alpha=cutmix, num_classes=num_classes)] if cutmix else []
    images, probabilities = v2.RandomChoice(ways)(images, labels)
    return images, probabilities
