"""What is wrong with a recorded file, and what was done with each kind of it: counted, with the first place of each.

Nothing is mended in silence. A value that cannot be believed is not sent and is counted; what is only strange is sent
and is counted too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from filiere.plant import Label


class Dirt(StrEnum):
    """One kind of it; the word is the one of the JSON report."""

    BAD_LETTER = "bad_letter"
    BROKEN_ROW = "broken_row"
    REPEATED_HEADER = "repeated_header"
    UNENDED = "unended"
    BAD_TIME = "bad_time"
    TWICE_SHOWN = "twice_shown_time"
    SKIPPED = "skipped_time"
    UNKNOWN_NAME = "unknown_name"
    BAD_QUALITY = "bad_quality"
    EMPTY = "empty"
    NOT_A_NUMBER = "not_a_number"
    NOT_FINITE = "not_finite"
    AMBIGUOUS = "ambiguous_number"
    OTHER_DECIMAL = "other_decimal"
    SENTINEL = "sentinel"
    HALVED_ROW = "halved_row"
    BACKWARD = "backward_row"
    REPEATED_ROW = "repeated_row"
    SAME_TIME = "same_time"
    GAP = "gap"
    OLD = "before_2020"
    FUTURE = "in_the_future"
    OWN_CLOCK = "clock_not_believed"
    UNSHIFTED = "not_shifted"
    ONCE = "events_once"


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a kind of dirt is, and what is done with it."""

    what: Label
    done: Label


_NOT_SENT = Label(fr="pas envoyé", en="not sent")
_NOT_MEASURED = Label(fr="pas envoyé : non mesuré", en="not sent: not measured")
_SENT = Label(fr="envoyé tel quel", en="sent as it is")

WORDS: Mapping[Dirt, Words] = {
    Dirt.BAD_LETTER: Words(
        what=Label(fr="octet qui n'est pas une lettre dans ce codage", en="byte that is no letter in this encoding"),
        done=Label(fr="remplacé par �", en="replaced by �"),
    ),
    Dirt.BROKEN_ROW: Words(
        what=Label(fr="ligne coupée ou illisible", en="row that is cut or cannot be read"), done=_NOT_SENT
    ),
    Dirt.REPEATED_HEADER: Words(what=Label(fr="en-tête répété", en="header that stands again"), done=_NOT_SENT),
    Dirt.UNENDED: Words(
        what=Label(fr="dernière ligne sans fin de ligne", en="last line without an end"),
        done=Label(fr="envoyée : vérifiez sa dernière valeur", en="sent: check its last value"),
    ),
    Dirt.BAD_TIME: Words(what=Label(fr="heure illisible", en="time that cannot be read"), done=_NOT_SENT),
    Dirt.TWICE_SHOWN: Words(
        what=Label(fr="heure que les horloges montrent deux fois", en="time that clocks show twice"),
        done=Label(
            fr="la première fois, sauf si les heures reculeraient", en="the first time, unless times would go back"
        ),
    ),
    Dirt.SKIPPED: Words(
        what=Label(fr="heure que les horloges ont sautée", en="time that clocks skipped"),
        done=Label(fr="horloge pas encore avancée", en="taken for a clock not yet put forward"),
    ),
    Dirt.UNKNOWN_NAME: Words(
        what=Label(fr="nom absent de la correspondance", en="name that the mapping does not have"), done=_NOT_SENT
    ),
    Dirt.BAD_QUALITY: Words(
        what=Label(fr="qualité déclarée mauvaise", en="quality that is said to be bad"), done=_NOT_MEASURED
    ),
    Dirt.EMPTY: Words(what=Label(fr="case vide", en="empty cell"), done=_NOT_MEASURED),
    Dirt.NOT_A_NUMBER: Words(
        what=Label(fr="texte au lieu d'un nombre", en="text in place of a number"), done=_NOT_SENT
    ),
    Dirt.NOT_FINITE: Words(
        what=Label(fr="infini, ou nombre trop grand", en="infinite, or too large a number"), done=_NOT_SENT
    ),
    Dirt.AMBIGUOUS: Words(
        what=Label(
            fr="nombre ambigu (1.234 : milliers ou décimales ?)", en="ambiguous number (1.234: thousands or decimals?)"
        ),
        done=_NOT_SENT,
    ),
    Dirt.OTHER_DECIMAL: Words(
        what=Label(fr="autre signe décimal que celui du fichier", en="another decimal sign than the file's"),
        done=Label(fr="compris et envoyé", en="understood and sent"),
    ),
    Dirt.SENTINEL: Words(
        what=Label(fr="valeur sentinelle", en="sentinel value"),
        done=_NOT_MEASURED,
    ),
    Dirt.HALVED_ROW: Words(
        what=Label(fr="première ligne divisée par deux", en="first row that is halved"), done=_NOT_SENT
    ),
    Dirt.BACKWARD: Words(
        what=Label(fr="ligne plus ancienne qu'une précédente", en="row older than one before it"),
        done=Label(fr="remise à sa place dans le temps", en="put in its place in time"),
    ),
    Dirt.REPEATED_ROW: Words(
        what=Label(fr="ligne répétée (même heure, mêmes valeurs)", en="row that stands again (same time, same values)"),
        done=Label(fr="envoyée une fois", en="sent once"),
    ),
    Dirt.SAME_TIME: Words(
        what=Label(fr="même heure, autres valeurs", en="same time, other values"),
        done=Label(fr="toutes envoyées", en="all sent"),
    ),
    Dirt.GAP: Words(
        what=Label(fr="trou", en="gap"), done=Label(fr="laissé : rien n'est inventé", en="left: nothing is made up")
    ),
    Dirt.OLD: Words(
        what=Label(fr="avant 2020", en="before 2020"),
        done=Label(
            fr="envoyé ; le collecteur ne croit pas cette heure : --shift-to-now",
            en="sent; the collector does not believe that time: --shift-to-now",
        ),
    ),
    Dirt.FUTURE: Words(
        what=Label(fr="dans le futur", en="in the future"),
        done=Label(
            fr="envoyé ; le collecteur garde l'heure d'arrivée", en="sent; the collector keeps the time of arrival"
        ),
    ),
    Dirt.OWN_CLOCK: Words(
        what=Label(
            fr="horloge d'appareil qui n'était pas crue, ou message sans heure",
            en="device's clock that was not believed, or a message without a time",
        ),
        done=Label(
            fr="heure d'arrivée, la nouvelle ; `filiere log import` garde l'ancienne",
            en="time of arrival, the new one; `filiere log import` keeps the old one",
        ),
    ),
    Dirt.UNSHIFTED: Words(
        what=Label(
            fr="message d'une autre forme, ses heures inconnues", en="message of another shape, its times unknown"
        ),
        done=_SENT,
    ),
    Dirt.ONCE: Words(
        what=Label(fr="événement d'un tour suivant", en="event of a later lap"),
        done=Label(fr="envoyé au premier tour seulement", en="sent in the first lap alone"),
    ),
}


@dataclass(slots=True)
class Finding:
    """How often, and where first."""

    count: int = 0
    first: str = ""
    """`plant.csv, line 12: 'Bad Input'`."""


@dataclass(slots=True)
class Findings:
    """All that was found in one recording."""

    by_kind: dict[Dirt, Finding] = field(default_factory=dict)

    def add(self, kind: Dirt, first: str, count: int = 1) -> None:
        """So many more of a kind. `first` is kept when they are the first of it."""
        if count:
            found = self.by_kind.setdefault(kind, Finding())
            found.first = found.first or first
            found.count += count

    def count(self, kind: Dirt) -> int:
        """How many of a kind."""
        return self.by_kind[kind].count if kind in self.by_kind else 0

    def items(self) -> list[tuple[Dirt, Finding]]:
        """In the order of the kinds."""
        return [(kind, self.by_kind[kind]) for kind in Dirt if kind in self.by_kind]
