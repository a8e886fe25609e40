"""A variant goes into words and JSON and comes back as it was; what is not understood is named."""

import dataclasses
import itertools
import json
from enum import Enum

import pytest

from senet_zoo import SE
from senet_zoo.errors import UsageError
from senet_zoo.networks.squeeze_excite import Activation, GateFunction, Placement, Squeeze, Start
from senet_zoo.weights.variant import from_json, parse, to_json, to_text

STAGES = [None, *(kept for n in range(1, 7) for kept in itertools.combinations(range(1, 7), n)), (9, 10, 11), (99,)]
CHOICES = {
    "reduction": [1, 2, 4, 8, 16, 32, 17, 2048],
    "bias": [True, False],
    "placement": list(Placement),
    "squeeze": list(Squeeze),
    "activation": list(Activation),
    "gate": list(GateFunction),
    "start": list(Start),
    "stages": STAGES,
    "without": [(), ((2, 1),), ((2, 3), (4, 6), (5, 1)), ((9, 10), (10, 9))],
    "hidden": [None, 1, 16, 2048],
}


def every_variant() -> list[SE]:
    """Every combination of the choices that are words, each with a few numbers, and every number on its own."""
    kinds = [name for name, choices in CHOICES.items() if name not in ("reduction", "stages", "without", "hidden")]
    combined = [
        SE(reduction=reduction, stages=stages, **dict(zip(kinds, values, strict=True)))
        for values in itertools.product(*(CHOICES[name] for name in kinds))
        for reduction, stages in ((16, None), (8, (2, 3, 4)))
    ]
    numbers = [SE(reduction=r, stages=s) for r in CHOICES["reduction"] for s in STAGES]
    blocks = [SE(stages=s, without=blocks) for s in STAGES for blocks in CHOICES["without"][1:]]
    widths = [SE(bias=bias, hidden=hidden) for bias in (True, False) for hidden in CHOICES["hidden"][1:]]
    return [*combined, *numbers, *blocks, *widths]


def test_every_field_is_covered() -> None:
    assert list(CHOICES) == [field.name for field in dataclasses.fields(SE)]
    for choices in CHOICES.values():
        if isinstance(choices[0], Enum):
            assert choices == list(type(choices[0]))


def test_every_variant_comes_back_from_words_and_json() -> None:
    variants = every_variant()
    for se in variants:
        assert parse(to_text(se)) == se
        assert from_json(json.loads(json.dumps(to_json(se)))) == se
    assert len({to_text(se) for se in variants}) == len(set(variants))


@pytest.mark.parametrize(
    ("text", "se"),
    [
        ("standard", SE()),
        (" standard ", SE()),
        ("placement=standard", SE()),
        ("reduction=8,placement=pre,stages=2-4", SE(reduction=8, placement=Placement.PRE, stages=(2, 3, 4))),
        (" reduction = 8 , bias = false ", SE(reduction=8, bias=False)),
        ("reduction=08", SE(reduction=8)),
        ("stages=3", SE(stages=(3,))),
        ("stages=2+5", SE(stages=(2, 5))),
        ("stages=2-3+5", SE(stages=(2, 3, 5))),
        ("stages=2+3+4", SE(stages=(2, 3, 4))),
        ("stages=4-4", SE(stages=(4,))),
        ("stages=all", SE()),
        ("without=4_6", SE(without=((4, 6),))),
        ("without=4_6 + 5_1,stages=4-5", SE(stages=(4, 5), without=((4, 6), (5, 1)))),
        ("gate=hard_sigmoid,activation=gelu", SE(gate=GateFunction.HARD_SIGMOID, activation=Activation.GELU)),
        ("squeeze=both,start=identity", SE(squeeze=Squeeze.BOTH, start=Start.IDENTITY)),
    ],
)  # fmt: skip
def test_words_are_understood(text: str, se: SE) -> None:
    assert parse(text) == se


@pytest.mark.parametrize(
    ("se", "text"),
    [
        (SE(), "standard"),
        (SE(reduction=8), "reduction=8"),
        (SE(hidden=16), "hidden=16"),
        (SE(bias=False, placement=Placement.INNER), "bias=false,placement=inner"),
        (SE(stages=(2, 3, 4)), "stages=2-4"),
        (SE(stages=(2, 4, 5)), "stages=2+4-5"),
        (SE(without=((4, 6), (5, 1))), "without=4_6+5_1"),
    ],
)
def test_only_what_differs_is_spelt(se: SE, text: str) -> None:
    assert to_text(se) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "word=value pairs"),
        ("reduction", "got 'reduction'"),
        ("reduction=", "got 'reduction='"),
        ("=8", "got '=8'"),
        ("reduction=8,,bias=true", "got ''"),
        ("standard,bias=true", "got 'standard'"),
        ("reducton=8", "'reducton'; did you mean reduction?"),
        ("r=8", "choose among reduction, bias, placement"),
        ("Reduction=8", "did you mean reduction?"),
        ("reduction=8,reduction=4", "reduction twice"),
        ("reduction=0", "at least 1"),
        ("reduction=-8", "whole number, such as 16, got '-8'"),
        ("reduction=8.0", "whole number"),
        ("reduction=\u0668", "whole number"),
        ("reduction=9999999", "whole number"),
        ("bias=no", "bias=... does not know 'no'; choose among true, false"),
        ("bias=False", "did you mean false?"),
        ("placement=before", "choose among standard, pre, post, identity, inner"),
        ("placement=idenity", "did you mean identity?"),
        ("gate=sigmod", "did you mean sigmoid"),
        ("squeeze=None", "did you mean none?"),
        ("stages=", "got 'stages='"),
        ("stages=4-2", "ascending order: 3, 2-4, 2+5 or all, got '4-2'"),
        ("stages=3+2", "ascending order"),
        ("stages=2+2", "ascending order"),
        ("stages=0", "ascending order"),
        ("stages=2-", "ascending order"),
        ("stages=two", "ascending order"),
        ("stages=1-99999999999", "ascending order"),
        ("without=4", "stage_block in ascending order: 4_6 or 4_6+5_1, got '4'"),
        ("without=5_1+4_6", "ascending order"),
        ("without=4_6+4_6", "ascending order"),
        ("without=0_1", "ascending order"),
    ],
)
def test_what_is_not_understood_is_named(text: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse(text)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"reducton": 8}, "did you mean reduction?"),
        ({1: 8}, "choose among reduction"),
        ({"reduction": "8"}, "of type int"),
        ({"reduction": True}, "of type int"),
        ({"reduction": 8.0}, "of type int"),
        ({"reduction": None}, "of type int"),
        ({"bias": 1}, "of type bool"),
        ({"placement": "Pre"}, "placement=... does not know 'Pre'; did you mean pre"),
        ({"placement": None}, "choose among standard, pre"),
        ({"squeeze": ["mean"]}, "choose among mean, max, both, none"),
        ({"stages": "2-4"}, "a list of stage numbers, or null"),
        ({"stages": 3}, "a list of stage numbers, or null"),
        ({"stages": []}, "tuple of stage numbers"),
        ({"stages": [2.0]}, "tuple of stage numbers"),
        ({"stages": [[2]]}, "tuple of stage numbers"),
        ({"without": None}, "a list of [stage, block]"),
        ({"without": ["4_6"]}, "a list of [stage, block]"),
        ({"without": [[4, 6.0]]}, "tuple of (stage, block)"),
        ({"without": [[4, 6, 1]]}, "tuple of (stage, block)"),
        ({"without": [[5, 1], [4, 6]]}, "ascending order"),
        (["reduction"], "a JSON object"),
    ],
)
def test_json_is_read_strictly(mapping: object, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        from_json(mapping)  # type: ignore[arg-type]
    assert message in str(raised.value)


def test_a_field_that_a_file_lacks_is_the_papers() -> None:
    assert from_json({}) == SE()
    assert from_json({"reduction": 4}) == SE(reduction=4)
