"""`filiere log`: how the message log stands; out of it, into it, back in it, and what to do when it is damaged."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from collector.log.words import (
    ALL_READABLE,
    BEHIND,
    CHECKED,
    DAYS,
    DO_REPAIR,
    EXPORTED,
    FREE,
    FULL_IN,
    GO_ON,
    IMPORTED,
    KEPT,
    LEFT,
    LOST,
    LOST_SPANS,
    NEVER,
    NEWEST,
    NO_BOOK,
    NOTHING,
    NOTHING_LOST,
    NOTHING_TO_REWIND,
    OLDEST,
    PATH,
    RATE,
    READ,
    RECORDED,
    REPAIR_PLAN,
    REPAIRED,
    RETENTION,
    REWIND_LATER,
    REWIND_PLAN,
    REWOUND,
    SIZE,
    UNREADABLE,
    bytes_text,
    decimal,
    span_text,
    spans_text,
)
from filiere.meter import Meter
from filiere.plant import Label
from filiere.terminal import JsonOption, Language, LanguageOption, printable, wide_console

if TYPE_CHECKING:
    from collector.log.report import LogReport
    from collector.recorder.book import Progress
    from filiere.message_log import MessageLog, Unreadable
    from filiere.settings import Settings

EXIT_UNREADABLE = 1
YES = ("o", "oui", "y", "yes")
CHUNK = 1000

log = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="The message log: how it stands, export, import, rewind, repair.",
)
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="A new file; without it, standard output.")]


@log.callback()
def _log() -> None:
    """The message log."""


@log.command()
def info(
    check: Annotated[bool, typer.Option("--check", help="Read every message, and say which cannot be read.")] = False,
    as_json: JsonOption = False,
    lang: LanguageOption = "fr",
) -> None:
    """Show what the message log holds, how far it is recorded, and how long the disk will do.

    Exit status 0: all is well. 1: with --check, some messages cannot be read. 2: the log as a whole cannot.
    """
    import json

    from collector.log.report import log_report
    from filiere.clock import system_clock
    from filiere.settings import load_settings

    settings = load_settings()
    unreadable = _checked(settings, lang) if check else None
    if not unreadable:
        report = log_report(settings, system_clock)
        if as_json:
            typer.echo(json.dumps(_report_json(report, unreadable), indent=2))
        else:
            _print_report(report, lang)
    elif as_json:
        typer.echo(json.dumps({"path": str(settings.log_path), "unreadable": _spans_json(unreadable)}, indent=2))
    if unreadable is not None and not as_json:
        spans = UNREADABLE.in_language(lang).format(spans=spans_text(unreadable, lang))
        typer.echo(f"{spans} {DO_REPAIR.in_language(lang)}" if unreadable else ALL_READABLE.in_language(lang))
    if unreadable:
        raise typer.Exit(EXIT_UNREADABLE)


def _checked(settings: "Settings", language: Language) -> "list[Unreadable]":
    from filiere.message_log import MessageLog, Unreadable

    unreadable: list[Unreadable] = []
    with MessageLog.open_damaged(settings.log_path) as messages, _meter(READ, language) as said:
        for part in messages.walk(limit=CHUNK):
            if isinstance(part, Unreadable):
                unreadable.append(part)
            else:
                said.more(len(part))
    return unreadable


def _report_json(report: "LogReport", unreadable: "Sequence[Unreadable] | None") -> dict[str, object]:
    from dataclasses import asdict

    from collector.log.lines import time_text

    times = {
        name: None if time_ns is None else time_text(time_ns)
        for name, time_ns in (("first_time", report.first_time_ns), ("last_time", report.last_time_ns))
    }
    plain = {name: value for name, value in asdict(report).items() if not name.endswith("_time_ns")}
    checked = {} if unreadable is None else {"unreadable": _spans_json(unreadable)}
    return {
        **plain,
        "messages": report.messages,
        "lag": report.lag,
        "lost": _spans_json(report.lost),
        **times,
        **checked,
    }


def _spans_json(spans: "Sequence[Unreadable]") -> list[tuple[int, int | None]]:
    return [(span.first, span.last) for span in spans]


def _print_report(report: "LogReport", language: Language) -> None:
    from rich.table import Table

    from filiere.clock import to_text

    def moment(offset: int, time_ns: int | None) -> str:
        return "—" if time_ns is None else f"{offset}, {to_text(time_ns)}"

    recorded = NO_BOOK.in_language(language) if report.bookmark is None else str(report.bookmark)
    rows = [
        (PATH, printable(report.path)),
        (KEPT, str(report.messages)),
        (OLDEST, moment(report.first, report.first_time_ns)),
        (NEWEST, moment(report.head, report.last_time_ns)),
        (RECORDED, recorded),
        (BEHIND, "—" if report.lag is None else str(report.lag)),
        (SIZE, bytes_text(report.log_bytes, language)),
        (FREE, bytes_text(report.disk_free_bytes, language)),
        (RATE, f"{decimal(report.messages_per_s, language)} messages/s, {bytes_text(report.bytes_per_s, language)}/s"),
        (FULL_IN, NEVER.in_language(language) if report.full_in_s is None else span_text(report.full_in_s, language)),
        (RETENTION, f"{report.retention_days:g} {DAYS.in_language(language)}"),
    ]
    if report.lost:
        rows.append((LOST, spans_text(report.lost, language)))
    table = Table(show_header=False, box=None)
    for label, value in rows:
        table.add_row(label.in_language(language), value)
    wide_console().print(table, markup=False)


@log.command()
def export(
    first: Annotated[int | None, typer.Option("--from", min=1, help="First offset.")] = None,
    last: Annotated[int | None, typer.Option("--to", min=1, help="Last offset.")] = None,
    since: Annotated[str | None, typer.Option(help="Received at this time or later (RFC 3339).")] = None,
    until: Annotated[str | None, typer.Option(help="Received before this time (RFC 3339).")] = None,
    topic: Annotated[str, typer.Option(help="Topic or MQTT topic filter, such as filiere/v1/+/+/t1/#.")] = "#",
    output: OutputOption = None,
    lang: LanguageOption = "fr",
) -> None:
    """Write messages as JSON Lines: offset, record_time, topic and payload (base64 where it is not UTF-8)."""
    from filiere.message_log import MessageLog
    from filiere.settings import load_settings
    from filiere.whole_file import output_file

    with MessageLog.open_reader(load_settings().log_path) as messages, output_file(output, mode=0o640) as file:
        start, stop = max(first or 1, messages.first()), min(last or messages.head(), messages.head())
        if since is not None:
            start = max(start, messages.offset_at(_time_ns(since, "--since")))
        if until is not None:
            stop = min(stop, messages.offset_at(_time_ns(until, "--until")) - 1)
        with _meter(READ, lang, total=max(0, stop - start + 1)) as said:
            count = _write_lines(messages, file, start=start, stop=stop, topic=topic, said=said)
        typer.echo(EXPORTED.in_language(lang).format(count=count), err=True)


def _write_lines(messages: "MessageLog", file: BinaryIO, *, start: int, stop: int, topic: str, said: "Meter") -> int:
    from collector.intake.assignment import covers
    from collector.log.lines import line_of

    count, after = 0, start - 1
    while after < stop and (chunk := messages.read(after, min(CHUNK, stop - after))):
        after = chunk[-1].offset
        lines = [
            line_of(message)
            for message in chunk
            if message.offset <= stop and (topic == "#" or covers(topic, message.topic.decode(errors="replace")))
        ]
        file.write(b"".join(line + b"\n" for line in lines))
        count += len(lines)
        said.more(len(chunk))
    return count


@log.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="JSON Lines, as `filiere log export` writes them.")],
    lang: LanguageOption = "fr",
) -> None:
    """Append messages of a file to the log of a stopped collector. Every line is checked before the first is added.

    They get new offsets and keep their record_time. Done twice, the recorder knows their rows as duplicates.
    """
    from collector.log.lines import chunks_of
    from filiere.errors import StoreRefused
    from filiere.message_log import MessageLog
    from filiere.settings import load_settings

    settings = load_settings()
    try:
        with file.open("rb") as lines, _stopped(settings, "intake"):
            with _meter(CHECKED, lang, total=0) as said:
                for chunk in chunks_of(lines, file):
                    said.more(len(chunk))
            lines.seek(0)
            with MessageLog.open(settings.log_path) as messages:
                before = last = messages.head()
                for chunk in chunks_of(lines, file):
                    last = messages.append([(each.topic, each.payload, each.record_time_ns) for each in chunk])
    except OSError as error:
        raise StoreRefused(f"{file}: got {error.strerror}; expected a file that may be read") from None
    if last == before:
        typer.echo(NOTHING.in_language(lang))
    else:
        typer.echo(IMPORTED.in_language(lang).format(count=said.count, first=last - said.count + 1, last=last))


@log.command()
def rewind(
    to: Annotated[int | None, typer.Option("--to", min=1, help="The first offset to be judged again.")] = None,
    at: Annotated[str | None, typer.Option("--time", help="From what was received at this time on (RFC 3339).")] = None,
    start: Annotated[bool, typer.Option("--start", help="From the oldest message that is kept.")] = False,
    yes: YesOption = False,
    lang: LanguageOption = "fr",
) -> None:
    """Have recorded messages judged again, by the plant model of today: same rows, same accounts, no doubles.

    A recorder that runs does it between two chunks; where none runs, it is done when the next one starts. Exit status
    2: nothing was done.
    """
    from collector.recorder.requests import Rewind, submit
    from filiere.errors import StoreRefused
    from filiere.settings import load_settings

    if sum((to is not None, at is not None, start)) != 1:
        raise typer.BadParameter("expected one of --to, --time and --start")
    settings = load_settings()
    offset = _rewind_plan(settings, to=1 if start else to, at=at, language=lang)
    if offset is None:
        typer.echo(NOTHING_TO_REWIND.in_language(lang))
        return
    _ask(yes=yes, language=lang)
    try:
        outcome = submit(settings, Rewind(offset))
    except KeyboardInterrupt:
        typer.echo(REWIND_LATER.in_language(lang))
        return
    if outcome.problem is not None:
        raise StoreRefused(outcome.problem)
    typer.echo(REWOUND.in_language(lang).format(count=outcome.total))


def _rewind_plan(settings: "Settings", *, to: int | None, at: str | None, language: Language) -> int | None:
    """Say what would be judged again. The first offset; None = nothing."""
    from collector.recorder.book import RecordBook
    from filiere.clock import to_text
    from filiere.message_log import MessageLog

    with MessageLog.open_reader(settings.log_path) as messages, RecordBook.open_reader(settings.recorder_path) as book:
        wanted = to if at is None else messages.offset_at(_time_ns(at, "--time"))
        offset = max(wanted or 1, messages.first())
        recorded = book.progress().bookmark
        if offset > recorded:
            return None
        (oldest,) = messages.read(offset - 1, 1)
    plan = REWIND_PLAN.in_language(language)
    since = to_text(oldest.record_time_ns)
    typer.echo(plan.format(first=offset, last=recorded, count=recorded - offset + 1, since=since))
    return offset


@log.command()
def repair(yes: YesOption = False, lang: LanguageOption = "fr") -> None:
    """Make a damaged log anew from all that can be read of it, at the same offsets; the collector must be stopped.

    Exit status 0: nothing was lost. 1: repaired, and some messages are lost; they are listed. 2: nothing was done.
    """
    from collector.condition import room
    from filiere.clock import from_ns, system_clock
    from filiere.errors import StoreUnavailable
    from filiere.log_repair import repair as make_anew
    from filiere.settings import load_settings

    settings = load_settings()
    if not settings.log_path.is_file():
        raise StoreUnavailable(f"{settings.log_path}: no message log there; check FILIERE_DATA_DIR")
    with _stopped(settings, "intake", "recorder", "receipts"):
        space = room(settings)
        size = bytes_text(space.log_bytes, lang)
        typer.echo(REPAIR_PLAN.in_language(lang).format(path=printable(str(settings.log_path)), size=size))
        _ask(yes=yes, language=lang)
        progress = _progress(settings)
        with _meter(READ, lang) as said:
            repaired = make_anew(
                settings.log_path,
                head=max(progress.recorded_to, progress.log_head) if progress else 0,
                recorded=(progress.recorded_to, progress.recorded_ns) if progress and progress.recorded_to else None,
                suffix=f"damaged-{from_ns(system_clock()):%Y%m%dT%H%M%SZ}",
                note=said.at,
            )
    aside = printable(str(repaired.aside))
    typer.echo(REPAIRED.in_language(lang).format(count=repaired.kept, aside=aside))
    if repaired.lost:
        typer.echo(LOST_SPANS.in_language(lang).format(spans=spans_text(repaired.lost, lang)))
        raise typer.Exit(EXIT_UNREADABLE)
    typer.echo(NOTHING_LOST.in_language(lang))


def _progress(settings: "Settings") -> "Progress | None":
    """Where the recorder is; None = it has no book that can be read."""
    from collector.recorder.book import RecordBook
    from filiere.errors import FiliereError

    try:
        with RecordBook.open_reader(settings.recorder_path) as book:
            return book.progress()
    except FiliereError:
        return None


def _time_ns(text: str, option: str) -> int:
    from collector.log.lines import parse_time_ns
    from filiere.errors import MessageRefused, SettingsError

    try:
        return parse_time_ns(text)
    except MessageRefused as refused:
        raise SettingsError(f"{option}: {refused}") from None


@contextmanager
def _stopped(settings: "Settings", *parts: str) -> Iterator[None]:
    """Hold the locks of these processes, so that none of them runs meanwhile. Raises SettingsError: one does."""
    import threading

    from collector.processes import LOCK_WAIT_S, only_one

    with ExitStack() as stack:
        for part in parts:
            stack.enter_context(only_one(settings.data_dir / f"{part}.lock", threading.Event(), wait_s=LOCK_WAIT_S))
        yield


def _ask(*, yes: bool, language: Language) -> None:
    """Raises SettingsError: the answer is no, or there is nobody to ask."""
    from filiere.errors import SettingsError

    if yes:
        return
    typer.echo(GO_ON.in_language(language), nl=False, err=True)
    answer = sys.stdin.readline() if sys.stdin else ""
    if answer.strip().lower() not in YES:
        raise SettingsError("got no yes, so nothing was done; --yes goes on without asking")


@contextmanager
def _meter(label: Label, language: Language, *, total: int = 0) -> Iterator[Meter]:
    meter = Meter(label.in_language(language), LEFT.in_language(language), total=total)
    try:
        yield meter
    finally:
        meter.end()
