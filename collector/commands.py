"""`filiere collect`, `filiere audit`, `filiere quarantine`."""

import enum
import signal
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from collector.audit import DeviceAccount
    from collector.record_book import Quarantined

EXIT_NOT_CLOSED = 1
LISTED = 50
_PAYLOAD_SHOWN = 120
_WIDTH_ELSEWHERE = 220
"""Columns of a table that goes to a file or a pipe."""


class Part(enum.StrEnum):
    """One of the collector's two processes."""

    INTAKE = "intake"
    RECORDER = "recorder"


def collect(
    only: Annotated[
        Part | None, typer.Option(help="Run one of the two processes alone, here, without a supervisor.")
    ] = None,
    stop_with_stdin: Annotated[
        bool, typer.Option("--stop-with-stdin", help="Stop when standard input ends: for who starts this as a child.")
    ] = False,
) -> None:
    """Receive messages by MQTT and record them, until Ctrl-C or SIGTERM.

    Two processes: the intake commits every message to the message log before it is acknowledged; the recorder brings
    them to the readings store, the event ledger and the quarantine. A slow database never slows an acknowledgement.
    """
    from random import Random

    from collector.logs import configure_logs
    from collector.processes import run_intake, run_recorder
    from collector.supervisor import stop_with_standard_input, supervise
    from filiere.plant_file import load_plant
    from filiere.settings import load_settings

    settings = load_settings()
    plant = load_plant(settings.plant)
    configure_logs(settings.log_level, only or "collect")
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    if stop_with_stdin:
        stop_with_standard_input(stop)
    match only:
        case Part.INTAKE:
            run_intake(settings, stop=stop)
        case Part.RECORDER:
            run_recorder(settings, plant, stop=stop)
        case None:
            supervise({part: _command(part) for part in Part}, stop=stop, random=Random())  # noqa: S311 - spreads waits


def _command(part: Part) -> Sequence[str]:
    return [sys.executable, "-m", "filiere", "collect", "--only", part, "--stop-with-stdin"]


def audit(
    as_json: Annotated[bool, typer.Option("--json", help="The same as JSON.")] = False,
) -> None:
    """Show, per device, published = stored + quarantined + waiting. Exit status 1 when an account does not close."""
    import json
    from dataclasses import asdict

    from collector.audit import audit as audit_accounts
    from collector.audit import recorder_state
    from filiere.settings import load_settings

    path = load_settings().recorder_path
    accounts, state = audit_accounts(path), recorder_state(path)
    closes = all(account.closes for account in accounts)
    if as_json:
        devices = [{**asdict(account), "closes": account.closes} for account in accounts]
        recorder = {**asdict(state), "log_lag": state.log_lag}
        typer.echo(json.dumps({"closes": closes, "recorder": recorder, "devices": devices}, indent=2))
    else:
        _print_accounts(accounts)
        if state.log_lag:
            typer.echo(f"{state.log_lag} messages are in the log and not recorded yet; they are on neither side.")
        if state.store_problem:
            typer.echo(f"The recorder waits: {state.store_problem}")
        typer.echo("The accounts close." if closes else "NOT CLOSED: rows are missing, or were counted twice.")
    if not closes:
        raise typer.Exit(EXIT_NOT_CLOSED)


def quarantine(
    limit: Annotated[int, typer.Option(min=1, help="At most so many messages, the newest first.")] = LISTED,
    reason: Annotated[str | None, typer.Option(help="Only this reason, such as unknown_signal.")] = None,
    device: Annotated[
        str | None, typer.Option(help="Only this device, such as caux/textile/t1/extruder; ? = none is named.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with the whole payload in base64.")] = False,
) -> None:
    """Show the messages that were refused, and why."""
    import json

    from collector.audit import NO_DEVICE
    from collector.record_book import RecordBook
    from filiere.settings import load_settings

    device = "" if device == NO_DEVICE else device
    with RecordBook.open_reader(load_settings().recorder_path) as book:
        messages = list(book.quarantine(limit=limit, device=device, reason=reason))
    if as_json:
        typer.echo(json.dumps([_as_json(message) for message in messages], indent=2, ensure_ascii=False))
    elif messages:
        _print_quarantine(messages)
    else:
        typer.echo("Nothing is in quarantine." if reason is None and device is None else "No such message is there.")


def _as_json(message: "Quarantined") -> dict[str, object]:
    from base64 import b64encode

    from filiere.clock import to_text

    return {
        "offset": message.offset,
        "record_time": to_text(message.record_time_ns),
        "device": message.device,
        "topic": message.topic.decode(errors="backslashreplace"),
        "reason": message.reason,
        "message": message.message,
        "rows": message.rows,
        "payload": message.payload[:_PAYLOAD_SHOWN].decode(errors="backslashreplace"),
        "payload_base64": b64encode(message.payload).decode(),
    }


def _print_accounts(accounts: "Sequence[DeviceAccount]") -> None:
    from rich.table import Table

    from filiere.clock import to_text

    table = Table("device")
    for column in ("published", "stored", "quarantined", "waiting", "missing", "duplicates", "late", "skew s"):
        table.add_column(column, justify="right")
    for column in ("last heard", "refused because", ""):
        table.add_column(column)
    for account in accounts:
        table.add_row(
            _printable(account.device),
            *(str(count) for count in (account.published, account.stored, account.quarantined, account.waiting)),
            *(str(count) for count in (account.missing, account.duplicates, account.late)),
            f"{account.skew_s:.1f}",
            to_text(account.last_record_ns),
            ", ".join(f"{reason} {rows}" for reason, rows in account.reasons.items()),
            "closes" if account.closes else "[bold red]NOT CLOSED[/]",
        )
    _console().print(table)


def _print_quarantine(messages: "Sequence[Quarantined]") -> None:
    from rich.table import Table

    from filiere.clock import to_text

    table = Table("offset", "received", "topic", "reason", "what is wrong", "payload")
    for message in messages:
        table.add_row(
            str(message.offset),
            to_text(message.record_time_ns),
            _printable(message.topic.decode(errors="backslashreplace")),
            message.reason,
            _printable(message.message),
            _printable(message.payload[:_PAYLOAD_SHOWN].decode(errors="backslashreplace")),
        )
    _console().print(table)


def _console() -> "Console":
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=_WIDTH_ELSEWHERE)


def _printable(text: str) -> str:
    """What strangers sent, without what a terminal or rich would obey."""
    from rich.markup import escape

    return escape("".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text))
