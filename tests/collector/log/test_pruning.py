"""The log is pruned behind the recorder and the retention, a little at a time, and never ahead of anybody."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.log.pruning import DAY_NS, LOOK_S, PRUNE_S_MAX, PRUNED_MAX, PRUNED_MIN, Pruner, pruner_of, recorded_up_to
from filiere.message_log import MessageLog
from filiere.settings import load_settings
from tests.collector.builders import NOON_NS, Rig, readings

TOPIC = b"filiere/v1/caux/textile/t1/extruder/readings"


class Timer:
    """Each look at it takes `tick_s`."""

    def __init__(self, tick_s=0.0):
        self.now_s, self.tick_s = 100.0, tick_s

    def __call__(self):
        self.now_s += self.tick_s
        return self.now_s


@pytest.fixture
def log(tmp_path):
    with MessageLog.open(tmp_path / "messages.sqlite") as log:
        yield log


def fill(log, messages=1_000, *, age_days=40.0, size=100):
    time_ns = NOON_NS - int(age_days * DAY_NS)
    log.append([(TOPIC, bytes(size), time_ns + n) for n in range(messages)])


def pruner(log, *, bookmark=10**9, retention_days=30.0, timer=None):
    return Pruner(
        log=log,
        bookmarks=lambda: bookmark,
        retention_days=retention_days,
        clock=lambda: NOON_NS,
        timer=timer or Timer(),
    )


def drain(pruner):
    steps = 1
    while pruner.step():
        steps += 1
    return steps


def test_what_is_recorded_and_older_than_the_retention_goes(log):
    fill(log, age_days=31)
    fill(log, age_days=29)
    drain(pruner(log))
    assert (log.first(), log.head()) == (1_001, 2_000)


def test_nothing_goes_that_is_not_recorded_and_the_bookmarks_own_message_stays(log):
    fill(log)
    drain(pruner(log, bookmark=300))
    assert log.first() == 300


def test_without_a_bookmark_nothing_goes(log):
    fill(log)
    drain(pruner(log, bookmark=None))
    assert log.first() == 1


def test_without_retention_it_goes_as_soon_as_it_is_recorded(log):
    fill(log, age_days=0.001)
    drain(pruner(log, bookmark=1_000, retention_days=0))
    assert (log.first(), log.head()) == (1_000, 1_000)


def test_an_hour_of_a_clock_that_ran_ahead_stops_the_pruning_no_longer_than_its_messages_are_young(log):
    fill(log, 5_000, age_days=-400)
    fill(log, 1_000, age_days=29)
    drain(pruner(log))
    assert log.first() == 1
    drain(pruner(log, retention_days=28))
    assert log.first() == 6_000
    fill(log, 5_000, age_days=-400)
    fill(log, 1_000, age_days=0.001)
    drain(pruner(log, bookmark=8_000, retention_days=0))
    assert log.first() == 8_000


def test_a_step_is_small_first_and_grows_while_it_is_quick(log):
    fill(log, 30_000)
    steps = drain(pruner(log))
    assert PRUNED_MAX < 30_000 / 5
    assert 15 < steps < 60
    assert log.first() == 30_000


def test_on_a_slow_disk_steps_stay_small(log):
    fill(log, 500)
    slow = pruner(log, timer=Timer(tick_s=PRUNE_S_MAX))
    assert slow.step()
    assert log.first() == 1 + PRUNED_MIN
    assert drain(slow) >= 48


def test_when_there_is_nothing_to_do_it_looks_again_later(log):
    timer, looks = Timer(), []
    fill(log, 10)
    idle = Pruner(log=log, bookmarks=lambda: looks.append(1), retention_days=30, clock=lambda: NOON_NS, timer=timer)
    for _ in range(100):
        assert not idle.step()
    assert len(looks) == 1
    timer.now_s += LOOK_S
    idle.step()
    assert len(looks) == 2


def test_the_file_gives_its_space_back(log):
    fill(log, 8_000, size=4_000)
    before = log.path.stat().st_size
    drain(pruner(log))
    fill(log, 1)
    log.close()
    assert log.path.stat().st_size < before / 3


@settings(max_examples=25, deadline=None)
@given(
    arrivals=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 60)), max_size=8),
    bookmark=st.integers(0, 400) | st.none(),
    retention=st.integers(0, 60),
)
def test_whatever_arrived_when_all_that_is_young_or_not_recorded_stays(tmp_path_factory, arrivals, bookmark, retention):
    with MessageLog.open(tmp_path_factory.mktemp("log") / "messages.sqlite") as log:
        days = []
        for count, age_days in sorted(arrivals, key=lambda each: -each[1]):
            fill(log, count, age_days=age_days)
            days += [age_days] * count
        drain(pruner(log, bookmark=bookmark, retention_days=retention))
        recorded = 0 if bookmark is None else max(bookmark - 1, 0)
        old = sum(age_days > retention for age_days in days)
        assert log.head() == len(days)
        if days:
            assert log.first() == min(recorded, old, len(days) - 1) + 1


def test_the_bookmark_is_the_recorders_own(tmp_path):
    assert recorded_up_to(tmp_path / "recorder.sqlite") is None
    with Rig(tmp_path) as rig:
        assert recorded_up_to(rig.book_path) is None
        rig.arrive(*(readings(seq=seq) for seq in range(20)))
        rig.recorder.step()
        assert recorded_up_to(rig.book_path) == 20
        rig.arrive(*(readings(seq=seq) for seq in range(20, 30)))
        chore = pruner_of(load_settings(data_dir=tmp_path, log_retention_days=0), rig.log)
        while chore.step():
            pass
        assert rig.log.first() == 20
        rig.restart()
        rig.recorder.step()
        assert rig.book.progress().bookmark == 30


def test_a_book_that_cannot_be_read_prunes_nothing(tmp_path):
    (tmp_path / "recorder.sqlite").write_bytes(b"no book" * 1_000)
    assert recorded_up_to(tmp_path / "recorder.sqlite") is None
