"""How long work goes, as people see it."""

import io
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filiere.clock import NS_PER_S
from simulators.output import progress as progress_module
from simulators.output.progress import Goal, Progress, ProgressLine, duration_words, with_goal
from tests.simulators.builders import START_NS

HALF_DAY_NS = 43_200 * NS_PER_S


def progress(**changes: object) -> Progress:
    usual = Progress(virtual_ns=START_NS + HALF_DAY_NS, published=12_345, messages_per_s=1234.0, rate=3600.0, lots=3)
    return replace(usual, **changes)


def shown(found: Progress, language: str = "fr") -> str:
    stream = io.StringIO()
    ProgressLine(stream, language).show(found)
    return stream.getvalue()


def test_time_left_until_a_time_follows_from_the_rate_and_until_a_lot_from_the_lots_before():
    day = Goal(start_ns=START_NS, stop_ns=START_NS + 2 * HALF_DAY_NS)
    found = with_goal(progress(rate=3600.0), day, took_s=30.0)
    assert (found.share, found.left_s) == (0.5, 12.0)
    four = with_goal(progress(lots=1), Goal(start_ns=START_NS, lots=4), took_s=30.0)
    assert (four.share, four.left_s) == (0.25, 90.0)


def test_whichever_end_is_nearer_counts():
    goal = Goal(start_ns=START_NS, stop_ns=START_NS + 2 * HALF_DAY_NS, lots=4)
    assert goal.share(START_NS + HALF_DAY_NS, 3) == 0.75
    assert goal.share(START_NS + HALF_DAY_NS, 1) == 0.5


def test_without_an_end_or_before_the_first_lot_no_time_left_is_told():
    assert with_goal(progress(), Goal(start_ns=START_NS), took_s=30.0).left_s is None
    begun = with_goal(progress(lots=0), Goal(start_ns=START_NS, lots=4), took_s=30.0)
    assert (begun.share, begun.left_s) == (0.0, None)


@given(st.integers(0, 10**19), st.integers(0, 100), st.integers(0, 100))
def test_a_share_is_from_0_to_1(virtual_ns: int, lots: int, goal: int):
    found = Goal(start_ns=START_NS, stop_ns=START_NS + HALF_DAY_NS, lots=goal).share(virtual_ns, lots)
    assert found is not None
    assert 0.0 <= found <= 1.0


def test_the_line_tells_rate_and_time_left_in_both_languages():
    found = progress(share=0.5, left_s=95.0, waiting=7, problem="no broker\x1b[2J")
    french, english = shown(found), shown(found, "en")
    assert "50 %" in french
    assert "3\N{NARROW NO-BREAK SPACE}600×" in french
    assert "reste 1 min 35 s" in french
    assert "7 sans récépissé" in french
    assert "50% · simulated time 2026-03-11T18:00:00Z · 3,600× · 1,234 messages/s · 12,345 published" in english
    assert "1 min 35 s left · 7 without a receipt · no broker" in english
    assert "\x1b" not in french + english


def test_where_there_is_no_terminal_a_line_comes_now_and_then(monkeypatch: pytest.MonkeyPatch):
    now = [100.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    line = ProgressLine(stream)
    for now[0] in (100.0, 101.0, 109.0, 111.0):
        line.show(progress())
    assert len(stream.getvalue().splitlines()) == 2


@pytest.mark.parametrize("columns", [80, 0])
def test_on_a_terminal_a_line_that_fills_several_rows_is_rewritten_from_its_first(
    monkeypatch: pytest.MonkeyPatch, columns: int
):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

        def fileno(self) -> int:
            return 2

    monkeypatch.setattr(progress_module, "get_terminal_size", lambda _: os.terminal_size((columns, 24)))
    stream = Terminal()
    line = ProgressLine(stream)
    line.show(progress(problem="x" * 80))
    line.end("done")
    assert stream.getvalue().startswith("\r\x1b[J")
    assert stream.getvalue().endswith("\r\x1b[2A\x1b[Jdone\n")


@pytest.mark.parametrize(
    ("seconds", "french", "english"),
    [
        (0.4, "0 s", "0 s"),
        (61, "1 min 1 s", "1 min 1 s"),
        (3600, "1 h", "1 h"),
        (5400, "1 h 30 min", "1 h 30 min"),
        (90_000, "1 j 1 h", "1 d 1 h"),
    ],
)
def test_durations_are_told_in_their_two_largest_units(seconds: float, french: str, english: str):
    assert (duration_words(seconds, english=False), duration_words(seconds, english=True)) == (french, english)
