"""A conclusion: one thing that the system told somebody, or would have, with the time that it speaks of.

The score asks nothing else of the system. A new kind of alarm counts as soon as something makes conclusions of it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from filiere.clock import NS_PER_S
from filiere.plant import Label

EPISODE_GAP_S = 300.0
"""What says the same of the same signal within this time is one alarm."""


CALL_AGAIN_S = 3600.0
"""An alarm that stands calls again after this time: one that is never off is not one alarm."""


class Source(StrEnum):
    """Which part of the system says so."""

    QUALITY = "quality"
    """Readings that are kept with a flag: out of range, clock suspect, bad by the device's own word."""
    LIMITS = "limits"
    """Readings beyond the specification while a run is on, for long enough that somebody would look."""
    QUARANTINE = "quarantine"
    """Messages that were refused."""
    ACCOUNTS = "accounts"
    """Numbers that never arrived; and what is only counted: duplicates, late rows."""
    CHART = "chart"
    """A lot's mean beyond the limits of the lots before it."""
    RELEASE = "release"
    """A lot that was not released, for its masses or its material."""
    INCOMPLETE = "incomplete"
    """A lot that was not released, for readings that are missing and nothing else."""


SOURCE_WORDS = {
    Source.QUALITY: Label(fr="mesures marquées", en="flagged readings"),
    Source.LIMITS: Label(fr="limites dépassées", en="limits crossed"),
    Source.QUARANTINE: Label(fr="quarantaine", en="quarantine"),
    Source.ACCOUNTS: Label(fr="comptes", en="accounts"),
    Source.CHART: Label(fr="cartes de contrôle", en="control charts"),
    Source.RELEASE: Label(fr="libération", en="release"),
    Source.INCOMPLETE: Label(fr="libération (mesures absentes)", en="release (readings missing)"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """One thing that the system concluded, in simulated time."""

    source: Source
    line: str
    """Line path."""
    targets: tuple[str, ...]
    """What it is about: `extruder`, `extruder.melt_temp`; empty = a lot or a line as a whole."""
    start_ns: int
    stop_ns: int
    """The time that it speaks of, first and last instant: its evidence is from there."""
    known_ns: int | None
    """When somebody could know it first; None = that cannot be said, such as of a count."""
    words: Label
    lot: str = ""
    """The lot that it is about; empty = none."""
    alarm: bool = True
    """Somebody is called for it. A mere count is none: it may reveal a fault, and is never a false alarm."""
    kinds: frozenset[str] = frozenset()
    """Kinds of fault that it can speak of at all, such as `duplicate`; empty = whatever its source can."""

    @property
    def target(self) -> str:
        """The first of them; empty = none."""
        return self.targets[0] if self.targets else ""

    @property
    def calls(self) -> int:
        """How often somebody is called for it: once, and again each CALL_AGAIN_S that it stands.

        What is said of a lot, or at no time, is said once.
        """
        if self.lot or self.known_ns is None:
            return 1
        return 1 + max(0, self.stop_ns - self.known_ns) // round(CALL_AGAIN_S * NS_PER_S)


def episodes(conclusions: Iterable[Conclusion], *, gap_s: float = EPISODE_GAP_S) -> list[Conclusion]:
    """Conclusions that say the same of the same, at most `gap_s` apart, as one: nobody counts a fault's readings.

    Same = source, line, targets, lot, words and whether it is an alarm. What has no time of its own stays as it is.
    """
    gap_ns = round(gap_s * NS_PER_S)
    merged: list[Conclusion] = []
    last: dict[tuple[object, ...], int] = {}
    for each in sorted(conclusions, key=_order):
        key = (each.source, each.line, each.targets, each.lot, each.words, each.alarm)
        place = last.get(key)
        if each.known_ns is not None and place is not None and each.start_ns - merged[place].stop_ns <= gap_ns:
            merged[place] = replace(merged[place], stop_ns=max(merged[place].stop_ns, each.stop_ns))
            continue
        if each.known_ns is not None:
            last[key] = len(merged)
        merged.append(each)
    return merged


def _order(conclusion: Conclusion) -> tuple[int, str, str, str, str]:
    return conclusion.start_ns, conclusion.line, conclusion.source, conclusion.target, conclusion.words.en
