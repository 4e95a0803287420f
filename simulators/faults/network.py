"""Faults between a device and the broker: messages that come twice, late, in another order, in a burst, or never."""

from collections.abc import Callable, Sequence

import numpy as np

from filiere.clock import NS_PER_S
from filiere.plant import Label
from simulators.faults.fault import Active, NetworkFault, Severity, Target, Window

DUPLICATE_S = (0.5, 30.0)
"""A message is sent again so long after it was sent first [K]: a client that got no acknowledgement in time."""
OVERTAKEN_S = (25.0, 90.0)
"""A message that is overtaken comes so much later: more than a message spans, so that the next one comes before."""
LATE_S_MAX = 7 * 86_400.0
_SHARE = Label(fr="part des messages", en="share of the messages")


class Duplicate(NetworkFault):
    """Some messages are sent twice, byte for byte."""

    kind = "duplicate"
    aims_at = Target.DEVICE
    words = Label(fr="Messages en double", en="Messages twice")
    scale = Severity(label=_SHARE, unit="1", usual=0.05, high=1.0)

    def sendings(self, time_ns: int, window: Window, chance: np.random.RandomState) -> Sequence[int]:
        """Once in time; some once more within half a minute."""
        if chance.random_sample() < self.severity:
            return time_ns, time_ns + _ns(chance.uniform(*DUPLICATE_S))
        return (time_ns,)


class OutOfOrder(NetworkFault):
    """Some messages are overtaken by those after them."""

    kind = "out_of_order"
    aims_at = Target.DEVICE
    words = Label(fr="Messages dans le désordre", en="Messages out of order")
    scale = Severity(label=_SHARE, unit="1", usual=0.1, high=1.0)

    def sendings(self, time_ns: int, window: Window, chance: np.random.RandomState) -> Sequence[int]:
        """Some half a minute to a minute and a half later."""
        late = chance.random_sample() < self.severity
        return (time_ns + _ns(chance.uniform(*OVERTAKEN_S)) if late else time_ns,)


class Late(NetworkFault):
    """Every message is so long on its way."""

    kind = "late"
    aims_at = Target.DEVICE
    words = Label(fr="Messages en retard", en="Messages late")
    scale = Severity(label=Label(fr="retard", en="delay"), unit="s", usual=900.0, high=LATE_S_MAX)

    def sendings(self, time_ns: int, window: Window, chance: np.random.RandomState) -> Sequence[int]:
        """Once, severity later."""
        return (time_ns + _ns(self.severity),)


class Dropped(NetworkFault):
    """Some messages never come: a device without an outbox on a bad link."""

    kind = "dropped"
    aims_at = Target.DEVICE
    words = Label(fr="Messages perdus", en="Messages dropped")
    scale = Severity(label=_SHARE, unit="1", usual=0.02, high=1.0)

    def sendings(self, time_ns: int, window: Window, chance: np.random.RandomState) -> Sequence[int]:
        """Some never."""
        return () if chance.random_sample() < self.severity else (time_ns,)


class Outage(NetworkFault):
    """No link: all is held back, and comes in one burst when the link is there again."""

    kind = "outage"
    aims_at = Target.DEVICE
    words = Label(fr="Coupure du réseau", en="Network outage")
    usual_duration_s = 1800.0

    def sendings(self, time_ns: int, window: Window, chance: np.random.RandomState) -> Sequence[int]:
        """Once, at the end of the window."""
        return (max(time_ns, window.stop_ns),)


def arrivals(
    time_ns: int, active: Sequence[Active], chance: Callable[[NetworkFault], np.random.RandomState]
) -> tuple[int, ...]:
    """When a message that is due at `time_ns` arrives, in time order: none = never, several = more than once.

    `active`: the network faults that touch its device; `chance` gives a stream of this message and fault alone. What
    one fault sends later may fall into the next one's window. Outages come last: a link that is down holds everything.
    """
    times = [time_ns]
    for each in sorted(active, key=lambda each: (isinstance(each.fault, Outage), each.window.start_ns)):
        fault, window = each.fault, each.window
        assert isinstance(fault, NetworkFault)
        if any(window.start_ns <= time < window.stop_ns for time in times):
            stream = chance(fault)
            times = [
                sent
                for time in times
                for sent in (
                    fault.sendings(time, window, stream) if window.start_ns <= time < window.stop_ns else (time,)
                )
            ]
    return tuple(sorted(times))


def _ns(seconds: float) -> int:
    return round(seconds * NS_PER_S)
