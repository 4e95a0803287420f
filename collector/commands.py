"""`filiere collect`, `filiere audit`, `filiere quarantine`."""

import enum
import signal
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from filiere.plant import Label
from filiere.terminal import JsonOption, Language, LanguageOption, printable, wide_console

if TYPE_CHECKING:
    from collector.audit import DeviceAccount
    from collector.record_book import Quarantined

EXIT_NOT_CLOSED = 1
LISTED = 50
_PAYLOAD_SHOWN = 120

ACCOUNT_HEADINGS = (
    Label(fr="appareil", en="device"),
    Label(fr="publié", en="published"),
    Label(fr="enregistré", en="stored"),
    Label(fr="quarantaine", en="quarantined"),
    Label(fr="en attente", en="waiting"),
    Label(fr="manquant", en="missing"),
    Label(fr="doublons", en="duplicates"),
    Label(fr="en retard", en="late"),
    Label(fr="décalage (s)", en="skew (s)"),
    Label(fr="dernier message", en="last heard"),
    Label(fr="motifs de refus", en="refused because"),
)
QUARANTINE_HEADINGS = (
    Label(fr="numéro", en="offset"),
    Label(fr="reçu", en="received"),
    Label(fr="topic", en="topic"),
    Label(fr="motif", en="reason"),
    Label(fr="ce qui ne va pas", en="what is wrong"),
    Label(fr="contenu", en="payload"),
)
CLOSES, NOT_CLOSED = Label(fr="juste", en="closes"), Label(fr="NE TOMBE PAS JUSTE", en="NOT CLOSED")
ACCOUNTS_CLOSE = Label(fr="Les comptes tombent juste.", en="The accounts close.")
ACCOUNTS_OPEN = Label(
    fr="LES COMPTES NE TOMBENT PAS JUSTE : des relevés manquent, ou ont été comptés deux fois.",
    en="NOT CLOSED: rows are missing, or were counted twice.",
)
NOT_RECORDED = Label(
    fr="Messages reçus, pas encore enregistrés, comptés d'aucun côté : ",
    en="Messages in the log that are not recorded yet, on neither side: ",
)
RECORDER_WAITS = Label(fr="L'enregistrement attend : ", en="The recorder waits: ")
EMPTY = Label(fr="La quarantaine est vide.", en="Nothing is in quarantine.")
NONE_SUCH = Label(fr="Aucun message de ce genre.", en="No such message is there.")


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

    from collector.processes import run_intake, run_recorder
    from collector.supervisor import stop_with_standard_input, supervise
    from filiere.logs import configure_logs
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


def audit(as_json: JsonOption = False, lang: LanguageOption = "fr") -> None:
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
        _print_accounts(accounts, lang)
        if state.log_lag:
            typer.echo(f"{NOT_RECORDED.in_language(lang)}{state.log_lag}")
        if state.store_problem:
            typer.echo(f"{RECORDER_WAITS.in_language(lang)}{state.store_problem}")
        typer.echo((ACCOUNTS_CLOSE if closes else ACCOUNTS_OPEN).in_language(lang))
    if not closes:
        raise typer.Exit(EXIT_NOT_CLOSED)


def quarantine(
    limit: Annotated[int, typer.Option(min=1, help="At most so many messages, the newest first.")] = LISTED,
    reason: Annotated[str | None, typer.Option(help="Only this reason, such as unknown_signal.")] = None,
    device: Annotated[
        str | None, typer.Option(help="Only this device, such as caux/textile/t1/extruder; ? = none is named.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with the whole payload in base64.")] = False,
    lang: LanguageOption = "fr",
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
        _print_quarantine(messages, lang)
    else:
        typer.echo((EMPTY if reason is None and device is None else NONE_SUCH).in_language(lang))


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


def _print_accounts(accounts: "Sequence[DeviceAccount]", language: Language) -> None:
    from rich.table import Table

    from filiere.clock import to_text

    device, *counts, heard, reasons = (heading.in_language(language) for heading in ACCOUNT_HEADINGS)
    table = Table(device)
    for heading in counts:
        table.add_column(heading, justify="right")
    for heading in (heard, reasons, ""):
        table.add_column(heading)
    for account in accounts:
        table.add_row(
            _escaped(account.device),
            *(str(count) for count in (account.published, account.stored, account.quarantined, account.waiting)),
            *(str(count) for count in (account.missing, account.duplicates, account.late)),
            f"{account.skew_s:.1f}" if language == "en" else f"{account.skew_s:.1f}".replace(".", ","),
            to_text(account.last_record_ns),
            ", ".join(f"{reason} {rows}" for reason, rows in account.reasons.items()),
            CLOSES.in_language(language) if account.closes else f"[bold red]{NOT_CLOSED.in_language(language)}[/]",
        )
    wide_console().print(table)


def _print_quarantine(messages: "Sequence[Quarantined]", language: Language) -> None:
    from rich.table import Table

    from filiere.clock import to_text

    table = Table(*(heading.in_language(language) for heading in QUARANTINE_HEADINGS))
    for message in messages:
        table.add_row(
            str(message.offset),
            to_text(message.record_time_ns),
            _escaped(message.topic.decode(errors="backslashreplace")),
            message.reason,
            _escaped(message.message),
            _escaped(message.payload[:_PAYLOAD_SHOWN].decode(errors="backslashreplace")),
        )
    wide_console().print(table)


def _escaped(text: str) -> str:
    """What strangers sent, without what a terminal or rich would obey."""
    from rich.markup import escape

    return escape(printable(text))
