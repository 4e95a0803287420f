"""Once-only rests on this set: it must say exactly what a plain set of numbers says."""

from hypothesis import given
from hypothesis import strategies as st

from collector.recorder.numbers import Numbers

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 8)).map(lambda pair: (pair[0], pair[0] + pair[1])))


@given(SPANS)
def test_it_holds_what_a_plain_set_holds(spans):
    numbers, plain = Numbers(), set()
    for first, last in spans:
        numbers.add(first, last)
        plain |= set(range(first, last + 1))
        assert [number in numbers for number in range(80)] == [number in plain for number in range(80)]


@given(SPANS)
def test_spans_are_ordered_and_never_touch(spans):
    numbers = Numbers()
    for first, last in spans:
        numbers.add(first, last)
    assert all(before[1] + 1 < after[0] for before, after in zip(numbers.spans, numbers.spans[1:], strict=False))


@given(SPANS, st.integers(1, 5))
def test_the_changes_alone_rebuild_it(spans, every):
    numbers, kept = Numbers(), {}
    for index, (first, last) in enumerate(spans):
        numbers.add(first, last)
        if index % every == 0:
            apply(numbers, kept)
    apply(numbers, kept)
    assert Numbers(kept.items()).spans == numbers.spans
    assert numbers.take_changes() == {}


def apply(numbers, kept):
    for first, last in numbers.take_changes().items():
        if last is None:
            kept.pop(first, None)  # a span that came and went between two writings was never kept
        else:
            kept[first] = last
