"""A score as a picture: per line, each fault with when it was found, the false alarms, and the lots.

matplotlib is imported when a picture is asked for: it is an extra. The same score makes the same bytes.
"""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from filiere.clock import NS_PER_S
from filiere.errors import SettingsError
from filiere.plant import Label
from filiere.terminal import Language
from filiere.whole_file import whole_file
from simulators.truth.display import ROWS, headline, summary_words
from simulators.truth.matching import FaultScore
from simulators.truth.score import LineSpan, Score
from simulators.truth.verdicts import LotScore, Outcome
from simulators.truth.words import ABSORBED, MISSED, NO_TIME, OUTCOME_WORDS, duration, instant, kind_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png")
FILE_MODE = 0o644
FAULTS_DRAWN_MAX = 40
"""A line: beyond it nobody reads them; the table has them all."""
FOUND, LOST, EVIDENCE, FALSE = "#3b6ea5", "#c0392b", "#1b1b1b", "#b9770e"
OUTCOME_COLOURS = {
    Outcome.RIGHT: "#7fb58a",
    Outcome.CAUTIOUS: "#e3c567",
    Outcome.WRONGLY_RELEASED: "#c0392b",
    Outcome.WRONGLY_HELD: "#d98880",
}
OUTCOME_MARKS = {
    Outcome.RIGHT: "✓",
    Outcome.CAUTIOUS: "~",
    Outcome.WRONGLY_RELEASED: "✗",
    Outcome.WRONGLY_HELD: "!",
}
"""What is wrong is said by a sign too, not by its colour alone."""
FALSE_ALARMS, LOTS = Label(fr="fausses alertes", en="false alarms"), Label(fr="lots", en="lots")
HOURS = Label(fr="heures depuis {start} UTC", en="hours since {start} UTC")
ROW_HEIGHT_IN, WIDTH_IN, HEAD_IN = 0.34, 11.0, 2.1


def write_plot(path: Path, score: Score, language: Language) -> None:
    """Draw a score; the file is whole when it returns, and takes the place of one that was there.

    Raises:
        SettingsError: another suffix than SUFFIXES, matplotlib is not installed, or the file cannot be written.
    """
    refuse_other_suffix(path)
    content = _drawn(score, language, path.suffix.lower().removeprefix("."))
    try:
        with whole_file(path, mode=FILE_MODE, replace=True) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise SettingsError(f"--plot: got {path} ({error.strerror}); expected a file that may be written") from None


def refuse_other_suffix(path: Path) -> None:
    """Raises SettingsError: a name that does not end in one of SUFFIXES."""
    if path.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"--plot: got {path.name!r}; expected a name that ends in {' or '.join(SUFFIXES)}")


def _drawn(score: Score, language: Language, kind: str) -> bytes:
    try:
        import matplotlib as mpl  # noqa: PLC0415  # an extra, and half a second
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  # same
        from matplotlib.figure import Figure  # noqa: PLC0415  # same
    except ImportError:
        raise SettingsError(
            "--plot: got no matplotlib; expected it to be installed: uv sync --extra plots, or pip install matplotlib"
        ) from None
    # text stays text: a third of the size, and it can be searched
    style = mpl.rc_context({"svg.hashsalt": "filiere", "svg.fonttype": "none", "font.size": 9})
    with style:
        rows = [2 + min(len(_faults(score, each.line)), FAULTS_DRAWN_MAX) for each in score.lines]
        figure = Figure(figsize=(WIDTH_IN, HEAD_IN + ROW_HEIGHT_IN * sum(rows) + 0.6 * len(rows)), layout="constrained")
        FigureCanvasAgg(figure)
        _title(figure, score, language)
        axes = figure.subplots(len(rows), 1, squeeze=False, gridspec_kw={"height_ratios": rows})[:, 0]
        for axis, span in zip(axes, score.lines, strict=True):
            _line(axis, score, span, language)
        figure.supxlabel(f"{LOTS.in_language(language)} : {_legend(language)}", fontsize=8)
        content = io.BytesIO()
        metadata: dict[str, Any] = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(content, format=kind, metadata=metadata)
    return content.getvalue()


def _title(figure: "Figure", score: Score, language: Language) -> None:
    numbers = zip(ROWS, summary_words(score, language), strict=True)
    lines = [f"{heading.in_language(language)} : {words}" for heading, words in numbers]
    figure.suptitle("\n".join([headline(score, language), *lines]), fontsize=9, ha="left", x=0.01)


def _faults(score: Score, line: str) -> list[FaultScore]:
    return [each for each in score.faults if each.fault.line == line]


def _line(axis: "Axes", score: Score, span: LineSpan, language: Language) -> None:
    """One row a fault, then the false alarms, then the lots."""
    faults = _faults(score, span.line)[:FAULTS_DRAWN_MAX]
    for row, each in enumerate(faults):
        _fault(axis, row, each, span, language)
    _alarms(axis, len(faults), score, span)
    for lot in score.lots:
        if lot.line == span.line:
            _lot(axis, len(faults) + 1, lot, span.start_ns)
    labels = [f"{each.fault.label}\n{kind_words(each.fault.kind).in_language(language)}" for each in faults]
    labels += [FALSE_ALARMS.in_language(language), LOTS.in_language(language)]
    axis.set_yticks(np.arange(len(labels)), labels, fontsize=7)
    axis.set_ylim(len(labels) - 0.4, -0.6)
    axis.set_xlim(0.0, _hours(span.stop_ns - span.start_ns))
    axis.set_xlabel(HOURS.in_language(language).format(start=instant(span.start_ns)))
    axis.set_title(span.line, loc="left", fontweight="bold")
    axis.grid(axis="x", alpha=0.3)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def _fault(axis: "Axes", row: int, each: FaultScore, span: LineSpan, language: Language) -> None:
    fault, start_ns = each.fault, span.start_ns
    begin = max(fault.start_ns, start_ns)
    end = span.stop_ns if fault.stop_ns is None else min(fault.stop_ns, span.stop_ns)
    width = max(_hours(end - begin), _hours(span.stop_ns - start_ns) / 400)  # what is short is seen all the same
    left = _hours(begin - start_ns)
    colour, hatch = (LOST, "//") if each.missed else (FOUND, "")
    axis.barh(row, width, left=left, height=0.5, color=colour, hatch=hatch)
    hours = [_hours(said.known_ns - start_ns) for said in each.conclusions if said.known_ns is not None]
    axis.plot(hours, [row] * len(hours), "|", color=EVIDENCE, ms=9)
    axis.annotate(_said(each, language), (left, row), xytext=(2, 8), textcoords="offset points", fontsize=6.5)


def _said(each: FaultScore, language: Language) -> str:
    if each.absorbed:
        return ABSORBED.in_language(language)
    if not each.found:
        return MISSED.in_language(language)
    return NO_TIME.in_language(language) if each.delay_s is None else f"+{duration(each.delay_s, language)}"


def _alarms(axis: "Axes", row: int, score: Score, span: LineSpan) -> None:
    hours = [_hours(each.start_ns - span.start_ns) for each in score.false_alarms if each.line == span.line]
    axis.plot(hours, [row] * len(hours), "x", color=FALSE)


def _lot(axis: "Axes", row: int, lot: LotScore, start_ns: int) -> None:
    left, width = _hours(lot.start_ns - start_ns), _hours(lot.stop_ns - lot.start_ns)
    axis.barh(row, width, left=left, height=0.6, color=OUTCOME_COLOURS[lot.outcome], edgecolor="white")
    mark = OUTCOME_MARKS[lot.outcome]
    axis.annotate(mark, (left + width / 2, row), ha="center", va="center", fontsize=8)


def _hours(span_ns: int) -> float:
    return span_ns / NS_PER_S / 3600.0


def _legend(language: Language) -> str:
    return "   ".join(
        f"{mark} {OUTCOME_WORDS[outcome].in_language(language)}" for outcome, mark in OUTCOME_MARKS.items()
    )
