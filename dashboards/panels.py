"""What a dashboard is made of, as frozen nouns that turn into Grafana's classic JSON (schema 42)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

DATASOURCE_UID = "filiere-influxdb"
DATASOURCE = {"type": "influxdb", "uid": DATASOURCE_UID}

GREEN, RED, ORANGE, BLUE, GREY = "green", "red", "orange", "blue", "#6e7683"
CURVE_COLOURS = ("#3274d9", "#a352cc", "#ff780a", "#8ab8ff", "#e0b400")
"""None of them is the green or the red of the bands behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a panel is, in Grafana's grid: 24 columns, rows of 38 pixels."""

    x: int
    y: int
    w: int
    h: int

    def to_json(self) -> Json:
        """`gridPos`."""
        return {"x": self.x, "y": self.y, "w": self.w, "h": self.h}


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What is shown instead of a value."""

    text: str
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueWords:
    """Exact value → word: `running` → EN MARCHE."""

    words: dict[str, Word]

    def to_json(self, index: int) -> Json:
        """A value mapping."""
        return {
            "type": "value",
            "options": {
                value: {"text": word.text, "color": word.colour, "index": index + offset}
                for offset, (value, word) in enumerate(self.words.items())
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeWord:
    """low ≤ value ≤ high → word; None = open on that side. The first of several that fits is shown."""

    low: float | None
    high: float | None
    word: Word

    def to_json(self, index: int) -> Json:
        """A value mapping."""
        result = {"text": self.word.text, "color": self.word.colour, "index": index}
        return {"type": "range", "options": {"from": self.low, "to": self.high, "result": result}}


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialWord:
    """Nothing measured (`null+nan`) or an empty text (`empty`) → word."""

    match: str
    word: Word

    def to_json(self, index: int) -> Json:
        """A value mapping."""
        result = {"text": self.word.text, "color": self.word.colour, "index": index}
        return {"type": "special", "options": {"match": self.match, "result": result}}


Words = Sequence[ValueWords | RangeWord | SpecialWord]


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """From `value` upwards (None = from the bottom) this colour."""

    value: float | None
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One InfluxQL query and the name of what it returns."""

    influxql: str
    label: str
    words: Words = ()
    """Words of this query alone; empty = the panel's."""
    bridge_s: float | None = None
    """A curve is drawn across a gap up to this long."""

    def to_json(self, position: int) -> Json:
        """A target."""
        return {
            "refId": ref_id(position),
            "datasource": dict(DATASOURCE),
            "query": self.influxql,
            "rawQuery": True,
            "resultFormat": "time_series",
            "alias": self.label,
        }


def ref_id(position: int) -> str:
    """0 → A, 25 → Z, 26 → AA: how Grafana names the queries of a panel."""
    letters = ""
    position += 1
    while position:
        position, digit = divmod(position - 1, 26)
        letters = chr(ord("A") + digit) + letters
    return letters


def _words_json(words: Words) -> list[Json]:
    return [word.to_json(index) for index, word in enumerate(words)]


def _thresholds_json(steps: Sequence[Threshold]) -> Json:
    return {"mode": "absolute", "steps": [{"value": step.value, "color": step.colour} for step in steps]}


def _override(position: int, properties: Sequence[tuple[str, Any]]) -> Json:
    return {
        "matcher": {"id": "byFrameRefID", "options": ref_id(position)},
        "properties": [{"id": name, "value": value} for name, value in properties],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """Words or numbers on a coloured ground, as large as fits: Grafana sizes them, so that none is cut."""

    title: str
    description: str
    place: Place
    queries: tuple[Query, ...]
    unit: str = ""
    words: Words = ()
    thresholds: tuple[Threshold, ...] = (Threshold(value=None, colour=BLUE),)
    nothing: str = ""
    """Shown when there is no row at all."""
    fields: str = ""
    """Which columns, as a regular expression; empty = the numbers."""
    keep_null: bool = False
    """Show the last value even when it is null, instead of the last one that is not."""
    named: bool = False
    """Show the name of each query above its value."""

    def to_json(self, panel_id: int) -> Json:
        """A `stat` panel."""
        overrides = [
            _override(position, [("mappings", _words_json(query.words))])
            for position, query in enumerate(self.queries)
            if query.words
        ]
        return {
            **_frame(self, panel_id, "stat"),
            "fieldConfig": {
                "defaults": {
                    "unit": self.unit,
                    "noValue": self.nothing,
                    "color": {"mode": "thresholds"},
                    "mappings": _words_json(self.words),
                    "thresholds": _thresholds_json(self.thresholds),
                },
                "overrides": overrides,
            },
            "options": {
                "reduceOptions": {
                    "calcs": ["last" if self.keep_null else "lastNotNull"],
                    "fields": self.fields,
                    "values": False,
                },
                "orientation": "auto",
                "colorMode": "background_solid",
                "graphMode": "none",
                "justifyMode": "center",
                "textMode": "value_and_name" if self.named else "value",
                "wideLayout": False,
                "showPercentChange": False,
                "percentChangeColorMode": "standard",
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """Signals over time, with the range to keep as a green band between two red ones."""

    title: str
    description: str
    place: Place
    queries: tuple[Query, ...]
    unit: str
    interval: str
    """The shortest step that is asked for: the period of the fastest signal."""
    thresholds: tuple[Threshold, ...] = ()
    soft_min: float | None = None
    soft_max: float | None = None
    """The axis shows at least soft_min..soft_max, so that the limits are on the screen."""

    def to_json(self, panel_id: int) -> Json:
        """A `timeseries` panel."""
        custom: Json = {
            "drawStyle": "line",
            "lineInterpolation": "linear",
            "lineWidth": 2,
            "fillOpacity": 0,
            "showPoints": "never",
            "axisPlacement": "auto",
            "thresholdsStyle": {"mode": "line+area" if self.thresholds else "off"},
        }
        if self.soft_min is not None:
            custom["axisSoftMin"] = self.soft_min
        if self.soft_max is not None:
            custom["axisSoftMax"] = self.soft_max
        overrides = [
            _override(
                position,
                [
                    ("color", {"mode": "fixed", "fixedColor": CURVE_COLOURS[position % len(CURVE_COLOURS)]}),
                    ("custom.spanNulls", False if query.bridge_s is None else round(query.bridge_s * 1000)),
                ],
            )
            for position, query in enumerate(self.queries)
        ]
        return {
            **_frame(self, panel_id, "timeseries"),
            "interval": self.interval,
            "fieldConfig": {
                "defaults": {
                    "unit": self.unit,
                    "color": {"mode": "palette-classic"},
                    "custom": custom,
                    "thresholds": _thresholds_json(self.thresholds or (Threshold(value=None, colour=GREEN),)),
                },
                "overrides": overrides,
            },
            "options": {
                "legend": {
                    "showLegend": len(self.queries) > 1,
                    "displayMode": "list",
                    "placement": "bottom",
                    "calcs": ["lastNotNull"],
                },
                "tooltip": {"mode": "multi", "sort": "none"},
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A line of text above the panels that follow."""

    title: str
    place: Place

    def to_json(self, panel_id: int) -> Json:
        """A `row` panel, open."""
        return {
            "id": panel_id,
            "type": "row",
            "title": self.title,
            "gridPos": self.place.to_json(),
            "collapsed": False,
            "panels": [],
        }


Panel = Stat | Curves | Heading


def _frame(panel: Stat | Curves, panel_id: int, kind: str) -> Json:
    return {
        "id": panel_id,
        "type": kind,
        "title": panel.title,
        "description": panel.description,
        "gridPos": panel.place.to_json(),
        "datasource": dict(DATASOURCE),
        "targets": [query.to_json(position) for position, query in enumerate(panel.queries)],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """A page of panels."""

    uid: str
    title: str
    description: str
    tags: tuple[str, ...]
    timezone: str
    panels: tuple[Panel, ...]
    links_label: str
    """Title of the menu that leads to the other dashboards with `links_tags`."""
    links_tags: tuple[str, ...]
    time_from: str = "now-1h"
    refresh: str = "5s"

    def to_json(self) -> Json:
        """The whole document, without the `id` and `version` that a Grafana server gives it."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": list(self.tags),
            "schemaVersion": 42,
            "editable": True,
            "graphTooltip": 1,
            "timezone": self.timezone,
            "weekStart": "monday",
            "fiscalYearStartMonth": 0,
            "time": {"from": self.time_from, "to": "now"},
            "timepicker": {},
            "refresh": self.refresh,
            "liveNow": False,
            "preload": False,
            "annotations": {"list": []},
            "templating": {"list": []},
            "links": [
                {
                    "title": self.links_label,
                    "type": "dashboards",
                    "tags": list(self.links_tags),
                    "asDropdown": True,
                    "icon": "external link",
                    "includeVars": False,
                    "keepTime": True,
                    "targetBlank": False,
                    "tooltip": "",
                    "url": "",
                }
            ],
            "panels": [panel.to_json(number) for number, panel in enumerate(self.panels, start=1)],
        }
