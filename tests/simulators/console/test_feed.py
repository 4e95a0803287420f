"""What the console knows of the lines: the true value beside the shown one, of the last time that each was measured."""

import math
from itertools import pairwise

from filiere.events import RunClosed, RunStarted
from simulators.console.feed import Feed, RunNow
from tests.simulators.builders import TEXTILE, caux, cycles
from tests.simulators.console.builders import CAUX, F1, START_NS, T1, publication, rows

NAN = math.nan
STARTED = RunStarted(
    event_id="e1",
    event_time_ns=START_NS,
    run="r",
    line=T1,
    step="extrusion",
    recipe="pp",
    lot="T1-1",
    inputs=(),
)
CLOSED = RunClosed(event_id="e2", event_time_ns=START_NS, run="r", line=T1, outputs=())


def test_of_each_signal_the_last_measured_value_is_there_true_and_shown() -> None:
    feed = Feed(CAUX)
    feed.watch(publication(rows(melt_temp=([230.0, 231.0, 232.0], [229.5, 240.0, NAN]), energy=([1.0, NAN, NAN],) * 2)))
    seen = feed.signals(T1)
    assert (seen["extruder.melt_temp"].true, math.isnan(seen["extruder.melt_temp"].shown)) == (232.0, True)
    assert seen["extruder.melt_temp"].time_ns == START_NS + 4 * 10**9
    assert (seen["extruder.energy"].true, seen["extruder.energy"].time_ns) == (1.0, START_NS)
    assert not feed.signals(F1)


def test_rows_that_are_not_sent_yet_are_not_seen_and_late_ones_are_no_news() -> None:
    feed = Feed(CAUX)
    feed.watch(publication(rows(melt_temp=([230.0, 231.0], [230.0, 231.0])), stop=1))
    assert feed.signals(T1)["extruder.melt_temp"].true == 230.0
    feed.watch(publication(rows(at_s=60.0, melt_temp=([250.0], [250.0]))))
    feed.watch(publication(rows(at_s=10.0, melt_temp=([200.0], [200.0]))))
    assert feed.signals(T1)["extruder.melt_temp"].true == 250.0


def test_a_run_is_open_from_its_start_to_its_closing() -> None:
    feed = Feed(CAUX)
    assert feed.run(T1) is None
    feed.watch(publication(event=STARTED))
    assert feed.run(T1) == RunNow(step="extrusion", recipe="pp", lot="T1-1")
    feed.watch(publication(event=CLOSED))
    assert feed.run(T1) is None


def test_a_whole_cycle_leaves_every_signal_of_the_line_with_both_values() -> None:
    feed = Feed(caux())
    for each in cycles(TEXTILE, 1)[0][1]:
        feed.watch(each)
    line = caux().line(TEXTILE)
    assert set(feed.signals(TEXTILE)) == {signal.key for signal in line.signals}
    assert all(math.isfinite(now.true) for now in feed.signals(TEXTILE).values())


def test_the_trend_is_the_last_hour_thinned_evenly_and_ends_with_the_last_row() -> None:
    feed = Feed(CAUX)
    assert feed.trend(T1, "extruder.melt_temp", span_s=3600.0, points=10) == ([], [])
    values = [float(number) for number in range(3000)]
    feed.watch(publication(rows(melt_temp=(values, values)), stop=2900))
    true, shown = feed.trend(T1, "extruder.melt_temp", span_s=3600.0, points=100)
    assert true == shown
    assert (true[-1], len(true)) == (2899.0, 95)
    assert true[0] >= 2899.0 - 1800.0
    assert len({later - earlier for earlier, later in pairwise(true)}) == 1
    assert feed.trend(T1, "extruder.nothing", span_s=1.0, points=1) == ([], [])
