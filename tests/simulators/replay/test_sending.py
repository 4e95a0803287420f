"""When a message is due, and that all of them arrive."""

import gc
import json
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collector.broker import Broker
from collector.outbox import Outbox, Sender
from collector.outbox.file import BYTES_MAX
from filiere.clock import NS_PER_S
from simulators.demo.services import free_port
from simulators.replay import direct
from simulators.replay.direct import Direct
from simulators.replay.dirt import Findings
from simulators.replay.recording import Lap, Recorded
from simulators.replay.sending import Pace, Plan, Progress, Sending
from tests.collector.answering import Answering
from tests.collector.builders import NOON_NS, TOPIC, readings
from tests.servers import Mosquitto

WALL_NS = NOON_NS + 86_400 * NS_PER_S
FOREIGN, GARBAGE = ("plug/power", b"21.5"), (TOPIC, b"not json")


class Seconds:
    """A recording of a message at each of some seconds after noon."""

    findings = Findings()

    def __init__(self, *seconds: int) -> None:
        self.first_ns, self.last_ns = (NOON_NS + edge * NS_PER_S for edge in (min(seconds), max(seconds)))
        self.count = self.rows = len(seconds)
        self._seconds = seconds

    def lap(self, lap: Lap) -> Iterator[Recorded]:
        for place, second in enumerate(self._seconds):
            shown_ns = NOON_NS + second * NS_PER_S
            payload = readings(seq=place, boot=f"lap{lap.number}", time_ns=shown_ns + lap.shift_ns)
            yield Recorded(time_ns=shown_ns + lap.shift_ns, topic=TOPIC.encode(), payload=payload, shown_ns=shown_ns)


def due(plan: Plan, *seconds: int, wall_ns: int = WALL_NS) -> list[float]:
    """When each message is due, s after the wall's now."""
    pace = Pace(plan.speed, plan.longest_wait_s, wall_ns)
    stream = plan.messages(Seconds(*seconds), wall_ns)
    return [(pace.due_ns(message, new_time=new_time) - wall_ns) / NS_PER_S for message, new_time in stream]


def times(plan: Plan, *seconds: int) -> list[float]:
    """The times that messages get, s after the wall's now."""
    return [(each.time_ns - WALL_NS) / NS_PER_S for each, _ in plan.messages(Seconds(*seconds), WALL_NS)]


def test_original_pacing_keeps_the_steps_of_the_recording():
    assert due(Plan(speed=1.0), 0, 2, 5, 65) == [0, 2, 5, 65]


def test_scaled_pacing_divides_them():
    assert due(Plan(speed=10.0), 0, 2, 5, 65) == [0, 0.2, 0.5, 6.5]


def test_without_pacing_all_is_due_at_once():
    assert due(Plan(), 0, 2, 5, 65) == [0, 0, 0, 0]


def test_a_gap_is_waited_for_no_longer_than_asked():
    assert due(Plan(speed=1.0, longest_wait_s=3.0), 0, 2, 50_000, 50_001) == [0, 2, 5, 6]


def test_a_time_that_goes_back_is_waited_for_once():
    assert due(Plan(speed=1.0), 0, 4, 2, 5) == [0, 4, 4, 5]


def test_rows_whose_clock_ran_ahead_are_not_waited_for():
    """A stamp of next year must not hold the replay for a year; the collector flags it, as it did."""
    assert due(Plan(speed=1.0), 0, 2, 10**8, wall_ns=WALL_NS) == [0, 2, 2]


def test_shifted_in_step_with_the_clock_the_first_message_is_now_and_each_comes_in_its_time():
    plan = Plan(speed=1.0, shift_to_now=True)
    assert times(plan, 0, 2, 5) == due(plan, 0, 2, 5) == [0, 2, 5]


@pytest.mark.parametrize("speed", [0.0, 60.0])
def test_shifted_and_faster_than_the_clock_the_last_message_is_now(speed: float):
    plan = Plan(speed=speed, shift_to_now=True, laps=2)
    assert times(plan, 0, 2, 5) == [-12, -10, -7, -5, -3, 0]
    assert max(due(plan, 0, 2, 5)) < 1


def test_endless_laps_go_on_with_the_clock_once_they_have_caught_up():
    plan = Plan(speed=0.0, shift_to_now=True, laps=0)
    pace, found = Pace(0.0, float("inf"), WALL_NS), []
    for (message, new_time), _ in zip(plan.messages(Seconds(0, 2, 5), WALL_NS), range(9), strict=False):
        found.append((pace.due_ns(message, new_time=new_time) - WALL_NS) / NS_PER_S)
    assert found == [0, 0, 0, 2, 4, 7, 9, 11, 14]


def test_laps_follow_each_other_without_overlap_and_with_boots_of_their_own():
    sent = [message for message, _ in Plan(laps=3).messages(Seconds(0, 2, 5), WALL_NS)]
    assert [each.time_ns for each in sent] == sorted(each.time_ns for each in sent)
    assert {json.loads(each.payload)["boot"] for each in sent} == {"lap0", "lap1", "lap2"}


# ------------------------------------------------------------------------------------------------ through a broker


@contextmanager
def sending(folder: Path, port: int, bytes_max: int = BYTES_MAX, **more: object) -> Iterator[Sending]:
    notes: list[Progress] = []
    broker = Broker(host="127.0.0.1", port=port, client_id="replay")
    with (
        Outbox.open(folder / "outbox.sqlite", bytes_max=bytes_max) as outbox,
        Sender(outbox, host=broker.host, port=port) as sender,
        Direct(broker, None, f"replay-{folder.name}") as handed,
    ):
        fields = {"stop": lambda: False, "note": notes.append, **more}
        yield Sending(outbox=outbox, sender=sender, direct=handed, **fields)  # type: ignore[arg-type]  # test


def stream(*more: tuple[str, bytes], rows: int = 50) -> list[tuple[Recorded, bool]]:
    pairs = [(TOPIC, readings(seq=seq)) for seq in range(rows)]
    pairs[10:10] = more
    return [
        (Recorded(time_ns=NOON_NS, topic=topic.encode(), payload=payload, shown_ns=NOON_NS), False)
        for topic, payload in pairs
    ]


def test_all_arrives_with_and_without_numbers(mosquitto: Mosquitto, tmp_path: Path):
    sent = stream(FOREIGN, GARBAGE, FOREIGN)
    with (
        Answering(mosquitto, topics=("filiere/v1/+/+/+/+/readings", "plug/#")) as collector,
        sending(tmp_path, mosquitto.port) as each,
    ):
        assert each.send_all(sent, Pace(0.0, float("inf"), WALL_NS))
        assert each.flush()
        assert (each.sent, each.unnumbered, each.waiting) == (53, 3, 0)
    assert set(collector.heard) == {(message.topic.decode(), message.payload) for message, _ in sent}


def test_with_nobody_there_what_has_numbers_waits_for_the_next_replay(mosquitto: Mosquitto, tmp_path: Path):
    with sending(tmp_path, free_port()) as each:
        assert each.send_all(stream(), Pace(0.0, float("inf"), WALL_NS))
        assert each.waiting == 50
    with Answering(mosquitto) as collector, sending(tmp_path, mosquitto.port) as each:
        assert each.flush()
    assert len(set(collector.heard)) == 50


def test_who_is_asked_to_stop_keeps_what_it_has_sent(tmp_path: Path):
    asked = iter([False] * 20)
    with sending(tmp_path, free_port(), stop=lambda: next(asked, True)) as each:
        assert not each.send_all(stream(FOREIGN), Pace(1.0, float("inf"), WALL_NS))
        assert not each.flush()


def test_a_full_outbox_holds_the_replay_and_says_so(
    mosquitto: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("simulators.replay.sending.BATCH_MAX", 50)
    said: list[str] = []

    def note(progress: Progress) -> None:
        if progress.problem and "expected room" in progress.problem:
            said.append(progress.problem)

    with sending(tmp_path, free_port(), bytes_max=150_000, stop=lambda: bool(said), note=note) as each:
        assert not each.send_all(stream(rows=1500), Pace(0.0, float("inf"), WALL_NS))
        waiting = each.waiting
    assert 0 < waiting < 1500
    with Answering(mosquitto) as collector, sending(tmp_path, mosquitto.port) as each:
        assert each.flush()
    assert len(set(collector.heard)) == waiting


def test_no_more_messages_without_a_number_are_held_than_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(direct, "IN_FLIGHT_MAX", 2)
    asked = iter([False] * 8)
    with sending(tmp_path, free_port(), stop=lambda: next(asked, True)) as each:
        assert not each.send_all(stream(FOREIGN, FOREIGN, FOREIGN, FOREIGN), Pace(0.0, float("inf"), WALL_NS))
        assert each.unnumbered <= 2


def test_who_is_done_leaves_no_socket_to_the_garbage_collector(tmp_path: Path):
    gc.disable()
    try:
        with sending(tmp_path, free_port()) as each:
            assert each.direct.publish("plug/power", b"21.5", stop=lambda: True)
            client = weakref.ref(each.direct._client)
        assert client() is None
    finally:
        gc.enable()


def test_messages_wait_for_their_time(mosquitto: Mosquitto, tmp_path: Path):
    now_ns = WALL_NS

    def clock() -> int:
        nonlocal now_ns
        now_ns += NS_PER_S // 4
        return now_ns

    with sending(tmp_path, mosquitto.port, clock=clock) as each:
        plan, recording = Plan(speed=1.0), Seconds(0, 2, 4)
        assert each.send_all(plan.messages(recording, WALL_NS), Pace(1.0, float("inf"), WALL_NS))
        assert each.sent == 3
    assert now_ns >= WALL_NS + 4 * NS_PER_S
