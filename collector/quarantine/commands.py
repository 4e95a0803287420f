"""`filiere quarantine`: what was refused, why, what to do about it, and trying again."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from filiere.plant import Label
from filiere.terminal import JsonOption, Language, LanguageOption, printable, wide_console

if TYPE_CHECKING:
    from collector.accounts.book import AccountBook
    from collector.recorder.book import Quarantined

EXIT_STILL_REFUSED, EXIT_NOT_DONE = 1, 3
LISTED = 50
PAGE = 500
"""Messages of one read of an export: some MB at most of ordinary ones."""
_PAYLOAD_SHOWN = 120
_DEVICE_COLUMNS = 45
_HEXDUMP_BYTES = 4096
_HEXDUMP_COLUMNS = 16

QUARANTINE_HEADINGS = (
    Label(fr="numéro", en="offset"),
    Label(fr="reçu (UTC)", en="received (UTC)"),
    Label(fr="appareil", en="device"),
    Label(fr="motif", en="reason"),
    Label(fr="ce qui ne va pas", en="what is wrong"),
)
EMPTY = Label(fr="La quarantaine est vide.", en="Nothing is in quarantine.")
NONE_SUCH = Label(fr="Aucun message de ce genre.", en="No such message is there.")
MORE = Label(
    fr="Il y en a d'autres : --limit, ou filiere quarantine export.",
    en="There are more: --limit, or filiere quarantine export.",
)
SEE_ONE = Label(
    fr="Le message entier, et que faire : filiere quarantine show NUMÉRO",
    en="A message whole, and what to do: filiere quarantine show OFFSET",
)
SHOWN = (
    Label(fr="numéro", en="offset"),
    Label(fr="reçu", en="received"),
    Label(fr="topic", en="topic"),
    Label(fr="appareil", en="device"),
    Label(fr="lignes refusées", en="rows refused"),
    Label(fr="numéros", en="numbers"),
    Label(fr="motif", en="reason"),
    Label(fr="ce qui ne va pas", en="what is wrong"),
    Label(fr="que faire", en="what to do"),
    Label(fr="taille", en="size"),
)
MOVED = Label(fr="Sortis de quarantaine : {moved} messages.", en="Out of quarantine: {moved} messages.")
STILL = Label(fr="Toujours refusés : {left} — {reasons}", en="Still refused: {left} — {reasons}")
NOT_DONE = Label(
    fr="Pas encore fait ; la demande reste, et sera faite dès que possible.",
    en="Not done yet; the request stays, and is done as soon as it can be.",
)
CUT = Label(fr="… et {more} octets de plus", en="… and {more} more bytes")

ReasonOption = Annotated[str | None, typer.Option(help="Only this reason, such as unknown_signal.")]
DeviceOption = Annotated[
    str | None, typer.Option(help="Only this device, such as caux/textile/t1/extruder; ? = none that the plant has.")
]
LimitOption = Annotated[int, typer.Option(min=1, help="At most so many messages, the newest first.")]
WholeJsonOption = Annotated[bool, typer.Option("--json", help="As JSON, with the whole payload in base64.")]

quarantine = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="What was refused, and why. Alone: list it.",
)


@quarantine.callback(invoke_without_command=True)
def _alone(
    context: typer.Context,
    limit: LimitOption = LISTED,
    reason: ReasonOption = None,
    device: DeviceOption = None,
    as_json: WholeJsonOption = False,
    lang: LanguageOption = "fr",
) -> None:
    """Show the messages that were refused, and why."""
    if context.invoked_subcommand is None:
        _list(limit=limit, reason=reason, device=device, as_json=as_json, lang=lang)
    elif (limit, reason, device, as_json, lang) != (LISTED, None, None, False, "fr"):
        raise typer.BadParameter(f"write options after the command: filiere quarantine {context.invoked_subcommand} …")


@quarantine.command("list")
def list_(
    limit: LimitOption = LISTED,
    reason: ReasonOption = None,
    device: DeviceOption = None,
    as_json: WholeJsonOption = False,
    lang: LanguageOption = "fr",
) -> None:
    """List the messages that were refused, the newest first."""
    _list(limit=limit, reason=reason, device=device, as_json=as_json, lang=lang)


@quarantine.command()
def show(
    offset: Annotated[int, typer.Argument(help="Number of the message, as the list shows it.")],
    as_json: WholeJsonOption = False,
    lang: LanguageOption = "fr",
) -> None:
    """Show one message whole: from where, what is wrong, what to do, and its bytes. Exit status 2: it is not there."""
    import json

    from collector.quarantine.words import next_step
    from filiere.errors import NotFound

    found = next(_refused(offsets=[offset], limit=1), None)
    if found is None:
        raise NotFound(f"got message {offset}, which is not in quarantine; filiere quarantine lists what is")
    if as_json:
        document = _as_json(found) | {"what_to_do": next_step(found.reason).in_language(lang)}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return
    for heading, text in zip(SHOWN, _facts(found, lang), strict=True):
        typer.echo(f"{heading.in_language(lang):<17} {printable(text)}")
    typer.echo("")
    for line in _payload_lines(found.payload, lang):
        typer.echo(line)


@quarantine.command()
def retry(
    offsets: Annotated[
        list[int] | None, typer.Argument(help="Numbers of the messages, as the list shows them.")
    ] = None,
    reason: ReasonOption = None,
    device: DeviceOption = None,
    everything: Annotated[bool, typer.Option("--all", help="All that is in quarantine.")] = False,
    wait_s: Annotated[
        float | None,
        typer.Option("--wait", min=0, help="Seconds to wait for the outcome; without it, until it is there."),
    ] = None,
    as_json: JsonOption = False,
    lang: LanguageOption = "fr",
) -> None:
    """Judge refused messages again, after the plant file, the database or this program was put right.

    Those that are good now are stored as if they had never been refused. The recorder that runs does it; where none
    runs, this command does. Exit status 0: none is refused any more. 1: some still are. 2: it cannot be done. 3: not
    done yet.
    """
    import json

    from collector.accounts.audit import NO_DEVICE
    from collector.quarantine.progress import RetryProgress, stopped_by_ctrl_c
    from collector.recorder.requests import Retry, submit
    from filiere.errors import StoreUnavailable
    from filiere.logs import configure_logs
    from filiere.settings import load_settings

    if (bool(offsets), reason is not None or device is not None, everything).count(True) != 1:
        raise typer.BadParameter("say which: numbers of messages, or --reason and --device, or --all")
    settings, device = load_settings(), "" if device == NO_DEVICE else device
    chosen = _chosen(offsets, reason=reason, device=device)
    if not chosen:
        typer.echo(json.dumps(_retried(0, {}, done=True)) if as_json else NONE_SUCH.in_language(lang))
        return
    configure_logs("error", "quarantine")  # what a recorder would log is told below, in words
    with stopped_by_ctrl_c() as stop:
        request = Retry(offsets=tuple(offsets) if offsets else None, reason=reason, device=device)
        outcome = submit(settings, request, note=RetryProgress(lang), stop=stop, wait_s=wait_s)
    if outcome.done and outcome.problem:
        raise StoreUnavailable(outcome.problem)
    with _book() as book:
        still = dict(sorted(book.refused_reasons(chosen).items()))
    moved = len(chosen) - sum(still.values())
    if as_json:
        typer.echo(json.dumps(_retried(moved, still, done=outcome.done), indent=2))
    else:
        typer.echo(MOVED.in_language(lang).format(moved=moved))
        if still:
            reasons = ", ".join(f"{name} {count}" for name, count in still.items())
            typer.echo(STILL.in_language(lang).format(left=sum(still.values()), reasons=reasons))
        if not outcome.done:
            typer.echo(NOT_DONE.in_language(lang))
    if not outcome.done:
        raise typer.Exit(EXIT_NOT_DONE)
    if still:
        raise typer.Exit(EXIT_STILL_REFUSED)


def _chosen(offsets: Sequence[int] | None, *, reason: str | None, device: str | None) -> list[int]:
    """Numbers of the messages to judge again. Raises NotFound: one of those given is not in quarantine."""
    from filiere.errors import NotFound

    with _book() as book:
        chosen = book.refused_offsets(reason=reason, device=device)
    if offsets is None:
        return chosen
    absent = sorted(set(offsets) - set(chosen))
    if absent:
        raise NotFound(f"got message {absent[0]}, which is not in quarantine; filiere quarantine lists what is")
    return sorted(set(offsets))


def _retried(moved: int, still: Mapping[str, int], *, done: bool) -> dict[str, Any]:
    return {"done": done, "moved": moved, "left": sum(still.values()), "still_refused": dict(still)}


@quarantine.command()
def export(
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File to write; it must not be there yet. None = standard output."),
    ] = None,
    reason: ReasonOption = None,
    device: DeviceOption = None,
) -> None:
    """Write what was refused as JSON lines, the oldest first, in the shape of `filiere log export` with the reason."""
    from filiere.whole_file import output_file

    with output_file(output, mode=0o600) as file:
        count = _write_lines(file, reason=reason, device=device)
    if output is not None:
        typer.echo(f"{count} messages → {output}", err=True)


def _write_lines(file: BinaryIO, *, reason: str | None, device: str | None) -> int:
    count = 0
    for message in _oldest_first(reason=reason, device=device):
        file.write(_line_of(message) + b"\n")
        count += 1
    return count


def _line_of(message: "Quarantined") -> bytes:
    """The message as in the log's export, then what became of it."""
    import msgspec

    from collector.log.lines import line_of
    from filiere.message_log import Message

    line = line_of(
        Message(
            offset=message.offset,
            topic=message.topic,
            payload=message.payload,
            record_time_ns=message.record_time_ns,
        )
    )
    refusal = msgspec.json.encode({"device": message.device, "reason": message.reason, "message": message.message})
    return line.removesuffix(b"}") + b"," + refusal.removeprefix(b"{")


def _oldest_first(*, reason: str | None, device: str | None) -> Iterator["Quarantined"]:
    after = 0
    while page := list(_refused(limit=PAGE, reason=reason, device=device, after=after)):
        yield from page
        after = page[-1].offset


def _refused(
    *,
    limit: int,
    reason: str | None = None,
    device: str | None = None,
    offsets: Sequence[int] | None = None,
    after: int | None = None,
) -> Iterator["Quarantined"]:
    """Of the quarantine in FILIERE_DATA_DIR. Raises StoreUnavailable, StoreRefused."""
    from collector.accounts.audit import NO_DEVICE

    device = "" if device == NO_DEVICE else device
    with _book() as book:
        yield from book.quarantine(limit=limit, device=device, reason=reason, offsets=offsets, after=after)


def _book() -> "AccountBook":
    from collector.accounts.book import AccountBook
    from filiere.settings import load_settings

    return AccountBook.open_reader(load_settings().recorder_path)


def _list(*, limit: int, reason: str | None, device: str | None, as_json: bool, lang: Language) -> None:
    import json

    messages = list(_refused(limit=limit if as_json else limit + 1, device=device, reason=reason))
    if as_json:
        typer.echo(json.dumps([_as_json(message) for message in messages], indent=2, ensure_ascii=False))
    elif messages:
        _print_table(messages[:limit], lang)
        if len(messages) > limit:
            typer.echo(MORE.in_language(lang))
        typer.echo(SEE_ONE.in_language(lang))
    else:
        typer.echo((EMPTY if reason is None and device is None else NONE_SUCH).in_language(lang))


def _as_json(message: "Quarantined") -> dict[str, Any]:
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
        "boot": message.boot,
        "seq": message.seq,
        "payload": message.payload[:_PAYLOAD_SHOWN].decode(errors="backslashreplace"),
        "payload_base64": b64encode(message.payload).decode(),
    }


def _print_table(messages: "Sequence[Quarantined]", language: Language) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from filiere.clock import from_ns

    table = Table(box=box.SIMPLE_HEAD, padding=0, pad_edge=False, show_edge=False)
    offset, received, device, reason, wrong = (heading.in_language(language) for heading in QUARANTINE_HEADINGS)
    table.add_column(offset, justify="right", no_wrap=True)
    table.add_column(received)
    table.add_column(device, overflow="fold", max_width=_DEVICE_COLUMNS)
    table.add_column(reason, no_wrap=True)
    table.add_column(wrong, overflow="fold")
    for message in messages:
        table.add_row(
            str(message.offset),
            f"{from_ns(message.record_time_ns):%Y-%m-%d %H:%M:%S}",
            Text(printable(message.device or message.topic.decode(errors="backslashreplace"))),
            message.reason,
            Text(printable(message.message)),
        )
    wide_console().print(table)


def _facts(message: "Quarantined", language: Language) -> Iterator[str]:
    """In the order of SHOWN."""
    from collector.accounts.audit import NO_DEVICE
    from collector.quarantine.words import next_step
    from filiere.clock import to_text

    yield str(message.offset)
    yield to_text(message.record_time_ns)
    yield message.topic.decode(errors="backslashreplace")
    yield message.device or NO_DEVICE
    yield str(message.rows)
    yield "—" if message.boot is None or message.seq is None else f"boot {message.boot}, seq {message.seq}"
    yield message.reason
    yield message.message
    yield next_step(message.reason).in_language(language)
    yield f"{len(message.payload)} B"


def _payload_lines(payload: bytes, language: Language) -> Iterator[str]:
    """Text as text, JSON as it was sent; else a hexdump of the first bytes."""
    try:
        text = payload.decode()
        plain = all(sign.isprintable() or sign in "\t\r\n" for sign in text)
    except UnicodeDecodeError:
        plain = False
    if plain:
        yield from (printable(line.replace("\t", "    ")) for line in text.splitlines())
        return
    for start in range(0, min(len(payload), _HEXDUMP_BYTES), _HEXDUMP_COLUMNS):
        part = payload[start : start + _HEXDUMP_COLUMNS]
        letters = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        yield f"{start:08x}  {part.hex(' '):<{3 * _HEXDUMP_COLUMNS}} {letters}"
    if len(payload) > _HEXDUMP_BYTES:
        yield CUT.in_language(language).format(more=len(payload) - _HEXDUMP_BYTES)
