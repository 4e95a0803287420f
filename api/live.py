"""`/live`: the wall screen. One picture a second is made for all who watch, and streamed as server-sent events."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.responses import HTMLResponse

from api import lines, lots
from api.downsample import envelope
from api.models import CertificateState, Lines, LineState, Text
from api.pages import Language, language_of, places_of, render
from api.parts import Parts, PartsOf
from api.problems import Busy, responses
from api.shelf import CertificateId
from collector.accounts.audit import RecorderState, recorder_state
from collector.codec import parse_topic
from collector.condition import Trouble, intake_trouble, receipts_trouble
from collector.recorder.book import Quarantined, RecordBook
from filiere.chain import Chain
from filiere.clock import NS_PER_S, to_text
from filiere.errors import FiliereError, MessageRefused, StoreUnavailable
from filiere.message_log import MessageLog
from filiere.plant import Label, Line, Plant, Signal, Step
from filiere.units import FRACTION, display

CLIENTS_MAX = 50
PICTURE_EVERY_S = 1.0
CHARTS_EVERY_S = 2.0
RECONNECT_MS = 2000
WINDOW_S = 1800
"""The charts of a line show this much event time, up to its own newest reading: an idle line shows how it stopped."""
BUCKETS = 150
CHARTS_MAX = 5
"""Charts a line."""
FINISHED_MAX = 6
MUTE_S_MIN, MUTE_PERIODS = 30.0, 10
"""A line is mute when, on the wall clock, none of its readings has come for so long, and for so many of its shortest
sampling period. The age of a reading cannot tell: it is event time against event time, and stands still too."""
REFUSED_TOLD_S = 1800.0
"""A refused message is told across the wall for so long; the count stays."""
NS_PER_MS = 1_000_000

router = APIRouter(tags=["live"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Signals of one device in one unit, drawn together."""

    device: str
    unit: str
    signals: tuple[Signal, ...]


def charts_of(line: Line, step: Step | None) -> tuple[Chart, ...]:
    """What is drawn for a line.

    First the critical signals of the step under way, then one chart for each of its machines that has none yet, the
    last machine first (it weighs the product), then the critical signals of the rest of the line, which warms up or
    cools down meanwhile. A curve of the last half hour says nothing of what is read by hand.
    """
    drawable = [signal for signal in line.signals if not signal.by_hand]
    own = [signal for signal in (line.signals_of(step) if step else line.signals) if not signal.by_hand]
    groups, rest = _groups(own), _groups(signal for signal in drawable if signal not in own)
    critical = [key for key in groups if _critical(groups[key])]
    drawn = {device for device, _ in critical}
    first = {device: (device, scale) for device, scale in reversed(groups) if device not in drawn}
    others = [*first.values(), *(key for key in groups if key not in critical and key not in first.values())]
    waiting = [key for key in rest if _critical(rest[key])]
    every = groups | rest
    return tuple(
        Chart(device=key[0], unit=every[key][0].unit, signals=tuple(every[key]))
        for key in (critical + others + waiting)[:CHARTS_MAX]
    )


def _groups(signals: Iterable[Signal]) -> dict[tuple[str, str], list[Signal]]:
    """(device, scale) → its signals, in the order of the plant file. Two fractions are not on one scale."""
    groups: dict[tuple[str, str], list[Signal]] = {}
    for signal in signals:
        scale = signal.id if signal.unit == FRACTION else signal.unit
        groups.setdefault((signal.device, scale), []).append(signal)
    return groups


def _critical(signals: Iterable[Signal]) -> bool:
    return any(signal.critical for signal in signals)


@dataclass(slots=True)
class _Cached:
    """The last document of one kind, made at most every `every_s`."""

    every_s: float
    made_at: float = -1e9
    text: str = "{}"
    lock: threading.Lock = field(default_factory=threading.Lock)


class Board:
    """Makes the pictures and counts who watches. One for the application."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._picture = _Cached(every_s=PICTURE_EVERY_S * 0.9)
        self._charts = _Cached(every_s=CHARTS_EVERY_S * 0.9)
        self._summaries: dict[str, dict[str, Any]] = {}
        self._moved: dict[str, tuple[str | None, float]] = {}
        self.watching = 0
        self.closing = asyncio.Event()

    def picture(self) -> str:
        """State, values and last lots, as JSON. Never raises for a store: its `problem` says what is wrong."""
        return self._fresh(self._picture, self._make_picture)

    def charts(self) -> str:
        """The window of the charts, as JSON."""
        return self._fresh(self._charts, self._make_charts)

    @staticmethod
    def _fresh(cached: _Cached, make: Any) -> str:
        with cached.lock:
            if time.monotonic() - cached.made_at >= cached.every_s:
                cached.text = json.dumps(make(), ensure_ascii=False, separators=(",", ":"))
                cached.made_at = time.monotonic()
            return cached.text

    def _lines(self, chain: Chain) -> Lines:
        parts = self._parts
        latest = {line.path: parts.store.latest(line.path) for line in parts.plant.lines}
        return lines.states(parts.plant, chain, latest)

    def _make_picture(self) -> dict[str, Any]:
        settings, now_ns = self._parts.settings, self._parts.clock()
        document: dict[str, Any] = {
            "made": to_text(now_ns),
            "problem": None,
            "intake": self._told(intake_trouble(settings.intake_status_path, now_ns), now_ns),
            "receipts": self._told(receipts_trouble(settings.receipts_status_path, now_ns), now_ns),
            **self._recorder(),
        }
        try:
            chain = self._parts.ledger.chain()
            found = self._lines(chain)
        except FiliereError as error:
            return document | {"problem": self._parts.outward(error), "newest": None, "lines": [], "finished": []}
        heard_s = document["heard_s"]
        return document | {
            "newest": found.newest,
            "lines": [line.model_dump(mode="json") | self._stillness(line, heard_s) for line in found.lines],
            "finished": list(self._finished(chain)),
        }

    def _stillness(self, line: LineState, heard_s: float | None) -> dict[str, Any]:
        """How long, on the wall clock, no reading of a line has come, s, and whether that is too long.

        At least since this board saw the last one come; at least since any message came, seen or not.
        """
        now_s = time.monotonic()
        known, since_s = self._moved.get(line.line, (None, now_s))
        if known != line.newest:
            since_s = now_s
        self._moved[line.line] = (line.newest, since_s)
        still_s = max(now_s - since_s, heard_s or 0.0)
        period_s = min(signal.period_s for signal in self._parts.plant.line(line.line).signals)
        mute = line.newest is not None and still_s > max(MUTE_S_MIN, MUTE_PERIODS * period_s)
        return {"still_s": round(still_s, 1), "mute": mute}

    def _told(self, trouble: Trouble | None, now_ns: int) -> dict[str, Any] | None:
        """Why a process of the collector does not do its work, and since when, s; None = all is well."""
        if trouble is None:
            return None
        since_s = None if trouble.since_ns is None else max(0.0, (now_ns - trouble.since_ns) / NS_PER_S)
        return {
            "state": trouble.state,
            "detail": self._parts.outward(StoreUnavailable(trouble.words)),
            "since_s": since_s,
        }

    def _recorder(self) -> dict[str, Any]:
        """What is behind and refused, since when no message came, and whether the recorder works; None = unknown."""
        settings, now_ns = self._parts.settings, self._parts.clock()
        try:
            state = recorder_state(settings.recorder_path)
            with MessageLog.open_reader(settings.log_path) as log:
                head = log.head()
                last = log.read(head - 1, 1) if head else []
            refused = self._refused(now_ns) if state.quarantined else None
        except (FiliereError, OSError) as error:
            absent = {"state": "absent", "detail": self._parts.outward(error)}
            return {"lag": None, "quarantined": None, "refused": None, "heard_s": None, "recorder": absent}
        heard_s = max(0.0, (now_ns - last[0].record_time_ns) / NS_PER_S) if last else None
        return {
            "lag": max(0, head - state.bookmark),
            "quarantined": state.quarantined,
            "refused": refused,
            "heard_s": heard_s,
            "recorder": _trouble(state, now_ns),
        }

    def _refused(self, now_ns: int) -> dict[str, Any] | None:
        """The last refused message, while it is news: when, and where it came from."""
        with RecordBook.open_reader(self._parts.settings.recorder_path) as book:
            newest = next(iter(book.quarantine(limit=1)), None)
        if newest is None or now_ns - newest.record_time_ns > REFUSED_TOLD_S * NS_PER_S:
            return None
        return {
            "time": to_text(newest.record_time_ns),
            "where": Text.of(_label_of(self._parts.plant, _sender(newest))).model_dump(),
        }

    def _finished(self, chain: Chain) -> Iterator[dict[str, Any]]:
        """The last lots of certified steps, newest first."""
        plant, shelf = self._parts.plant, self._parts.shelf
        made = sorted(
            (run for run in chain.runs.values() if run.stop_ns is not None), key=lambda run: (run.stop_ns, run.id)
        )
        certified = [run for run in reversed(made) if (step := lots.step_of(plant, run)) and step.certified]
        for run in certified[:FINISHED_MAX]:
            lot = chain.lots[run.lot]
            certificate = shelf.latest(lot.id)
            state = CertificateState.ISSUED if certificate else CertificateState.NONE
            if certificate is None and shelf.refusal(lot.id) is not None:
                state = CertificateState.REFUSED
            yield {
                "batch": lot.id,
                "line": run.line,
                "name": Text.of(lots.material_name(plant, lot.portion.material)).model_dump(),
                "mass_kg": str(lot.portion.mass_kg),
                "closed": to_text(lot.created_ns),
                "certificate": state,
                **(self._summary(certificate) if certificate else {}),
            }

    def _summary(self, certificate: CertificateId) -> dict[str, Any]:
        """What a certificate says in one line. It never changes, so it is read once."""
        name = str(certificate)
        if name not in self._summaries:
            self._summaries[name] = _summary_of(self._parts.shelf.certificate(certificate))
            while len(self._summaries) > FINISHED_MAX * 4:
                self._summaries.pop(next(iter(self._summaries)))
        return self._summaries[name]

    def _make_charts(self) -> dict[str, Any]:
        try:
            chain = self._parts.ledger.chain()
            return {"lines": [self._line_charts(line, chain) for line in self._parts.plant.lines]}
        except FiliereError as error:
            return {"lines": [], "problem": self._parts.outward(error)}

    def _line_charts(self, line: Line, chain: Chain) -> dict[str, Any]:
        store = self._parts.store
        newest = max((reading.time_ns for reading in store.latest(line.path)), default=None)
        if newest is None:
            return {"line": line.path, "time_ms": [], "charts": []}
        stop_ns = newest + 1
        start_ns = stop_ns - WINDOW_S * NS_PER_S
        run = chain.open_run(line.path)
        charts = charts_of(line, lots.step_of(self._parts.plant, run) if run else None)
        keys = [signal.key for chart in charts for signal in chart.signals]
        grids = {
            series.key: envelope(series, start_ns, stop_ns, BUCKETS)
            for series in store.window(line.path, keys, start_ns, stop_ns)
        }
        half_ns = (stop_ns - start_ns) // (2 * BUCKETS)
        return {
            "line": line.path,
            "time_ms": [(start_ns + half_ns * index) // NS_PER_MS for index in range(2 * BUCKETS)],
            "charts": [
                {
                    "device": chart.device,
                    "unit": chart.unit,
                    "keys": [signal.key for signal in chart.signals],
                    "values": [grids[signal.key] for signal in chart.signals],
                }
                for chart in charts
            ],
        }


def _trouble(state: RecorderState, now_ns: int) -> dict[str, str] | None:
    """What keeps the recorder from working; None = nothing."""
    if state.is_silent(now_ns):
        return {"state": "silent", "detail": ""}
    return {"state": "waiting", "detail": state.store_problem} if state.store_problem else None


def _sender(message: Quarantined) -> str:
    """Its device; where the plant has none such, the one that its topic names; empty = none."""
    try:
        return message.device or parse_topic(message.topic).device_path
    except MessageRefused:
        return ""


def _label_of(plant: Plant, device: str) -> Label:
    """`caux/textile/t1/extruder` → its line and its machine, as people say; a device that is not ours → as it is."""
    for line in plant.lines:
        if device.startswith(f"{line.path}/"):
            machine = device.removeprefix(f"{line.path}/")
            unit = next((unit.label for unit in line.units if unit.id == machine), Label(fr=machine, en=machine))
            return Label(fr=f"{line.label.fr}, {unit.fr}", en=f"{line.label.en}, {unit.en}")
    return Label(fr=device or "origine inconnue", en=device or "unknown origin")


def _summary_of(body: bytes) -> dict[str, Any]:
    try:
        statement = json.loads(body)["statement"]
        return {
            "recycled_content": str(statement["claim"]["recycled_content"]),
            "u95": str(statement["claim"]["u95"]),
            "bio_based": str(statement["claim"]["bio_based"]),
            "verdict": str(statement["release"]["verdict"]),
        }
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}


def _board(request: Request) -> Board:
    board: Board = request.app.state.board
    return board


async def _place(request: Request) -> AsyncIterator[Board]:
    """A seat before the board, given back when the client goes. Raises Busy."""
    board = _board(request)
    if board.watching >= CLIENTS_MAX:
        raise Busy(f"{board.watching} screens watch already, expected fewer; close one, or try again")
    board.watching += 1
    try:
        yield board
    finally:
        board.watching -= 1


@router.get(
    "/live/events",
    operation_id="streamLive",
    summary="Live pictures, as server-sent events",
    response_class=EventSourceResponse,
    responses=responses(503),
)
async def live_events(board: Annotated[Board, Depends(_place)]) -> AsyncIterator[ServerSentEvent]:
    """`picture` every second: states, values, limits, last lots. `charts` every two seconds: the last half hour of
    event time, lowest and highest reading of each of 150 buckets. Both are JSON; both are heartbeats.
    """
    number = 0
    loop = asyncio.get_running_loop()
    while not board.closing.is_set():
        begun = loop.time()
        picture = await to_thread.run_sync(board.picture)
        yield ServerSentEvent(raw_data=picture, event="picture", id=str(number), retry=RECONNECT_MS)
        if number % round(CHARTS_EVERY_S / PICTURE_EVERY_S) == 0:
            yield ServerSentEvent(raw_data=await to_thread.run_sync(board.charts), event="charts")
        number += 1
        rest_s = max(0.05, PICTURE_EVERY_S - (loop.time() - begun))
        try:
            await asyncio.wait_for(board.closing.wait(), timeout=rest_s)
        except TimeoutError:
            continue


@router.get("/live", response_class=HTMLResponse, include_in_schema=False)
def live_page(parts: PartsOf, lang: Annotated[str | None, Query(max_length=8)] = None) -> HTMLResponse:
    """The wall screen."""
    language = language_of(lang)
    return render(
        "live.html",
        language=language,
        headers={"Cache-Control": "no-cache"},
        plant=parts.plant,
        words=_words(parts, language),
        charts_max=CHARTS_MAX,
    )


def _words(parts: Parts, language: Language) -> dict[str, Any]:
    """What the script needs of the plant model: name, sign, scale and decimals of every signal of every line."""
    return {
        line.path: {signal.key: _word(line, signal, language) for signal in line.signals} for line in parts.plant.lines
    }


def _word(line: Line, signal: Signal, language: Language) -> dict[str, Any]:
    scale, sign = (1.0, "") if signal.is_switch else display(signal.unit, language)
    return {
        "name": signal.label.in_language(language),
        "device": line.unit(signal.device).label.in_language(language),
        "unit": sign,
        "scale": scale,
        "places": places_of(signal.resolution * scale),
        "range": [signal.range_low * scale, signal.range_high * scale],
        "period_s": signal.period_s,
        "by_hand": signal.by_hand,
        "is_switch": signal.is_switch,
    }
