"""Rewinds, retries, changes of plant, store and log in any order, held against what a few lines of Python remember."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.accounts.audit import audit
from filiere.clock import NS_PER_S
from tests.collector.builders import NOON_NS, Rig, readings, signal, with_signals

WITHOUT, WITH = with_signals(), with_signals(signal("colour", unit="1"))
POISON = 13.0
OLDEST_NS = NOON_NS - 1000 * NS_PER_S
SIGNALS = ("melt_temp", "colour")
STEPS = ("arrive",) * 5 + ("restart", "other plant", "other store", "prune", "rewind", "retry")


@dataclass
class Sent:
    """A message of one signal; `signal` None = bytes that nobody can read."""

    signal: str | None
    value: float
    numbers: range
    stored: bool = False

    def payload(self):
        if self.signal is None:
            return b"?"
        start_ns = OLDEST_NS + self.numbers[0] * NS_PER_S
        return readings(seq=self.numbers[0], rows=len(self.numbers), time_ns=start_ns, **{self.signal: self.value})


@dataclass
class Model:
    """What must be true of a rig after each step."""

    sent: list[Sent] = field(default_factory=list)
    owners: dict[int, Sent] = field(default_factory=dict)
    """Number → the message that brought it first: its values are the ones that count."""

    def judge(self, some, rig):
        for each in some:
            for number in each.numbers if each.signal else ():
                self.owners.setdefault(number, each)
            known = each.signal == "melt_temp" or (each.signal == "colour" and rig.plant is WITH)
            each.stored = known and each.value != rig.store.poison

    def check(self, rig):
        unreadable = sum(each.signal is None for each in self.sent)
        stored = sum(each.stored for each in self.owners.values())
        repeated = sum(len(each.numbers) for each in self.sent if each.signal) - len(self.owners)
        for account in audit(rig.book_path):
            assert (account.stored, account.duplicates) == (stored, repeated)
            assert account.quarantined == len(self.owners) - stored + unreadable
        rows = {(time_ns, name): value for name in SIGNALS for time_ns, value, _ in rig.stored(f"extruder.{name}")}
        for number, owner in self.owners.items():
            found = rows.pop((OLDEST_NS + number * NS_PER_S + number, owner.signal), None)
            assert found == owner.value or (found is None and not owner.stored)
        assert rows == {}


def take_step(rig, model, step, dice):
    match step:
        case "arrive":
            new = [
                Sent(
                    dice.choice((*SIGNALS, None)),
                    dice.choice((1.0, 2.0, POISON)),
                    range(first, first + dice.randint(1, 4)),
                )
                for first in dice.choices(range(10), k=dice.randint(1, 4))
            ]
            model.sent += new
            rig.record(*(each.payload() for each in new))
            model.judge(new, rig)
        case "restart":
            rig.restart()
        case "other plant":
            rig.plant = WITH if rig.plant is WITHOUT else WITHOUT
            rig.restart()
        case "other store":
            rig.store.poison = POISON if rig.store.poison is None else None
        case "prune":
            rig.log.prune(before=dice.randint(0, len(model.sent)), limit=5)
            rig.clock_ns += 60 * NS_PER_S
            rig.recorder._each_minute()
        case "rewind":
            offset = dice.randint(1, len(model.sent) or 1)
            rig.rewind(offset)
            model.judge(model.sent[max(offset, rig.log.first()) - 1 :], rig)
        case "retry":
            rig.retry()
            model.judge([each for each in model.sent if not each.stored], rig)


@settings(max_examples=25, deadline=None)
@given(
    dice=st.randoms(use_true_random=False),
    steps=st.lists(st.sampled_from(STEPS), min_size=10, max_size=25),
    chunk=st.sampled_from((1, 2, 5, 256)),
)
def test_each_number_is_stored_or_refused_once_whatever_is_asked(tmp_path_factory, dice, steps, chunk):
    with pytest.MonkeyPatch.context() as patch, Rig(tmp_path_factory.mktemp("rig"), plant=WITHOUT) as rig:
        for name in ("CHUNK_MESSAGES_MAX", "READ_MESSAGES", "RETRY_MESSAGES"):
            patch.setattr(f"collector.recorder.recorder.{name}", chunk)
        model = Model()
        for step in ["arrive", *steps]:
            take_step(rig, model, step, dice)
            model.check(rig)
