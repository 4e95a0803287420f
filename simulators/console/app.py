"""The live console: what is true, what is shown, what the system makes of it, and a key to let something go wrong."""

import math
import threading
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Header, Static, TabbedContent, TabPane

from api.pages import moment, places_of, zone
from filiere.errors import FiliereError
from filiere.plant import Label, Line, Plant, Signal
from filiere.terminal import Language, printable
from filiere.units import display
from simulators.console import words
from simulators.console.feed import Feed, SignalNow
from simulators.console.order_screen import OrderScreen
from simulators.console.reaction import Reaction, Stored
from simulators.console.trend import chart
from simulators.demo.observation import Finished
from simulators.faults.catalogue import KINDS
from simulators.faults.fault import Target
from simulators.output.live_faults import FaultFolder, Running, RunningFault, Stop, Trigger, words_of
from simulators.output.progress import Progress, counted

REFRESH_S = 0.5
LOOK_S = 1.0
"""Between two looks at the system."""
TREND_S = 3600.0
"""So much of simulated time is drawn."""
NARROW = 120
"""On a terminal with fewer columns the faults stand below the lines."""
VALUE_WIDTH, STATE_WIDTH, FAULT_WIDTH = 10, 8, 32
"""Columns of a terminal."""


class Session(Protocol):
    """A simulation that runs, as the console needs it."""

    feed: Feed
    folder: FaultFolder
    progress: Progress | None
    """None = it has not begun."""

    @property
    def ended(self) -> bool:
        """It runs no more."""

    @property
    def failed(self) -> bool:
        """It ended with an error, which is told when the console is left."""

    def look(self) -> Reaction:
        """What the system makes of it; called from one thread, again and again."""


class ConsoleApp(App[None]):
    """Lines on the left, faults and the system on the right."""

    CSS = """
    #now { height: auto; padding: 0 1; background: $boost; }
    #lines { width: 1fr; }
    #right { width: 48; }
    #faults { height: 40%; border: round $warning; }
    #system { height: 1fr; border: round $primary; padding: 0 1; }
    DataTable { height: 1fr; }
    Screen.-narrow #body { layout: vertical; }
    Screen.-narrow #lines { width: 100%; height: 1fr; }
    Screen.-narrow #right { width: 100%; height: 40%; layout: horizontal; }
    Screen.-narrow #faults, Screen.-narrow #system { width: 1fr; height: 100%; }
    Screen.-narrow .trend { display: none; }
    .trend { height: 12; border: round $secondary; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = []
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (NARROW, "-wide")]  # noqa: RUF012 - textual declares it no class variable
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, session: Session, plant: Plant, *, language: Language = "fr") -> None:
        super().__init__()
        self._session = session
        self._plant = plant
        self._language: Language = language
        self._zone = zone(plant.timezone)
        self._simulation: Running | None = None
        self.reaction = Reaction()
        """What the system made of it when it was looked at last."""
        self._told_end = False
        self._left = threading.Event()
        self.title = self._say(words.TITLE)

    def compose(self) -> ComposeResult:
        """The screen."""
        yield Header(show_clock=False, icon="")
        yield Static(self._say(words.STARTING), id="now", markup=False)
        with Horizontal(id="body"):
            with TabbedContent(id="lines"):
                for number, line in enumerate(self._plant.lines):
                    with TabPane(self._say(line.label), id=f"line-{number}"):
                        yield Static("", id=f"run-{number}", markup=False)
                        yield DataTable[Any](id=f"signals-{number}", cursor_type="row")
                        yield Static("", id=f"trend-{number}", classes="trend", markup=False)
            with Vertical(id="right"):
                yield DataTable[Any](id="faults", cursor_type="row")
                with VerticalScroll(id="system"):
                    yield Static("", id="reaction", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Columns, keys, clocks."""
        for key, action, label in (
            ("d", "trigger", words.TRIGGER),
            ("x", "stop_fault", words.STOP),
            ("l", "next_line", words.NEXT),
            ("q", "quit", words.LEAVE),
        ):
            self.bind(key, action, description=self._say(label))
        self.bind("ctrl+c", "quit", show=False)  # as everywhere else
        for number, line in enumerate(self._plant.lines):
            table = self.query_one(f"#signals-{number}", DataTable)
            table.add_column(self._say(words.SIGNAL))
            for label in (words.TRUE, words.SHOWN, words.SYSTEM):
                table.add_column(Text(self._say(label), justify="right"), key=label.en, width=VALUE_WIDTH)
            table.add_column(self._say(words.WRONG), key=words.WRONG.en)
            for signal in line.signals:
                table.add_row(self._short_name(line, signal), *[""] * 4, key=signal.key)
        faults = self.query_one("#faults", DataTable)
        faults.border_title = self._say(words.FAULTS)
        faults.add_column("", width=STATE_WIDTH)
        faults.add_column("", width=FAULT_WIDTH)
        faults.show_header = False
        self.query_one("#system").border_title = self._say(words.REACTION)
        self.set_interval(REFRESH_S, self.refresh_now)
        self._look()

    def on_unmount(self) -> None:
        """The looking thread ends with the screen."""
        self._left.set()

    # ---------------------------------------------------------------------------------------------------- what is shown

    def refresh_now(self) -> None:
        """Show everything as it is now."""
        if not self._main.query("#reaction"):  # the screen is being made, or taken down
            return
        progress = self._session.progress
        self._simulation = self._session.folder.running()
        if progress is not None:
            self._show_now(progress)
        for number, line in enumerate(self._plant.lines):
            self._show_line(number, line)
        self._show_trend()
        self._show_faults()
        self._main.query_one("#reaction", Static).update(Text.assemble(*self._reaction_text()))
        if self._session.failed:
            self.exit()
        if self._session.ended and not self._told_end:
            self._told_end = True
            self.notify(self._say(words.ENDED), timeout=3600)

    def _show_now(self, progress: Progress) -> None:
        english = self._language == "en"
        text = self._say(words.NOW).format(
            time=moment(progress.virtual_ns, self._language, self._zone, seconds=True),
            rate=counted(round(progress.rate), english=english),
            published=counted(progress.published, english=english),
            waiting=counted(progress.waiting, english=english),
        )
        if progress.problem:
            text += f" · {printable(progress.problem)}"
        self._main.query_one("#now", Static).update(text)

    def _show_line(self, number: int, line: Line) -> None:
        run = self._session.feed.run(line.path)
        state = self._say(words.STANDS_STILL)
        if run is not None:
            state = f"{self._say(line.step(run.step).label)} · {run.lot}"
        self._main.query_one(f"#run-{number}", Static).update(state)
        table = self._main.query_one(f"#signals-{number}", DataTable)
        seen, stored = self._session.feed.signals(line.path), self.reaction.stored.get(line.path, {})
        faults = [fault for fault in (self._simulation.active if self._simulation else ()) if fault.line == line.path]
        for signal in line.signals:
            for column, cell in zip(
                (words.TRUE, words.SHOWN, words.SYSTEM, words.WRONG),
                self._cells(signal, seen.get(signal.key), stored.get(signal.key), faults),
                strict=True,
            ):
                if table.get_cell(signal.key, column.en) != cell:
                    table.update_cell(signal.key, column.en, cell, update_width=column is words.WRONG)

    def _cells(
        self, signal: Signal, now: SignalNow | None, stored: Stored | None, faults: Sequence[RunningFault]
    ) -> tuple[Text, Text, Text, Text]:
        wrong = ", ".join(fault.label for fault in faults if _touches(fault, signal))
        true = shown = system = Text("")
        if now is not None:
            true = Text(self._value(now.true, signal), justify="right")
            shown = Text(self._value(now.shown, signal), style="bold yellow" if wrong else "", justify="right")
            if math.isnan(now.shown):
                shown = Text(self._say(words.NOTHING_SHOWN), style="bold red", justify="right")
        if stored is not None:
            marks = f"{stored.beyond}{'!' if stored.quality else ''}"
            text = f"{marks} {self._value(stored.value, signal)}".strip()
            system = Text(text, style="bold red" if marks else "", justify="right")
        return true, shown, system, Text(wrong, style="yellow")

    def _show_trend(self) -> None:
        """The curves of the signal under the cursor."""
        number = self._line_number()
        line = self._plant.lines[number]
        table, box = self._main.query_one(f"#signals-{number}", DataTable), self._main.query_one(f"#trend-{number}")
        signal = line.signals[min(max(0, table.cursor_row), len(line.signals) - 1)]
        true, shown = self._session.feed.trend(
            line.path, signal.key, span_s=TREND_S, points=max(1, box.content_size.width)
        )
        box.border_title = f"{self._signal_name(line, signal)} · {self._say(words.TREND)}"
        if isinstance(box, Static):
            box.update(chart(true, shown, height=box.content_size.height, resolution=signal.resolution))

    def _show_faults(self) -> None:
        table = self._main.query_one("#faults", DataTable)
        running = self._simulation
        rows = {}
        if running is not None:
            rows = {fault.label: self._fault_row(fault, running.virtual_ns) for fault in reversed(running.faults)}
        known = {str(key.value): table.get_row(key) for key in table.rows}
        if {label: tuple(row) for label, row in known.items()} == rows and list(known) == list(rows):
            return
        place = table.cursor_row
        table.clear()
        for label, row in rows.items():
            table.add_row(*row, key=label, height=None)
        table.move_cursor(row=min(place, max(0, len(rows) - 1)))

    def _fault_row(self, fault: RunningFault, virtual_ns: int) -> tuple[str, str]:
        return self._say(words.STATES[fault.state(virtual_ns)]), self._say(words_of(fault, self._plant))

    def _reaction_text(self) -> list[tuple[str, str]]:
        reaction, english = self.reaction, self._language == "en"
        if not reaction.there:
            return [(self._say(words.NO_SYSTEM), "dim")]
        received = self._say(words.RECEIVED).format(
            received=counted(reaction.received, english=english), lag=counted(reaction.lag, english=english)
        )
        parts = [(f"{received}\n", "")]
        parts += [(f"✗ {printable(self._say(problem))}\n", "bold red") for problem in reaction.problems]
        if reaction.quarantined:
            reasons = ", ".join(
                f"{reason} {counted(rows, english=english)}" for reason, rows in reaction.quarantined.items()
            )
            parts.append((f"! {self._say(words.REFUSED).format(reasons=reasons)}\n", "yellow"))
        else:
            parts.append((f"{self._say(words.NOTHING_REFUSED)}\n", ""))
        parts.append((f"\n{self._say(words.LOTS)}\n", "bold"))
        parts += [_lot(lot, self._say(words.LOT)) for lot in reaction.finished] or [(self._say(words.NO_LOT), "dim")]
        return parts

    @work(thread=True)
    def _look(self) -> None:
        """Look at the system until the screen closes: a slow database must not hold up the keys."""
        while not self._left.is_set():
            self.reaction = self._session.look()
            self._left.wait(LOOK_S)

    # ----------------------------------------------------------------------------------------------------------- keys

    def action_next_line(self) -> None:
        """The next line's values."""
        tabs = self._main.query_one("#lines", TabbedContent)
        tabs.active = f"line-{(self._line_number() + 1) % len(self._plant.lines)}"

    def action_trigger(self) -> None:
        """Choose a fault for the line that is shown."""

        def chosen(order: Trigger | None) -> None:
            if order is not None:
                self._order(order, words.TRIGGERED)

        self.push_screen(OrderScreen(self._plant.lines[self._line_number()], self._language), chosen)

    def action_stop_fault(self) -> None:
        """Let the fault under the cursor be over; where only one is there, that one."""
        active = [fault.label for fault in self._simulation.active] if self._simulation else []
        table = self._main.query_one("#faults", DataTable)
        chosen = None
        if table.row_count:
            chosen = str(table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value)
        label = chosen if chosen in active else active[0] if len(active) == 1 else None
        if label is None:
            self.notify(self._say(words.NOTHING_TO_STOP), severity="warning")
            return
        self._order(Stop(label=label), words.STOPPED)

    @work(thread=True)
    def _order(self, order: Trigger | Stop, done: Label) -> None:
        try:
            fault = self._session.folder.order(order).fault
        except FiliereError as error:
            self.call_from_thread(self.notify, printable(str(error)), severity="error", timeout=15, markup=False)
            return
        text = self._say(done).format(fault=self._say(words_of(fault, self._plant)))
        self.call_from_thread(self.notify, text, markup=False)

    @property
    def _main(self) -> Screen[Any]:
        """The screen with the lines, also while a fault is chosen before it."""
        return self.screen_stack[0]

    def _line_number(self) -> int:
        return int(self._main.query_one("#lines", TabbedContent).active.rpartition("-")[2] or 0)

    def _short_name(self, line: Line, signal: Signal) -> str:
        """`Débit (kg/h)`; with its machine before it where two machines have that name."""
        name = self._say(signal.label)
        if sum(self._say(other.label) == name for other in line.signals) > 1:
            return self._signal_name(line, signal)
        _, sign = self._scale(signal)
        return f"{name} ({sign})" if sign else name

    def _signal_name(self, line: Line, signal: Signal) -> str:
        """`Extrudeuse · Débit (kg/h)`."""
        _, sign = self._scale(signal)
        name = f"{self._say(line.unit(signal.device).label)} · {self._say(signal.label)}"
        return f"{name} ({sign})" if sign else name

    def _scale(self, signal: Signal) -> tuple[float, str]:
        """Factor and sign of the scale on which people read it; a switch is 0 or 1."""
        return (1.0, "") if signal.is_switch else display(signal.unit, self._language)

    def _value(self, value: float, signal: Signal) -> str:
        """With as many decimals as its resolution has, on the scale on which people read it."""
        scale, _ = self._scale(signal)
        text = f"{value * scale:.{places_of(signal.resolution * scale)}f}"
        return text if self._language == "en" else text.replace(".", ",")

    def _say(self, label: Label) -> str:
        return label.in_language(self._language)


def _touches(fault: RunningFault, signal: Signal) -> bool:
    """It is one of those that are at single signals, and at this one."""
    kind = KINDS.get(fault.kind)
    device, _, name = fault.target.partition(".")
    aimed = device in ("", signal.device) and name in ("", signal.id)
    return aimed and kind is not None and kind.aims_at is Target.SIGNAL


def _lot(lot: Finished, text: str) -> tuple[str, str]:
    verdict = lot.verdict if lot.recycled is not None else f"{lot.verdict} ({' ; '.join(lot.reasons)})"
    return f"{'✓' if lot.recycled is not None else '✗'} {text.format(lot=lot.lot, verdict=printable(verdict))}\n", ""
