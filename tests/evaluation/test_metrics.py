"""Figures of a few score_pictures, counted by hand and by PyTorch."""

import math

import pytest
import torch
from torch.nn import functional as F

from senet_zoo.data.labels import categories, numbered_classes
from senet_zoo.errors import DataError, UsageError
from senet_zoo.evaluation import Combine, LogitNames, logits_of
from senet_zoo.evaluation.label_matching import match_classes
from senet_zoo.evaluation.metrics import calibration_error, score_pictures


def test_one_view_gives_what_pytorch_gives() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 12, generator=generator) * 3
    labels = torch.randint(12, (50,), generator=generator)
    found = score_pictures(logits[:, None], labels.tolist(), range(50))
    assert [each.index for each in found] == list(range(50))
    assert [each.predicted for each in found] == logits.argmax(1).tolist()
    for k in (1, 5):
        within = (logits.topk(k).indices == labels[:, None]).any(1).tolist()
        assert [each.rank < k for each in found] == within
    losses = F.cross_entropy(logits.double(), labels, reduction="none").tolist()
    assert [each.loss for each in found] == pytest.approx(losses, rel=1e-12)
    top = logits.double().softmax(1).max(1).values.tolist()
    assert [each.confidence for each in found] == pytest.approx(top, rel=1e-12)


def test_views_are_averaged_as_probabilities_or_vote() -> None:
    # Two views prefer class 1 a little, one prefers class 0 a lot.
    p = torch.tensor([[0.98, 0.01, 0.01], [0.4, 0.5, 0.1], [0.3, 0.4, 0.3]])
    mean = score_pictures(p.log()[None], [1], [7])[0]
    assert (mean.index, mean.predicted, mean.rank) == (7, 0, 1)
    assert mean.loss == pytest.approx(-math.log((0.01 + 0.5 + 0.4) / 3), rel=1e-6)
    assert mean.confidence == pytest.approx((0.98 + 0.4 + 0.3) / 3, rel=1e-6)
    vote = score_pictures(p.log()[None], [1], [7], Combine.VOTE)[0]
    assert (vote.predicted, vote.rank) == (1, 0)
    assert vote.loss == pytest.approx(mean.loss, rel=1e-12)
    assert vote.confidence == pytest.approx((0.01 + 0.5 + 0.4) / 3, rel=1e-6)


def test_a_tie_of_votes_is_settled_by_the_mean() -> None:
    p = torch.tensor([[0.9, 0.1], [0.45, 0.55]])
    assert score_pictures(p.log()[None], [0], [0], Combine.VOTE)[0].predicted == 0
    assert score_pictures(p.flip(1).log()[None], [0], [0], Combine.VOTE)[0].predicted == 1


def test_of_equal_scores_the_lower_number_comes_first() -> None:
    found = score_pictures(torch.zeros(3, 1, 4), [0, 1, 3], range(3))
    assert [each.rank for each in found] == [0, 1, 3]
    assert [each.predicted for each in found] == [0, 0, 0]


def test_calibration_error_by_hand() -> None:
    # Of 15 bins: (0.533, 0.6] holds 0.55 and 0.6, half right; (0.8666, 0.9333] holds 0.9, right; (0.9333, 1] holds 1.
    confidences, correct = [0.55, 0.6, 0.9, 1.0], [True, False, True, False]
    by_hand = (2 / 4) * abs(0.5 - 0.575) + (1 / 4) * abs(1 - 0.9) + (1 / 4) * abs(0 - 1.0)
    assert calibration_error(confidences, correct) == pytest.approx(by_hand, rel=1e-12)
    assert calibration_error([1.0, 1.0], [True, True]) == 0.0
    assert calibration_error([0.0, 0.5], [False, True], bins=1) == pytest.approx(0.25)


USUAL = categories("imagenet-1k", 1000)


def test_classes_are_found_by_name_synset_and_number() -> None:
    imagenet = logits_of(USUAL)
    assert match_classes(["Tench", "african_grey", "tench"[:5]][:2], LogitNames(("African grey", "tench"))) == (1, 0)
    # Imagenette's tench, English springer and parachute, as every ImageNet table numbers them.
    assert match_classes(["n01440764", "n02102040", "n03888257"], imagenet) == (0, 217, 701)
    assert [USUAL[i] for i in match_classes(["n01440764", "n02102040", "n03888257"], imagenet)] == [
        "tench",
        "English springer",
        "parachute",
    ]
    assert match_classes(["0", "1", "2"], LogitNames(("cat", "dog", "owl"))) == (0, 1, 2)


def test_the_authors_order_moves_names_and_synsets_together() -> None:
    imagenet, caffe = logits_of(USUAL), logits_of(USUAL, "ilsvrc2017")
    assert (caffe.names[0], caffe.names[1]) == ("kit fox", "English setter")
    assert sorted(caffe.names) == sorted(imagenet.names)
    names = dict(zip(imagenet.synsets or (), imagenet.names, strict=True))
    assert [names[synset] for synset in caffe.synsets or ()] == list(caffe.names)
    assert match_classes(["n02119789"], caffe) == match_classes(["kit fox"], caffe) == (0,)
    with pytest.raises(UsageError, match="ImageNet's 1000 classes, and this network tells 2 apart"):
        logits_of(["cat", "dog"], "ilsvrc2017")
    with pytest.raises(UsageError, match="usual, ilsvrc2017, got 'caffe'"):
        logits_of(USUAL, "caffe")


def test_classes_that_do_not_match_are_listed() -> None:
    with pytest.raises(DataError, match=r"2 of 3 are not: ant, bee\. The network knows cat, dog"):
        match_classes(["ant", "cat", "bee"], LogitNames(("cat", "dog")))
    with pytest.raises(DataError, match=r"1 of 1 are not: 2\."):
        match_classes(["2"], LogitNames(("cat", "dog")))
    with pytest.raises(DataError, match=r"by name or synset, and 1 of 2 are not: n00000000"):
        match_classes(["n01440764", "n00000000"], logits_of(USUAL))


TWINS = LogitNames(("Cardigan", "tench, Tinca tinca", "cardigan", "crane", "crane", "cassette player"))


def test_a_name_that_is_spelt_exactly_alike_comes_first() -> None:
    assert match_classes(["cardigan", "Cardigan"], TWINS) == (2, 0)
    imagenet = logits_of(USUAL)
    assert [USUAL[i] for i in match_classes(["cardigan", "Cardigan", "TENCH"], imagenet)] == [
        "cardigan",
        "Cardigan",
        "tench",
    ]


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("tench", 1),
        ("Tinca tinca", 1),
        ("tench, Tinca tinca", 1),
        ("TINCA_TINCA,tench", 1),
        ("Cassette__Player ", 5),
        ("cassette player, tape machine", 5),
    ],
)
def test_synonyms_between_commas_and_blanks_are_matched(name: str, index: int) -> None:
    assert match_classes([name], TWINS) == (index,)


@pytest.mark.parametrize(
    "name", ["n01440764", "n01440764_tench", "n01440764 tench", "n01440764-x", "tench, Tinca tinca"]
)
def test_synsets_may_stand_before_names(name: str) -> None:
    assert match_classes([name, "n02102040"], logits_of(USUAL)) == (0, 217)


def test_the_message_names_who_failed_and_why() -> None:
    with pytest.raises(DataError, match=r"and 1 of 3 are not: unicorn\. The network knows Cardigan, tench"):
        match_classes(["cardigan", "unicorn", "tench"], TWINS)
    with pytest.raises(DataError, match=r"2 may be several .*: crane \(3: crane, 4: crane\), CARDIGAN \(0: .*synsets"):
        match_classes(["crane", "CARDIGAN", "tench"], TWINS)
    with pytest.raises(DataError, match=r"cardigan, cardigan_ are all 'cardigan': put"):
        match_classes(["cardigan", "cardigan_"], LogitNames(("dog", "cardigan")))


def test_a_network_without_names_takes_numbers_only() -> None:
    nobody = LogitNames(numbered_classes(10))
    assert match_classes(["9", "03", "class 5"][:2], nobody) == (9, 3)
    assert match_classes(["class 5"], nobody) == (5,)
    with pytest.raises(DataError, match="does not name them: call the folders by their numbers, or save it with"):
        match_classes(["cat", "dog"], nobody)
    with pytest.raises(DataError, match="1 of 2 are not: 10"):
        match_classes(["1", "10"], nobody)
