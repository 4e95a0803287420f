"""`filiere simulate` and `filiere demo`."""

import json
import sys
from pathlib import Path

import typer

EXIT_NOT_RECEIPTED = 1


def simulate(
    speed: float = typer.Option(60.0, min=0.0, help="Times as fast as the clock, until caught up; 0 = all it can."),
    lots: int | None = typer.Option(None, min=1, help="Stop after so many lots on each line; without it, go on."),
    seed: int | None = typer.Option(None, help="Another number, another plant. [default: 1]"),
    start: str = typer.Option("", help="First virtual instant, RFC 3339. [default: a week ago]"),
    fresh: bool = typer.Option(
        False, "--fresh", help="Forget where an earlier simulation stopped; use an empty folder."
    ),
    rows: int = typer.Option(10, min=1, max=1000, help="Most rows in a message."),
    as_json: bool = typer.Option(False, "--json", help="Say the result as JSON on standard output."),
    stop_with_stdin: bool = typer.Option(
        False, "--stop-with-stdin", help="Stop when standard input ends: for who starts this as a child."
    ),
) -> None:
    """Publish simulated lines by MQTT, as real ones would; goes on where the last one stopped.

    What the collector has not receipted waits in the data folder, and is sent by the next start. Exit status 1: the
    lots are made, and no receipt came for a minute.
    """
    from filiere.settings import load_settings
    from simulators.output.simulate import Order, run_simulation

    order = Order(
        speed=speed,
        lots=lots,
        seed=seed,
        start_ns=_start_ns(start),
        fresh=fresh,
        rows_max=rows,
        stop_with_stdin=stop_with_stdin,
    )
    result = run_simulation(load_settings(), order)
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
    if not (result["flushed"] or result["asked_to_stop"]):
        raise typer.Exit(EXIT_NOT_RECEIPTED)


def demo(
    speed: float = typer.Option(60.0, min=0.0, help="Times as fast as the clock; 0 = all it can."),
    lots: int | None = typer.Option(None, min=1, help="Stop the lines after so many lots each."),
    leave: bool = typer.Option(False, "--exit", help="After the last lot: audit, verify the certificates, and leave."),
    fresh: bool = typer.Option(False, "--fresh", help="Empty the data folder first."),
    as_json: bool = typer.Option(False, "--json", help="Say the result as JSON on standard output; implies --exit."),
    port: int | None = typer.Option(None, min=1, max=65535, help="Port of the pages. [default: the setting's]"),
    data: Path | None = typer.Option(None, help="Data folder. [default: the setting's]"),
    seed: int | None = typer.Option(None, help="Another number, another plant. [default: 1]"),
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
