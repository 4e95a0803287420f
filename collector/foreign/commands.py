"""`filiere bindings`: what foreign messages become, and a binding to start from."""

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from filiere.plant import Label
from filiere.terminal import JsonOption, Language, LanguageOption, printable, wide_console

if TYPE_CHECKING:
    from collections.abc import Callable

    from collector.foreign.proposal import Heard, Proposal
    from collector.foreign.report import Outcome
    from collector.foreign.sources import ForeignRow
    from filiere.plant import Plant

EXIT_REFUSED = 1
LISTED = 50
TOPICS_LISTED = 20
ANYTHING = "#"

HEADINGS = (
    Label(fr="numéro", en="offset"),
    Label(fr="topic", en="topic"),
    Label(fr="liaison", en="binding"),
    Label(fr="appareil", en="device"),
    Label(fr="heure", en="time"),
    Label(fr="devient", en="becomes"),
)
WHY_HEADINGS = (
    Label(fr="topic", en="topic"),
    Label(fr="liaison", en="binding"),
    Label(fr="pourquoi (pas)", en="why (not)"),
)
HEARD_HEADINGS = (
    Label(fr="topic", en="topic"),
    Label(fr="messages", en="messages"),
    Label(fr="dernier contenu", en="last payload"),
)
REFUSED = Label(fr="REFUSÉ", en="REFUSED")
OWN = Label(fr="format de Filière : pas besoin de liaison", en="Filière's own format: no binding needed")
NOTHING = Label(fr="compris, rien de mesuré", en="understood, nothing measured")
ARRIVAL = Label(fr="arrivée", en="arrival")
TAKES_IT = Label(fr="✓ le prend", en="✓ takes it")
TOTALS = Label(
    fr="{messages} messages : {rows} lignes, {refused} refusés, {empty} sans mesure.",
    en="{messages} messages: {rows} rows, {refused} refused, {empty} without a measurement.",
)
NO_BINDINGS = Label(
    fr="Le fichier de l'atelier n'a pas de « bindings » (docs/bindings.md).",
    en="The plant file has no bindings (docs/bindings.md).",
)
LISTENING = Label(
    fr="J'écoute {address} ({topics}) pendant {seconds:g} s ; Ctrl-C donne la proposition tout de suite.",
    en="Listening on {address} ({topics}) for {seconds:g} s; Ctrl-C gives the proposal at once.",
)
SO_FAR = Label(fr="{messages} messages, {topics} topics", en="{messages} messages, {topics} topics")
HEARD_NOTHING = Label(
    fr="Rien entendu. Les appareils publient-ils, et ce client a-t-il le droit de lire ces topics ?",
    en="Nothing was heard. Do the devices publish, and may this client read these topics?",
)
NO_NUMBERS = Label(fr="Rien de ce qui a été entendu n'a de nombre.", en="Nothing that was heard has a number.")
NO_SPARKPLUG_BIRTH = Label(
    fr="# Sparkplug : demandez une renaissance au nœud (Node Control/Rebirth) pendant l'écoute",
    en="# Sparkplug: ask the node for a rebirth (Node Control/Rebirth) while listening",
)
PASTE = Label(
    fr="# À coller sous « bindings: » dans le fichier de l'atelier. Remplacez chaque ? par l'appareil, effacez les"
    " signaux inutiles ;\n# les unités sont devinées d'après les noms. Derrière # : les valeurs vues ; pour l'heure,"
    " son plus grand écart à l'arrivée.",
    en="# To paste below `bindings:` in the plant file. Put the device for each ?, delete the signals that are not"
    " needed;\n# units are guessed from names. Behind #: the values seen; for a time, the most that it was away from"
    " the arrival.",
)

bindings = typer.Typer(
    add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help="Foreign devices by configuration."
)
PlantOption = Annotated[
    str | None, typer.Option("--plant", help="A plant file, or the name of a packaged plant. Default: FILIERE_PLANT.")
]


@bindings.command("test")
def try_messages(
    file: Annotated[Path, typer.Argument(help="Messages, one a line, as `filiere log export` writes them.")],
    plant: PlantOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many messages; all are judged.")] = LISTED,
    why: Annotated[
        bool, typer.Option("--why", help="For each topic, which binding takes it and why the others do not.")
    ] = False,
    as_json: JsonOption = False,
    lang: LanguageOption = "fr",
) -> None:
    """Show what each recorded message would become, and why. Exit status 1 when one is refused."""
    from collector.foreign.report import judge, read_messages
    from collector.foreign.sources import ForeignSources

    model = _plant(plant)
    sources = ForeignSources(model)
    shown: list[Outcome] = []
    counts = dict.fromkeys(("messages", "rows", "refused", "empty"), 0)
    with _reading(file) as on_read:
        for message in read_messages(file, on_read):
            outcome = judge(sources, message)
            counts["messages"] += 1
            counts["rows"] += len(outcome.rows)
            counts["refused"] += outcome.reason is not None
            counts["empty"] += outcome.reason is None and not outcome.rows
            if len(shown) < limit:
                shown.append(outcome)
    if as_json:
        import json

        document = {**counts, "shown": [_as_json(outcome, model) for outcome in shown]}
        typer.echo(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        _print_outcomes(shown, model, lang)
        _print_why([outcome for outcome in shown if why or not (outcome.own or outcome.binding)], lang)
        typer.echo(TOTALS.in_language(lang).format(**counts))
        if not model.bindings:
            typer.echo(NO_BINDINGS.in_language(lang))
    if counts["refused"]:
        raise typer.Exit(EXIT_REFUSED)


@bindings.command()
def learn(
    seconds: Annotated[float, typer.Option(min=0.1, max=86_400, help="How long to listen, s.")] = 60.0,
    topic: Annotated[
        list[str] | None, typer.Option(help="Topic filter, such as tele/#; may be given several times. Default: all.")
    ] = None,
    plant: PlantOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A new file for some messages of each topic: `bindings test` reads it."),
    ] = None,
    as_json: JsonOption = False,
    lang: LanguageOption = "fr",
) -> None:
    """Listen on the broker, show what is published, and propose bindings in YAML. Ctrl-C ends the listening."""
    import secrets

    from collector.broker import broker_of
    from collector.foreign.learn import Listener
    from collector.foreign.proposal import propose
    from filiere.clock import system_clock
    from filiere.settings import load_settings

    zone = _plant(plant).timezone
    broker = broker_of(load_settings(), f"-learn-{secrets.token_hex(4)}")
    topics = topic or [ANYTHING]
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop.set())
    words = LISTENING.in_language(lang).format(address=broker.address, topics=" ".join(topics), seconds=seconds)
    typer.echo(printable(words), err=True)
    with _messages_to(output) as keep:
        with _listening(seconds, lang) as progress:
            listener = Listener(broker=broker, topics=topics, clock=system_clock)
            heard = listener.listen(seconds, stop=stop, progress=progress)
        keep(heard)
    proposals = [*propose(heard, zone), *_sparkplug(heard)]
    if as_json:
        import json

        typer.echo(json.dumps(_learned(heard, proposals, zone), indent=2, ensure_ascii=False))
    else:
        _print_learned(heard, proposals, zone, lang)


def _plant(name: str | None) -> "Plant":
    from filiere.plant_file import load_plant
    from filiere.settings import load_settings

    return load_plant(name or load_settings().plant)


def _sparkplug(heard: "Sequence[Heard]") -> "tuple[Proposal, ...]":
    from collector.foreign.proposal import sparkplug_proposals
    from filiere.bindings import SPARKPLUG_TOPICS

    if not any(each.topic.startswith(f"{SPARKPLUG_TOPICS}/") for each in heard):
        return ()
    from collector.foreign.births import MemoryBirths
    from filiere.errors import SettingsError

    try:
        from collector.foreign.sparkplug import SparkplugDecoder
    except SettingsError as missing:
        typer.echo(str(missing), err=True)
        return ()
    return sparkplug_proposals(heard, SparkplugDecoder(MemoryBirths()))


@contextmanager
def _messages_to(path: Path | None) -> "Iterator[Callable[[Sequence[Heard]], None]]":
    """Writes what was heard to a new file, in the order of arrival; nowhere without a path."""
    from collector.log.lines import line_of
    from filiere.whole_file import output_file

    if path is None:
        yield lambda _: None
        return
    with output_file(path, mode=0o640) as file:

        def keep(heard: "Sequence[Heard]") -> None:
            messages = sorted((each for topic in heard for each in topic.kept), key=lambda each: each.offset)
            file.writelines(line_of(message) + b"\n" for message in messages)

        yield keep


@contextmanager
def _reading(file: Path) -> "Iterator[Callable[[int], None]]":
    """A progress bar on standard error while a file is read: share, rate, time left."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    size = file.stat().st_size if file.is_file() else None
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=size)
        yield lambda count: progress.advance(task, count)


@contextmanager
def _listening(seconds: float, language: Language) -> "Iterator[Callable[[int, int], None]]":
    """A line on standard error: what was heard so far, and the time left."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    words = SO_FAR.in_language(language)
    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        import time

        started = time.monotonic()
        task = progress.add_task(words.format(messages=0, topics=0), total=seconds)

        def show(messages: int, topics: int) -> None:
            text = words.format(messages=messages, topics=topics)
            progress.update(task, completed=time.monotonic() - started, description=text)

        yield show


def _units(model: "Plant") -> dict[str, str]:
    return {f"{line.path}/{signal.key}": signal.unit for line in model.lines for signal in line.signals}


def _value_texts(row: "ForeignRow", units: dict[str, str], language: Language) -> Iterator[str]:
    for signal_id, value in row.values.items():
        text = f"{value:.10g}" if language == "en" else f"{value:.10g}".replace(".", ",")
        unit = units[f"{row.line}/{row.device}.{signal_id}"]
        quality = row.quality.get(signal_id)
        yield f"{signal_id} {text}{'' if unit == '1' else f' {unit}'}{f' ({quality})' if quality else ''}"


def _print_outcomes(shown: "Sequence[Outcome]", model: "Plant", language: Language) -> None:
    from rich.markup import escape
    from rich.table import Table

    from filiere.clock import to_text

    units = _units(model)
    table = Table(*(heading.in_language(language) for heading in HEADINGS))
    for outcome in shown:
        message = outcome.message
        topic = printable(message.topic.decode(errors="backslashreplace"))
        head = (str(message.offset), escape(topic), outcome.binding or "")
        if outcome.reason is not None:
            words = escape(printable(outcome.words))
            table.add_row(*head, "", "", f"[bold red]{REFUSED.in_language(language)} {outcome.reason}[/] {words}")
        elif not outcome.rows:
            table.add_row(*head, "", "", (OWN if outcome.own else NOTHING).in_language(language))
        for row in outcome.rows:
            time_ns = message.record_time_ns if row.event_time_ns is None else row.event_time_ns
            arrival = f" ({ARRIVAL.in_language(language)})" if row.event_time_ns is None else ""
            becomes = escape(" · ".join(_value_texts(row, units, language)))
            table.add_row(*head, row.device_path, f"{to_text(time_ns)}{arrival}", becomes)
    wide_console().print(table)


def _print_why(outcomes: "Sequence[Outcome]", language: Language) -> None:
    """Every binding held against the topics of some messages, each topic once."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(*(heading.in_language(language) for heading in WHY_HEADINGS))
    by_topic = {outcome.message.topic: outcome.candidates for outcome in outcomes}
    for topic, candidates in list(by_topic.items())[:TOPICS_LISTED]:
        shown = escape(printable(topic.decode(errors="backslashreplace")))
        for each in candidates:
            takes_it = TAKES_IT.in_language(language)
            table.add_row(shown, each.binding, escape(printable(each.mismatch)) if each.mismatch else takes_it)
            shown = ""
        table.add_section()
    if table.row_count:
        wide_console().print(table)


def _as_json(outcome: "Outcome", model: "Plant") -> dict[str, Any]:
    from filiere.clock import to_text

    units = _units(model)
    return {
        "offset": outcome.message.offset,
        "topic": outcome.message.topic.decode(errors="backslashreplace"),
        "own_format": outcome.own,
        "binding": outcome.binding,
        "rows": [
            {
                "device": row.device_path,
                "event_time": None if row.event_time_ns is None else to_text(row.event_time_ns),
                "values": {
                    signal_id: {
                        "value": value,
                        "unit": units[f"{row.line}/{row.device}.{signal_id}"],
                        "quality": row.quality.get(signal_id, ""),
                    }
                    for signal_id, value in row.values.items()
                },
            }
            for row in outcome.rows
        ],
        "reason": outcome.reason,
        "message": outcome.words,
        "not_taken_by": {each.binding: each.mismatch for each in outcome.candidates if each.mismatch is not None},
    }


def _learned(heard: "Sequence[Heard]", proposals: "Sequence[Proposal]", zone: str) -> dict[str, Any]:
    from collector.foreign.proposal import proposal_yaml

    return {
        "heard": [{"topic": each.topic, "messages": each.count} for each in heard],
        "proposals": [
            {"topics": proposal.topics, "yaml": proposal_yaml(proposal, number, zone)}
            for number, proposal in enumerate(proposals, 1)
        ],
    }


def _print_learned(heard: "Sequence[Heard]", proposals: "Sequence[Proposal]", zone: str, language: Language) -> None:
    from rich.markup import escape
    from rich.table import Column, Table

    from collector.foreign.proposal import proposal_yaml
    from filiere.bindings import SPARKPLUG_TOPICS, Payload

    if not heard:
        typer.echo(HEARD_NOTHING.in_language(language), err=True)
        return
    from rich.console import Console

    # to standard error: standard output is the YAML alone, ready for a file
    console = Console(stderr=True, highlight=False)
    table = Table(*(Column(heading.in_language(language), overflow="fold") for heading in HEARD_HEADINGS))
    for each in heard[:LISTED]:
        last = each.kept[-1].payload[:80].decode(errors="backslashreplace") if each.kept else ""
        table.add_row(escape(printable(each.topic)), str(each.count), escape(printable(last)))
    console.print(table)
    if not proposals:
        typer.echo(NO_NUMBERS.in_language(language), err=True)
    else:
        typer.echo(PASTE.in_language(language))
    for number, proposal in enumerate(proposals, 1):
        typer.echo(proposal_yaml(proposal, number, zone))
    sparkplug = any(each.topic.startswith(f"{SPARKPLUG_TOPICS}/") for each in heard)
    if sparkplug and not any(proposal.payload is Payload.SPARKPLUG for proposal in proposals):
        typer.echo(NO_SPARKPLUG_BIRTH.in_language(language))
