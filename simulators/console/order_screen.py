"""The screen on which a fault is chosen: kind, place, how badly, how long."""

import math
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Label, Select, Static

from filiere.plant import Line
from filiere.terminal import Language
from simulators.console import words
from simulators.faults.catalogue import KINDS, targets
from simulators.faults.fault import Fault, Target
from simulators.output.live_faults import Trigger
from simulators.scenarios.scenario_file import duration_text


class OrderScreen(ModalScreen[Trigger | None]):
    """Gives what is to be ordered for a line; None = nothing."""

    DEFAULT_CSS = """
    OrderScreen { align: center middle; }
    OrderScreen > Vertical {
        width: 76; max-width: 100%; height: auto; max-height: 100%; overflow-y: auto;
        border: round $warning; padding: 1 2; background: $surface;
    }
    OrderScreen Label { margin-top: 1; }
    OrderScreen Horizontal { height: auto; margin-top: 1; }
    OrderScreen Button { margin-right: 2; }
    OrderScreen #wrong { color: $error; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", show=False)]

    def __init__(self, line: Line, language: Language) -> None:
        super().__init__()
        self._line = line
        self._language: Language = language
        self._kinds = {name: kind for name, kind in KINDS.items() if targets(kind, line)}

    def compose(self) -> ComposeResult:
        """Two choices, two inputs, two buttons."""
        language = self._language
        kinds = [
            (f"{kind.words.in_language(language)} ({words.LAYERS[kind.layer].in_language(language)})", name)
            for name, kind in self._kinds.items()
        ]
        with Vertical():
            yield Static(f"{words.ORDER.in_language(language)} — {self._line.label.in_language(language)}")
            yield Label(words.KIND.in_language(language))
            yield Select(kinds, id="kind", prompt=words.KIND.in_language(language))
            yield Label(words.TARGET.in_language(language))
            yield Select[str]([], id="target", prompt=words.TARGET.in_language(language))
            yield Input(id="severity", placeholder=words.NO_SEVERITY.in_language(language))
            yield Input(id="duration", placeholder=words.DURATION.in_language(language))
            yield Static("", id="wrong")
            with Horizontal():
                yield Button(words.TRIGGER.in_language(language), id="trigger", variant="warning")
                yield Button(words.CANCEL.in_language(language), id="cancel")

    @on(Select.Changed, "#kind")
    def _kind_chosen(self) -> None:
        kind = self._kind()
        if kind is None:
            return
        places = self.query_one("#target", Select)
        found = targets(kind, self._line)
        options = [(self._place(target), target) for target in found]
        if kind.aims_at is not Target.LINE and len(found) > 1:
            options.append((words.WHOLE_LINE.in_language(self._language), ""))
        places.set_options(options)
        places.value = options[0][1]
        severity, duration = self.query_one("#severity", Input), self.query_one("#duration", Input)
        severity.disabled = kind.scale is None
        severity.value = ""
        if kind.scale is None:
            severity.placeholder = words.NO_SEVERITY.in_language(self._language)
        else:
            meaning = kind.scale.label.in_language(self._language)
            text = words.SEVERITY.in_language(self._language)
            severity.placeholder = text.format(meaning=meaning, usual=f"{kind.scale.usual:g}")
        if math.isfinite(kind.usual_duration_s):
            text = words.MUST_END.in_language(self._language)
            duration.placeholder = text.format(usual=duration_text(kind.usual_duration_s))
        else:
            duration.placeholder = words.DURATION.in_language(self._language)

    @on(Button.Pressed, "#trigger")
    @on(Input.Submitted)
    def _trigger(self) -> None:
        kind, place = self._kind(), self.query_one("#target", Select).value
        if kind is None or not isinstance(place, str):
            self._wrong(words.CHOOSE.in_language(self._language))
            return
        fault: dict[str, object] = {"kind": kind.kind, "line": self._line.path}
        if place:
            fault["target"] = place
        severity = self.query_one("#severity", Input).value.strip().replace(",", ".")
        if severity and kind.scale is not None:
            try:
                fault["severity"] = float(severity)
            except ValueError:
                self._wrong(words.NOT_A_NUMBER.in_language(self._language))
                return
        duration = self.query_one("#duration", Input).value.strip().replace(",", ".")
        if duration:
            fault["duration"] = duration
        self.dismiss(Trigger(fault=fault))

    @on(Button.Pressed, "#cancel")
    def action_leave(self) -> None:
        """Order nothing."""
        self.dismiss(None)

    def _kind(self) -> type[Fault] | None:
        name = self.query_one("#kind", Select).value
        return self._kinds.get(name) if isinstance(name, str) else None

    def _place(self, target: str) -> str:
        """`extruder.melt_temp` → its machine and its name, as people say."""
        if not target:
            return words.WHOLE_LINE.in_language(self._language)
        device = target.partition(".")[0]
        names = [unit.label for unit in self._line.units if unit.id == device]
        names += [signal.label for signal in self._line.signals if signal.key == target]
        return " · ".join(name.in_language(self._language) for name in names) or target

    def _wrong(self, text: str) -> None:
        self.query_one("#wrong", Static).update(text)
