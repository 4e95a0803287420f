"""The collector's dashboard: is all that was published stored, and what is wrong if not. One a plant and language.

From top to bottom: does it accept, what is open, how that came about, then each line's devices.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from dashboards import collector_words as words
from dashboards import queries
from dashboards.grid import placed, rows
from dashboards.panels import (
    GREEN,
    GREY,
    ORANGE,
    RED,
    Curves,
    Dashboard,
    Panel,
    Place,
    Query,
    RangeWord,
    SpecialWord,
    Stat,
    Threshold,
    ValueWords,
    Word,
)
from dashboards.words import OTHER_SCREENS
from filiere.plant import Label, Line, Plant
from filiere.readings import (
    ACCOUNT_CLOCK_SUSPECT,
    ACCOUNT_DUPLICATES,
    ACCOUNT_LATE,
    ACCOUNT_MISSING,
    ACCOUNT_PUBLISHED,
    ACCOUNT_QUARANTINED,
    ACCOUNT_SILENT_S,
    ACCOUNT_SKEW_S,
    ACCOUNT_STORED,
    COLLECTOR_DISK_FREE_BYTES,
    COLLECTOR_INTAKE_OK,
    COLLECTOR_LOG_BYTES,
    COLLECTOR_LOG_LAG,
    COLLECTOR_RECEIPTS_OK,
)

STEP = queries.ACCOUNT_STEP
LAG_WARNS, LAG_ALARMS = 1_000, 10_000
"""Messages behind: more than a moment's, more than what the API calls ready."""
FREE_WARNS_BYTES, FREE_ALARMS_BYTES = 10e9, 1e9
HEIGHT_TILES, HEIGHT_CURVES, HEIGHT_ACCOUNTS = 4, 8, 5
COUNT, BYTES, SECONDS = "none", "decbytes", "s"
"""Grafana's units."""
LINES_A_ROW = 2
TERMINAL = "terminal"
"""The device of each line on which people send events."""


def collector_screen(plant: Plant, *, language: str, uid: str, tags: tuple[str, ...]) -> Dashboard:
    """The dashboard in one language, `fr` or `en`."""
    screen = _Screen(plant=plant, language=language)
    return Dashboard(
        uid=uid,
        title=screen.say(words.TITLE).format(site=screen.say(plant.label)),
        description=screen.say(words.ABOUT),
        tags=tags,
        timezone=plant.timezone,
        panels=tuple(screen.panels()),
        links_label=screen.say(OTHER_SCREENS),
        links_tags=tags[:1],
        time_from="now-6h",
        refresh="30s",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Screen:
    plant: Plant
    language: str

    def say(self, label: Label) -> str:
        return label.in_language(self.language)

    def panels(self) -> Iterator[Panel]:
        """Everything, placed from top to bottom."""
        tiles = (self._reception, self._receipts, self._lag, self._missing, self._refused, self._free)
        y = 0
        yield from (make(place) for make, place in placed(tiles, y, HEIGHT_TILES))
        y += HEIGHT_TILES
        for row in rows(self.plant.lines, LINES_A_ROW):
            yield from (self._accounts(line, place) for line, place in placed(row, y, HEIGHT_ACCOUNTS))
            y += HEIGHT_ACCOUNTS
        for curves in ((self._rates, self._open, self._doubts), (self._backlog, self._log_bytes)):
            yield from (make(place) for make, place in placed(curves, y, HEIGHT_CURVES))
            y += HEIGHT_CURVES
        for line in self.plant.lines:
            yield from (make(line, place) for make, place in placed((self._skew, self._silence), y, HEIGHT_CURVES))
            y += HEIGHT_CURVES

    def _reception(self, place: Place) -> Stat:
        said = (words.ACCEPTS, words.ACCEPTS_NOTHING)
        return self._works(place, words.RECEPTION, words.RECEPTION_HELP, COLLECTOR_INTAKE_OK, said)

    def _receipts(self, place: Place) -> Stat:
        said = (words.ANSWERED, words.NOT_ANSWERED)
        return self._works(place, words.RECEIPTS, words.RECEIPTS_HELP, COLLECTOR_RECEIPTS_OK, said)

    def _works(self, place: Place, title: Label, help_: Label, field: str, said: tuple[Label, Label]) -> Stat:
        """A word for 1 of all collectors, another for 0 of one of them."""
        return Stat(
            title=self.say(title),
            description=self.say(help_),
            place=place,
            queries=(self._query(queries.collector_now(field, "min"), title),),
            nothing=self.say(words.SILENT),
            thresholds=(Threshold(value=None, colour=RED), Threshold(value=1, colour=GREEN)),
            words=(
                ValueWords(
                    words={
                        "1": Word(text=self.say(said[0]), colour=GREEN),
                        "0": Word(text=self.say(said[1]), colour=RED),
                    }
                ),
                SpecialWord(match="null+nan", word=Word(text=self.say(words.SILENT), colour=RED)),
            ),
        )

    def _lag(self, place: Place) -> Stat:
        steps = ((None, GREEN), (LAG_WARNS, ORANGE), (LAG_ALARMS, RED))
        query = self._query(queries.collector_now(COLLECTOR_LOG_LAG, "sum"), words.LAG)
        return self._tile(place, words.LAG, words.LAG_HELP, query, steps)

    def _missing(self, place: Place) -> Stat:
        query = self._query(queries.total_now(ACCOUNT_MISSING), words.MISSING)
        steps = ((None, GREEN), (1, RED))
        return self._tile(place, words.MISSING, words.MISSING_HELP, query, steps, zero=words.NOTHING_MISSING)

    def _refused(self, place: Place) -> Stat:
        query = self._query(queries.total_now(ACCOUNT_QUARANTINED), words.REFUSED)
        steps = ((None, GREEN), (1, ORANGE))
        return self._tile(place, words.REFUSED, words.REFUSED_HELP, query, steps, zero=words.NOTHING_REFUSED)

    def _free(self, place: Place) -> Stat:
        query = self._query(queries.collector_now(COLLECTOR_DISK_FREE_BYTES, "min"), words.FREE)
        steps = ((None, RED), (FREE_ALARMS_BYTES, ORANGE), (FREE_WARNS_BYTES, GREEN))
        return self._tile(place, words.FREE, words.FREE_HELP, query, steps, unit=BYTES)

    def _tile(
        self,
        place: Place,
        title: Label,
        help_: Label,
        query: Query,
        steps: tuple[tuple[float | None, str], ...],
        *,
        zero: Label | None = None,
        unit: str = COUNT,
    ) -> Stat:
        """A large number; with `zero` a word where there is none of it."""
        none = () if zero is None else (RangeWord(low=0, high=0, word=Word(text=self.say(zero), colour=GREEN)),)
        return Stat(
            title=self.say(title),
            description=self.say(help_),
            place=place,
            queries=(query,),
            unit=unit,
            nothing=self.say(words.SILENT),
            thresholds=tuple(Threshold(value=value, colour=colour) for value, colour in steps),
            words=(*none, SpecialWord(match="null+nan", word=Word(text=self.say(words.SILENT), colour=RED))),
        )

    def _accounts(self, line: Line, place: Place) -> Stat:
        """A device a tile: closes, or how many rows are missing."""
        return Stat(
            title=self.say(words.ACCOUNTS).format(line=self.say(line.label)),
            description=self.say(words.ACCOUNTS_HELP),
            place=place,
            queries=tuple(
                Query(influxql=queries.account_now(line, device, ACCOUNT_MISSING), label=label)
                for device, label in self._devices(line)
            ),
            named=True,
            nothing=self.say(words.NO_NEWS),
            thresholds=(Threshold(value=None, colour=GREEN), Threshold(value=1, colour=RED)),
            words=(
                RangeWord(low=0, high=0, word=Word(text=self.say(words.CLOSES), colour=GREEN)),
                SpecialWord(match="null+nan", word=Word(text=self.say(words.NO_NEWS), colour=GREY)),
            ),
        )

    def _rates(self, place: Place) -> Curves:
        return self._curves(
            place,
            words.RATES,
            words.RATES_HELP,
            (
                self._query(queries.total_rate(ACCOUNT_PUBLISHED), words.PUBLISHED),
                self._query(queries.total_rate(ACCOUNT_STORED), words.STORED),
            ),
        )

    def _open(self, place: Place) -> Curves:
        return self._curves(
            place,
            words.OPEN_ROWS,
            words.OPEN_ROWS_HELP,
            (
                self._query(queries.total_curve(ACCOUNT_MISSING), words.MISSING),
                self._query(queries.total_curve(ACCOUNT_QUARANTINED), words.REFUSED),
            ),
        )

    def _doubts(self, place: Place) -> Curves:
        return self._curves(
            place,
            words.DOUBTS,
            words.DOUBTS_HELP,
            (
                self._query(queries.total_rate(ACCOUNT_LATE), words.LATE),
                self._query(queries.total_rate(ACCOUNT_CLOCK_SUSPECT), words.CLOCK),
                self._query(queries.total_rate(ACCOUNT_DUPLICATES), words.REPEATED),
            ),
        )

    def _backlog(self, place: Place) -> Curves:
        query = self._query(queries.collector_curve(COLLECTOR_LOG_LAG), words.LAG)
        return self._curves(place, words.LOG, words.LAG_HELP, (query,))

    def _log_bytes(self, place: Place) -> Curves:
        query = self._query(queries.collector_curve(COLLECTOR_LOG_BYTES), words.LOG_BYTES)
        return self._curves(place, words.LOG_BYTES, words.LOG_BYTES_HELP, (query,), unit=BYTES)

    def _skew(self, line: Line, place: Place) -> Curves:
        return self._of_each(line, place, words.SKEW, words.SKEW_HELP, ACCOUNT_SKEW_S)

    def _silence(self, line: Line, place: Place) -> Curves:
        return self._of_each(line, place, words.SILENCE, words.SILENCE_HELP, ACCOUNT_SILENT_S)

    def _of_each(self, line: Line, place: Place, title: Label, help_: Label, field: str) -> Curves:
        """One curve a device of the line."""
        named = Label(fr=title.fr.format(line=line.label.fr), en=title.en.format(line=line.label.en))
        return self._curves(
            place,
            named,
            help_,
            tuple(
                Query(
                    influxql=queries.account_curve(line, device, field),
                    label=label,
                    bridge_s=queries.ACCOUNT_STALE_S,
                )
                for device, label in self._devices(line)
            ),
            unit=SECONDS,
        )

    def _curves(
        self, place: Place, title: Label, help_: Label, asked: tuple[Query, ...], *, unit: str = COUNT
    ) -> Curves:
        return Curves(
            title=self.say(title),
            description=self.say(help_),
            place=place,
            queries=asked,
            unit=unit,
            interval=STEP,
        )

    def _query(self, influxql: str, label: Label) -> Query:
        return Query(influxql=influxql, label=self.say(label), bridge_s=queries.ACCOUNT_STALE_S)

    def _devices(self, line: Line) -> Iterator[tuple[str, str]]:
        """(id, label) of each machine, and of the terminal."""
        yield from ((unit.id, self.say(unit.label)) for unit in line.units)
        yield TERMINAL, self.say(words.TERMINAL)
