"""A clock that stands still until it is told: every part takes its clock as an argument, so nothing is patched."""

from math import inf

from filiere.clock import NS_PER_S, parse_time, to_text


class FrozenClock:
    """A Clock (call it: UTC ns) that moves when the test says so, and never backwards."""

    def __init__(self, now_ns: int) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        """UTC ns."""
        return self.now_ns

    def __repr__(self) -> str:
        return f"FrozenClock({to_text(self.now_ns)})"

    def advance(self, seconds: float) -> int:
        """Let so much time pass; UTC ns after it. Raises ValueError: less than nothing, or no end of it."""
        if not 0.0 <= seconds < inf:
            raise ValueError(f"got {seconds} s; expected 0 or more: a clock that goes back is a fault of its own")
        return self.reach(self.now_ns + round(seconds * NS_PER_S))

    def reach(self, moment: int | str) -> int:
        """Go on to `moment` (UTC ns, or RFC 3339 with an offset); stay where that is over. UTC ns after it.

        Raises ValueError: not a time.
        """
        self.now_ns = max(self.now_ns, parse_time(moment) if isinstance(moment, str) else moment)
        return self.now_ns
