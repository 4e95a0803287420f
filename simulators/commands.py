"""`filiere simulate` and `filiere demo`."""

import json
import sys
from pathlib import Path

import typer

from filiere.terminal import LanguageOption
from simulators.output.format import Format

EXIT_NOT_WHOLE = 1
MQTT = "mqtt"


def simulate(
    *,
    scenario: str = typer.Option(
        "", help="What goes wrong: a name of `filiere scenario list`, or a file. [default: nothing]"
    ),
    to: str = typer.Option(MQTT, metavar="mqtt|FOLDER", help="To the broker, or into files of a new folder."),
    form: Format | None = typer.Option(None, "--format", help="Of the files. [default: parquet]"),
    truth: Path | None = typer.Option(None, help="Keep what is true in this folder, for `filiere score`."),
    days: float | None = typer.Option(
        None, min=0.001, max=36_500, help="Stop so many simulated days after the beginning. [default: the scenario's]"
    ),
    lots: int | None = typer.Option(
        None, min=1, help="Stop after so many more lots on each line. [default: the scenario's; else go on]"
    ),
    speed: float = typer.Option(
        60.0,
        min=0.0,
        help="Times as fast as the clock, until caught up; 0 = all it can. Files come as fast as they can.",
    ),
    seed: int | None = typer.Option(None, help="Another number, another plant. [default: the scenario's, else 1]"),
    start: str = typer.Option(
        "", help="First simulated instant, RFC 3339. [default: the scenario's; else a week ago, in files 2026-03-02]"
    ),
    fresh: bool = typer.Option(
        False, "--fresh", help="Forget where an earlier simulation stopped; use an empty folder."
    ),
    rows: int | None = typer.Option(None, min=1, max=1000, help="Most rows in a message. [default: 10]"),
    interactive: bool = typer.Option(
        False, "--interactive", help="A live console: what is true and shown, and keys to let something go wrong."
    ),
    lang: LanguageOption = "fr",
    as_json: bool = typer.Option(False, "--json", help="Say the result as JSON on standard output."),
    stop_with_stdin: bool = typer.Option(
        False, "--stop-with-stdin", help="Stop when standard input ends: for who starts this as a child."
    ),
) -> None:
    """Simulate lines: publish them by MQTT as real ones would, or write them to files.

    By MQTT it goes on where the last one stopped: what the collector has not receipted waits in the data folder, and is
    sent by the next start. Exit status 1: no receipt came for a minute at the end, or it was stopped before the files
    were whole.
    """
    from filiere.errors import SettingsError
    from filiere.settings import load_settings
    from simulators.output.order import Order

    if form is not None and to == MQTT:
        raise SettingsError("--format: got a format of files; expected --to FOLDER too")
    if interactive and to != MQTT:
        raise SettingsError("--interactive: got --to with a folder; expected mqtt: files are written without a console")
    if interactive and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise SettingsError("--interactive: got no terminal; expected one: start it by hand, or leave the option out")
    order = Order(
        scenario=scenario,
        speed=speed,
        lots=lots,
        days=days,
        seed=seed,
        start_ns=_start_ns(start),
        fresh=fresh,
        rows_max=rows,
        stop_with_stdin=stop_with_stdin,
        to=None if to == MQTT else Path(to),
        form=form or Format.PARQUET,
        truth=truth,
        language=lang,
    )
    if interactive:
        from simulators.console.run import run_console

        result = run_console(load_settings(), order, language=lang)
        well = result["flushed"] or result["asked_to_stop"]
    elif order.to is None:
        from simulators.output.simulate import run_simulation

        result = run_simulation(load_settings(), order)
        well = result["flushed"] or result["asked_to_stop"]
    else:
        from simulators.output.folder import run_to_folder

        result = run_to_folder(load_settings(), order)
        well = result["ended"]
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
    if not well:
        raise typer.Exit(EXIT_NOT_WHOLE)


def demo(
    speed: float = typer.Option(60.0, min=0.0, help="Times as fast as the clock; 0 = all it can."),
    lots: int | None = typer.Option(None, min=1, help="Stop the lines after so many lots each."),
    leave: bool = typer.Option(False, "--exit", help="After the last lot: audit, verify the certificates, and leave."),
    fresh: bool = typer.Option(False, "--fresh", help="Empty the data folder first."),
    as_json: bool = typer.Option(False, "--json", help="Say the result as JSON on standard output; implies --exit."),
    port: int | None = typer.Option(None, min=1, max=65535, help="Port of the pages. [default: the setting's]"),
    data: Path | None = typer.Option(None, help="Data folder. [default: the setting's]"),
    seed: int | None = typer.Option(None, help="Another number, another plant. [default: 1]"),
    scenario: str = typer.Option("", help="What goes wrong: as `filiere simulate --scenario`. [default: nothing]"),
) -> None:
    """Run two simulated workshops, from the bale to the certificate; Ctrl-C stops everything."""
    from simulators.demo.run import DemoOrder, run_demo

    order = DemoOrder(
        speed=speed,
        lots=lots if lots is not None or not (leave or as_json) else 1,
        leave=leave or as_json,
        fresh=fresh,
        as_json=as_json,
        port=port,
        data_dir=data,
        seed=seed,
        scenario=scenario,
    )
    raise typer.Exit(run_demo(order))


def _start_ns(start: str) -> int | None:
    from filiere.clock import parse_time
    from filiere.errors import SettingsError

    if not start:
        return None
    try:
        return parse_time(start)
    except ValueError as error:
        raise SettingsError(f"--start: {error}") from None
