"""Killed anywhere, any number of times: what is recorded in the end is what an undisturbed recorder records."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.accounts.audit import audit
from collector.recorder.requests import Retry, Rewind
from tests.chain_events import closed, portion, received, some_plant
from tests.collector.builders import LINE, TERMINAL_TOPIC, TOPIC, Rig, event, readings, signal, with_signals

CALLS = ("store.write", "ledger.append", "ledger.held", "ledger.events", "book.commit", "book.note", "book.earlier")


class Killed(BaseException):
    pass


def arrivals(dice: random.Random) -> list[tuple[str, bytes]]:
    """Events of a plant in any order, impossible ones among them; readings; garbage; some of each sent again."""
    events = some_plant(dice)
    events.append(received("B0", "1", event_id="urn:test:contradicts"))
    events.append(closed("R0", portion("L0", "90000"), event_id="urn:test:too-heavy"))
    dice.shuffle(events)
    sent = [(TERMINAL_TOPIC, event(seq, each)) for seq, each in enumerate(events)]
    sent += [(TOPIC, readings(seq=seq, time_ns=dice.choice((None, 0)))) for seq in range(12)]
    sent += [(TOPIC, b"hello"), (TOPIC, readings(seq=12, colour=1))]
    sent += dice.choices(sent, k=6)
    dice.shuffle(sent)
    return sent


def let_arrive(rig: Rig, sent: list[tuple[str, bytes]]) -> None:
    for topic, payload in sent:
        rig.arrive(payload, topic=topic)
        rig.clock_ns += 1_000_000_000


def record(rig: Rig) -> None:
    while rig.recorder.step():
        pass


def judge_again(rig: Rig) -> None:
    """What was asked for before a kill is asked for still."""
    rig.recorder.answer_requests()
    record(rig)


def with_kills(rig: Rig, work, dice: random.Random, kills: int, monkeypatch) -> None:
    """Do some work, killed and started again as often as that."""
    while True:
        with monkeypatch.context() as patch:
            if kills:
                kill_at_some_call(rig, dice, patch)
            try:
                work(rig)
            except Killed:
                kills -= 1
            else:
                if not kills:
                    return
                kills = 0  # the call never came
        rig.restart()


def kill_at_some_call(rig: Rig, dice: random.Random, patch) -> None:
    part, name = dice.choice(CALLS).split(".")
    left, after = dice.randrange(6), dice.random() < 0.5
    real = getattr(getattr(rig, part), name)

    def call(*args, **kwargs):
        nonlocal left
        left -= 1
        if left == -1 and not after:
            raise Killed
        result = real(*args, **kwargs)
        if left == -1:
            raise Killed
        return result

    patch.setattr(getattr(rig, part), name, call)


def outcome(rig: Rig) -> tuple[object, ...]:
    chain = rig.ledger.chain()
    refused = [(each.offset, each.reason, each.rows) for each in rig.book.quarantine()]
    return audit(rig.book_path), refused, chain.lots, chain.runs, rig.ledger.held(), rig.stored(), rig.marks()


@settings(max_examples=30, deadline=None)
@given(dice=st.randoms(use_true_random=False), kills=st.integers(1, 4), chunk=st.integers(1, 12))
def test_killed_anywhere_it_records_what_it_would_have_undisturbed(tmp_path_factory, dice, kills, chunk):
    sent = arrivals(dice)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collector.recorder.recorder.CHUNK_MESSAGES_MAX", chunk)
        patch.setattr("collector.recorder.recorder.READ_MESSAGES", chunk)
        with Rig(tmp_path_factory.mktemp("straight")) as straight, Rig(tmp_path_factory.mktemp("killed")) as killed:
            let_arrive(straight, sent)
            let_arrive(killed, sent)
            record(straight)
            with_kills(killed, record, dice, kills, patch)
            assert outcome(killed) == outcome(straight)
            assert all(account.closes for account in audit(killed.book_path))
            assert {f"{LINE}/extruder", f"{LINE}/terminal"} <= {account.device for account in audit(killed.book_path)}


@settings(max_examples=12, deadline=None)
@given(dice=st.randoms(use_true_random=False), kills=st.integers(1, 3), chunk=st.integers(1, 12))
def test_killed_while_it_judges_again_it_goes_on_and_doubles_nothing(tmp_path_factory, dice, kills, chunk):
    sent = arrivals(dice)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("collector.recorder.recorder.CHUNK_MESSAGES_MAX", chunk)
        patch.setattr("collector.recorder.recorder.READ_MESSAGES", chunk)
        patch.setattr("collector.recorder.recorder.RETRY_MESSAGES", chunk)
        with Rig(tmp_path_factory.mktemp("straight")) as straight, Rig(tmp_path_factory.mktemp("killed")) as killed:
            for rig in (straight, killed):
                let_arrive(rig, sent)
                record(rig)
                rig.plant = with_signals(signal("colour", unit="1"))  # what was refused for its colour is good now
                rig.restart()
                rig.requests.place(Rewind(dice.randint(1, len(sent))) if rig is killed else Retry())
            judge_again(straight)
            with_kills(killed, judge_again, dice, kills, patch)
            killed.requests.place(Retry())
            with_kills(killed, judge_again, dice, kills, patch)
            assert outcome(killed) == outcome(straight)
            assert all(account.closes for account in audit(killed.book_path))
