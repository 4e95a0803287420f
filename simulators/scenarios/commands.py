"""`filiere scenario list|show|check`."""

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from filiere.errors import ScenarioError
from filiere.terminal import JsonOption, LanguageOption, printable, wide_console

if TYPE_CHECKING:
    from filiere.plant import Plant, Signal
    from simulators.faults.fault import Fault, Onset
    from simulators.scenarios.scenario import Calendar, Scenario

EXIT_WRONG = 1
DAYS_IN_FRENCH = ("lun", "mar", "mer", "jeu", "ven", "sam", "dim")

scenario = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Scenarios: what goes wrong in a simulation, and when.",
)


@scenario.command(name="list")
def list_(lang: LanguageOption = "fr", as_json: JsonOption = False) -> None:
    """The scenarios that come with Filière."""
    from filiere.plant_file import load_plant
    from simulators.scenarios.scenario_file import load_scenario, shipped

    plant = load_plant("caux")  # they are made for it
    found = [load_scenario(name, plant) for name in shipped()]
    if as_json:
        typer.echo(json.dumps([_document(each, lang) for each in found], indent=2, ensure_ascii=False))
        return
    from rich.markup import escape
    from rich.table import Table

    english = lang == "en"
    table = Table("scenario", "length" if english else "durée", "faults" if english else "pannes", "", box=None)
    for each in found:
        summary = escape(each.summary.in_language(lang))
        table.add_row(f"[bold]{each.id}[/]", _length(each, lang), str(len(each.faults)), summary)
    wide_console().print(table)


@scenario.command()
def show(name: Annotated[str, typer.Argument(help="A name of `filiere scenario list`.")]) -> None:
    """Print the file of a scenario, to start an own one from: `filiere scenario show drift > mine.yaml`."""
    from simulators.scenarios.scenario_file import shipped_bytes

    typer.echo(shipped_bytes(name).decode(), nl=False)


@scenario.command()
def check(
    file: Annotated[str, typer.Argument(help="A scenario file, or a name of `filiere scenario list`.")],
    lang: LanguageOption = "fr",
    as_json: JsonOption = False,
) -> None:
    """Read a scenario against the plant file in force and tell it, or the line that is wrong (exit status 1)."""
    from filiere.plant_file import load_plant
    from filiere.settings import load_settings
    from simulators.scenarios.scenario_file import load_scenario

    plant = load_plant(load_settings().plant)
    try:
        found = load_scenario(file, plant)
    except ScenarioError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(EXIT_WRONG) from None
    if as_json:
        typer.echo(json.dumps(_document(found, lang), indent=2, ensure_ascii=False))
        return
    _tell(found, plant, lang)


def _tell(found: "Scenario", plant: "Plant", lang: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    english = lang == "en"
    console = wide_console()
    console.print(f"[bold]{escape(found.id)}[/] — {escape(printable(found.label.in_language(lang)))}")
    for line in found.summary.in_language(lang).splitlines():
        console.print(escape(printable(line)))
    parts = [_length(found, lang), _calendar(found.calendar, lang), ", ".join(found.lines)]
    console.print(escape(" · ".join(part for part in parts if part)))
    headings = (
        ("fault", "what", "line", "where", "from", "for", "severity")
        if english
        else ("panne", "quoi", "ligne", "où", "à partir de", "pendant", "gravité")
    )
    table = Table(*headings, box=None)
    for fault in found.faults:
        table.add_row(*(escape(text) for text in _row(fault, plant, lang)))
    if found.faults:
        console.print(table)


def _row(fault: "Fault", plant: "Plant", lang: str) -> tuple[str, ...]:
    from simulators.scenarios.scenario_file import duration_text

    line = plant.line(fault.line)
    signal = next((each for each in line.signals if each.key == fault.target), None)
    forever = "the end" if lang == "en" else "la fin"
    lasting = duration_text(fault.duration_s) if math.isfinite(fault.duration_s) else f"→ {forever}"
    where = fault.target or ("the whole line" if lang == "en" else "toute la ligne")
    words = fault.words.in_language(lang)
    return fault.label, words, line.id, where, _onset(fault.onset), lasting, _severity(fault, signal, lang)


def _severity(fault: "Fault", signal: "Signal | None", lang: str) -> str:
    if fault.scale is None:
        return ""
    unit = fault.scale.unit_at(signal)
    return f"{fault.severity:g}{'' if unit == '1' else f' {unit}'} ({fault.scale.label.in_language(lang)})"


def _onset(onset: "Onset") -> str:
    from simulators.scenarios.scenario_file import duration_text

    after = duration_text(onset.after_s)
    if onset.lot is None:
        return after
    step = f" {onset.step}" if onset.step else ""
    return f"lot {onset.lot}{step}" + (f" + {after}" if onset.after_s else "")


def _length(found: "Scenario", lang: str) -> str:
    english = lang == "en"
    parts = []
    if found.lots is not None:
        parts.append(f"{found.lots} {'lots a line' if english else 'lots par ligne'}")
    if found.days is not None:
        number = f"{found.days:g}" if english else f"{found.days:g}".replace(".", ",")
        days = f"{number} {'days' if english else 'jours'}"
        parts.append(days if found.days > 1 else days.removesuffix("s"))
    return ", ".join(parts)


def _calendar(calendar: "Calendar | None", lang: str) -> str:
    from simulators.scenarios.scenario import DAYS_OF_WEEK

    if calendar is None:
        return ""
    names = DAYS_OF_WEEK if lang == "en" else DAYS_IN_FRENCH
    days = " ".join(names[day] for day in sorted(calendar.days))
    hour, minute = divmod(calendar.start_minute, 60)
    colon, lots = (":", "lots a day from") if lang == "en" else (" :", "lots par jour à partir de")
    return f"{days}{colon} {calendar.lots_a_day} {lots} {hour:02}:{minute:02}"


def _document(found: "Scenario", lang: str) -> Mapping[str, object]:
    from simulators.scenarios.scenario_file import fault_document

    return {
        "id": found.id,
        "label": found.label.in_language(lang),
        "summary": found.summary.in_language(lang),
        "lots": found.lots,
        "days": found.days,
        "lines": found.lines,
        "faults": [fault_document(fault) for fault in found.faults],
        "sha256": found.digest,
    }
