"""Names of classes, and the files of labels that evaluation sets come with."""

import csv
import re
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePath

from senet_zoo.data.picture_paths import HEIF_SUFFIXES, SUFFIXES, picture_suffixes
from senet_zoo.errors import DataError
from senet_zoo.support.files import open_regular

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
NUMBERED = "class {}"  # what a class without a name is called
SYNSET = re.compile(r"n\d{8}")
MAX_CLASSES = 10**6
MOST_LETTERS = 1000  # of a class's name
MOST_BYTES = 2**30  # of a file of labels or classes
_MISSING = frozenset({"nan", "<na>", "#n/a", "n/a", "null"})  # in lower case
_NEGATIVE = re.compile(r"-\d+(\.0*)?")
_NUMBER = re.compile(r"\d+(\.\d*)?", re.ASCII)
_QUOTED = re.compile(r'"([^"]+)"\s+(\S.*)')


CIFAR100 = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish",
    "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
    "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange",
    "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine",
    "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
    "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
    "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
    "willow_tree", "wolf", "woman", "worm",
)  # fmt: skip
"""CIFAR-100's fine labels, in their order."""

CUB = (
    "Black_footed_Albatross", "Laysan_Albatross", "Sooty_Albatross", "Groove_billed_Ani", "Crested_Auklet",
    "Least_Auklet", "Parakeet_Auklet", "Rhinoceros_Auklet", "Brewer_Blackbird", "Red_winged_Blackbird",
    "Rusty_Blackbird", "Yellow_headed_Blackbird", "Bobolink", "Indigo_Bunting", "Lazuli_Bunting", "Painted_Bunting",
    "Cardinal", "Spotted_Catbird", "Gray_Catbird", "Yellow_breasted_Chat", "Eastern_Towhee", "Chuck_will_Widow",
    "Brandt_Cormorant", "Red_faced_Cormorant", "Pelagic_Cormorant", "Bronzed_Cowbird", "Shiny_Cowbird",
    "Brown_Creeper", "American_Crow", "Fish_Crow", "Black_billed_Cuckoo", "Mangrove_Cuckoo", "Yellow_billed_Cuckoo",
    "Gray_crowned_Rosy_Finch", "Purple_Finch", "Northern_Flicker", "Acadian_Flycatcher", "Great_Crested_Flycatcher",
    "Least_Flycatcher", "Olive_sided_Flycatcher", "Scissor_tailed_Flycatcher", "Vermilion_Flycatcher",
    "Yellow_bellied_Flycatcher", "Frigatebird", "Northern_Fulmar", "Gadwall", "American_Goldfinch",
    "European_Goldfinch", "Boat_tailed_Grackle", "Eared_Grebe", "Horned_Grebe", "Pied_billed_Grebe",
    "Western_Grebe", "Blue_Grosbeak", "Evening_Grosbeak", "Pine_Grosbeak", "Rose_breasted_Grosbeak",
    "Pigeon_Guillemot", "California_Gull", "Glaucous_winged_Gull", "Heermann_Gull", "Herring_Gull", "Ivory_Gull",
    "Ring_billed_Gull", "Slaty_backed_Gull", "Western_Gull", "Anna_Hummingbird", "Ruby_throated_Hummingbird",
    "Rufous_Hummingbird", "Green_Violetear", "Long_tailed_Jaeger", "Pomarine_Jaeger", "Blue_Jay", "Florida_Jay",
    "Green_Jay", "Dark_eyed_Junco", "Tropical_Kingbird", "Gray_Kingbird", "Belted_Kingfisher", "Green_Kingfisher",
    "Pied_Kingfisher", "Ringed_Kingfisher", "White_breasted_Kingfisher", "Red_legged_Kittiwake", "Horned_Lark",
    "Pacific_Loon", "Mallard", "Western_Meadowlark", "Hooded_Merganser", "Red_breasted_Merganser", "Mockingbird",
    "Nighthawk", "Clark_Nutcracker", "White_breasted_Nuthatch", "Baltimore_Oriole", "Hooded_Oriole",
    "Orchard_Oriole", "Scott_Oriole", "Ovenbird", "Brown_Pelican", "White_Pelican", "Western_Wood_Pewee",
    "Sayornis", "American_Pipit", "Whip_poor_Will", "Horned_Puffin", "Common_Raven", "White_necked_Raven",
    "American_Redstart", "Geococcyx", "Loggerhead_Shrike", "Great_Grey_Shrike", "Baird_Sparrow",
    "Black_throated_Sparrow", "Brewer_Sparrow", "Chipping_Sparrow", "Clay_colored_Sparrow", "House_Sparrow",
    "Field_Sparrow", "Fox_Sparrow", "Grasshopper_Sparrow", "Harris_Sparrow", "Henslow_Sparrow", "Le_Conte_Sparrow",
    "Lincoln_Sparrow", "Nelson_Sharp_tailed_Sparrow", "Savannah_Sparrow", "Seaside_Sparrow", "Song_Sparrow",
    "Tree_Sparrow", "Vesper_Sparrow", "White_crowned_Sparrow", "White_throated_Sparrow", "Cape_Glossy_Starling",
    "Bank_Swallow", "Barn_Swallow", "Cliff_Swallow", "Tree_Swallow", "Scarlet_Tanager", "Summer_Tanager",
    "Artic_Tern", "Black_Tern", "Caspian_Tern", "Common_Tern", "Elegant_Tern", "Forsters_Tern", "Least_Tern",
    "Green_tailed_Towhee", "Brown_Thrasher", "Sage_Thrasher", "Black_capped_Vireo", "Blue_headed_Vireo",
    "Philadelphia_Vireo", "Red_eyed_Vireo", "Warbling_Vireo", "White_eyed_Vireo", "Yellow_throated_Vireo",
    "Bay_breasted_Warbler", "Black_and_white_Warbler", "Black_throated_Blue_Warbler", "Blue_winged_Warbler",
    "Canada_Warbler", "Cape_May_Warbler", "Cerulean_Warbler", "Chestnut_sided_Warbler", "Golden_winged_Warbler",
    "Hooded_Warbler", "Kentucky_Warbler", "Magnolia_Warbler", "Mourning_Warbler", "Myrtle_Warbler",
    "Nashville_Warbler", "Orange_crowned_Warbler", "Palm_Warbler", "Pine_Warbler", "Prairie_Warbler",
    "Prothonotary_Warbler", "Swainson_Warbler", "Tennessee_Warbler", "Wilson_Warbler", "Worm_eating_Warbler",
    "Yellow_Warbler", "Northern_Waterthrush", "Louisiana_Waterthrush", "Bohemian_Waxwing", "Cedar_Waxwing",
    "American_Three_toed_Woodpecker", "Pileated_Woodpecker", "Red_bellied_Woodpecker", "Red_cockaded_Woodpecker",
    "Red_headed_Woodpecker", "Downy_Woodpecker", "Bewick_Wren", "Cactus_Wren", "Carolina_Wren", "House_Wren",
    "Marsh_Wren", "Rock_Wren", "Winter_Wren", "Common_Yellowthroat",
)  # fmt: skip
"""The birds of CUB-200-2011 by the names of its folders, in the order of their numbers."""


def categories(labels: str, num_classes: int) -> tuple[str, ...]:
    """Names of the classes in the order of the logits.

    Args:
        labels: ``cifar10``, ``cifar100``, ``cub``, ``svhn``, ``imagenette`` or ``imagenet-1k``; the classes of any
            other set are named by number.
        num_classes: how many there are.

    Source: CIFAR's, CUB's and SVHN's own names; torchvision's metadata for ImageNet-1k and Imagenette.
    """
    if labels == "cifar10":
        return CIFAR10
    if labels == "cifar100":
        return CIFAR100
    if labels == "cub":
        return CUB
    if labels == "svhn":
        return tuple("0123456789")
    if labels == "imagenette":
        return tuple(IMAGENETTE.values())
    if labels == "imagenet-1k":
        from torchvision.models import ResNet50_Weights

        names: list[str] = ResNet50_Weights.IMAGENET1K_V1.meta["categories"]
        return tuple(names)
    return numbered_classes(num_classes)


def numbered_classes(count: int) -> tuple[str, ...]:
    """Names of classes that have none of their own."""
    return tuple(NUMBERED.format(index) for index in range(count))


@dataclass(frozen=True)
class Row:
    """A line of a file of labels: its number from 1, and its cells."""

    line: int
    cells: Sequence[str]

    @property
    def label(self) -> str:
        """The last cell: a class's name or number."""
        return self.cells[-1]


def read_labels(
    labels: Path, classes: Path | None, pictures: tuple[str, ...], first: int = 0
) -> tuple[tuple[str, ...], tuple[int, ...], tuple[str, ...]]:
    """Read a file of labels.

    A line is ``name label``, with a tab between them or quotes around the name where it has blanks; or, in a ``.csv``,
    a ``.tsv``, and wherever a comma, semicolon or bar follows a picture's name, ``name,label``, where the first line
    may be a head: one that is no picture's name and has a label that no other line has; or a label alone, for the
    pictures sorted by name. A label is a class's name or number.

    Args:
        labels: the file.
        classes: a file with a line for each class in the order of the numbers; a line that starts with a WordNet
            synset (``n02119789 1 kit_fox``) names the class by it. Without the file, named classes are sorted, and
            numbered ones are called by their number.
        pictures: names of the pictures that lie there.
        first: number of the first class in a file of labels alone; any but 0 needs ``classes``.

    Returns:
        Names of the labelled pictures, their labels, and the classes.

    Raises:
        DataError: a file breaks these rules, leaves a label empty, or names a picture that is not there.
    """
    rows = _rows(labels, pictures)
    for row in rows:
        _require_label(labels, row)
    if all(len(row.cells) == 1 for row in rows):
        if len(rows) != len(pictures):
            raise DataError(
                f"{labels} must have a line for each picture, and has {len(rows)} for {len(pictures)}: write "
                "`name label` on each line to label some of them"
            )
        names = tuple(sorted(pictures))
    else:
        first = 0
        names = tuple(row.cells[0] for row in rows)
        _require_pictures(labels, names, pictures)
    words = [row.label for row in rows]
    known = _read_classes(classes) if classes else None
    if all(_NUMBER.fullmatch(word) for word in words):
        if first and known is None:
            raise DataError(
                f"{labels} numbers classes from {first} in an order of its own: name the file of that order, such as "
                "map_clsloc.txt of the development kit (--classes, or classes=)"
            )
        numbers = [_number(labels, row) - first for row in rows]
        return names, tuple(numbers), known or tuple(str(number) for number in range(max(numbers) + 1))
    known = known or tuple(sorted(set(words)))
    place = {name: index for index, name in enumerate(known)}
    strange = sorted(set(words) - set(known))
    if strange:
        raise DataError(f"{labels} must label with the classes of {classes}, and {strange[0]!r} is none of them")
    return names, tuple(place[word] for word in words), known


def _require_label(path: Path, row: Row) -> None:
    """Refuse what programs write where there is no label, and what no class is called."""
    if not row.label or row.label.casefold() in _MISSING or _NEGATIVE.fullmatch(row.label):
        raise DataError(
            f"{path}, line {row.line}: a picture must have a label, the name or the number of a class, got "
            f"{row.label!r}: remove the line, or label the picture"
        )
    if len(row.label) > MOST_LETTERS and not _NUMBER.fullmatch(row.label):
        raise DataError(
            f"{path}, line {row.line}: a class's name may have {MOST_LETTERS} letters, and that of {row.label[:40]}... "
            f"has {len(row.label):,}: check the file"
        )


def _require_pictures(path: Path, names: Sequence[str], pictures: Sequence[str]) -> None:
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise DataError(
            f"{path} must label a picture once, and {name!r} stands there "
            f"{'twice' if count == 2 else f'{count} times'}: remove a line"
        )
    absent = sorted(set(names) - set(pictures))
    if absent:
        way = f"names look like {min(pictures)!r}"
        if PurePath(absent[0]).suffix.lower() in HEIF_SUFFIXES - picture_suffixes():
            way = "HEIC is read where pillow-heif is installed: pip install 'senet-zoo[heif]'"
        raise DataError(
            f"{path} must name pictures that are there, and {len(absent)} are not, such as {absent[0][:200]!r}; {way}"
        )


def _number(path: Path, row: Row) -> int:
    digits = row.label.lstrip("0")
    if not row.label.isdecimal():
        raise DataError(
            f"{path}, line {row.line}: a class's number must be a whole one, got {row.label[:40]!r}: write "
            "1 and not 1.0"
        )
    if len(digits) >= len(str(MAX_CLASSES)):
        raise DataError(
            f"{path}, line {row.line}: it must number classes below {MAX_CLASSES}, and has {row.label[:40]}"
            + ("..." if len(row.label) > 40 else "")
        )
    return int(digits or "0")


def _rows(path: Path, pictures: Sequence[str]) -> list[Row]:
    numbered, suffix = _lines(path), path.suffix.lower()
    delimiter = "\t" if suffix == ".tsv" else _delimiter(numbered, set(pictures))
    if delimiter is None and suffix == ".csv":
        delimiter = next((mark for mark in ",;\t" if mark in numbered[0][1]), ",")
    if delimiter is None:
        rows = [Row(number, _cells(line)) for number, line in numbered]
    else:
        rows = _without_head(_table(path, numbered, delimiter), set(pictures))
    wide = next((row for row in rows if len(row.cells) not in (1, 2) or len(row.cells) != len(rows[0].cells)), None)
    if wide is not None:
        raise DataError(
            f"{path}, line {wide.line}: there must be `name label`, `name,label` or one label on every line, got "
            f"{str(list(wide.cells))[:200]}"
        )
    return rows


def _delimiter(numbered: Sequence[tuple[int, str]], pictures: Set[str]) -> str | None:
    """What stands between a picture's name and its label, whatever the file is called; None for blanks alone."""
    for mark in ",;|":
        for _, line in numbered[:2]:  # the first may be a head
            name = line.partition(mark)[0].strip().strip('"') if mark in line else ""
            if name in pictures or PurePath(name).suffix.lower() in SUFFIXES | HEIF_SUFFIXES:
                return mark
    return None


def _table(path: Path, numbered: Sequence[tuple[int, str]], delimiter: str) -> list[Row]:
    reader = csv.reader((line for _, line in numbered), delimiter=delimiter, skipinitialspace=True)
    rows: list[Row] = []
    try:
        for cells in reader:
            number, line = numbered[len(rows)]
            if reader.line_num > len(rows) + 1:
                raise DataError(f"{path}, line {number}: a quote must be closed in its line, got {line[:200]!r}")
            rows.append(Row(number, [cell.strip() for cell in cells]))
    except csv.Error as error:
        raise DataError(
            f"{path}, line {numbered[len(rows)][0]}: a line must be `name,label`, and this one cannot be read: {error}"
        ) from error
    return rows


def _without_head(rows: list[Row], pictures: Set[str]) -> list[Row]:
    head, rest = rows[0], rows[1:]
    others = {row.label for row in rest}
    if not rest or _NUMBER.fullmatch(head.label) or not head.label or head.label in others:
        return rows
    if len(head.cells) == 1:
        return rest if len(rest) == len(pictures) else rows
    name = head.cells[0]
    is_picture = name in pictures or PurePath(name).suffix.lower() in SUFFIXES | HEIF_SUFFIXES
    return rows if is_picture else rest


def _cells(line: str) -> Sequence[str]:
    quoted = _QUOTED.fullmatch(line)
    cells = quoted.groups() if quoted else line.split("\t" if "\t" in line else None, maxsplit=1)
    return [cell[1:-1] if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell for cell in map(str.strip, cells)]


def _read_classes(path: Path) -> tuple[str, ...]:
    lines = [line for _, line in _lines(path)]
    words = (line.split(maxsplit=1)[0] for line in lines)
    return tuple(word if SYNSET.fullmatch(word) else line for word, line in zip(words, lines, strict=True))


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines that are not blank, each with its number."""
    try:
        with open_regular(path) as file:
            text = file.read(MOST_BYTES + 1)
        lines = text.decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"a file of labels or classes must be readable text in UTF-8, and {path} is not: "
            f"{(error.strerror if isinstance(error, OSError) else None) or error}"
        ) from error
    if len(text) > MOST_BYTES:
        raise DataError(f"a file of labels or classes may have {MOST_BYTES} bytes, and {path} has more")
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise DataError(f"a file of labels or classes must have a line, and {path} is empty")
    return numbered
