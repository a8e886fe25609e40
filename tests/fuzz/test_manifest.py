"""Whatever the text, the reader of manifests gives rows or a typed error."""

import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from fuzz.judge import judge
from fuzz.spoiling import MOST_BYTES, edited, json_texts
from hub.places import TREE
from hypothesis import example, given
from hypothesis import strategies as st

from senet_zoo.weights.manifest import load_manifest

WHOLE = json.loads((TREE / "weights_manifest.json").read_text())
SMALL = WHOLE | {"models": {name: WHOLE["models"][name] for name in ("se_resnet20", "se_resnet50")}}
HOLE = "what is filled with any text"
Way = tuple[Any, ...]


def ways(item: object, way: Way = ()) -> list[Way]:
    """The way to every value below, names and places in lists."""
    items = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
    return [way, *(below for step, value in items for below in ways(value, (*way, step)))]


WAYS = ways(SMALL)[1:]
names = st.sampled_from([way for way in WAYS if isinstance(way[-1], str)])
items = st.sampled_from([way for way in WAYS if isinstance(way[-1], int)])


def spoilt(way: Way, spoil: Callable[[Any, Any], None]) -> str:
    """A manifest after ``spoil`` had the object or list that holds a value, and where in it the value is."""
    document = deepcopy(SMALL)
    holder = document
    for step in way[:-1]:
        holder = holder[step]
    spoil(holder, way[-1])
    return json.dumps(document)


def with_value(way: Way, text: str) -> str:
    return spoilt(way, lambda holder, last: holder.__setitem__(last, HOLE)).replace(json.dumps(HOLE), text)


def with_name(way: Way, name: str) -> str:
    return spoilt(way, lambda holder, last: holder.__setitem__(name, holder.pop(last)))


def with_items(way: Way) -> str:
    def lengthen(holder: list[object], place: int) -> None:
        holder.extend([holder[place]] * (MOST_BYTES // len(json.dumps(holder[place]))))

    return spoilt(way, lengthen)


long_names = st.builds(str.__mul__, st.text("aA1._ é\n", max_size=3), st.sampled_from([1, 70, 100_000]))
texts = st.one_of(
    json_texts,
    st.builds(with_value, st.sampled_from(WAYS), json_texts),
    st.builds(with_name, names, long_names),
    st.builds(with_items, items),
)
MANY_UNDER_A_LONG_NAME = {
    "manifest_version": 1,
    "models": {"n" * 400_000: {"default": "t", "weights": {f"t{place}": {} for place in range(30_000)}}},
}


@given(st.one_of(texts.map(lambda text: text.encode(errors="surrogatepass")), edited(json.dumps(SMALL).encode())))
@example(json.dumps(MANY_UNDER_A_LONG_NAME).encode())
def test_any_bytes_are_a_manifest_or_an_error(content: bytes) -> None:
    judge(load_manifest, content)
