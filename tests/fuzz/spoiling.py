"""Strategies that spoil: bytes edited at random, JSON that no program would write, pieces repeated up to a megabyte."""

from hypothesis import strategies as st

MOST_BYTES = 2**20

lengths = st.one_of(st.integers(0, 300), st.integers(0, 2**21), st.integers(0, 2**64 - 1))
"""What a file may claim of a part of it."""


@st.composite
def edited(draw: st.DrawFn, content: bytes) -> bytes:
    """A file with a few bytes replaced, removed, inserted or repeated, and perhaps cut."""
    result = bytearray(content)
    for _ in range(draw(st.integers(1, 8))):
        place = draw(st.integers(0, len(result)))
        width = draw(st.sampled_from((0, 1, 1, 4, 40, 400)))
        result[place : place + width] = draw(st.binary(max_size=16)) * draw(st.sampled_from((1, 1, 1, 100)))
    return bytes(result[: draw(st.integers(0, len(result)))] if draw(st.booleans()) else result)


def repeated(piece: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """A piece once, a few times, or as often as fits into a megabyte."""
    times = st.sampled_from([1, 1, 1, 3, MOST_BYTES])
    return st.builds(lambda piece, times: piece * min(times, MOST_BYTES // max(1, len(piece))), piece, times)


_words = ["null", "true", "NaN", "Infinity", "-Infinity", '"F32"', "'a'", "//", "\ufeff"]
_numbers = ["0", "-0", "-1", "1.0", "1e2", "1e999", "-1e-999", "9" * 400, "9" * 5000]
_numbers += [str(2**power) for power in (8, 31, 32, 47, 48, 63, 64)]
_texts = ['""', '" "', r'"\ud800"', r'"\u0000"', '"../x"', '"a\tb"', '"\\']
_leaves = st.one_of(
    st.sampled_from(_words + _numbers + _texts),
    st.integers(0, 300_000).map(lambda depth: "[" * depth),
    st.integers(0, 3000).map(lambda depth: "[" * depth + "]" * depth),
    st.integers(0, 3000).map(lambda depth: '{"a":' * depth + "0" + "}" * depth),
    st.integers(0, 900_000).map(lambda length: '"' + "x" * length + '"'),
    st.integers(0, 900_000).map(lambda length: '"' + " " * length + '"'),
)


def object_text(pairs: list[tuple[str, str]]) -> str:
    """A JSON object of names and values that are JSON texts already; a name may stand twice."""
    return "{" + ",".join(f"{name}:{value}" for name, value in pairs) + "}"


def _list_text(items: list[str]) -> str:
    return "[" + ",".join(items) + "]"


def long_object(item: str, share: float, twice: bool) -> str:
    """As many names as fit into a share of a megabyte, the last of them perhaps one that stands twice."""
    count = int(share * MOST_BYTES / len(f'"123456":{item},'))
    return object_text([(f'"{place}"', item) for place in range(count)] + [('"0"', item)] * twice)


def _long_list(item: str, share: float) -> str:
    return _list_text([item] * int(share * MOST_BYTES / len(f"{item},")))


_items, _shares = st.sampled_from(["0", "[]", "{}", '""', "[0,0]", '{"a":0}']), st.floats(0, 0.9)
json_texts: st.SearchStrategy[str] = st.one_of(
    st.recursive(
        _leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4).map(_list_text),
            st.lists(st.tuples(st.sampled_from(['"a"', '"b"', r'"\ud800"', '""']), inner), max_size=4).map(object_text),
        ),
        max_leaves=6,
    ),
    st.builds(long_object, _items, _shares, st.booleans()),
    st.builds(_long_list, _items, _shares),
)
"""Texts that are JSON, or nearly."""
