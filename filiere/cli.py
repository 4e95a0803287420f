"""`filiere`: gathers the commands of all packages and imports each one only when it is called."""

import importlib
import importlib.metadata
import io
import sys
from dataclasses import dataclass

import typer

from filiere.errors import FiliereError

EXIT_ERROR = 2


@dataclass(frozen=True, slots=True)
class CommandEntry:
    """Where a command lives (`module:attribute`, a typer app or a function) and what it is for."""

    target: str
    summary: str


COMMANDS = {
    "demo": CommandEntry("simulators.commands:demo", "Run two simulated workshops, bale to certificate."),
    "collect": CommandEntry("collector.commands:collect", "Receive readings and events by MQTT and record them."),
    "audit": CommandEntry("collector.accounts.commands:audit", "Show per device: published = stored + quarantined."),
    "quarantine": CommandEntry("collector.quarantine.commands:quarantine", "Show what was refused and why; try again."),
    "log": CommandEntry("collector.log.commands:log", "Message log: how it stands, export, import, rewind, repair."),
    "devices": CommandEntry("collector.devices.commands:devices", "Add and revoke devices at the broker, list them."),
    "certificate": CommandEntry("processing.commands:certificate", "Issue, show and verify certificates."),
    "serve": CommandEntry("api.commands:serve", "Serve the API, the live page and the certificates."),
    "simulate": CommandEntry("simulators.commands:simulate", "Simulate lines: by MQTT, or into files."),
    "score": CommandEntry("simulators.truth.commands:score", "Score what the system made of a simulation."),
    "scenario": CommandEntry("simulators.scenarios.commands:scenario", "List, show and check scenarios to simulate."),
    "replay": CommandEntry("simulators.replay.commands:replay", "Publish a recorded line once more; map its columns."),
    "dashboards": CommandEntry("dashboards.commands:dashboards", "Build the Grafana dashboards, or push them."),
    "bindings": CommandEntry("collector.foreign.commands:bindings", "Test and learn bindings of foreign devices."),
    "plant": CommandEntry("filiere.commands:plant", "Check a plant file."),
    "settings": CommandEntry("filiere.commands:settings", "Show every setting and its value."),
}


def load(name: str) -> typer.Typer:
    """Import a command's module and return the command as a typer app."""
    module_name, _, attribute = COMMANDS[name].target.partition(":")
    found = getattr(importlib.import_module(module_name), attribute)
    if isinstance(found, typer.Typer):
        return found
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name=name)(found)
    return app


def _index() -> typer.Typer:
    """The app behind `filiere --help`: names and summaries only."""
    app = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,  # plain help starts three times faster
        help="Follow a recycled material from the bale to the buyer, and prove its recycled content.",
    )
    for name, entry in COMMANDS.items():
        app.command(name=name, help=entry.summary)(lambda: None)
    return app


def main() -> None:
    """Entry point: an expected error is one line on stderr and exit status 2, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a letter shows a question mark
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    try:
        if name == "--version":
            sys.stdout.write(f"filiere {importlib.metadata.version('filiere')}\n")
        elif name in COMMANDS:
            load(name)(args=sys.argv[2:], prog_name=f"filiere {name}")
        else:
            _index()(prog_name="filiere")
    except FiliereError as error:
        sys.stderr.write(f"filiere: {error}\n")
        raise SystemExit(EXIT_ERROR) from None
