"""The operator screen of a line, from the plant model: one page that is read from 3 m on a 1920×1080 wall screen.

From top to bottom: what runs, whether the data can be trusted, what is outside its limits, then the curves
that say why. The first 27 rows of the grid are what fits on the wall; the rest is reached by scrolling on a tablet.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dashboards import queries, words
from dashboards.grid import COLUMNS, placed, rows, widths
from dashboards.panels import (
    BLUE,
    GREEN,
    GREY,
    RED,
    Curves,
    Dashboard,
    Heading,
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
from dashboards.units import grafana_unit
from filiere.plant import Label, Limits, Line, Plant, Signal, Unit
from filiere.readings import RUN_FIELD_LOT, RUN_FIELD_RECIPE, RUN_FIELD_STATE, STATE_IDLE, STATE_RUNNING

TILES_A_ROW_MAX = 8
CURVES_A_ROW_MAX = 6
OTHERS_A_ROW = 4
KEY_SIGNALS = ("melt_pressure", "fibre_ratio", "batch_weight")
"""Ids of the signals whose curves are on the wall, after the temperatures. Of several with one id the last unit's is
taken: the product's scale, not the sorting scale. A line that has none of them shows its other signals there."""
NUMBER_SIGNALS = ("fibre_ratio", "batch_weight")
"""Ids of the signals that are shown as a large number beside the lot; the last unit's, again."""
RUN_WIDTHS = (4, 7, 5)
"""Columns of state, lot and recipe when numbers stand beside them."""
TEMPERATURE_UNITS = ("Cel", "K", "[degF]")
NOT_THE_TIME = "/^(?!time$).*/i"
THE_TIME = "/^time$/i"
PLAIN = "none"
"""Grafana's unit of a number without one."""
BAND_MARGIN = 0.25
RANGE_MARGIN = 0.05
HEIGHT_NUMBERS, HEIGHT_AGE, HEIGHT_ALARMS, HEIGHT_TEMPERATURES, HEIGHT_KEYS, HEIGHT_OTHERS = 4, 3, 5, 8, 7, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveGroup:
    """Signals of one machine and one unit of measure that share their limits: they share a panel and its band."""

    unit: Unit
    signals: tuple[Signal, ...]
    limits: Limits


def operator_screen(plant: Plant, line: Line, *, language: str, uid: str, tags: tuple[str, ...]) -> Dashboard:
    """The dashboard of a line in one language, `fr` or `en`."""
    screen = _Screen(line=line, language=language)
    return Dashboard(
        uid=uid,
        title=screen.say(words.TITLE).format(line=screen.say(line.label)),
        description=screen.say(words.ABOUT),
        tags=tags,
        timezone=plant.timezone,
        panels=tuple(screen.panels()),
        links_label=screen.say(words.OTHER_SCREENS),
        links_tags=tags[:1],
    )


def screen_limits(line: Line, signal: Signal) -> Limits:
    """The limits that are drawn: the first recipe's that has some, else the signal's own.

    A band cannot follow the recipe that runs, so the panel's description lists the limits of every recipe.
    """
    recipes = (recipe for step in line.steps if signal.device in step.units for recipe in step.recipes)
    return next((recipe.limits[signal.key] for recipe in recipes if signal.key in recipe.limits), signal.limits)


def curve_groups(line: Line) -> tuple[CurveGroup, ...]:
    """All signals of a line in as few panels as their units and limits allow, in the order of the plant file."""
    return tuple(group for unit in line.units for group in _groups_of(line, unit))


def _groups_of(line: Line, unit: Unit) -> Iterator[CurveGroup]:
    for measure in dict.fromkeys(signal.unit for signal in unit.signals):
        by_limits: dict[tuple[str, Limits], list[Signal]] = {}
        for signal in (signal for signal in unit.signals if signal.unit == measure):
            # a fraction of one thing and a fraction of another are not the same scale
            scale = signal.id if measure == "1" else measure
            by_limits.setdefault((scale, screen_limits(line, signal)), []).append(signal)
        limited = [key for key in by_limits if key[1] != Limits()]
        free = (measure, Limits())
        if len(limited) == 1 and limited[0][0] == measure and free in by_limits:
            # one limited signal and its companions: pressure before the screen and after it
            by_limits[limited[0]] += by_limits.pop(free)
        for (_, limits), signals in by_limits.items():
            yield CurveGroup(unit=unit, signals=tuple(signals), limits=limits)


def _has_an_age(unit: Unit) -> bool:
    return not all(signal.by_hand for signal in unit.signals)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Screen:
    line: Line
    language: str

    def say(self, label: Label) -> str:
        return label.in_language(self.language)

    def _name(self, signal: Signal) -> str:
        """A signal's label, the same on every panel; with its machine before it where two machines have that label."""
        label = self.say(signal.label)
        if sum(self.say(other.label) == label for other in self.line.signals) == 1:
            return label
        return words.OF_UNIT.in_language(self.language).format(
            unit=self.say(self.line.unit(signal.device).label), signal=label
        )

    def panels(self) -> Iterator[Panel]:
        """Everything, placed from top to bottom."""
        groups = curve_groups(self.line)
        temperatures = [group for group in groups if group.signals[0].unit in TEMPERATURE_UNITS]
        others = [group for group in groups if group not in temperatures]
        on_the_wall = _most_important(others)
        below = [group for group in others if group not in on_the_wall]
        y = 0
        yield from self._numbers(y)
        y += HEIGHT_NUMBERS
        for units in rows(tuple(filter(_has_an_age, self.line.units)), TILES_A_ROW_MAX):
            yield from (self._age(unit, place) for unit, place in placed(units, y, HEIGHT_AGE))
            y += HEIGHT_AGE
        limited = tuple(signal for signal in self.line.signals if screen_limits(self.line, signal) != Limits())
        if limited:
            yield self._alarms(limited, Place(x=0, y=y, w=COLUMNS, h=HEIGHT_ALARMS))
            y += HEIGHT_ALARMS
        for row in rows(temperatures, CURVES_A_ROW_MAX):
            yield from (self._curves(group, place) for group, place in placed(row, y, HEIGHT_TEMPERATURES))
            y += HEIGHT_TEMPERATURES
        if on_the_wall:
            yield from (self._curves(group, place) for group, place in placed(on_the_wall, y, HEIGHT_KEYS))
            y += HEIGHT_KEYS
        if below:
            yield Heading(title=self.say(words.OTHERS), place=Place(x=0, y=y, w=COLUMNS, h=1))
            y += 1
        for row in rows(below, OTHERS_A_ROW):
            yield from (self._curves(group, place) for group, place in placed(row, y, HEIGHT_OTHERS))
            y += HEIGHT_OTHERS

    def _numbers(self, y: int) -> Iterator[Panel]:
        """State, lot, recipe, and the numbers of the lot."""
        last = {signal.id: signal for signal in self.line.signals}
        numbers = [last[name] for name in NUMBER_SIGNALS if name in last]
        makers = (self._state, self._lot, self._recipe)
        columns = (*RUN_WIDTHS, *widths(len(numbers), COLUMNS - sum(RUN_WIDTHS))) if numbers else widths(len(makers))
        x = 0
        for index, w in enumerate(columns):
            place = Place(x=x, y=y, w=w, h=HEIGHT_NUMBERS)
            yield makers[index](place) if index < len(makers) else self._number(numbers[index - len(makers)], place)
            x += w

    def _state(self, place: Place) -> Stat:
        return Stat(
            title=self.say(words.STATE),
            description=self.say(words.STATE_HELP),
            place=place,
            queries=(self._run_query(RUN_FIELD_STATE, words.STATE),),
            fields=NOT_THE_TIME,
            nothing=self.say(words.UNKNOWN),
            thresholds=(Threshold(value=None, colour=GREY),),
            words=(
                ValueWords(
                    words={
                        STATE_RUNNING: Word(text=self.say(words.RUNNING), colour=GREEN),
                        STATE_IDLE: Word(text=self.say(words.IDLE), colour=BLUE),
                    }
                ),
            ),
        )

    def _lot(self, place: Place) -> Stat:
        return Stat(
            title=self.say(words.LOT),
            description=self.say(words.LOT_HELP),
            place=place,
            queries=(self._run_query(RUN_FIELD_LOT, words.LOT),),
            fields=NOT_THE_TIME,
            nothing=self.say(words.NO_LOT),
            words=(SpecialWord(match="empty", word=Word(text=self.say(words.NO_LOT), colour=GREY)),),
        )

    def _recipe(self, place: Place) -> Stat:
        recipes = {recipe.id: recipe.label for step in self.line.steps for recipe in step.recipes}
        return Stat(
            title=self.say(words.RECIPE),
            description=self.say(words.RECIPE_HELP),
            place=place,
            queries=(self._run_query(RUN_FIELD_RECIPE, words.RECIPE),),
            fields=NOT_THE_TIME,
            nothing=self.say(words.NO_RECIPE),
            words=(
                ValueWords(words={key: Word(text=self.say(label), colour=BLUE) for key, label in recipes.items()}),
                SpecialWord(match="empty", word=Word(text=self.say(words.NO_RECIPE), colour=GREY)),
            ),
        )

    def _run_query(self, field: str, label: Label) -> Query:
        return Query(influxql=queries.last_of_run(self.line, field), label=self.say(label))

    def _number(self, signal: Signal, place: Place) -> Stat:
        return Stat(
            title=self._name(signal),
            description=words.curve_help(self.line, (signal,), self.language),
            place=place,
            queries=(Query(influxql=queries.newest(self.line, signal), label=self._name(signal)),),
            unit=grafana_unit(signal.unit),
            thresholds=_bands(screen_limits(self.line, signal)) or (Threshold(value=None, colour=BLUE),),
            nothing=self.say(words.NO_READING),
            words=(SpecialWord(match="null+nan", word=Word(text=self.say(words.NO_READING), colour=RED)),),
        )

    def _age(self, unit: Unit, place: Place) -> Stat:
        """The age of a unit's newest reading: green while there is one, red and a word when there is none.

        Age cannot be computed in InfluxQL, so the query only finds a reading that is young enough: no row = silent.
        """
        signal = min(unit.signals, key=lambda candidate: candidate.period_s)
        silent = self.say(words.SILENT)
        return Stat(
            title=self.say(words.AGE).format(unit=self.say(unit.label)),
            description=self.say(words.AGE_HELP).format(seconds=f"{queries.silent_after_s(signal):g}"),
            place=place,
            queries=(Query(influxql=queries.newest(self.line, signal), label=self.say(unit.label)),),
            fields=THE_TIME,
            unit="dateTimeFromNow",
            nothing=silent,
            words=(SpecialWord(match="null+nan", word=Word(text=silent, colour=RED)),),
            thresholds=(Threshold(value=None, colour=RED), Threshold(value=1, colour=GREEN)),
        )

    def _alarms(self, signals: Sequence[Signal], place: Place) -> Stat:
        return Stat(
            title=self.say(words.ALARMS),
            description=self.say(words.ALARMS_HELP),
            place=place,
            queries=tuple(
                Query(
                    influxql=queries.now_or_nothing(self.line, signal),
                    label=self._name(signal),
                    words=self._alarm_words(screen_limits(self.line, signal)),
                )
                for signal in signals
            ),
            keep_null=True,
            named=True,
            nothing=self.say(words.NO_READING),
            thresholds=(Threshold(value=None, colour=RED),),
        )

    def _alarm_words(self, limits: Limits) -> tuple[RangeWord | SpecialWord, ...]:
        """A value on a limit is still within: the first word that fits is shown."""
        found: list[RangeWord | SpecialWord] = [
            RangeWord(low=limits.low, high=limits.high, word=Word(text=self.say(words.NORMAL), colour=GREEN))
        ]
        if limits.low is not None:
            found.append(RangeWord(low=None, high=limits.low, word=Word(text=self.say(words.TOO_LOW), colour=RED)))
        if limits.high is not None:
            found.append(RangeWord(low=limits.high, high=None, word=Word(text=self.say(words.TOO_HIGH), colour=RED)))
        found.append(SpecialWord(match="null+nan", word=Word(text=self.say(words.NO_READING), colour=GREY)))
        return tuple(found)

    def _curves(self, group: CurveGroup, place: Place) -> Curves:
        soft_min, soft_max = _soft_axis(group)
        return Curves(
            title=self.say(words.AND).join(self._name(signal) for signal in group.signals),
            description=words.curve_help(self.line, group.signals, self.language),
            place=place,
            queries=tuple(
                Query(
                    influxql=queries.curve(self.line, signal),
                    label=self._name(signal),
                    bridge_s=queries.silent_after_s(signal),
                )
                for signal in group.signals
            ),
            unit=PLAIN if group.signals[0].is_switch else grafana_unit(group.signals[0].unit),
            interval=queries.duration(min(signal.period_s for signal in group.signals)),
            thresholds=_bands(group.limits),
            soft_min=soft_min,
            soft_max=soft_max,
        )


def _most_important(groups: Sequence[CurveGroup]) -> list[CurveGroup]:
    """As many groups as there are key signals: those that hold one, then the first of the rest."""
    chosen: list[CurveGroup] = []
    for key in KEY_SIGNALS:
        holders = [group for group in groups if any(signal.id == key for signal in group.signals)]
        chosen += [group for group in holders[-1:] if group not in chosen]
    rest = [group for group in groups if group not in chosen]
    return chosen + rest[: len(KEY_SIGNALS) - len(chosen)]


def _bands(limits: Limits) -> tuple[Threshold, ...]:
    """Red outside, green inside; empty when there is no limit."""
    if limits == Limits():
        return ()
    bands = [Threshold(value=None, colour=GREEN if limits.low is None else RED)]
    if limits.low is not None:
        bands.append(Threshold(value=limits.low, colour=GREEN))
    if limits.high is not None:
        bands.append(Threshold(value=limits.high, colour=RED))
    return tuple(bands)


def _soft_axis(group: CurveGroup) -> tuple[float | None, float | None]:
    """Room beyond each limit, so that both sides of it are on the screen."""
    low, high = group.limits.low, group.limits.high
    span = max(signal.range_high for signal in group.signals) - min(signal.range_low for signal in group.signals)
    margin = BAND_MARGIN * (high - low) if low is not None and high is not None else RANGE_MARGIN * span
    return (
        None if low is None else round(low - margin, 6),
        None if high is None else round(high + margin, 6),
    )
