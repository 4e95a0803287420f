"""The words of a score, in both languages, for terminal and plot."""

from datetime import UTC, datetime

from filiere.clock import NS_PER_S
from filiere.plant import Label
from filiere.terminal import Language
from processing.release import comma
from simulators.faults.catalogue import KINDS
from simulators.faults.fault import Layer
from simulators.truth.verdicts import Decision, Outcome

DECISION_WORDS = {
    Decision.RELEASED: Label(fr="libéré", en="released"),
    Decision.WITHHELD: Label(fr="retenu", en="withheld"),
    Decision.UNDECIDED: Label(fr="rien de décidé", en="undecided"),
}
OUTCOME_WORDS = {
    Outcome.RIGHT: Label(fr="à raison", en="right"),
    Outcome.CAUTIOUS: Label(fr="retenu par prudence", en="held, to be careful"),
    Outcome.WRONGLY_RELEASED: Label(fr="libéré à tort", en="wrongly released"),
    Outcome.WRONGLY_HELD: Label(fr="retenu à tort", en="wrongly held"),
}
OUTCOME_STYLES = {
    Outcome.RIGHT: "green",
    Outcome.CAUTIOUS: "yellow",
    Outcome.WRONGLY_RELEASED: "bold red",
    Outcome.WRONGLY_HELD: "red",
}
LAYER_WORDS = {
    Layer.PROCESS: Label(fr="procédé", en="process"),
    Layer.SENSOR: Label(fr="capteur", en="sensor"),
    Layer.NETWORK: Label(fr="réseau", en="network"),
    Layer.OPERATOR: Label(fr="opérateur", en="operator"),
}
MISSED = Label(fr="MANQUÉE", en="MISSED")
ABSORBED = Label(fr="absorbée", en="absorbed")
NO_TIME = Label(fr="sans date", en="no time")
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400


def kind_words(kind: str) -> Label:
    """What is wrong, for people; a kind of another version is its own name."""
    return KINDS[kind].words if kind in KINDS else Label(fr=kind, en=kind)


def decimals(value: float, places: int, language: Language) -> str:
    """`12.5` → `12,5` in French."""
    text = f"{value:.{places}f}"
    return text if language == "en" else comma(text)


def duration(seconds: float, language: Language) -> str:
    """`45 s`, `12 min`, `3,5 h`, `2,1 j`: as finely as it matters."""
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR_S:
        return f"{seconds / _MINUTE_S:.0f} min"
    if seconds < 2 * _DAY_S:
        return f"{decimals(seconds / _HOUR_S, 1, language)} h"
    return f"{decimals(seconds / _DAY_S, 1, language)} {'d' if language == 'en' else 'j'}"


def instant(time_ns: int) -> str:
    """`2026-03-11 06:00:05`, UTC."""
    return datetime.fromtimestamp(time_ns // NS_PER_S, UTC).strftime("%Y-%m-%d %H:%M:%S")
