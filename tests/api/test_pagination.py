import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.pagination import Place, decode_cursor, encode_cursor, filter_digest, page_after
from api.problems import BadRequest

DIGEST = filter_digest(line=None, material="flax", state=None)
PLACES = st.builds(Place, time_ns=st.integers(0, 2**62), id=st.text("AB.-09", min_size=1, max_size=8))


@given(PLACES)
def test_a_cursor_comes_back_as_the_place_it_was_made_of(place: Place) -> None:
    assert decode_cursor(encode_cursor(place, DIGEST), DIGEST) == place


@given(st.sets(PLACES, max_size=40), st.integers(1, 7))
def test_pages_hold_every_entry_once_in_order(places: set[Place], limit: int) -> None:
    entries = [(place, place) for place in sorted(places, reverse=True)]
    seen: list[Place] = []
    after = None
    while True:
        page, after = page_after(entries, after, limit)
        seen += page
        if after is None:
            break
    assert seen == [place for place, _ in entries]


@given(st.sets(PLACES, min_size=3, max_size=20), PLACES)
def test_what_arrives_between_two_pages_does_not_shift_the_second(places: set[Place], new: Place) -> None:
    entries = [(place, place) for place in sorted(places, reverse=True)]
    first, after = page_after(entries, None, 2)
    more = [(place, place) for place in sorted(places | {new}, reverse=True)]
    second, _ = page_after(more, after, 100)
    assert set(first) | set(second) >= places
    assert not set(first) & set(second)


def test_a_cursor_of_other_filters_is_refused() -> None:
    cursor = encode_cursor(Place(time_ns=5, id="A"), DIGEST)
    with pytest.raises(BadRequest, match="other filters"):
        decode_cursor(cursor, filter_digest(line=None, material=None, state=None))


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "zz",
        "é",
        "a" * 500,
        "%00",
        _encoded("null"),
        _encoded("[]"),
        _encoded('[2,5,"A","x"]'),
        _encoded('[1,"5","A","x"]'),
        _encoded(f'[1,{10**30},"A","{DIGEST}"]'),
        _encoded("[" * 300),
        _encoded('[1,NaN,"A","x"]'),
    ],
)
def test_anything_else_is_refused(cursor: str) -> None:
    with pytest.raises(BadRequest, match="next_cursor"):
        decode_cursor(cursor, DIGEST)


@given(st.text(max_size=60))
def test_no_text_breaks_the_reading_of_a_cursor(text: str) -> None:
    with pytest.raises(BadRequest):
        decode_cursor(text, DIGEST)
